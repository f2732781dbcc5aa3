"""The one at-least-once loop: take a batch, decide, write, await every acknowledgement, then commit.

Killed anywhere, the batch comes again and writes the same events with the same ids. A record that cannot be processed,
or whose outputs the broker refuses for good, goes to its topic's DLQ with the reason (acknowledged too) and blocks
nothing. Any other error ends the process before the commit.
"""

from __future__ import annotations

import asyncio
import gc
from abc import ABC, abstractmethod
from collections import Counter as Counted
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    InvalidMessageError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    RecordListTooLargeError,
)
from prometheus_client import Counter, Gauge, Histogram

from harkara.contracts.envelope import Envelope, Headers, Undecodable, decode
from harkara.contracts.topics import Topic
from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.kafka import Output, RawOutput, Writer, start_consumer, start_producer
from harkara.runtime.settings import ServiceSettings
from harkara.runtime.telemetry import span

BATCH_RECORDS = 500  # urgent records wait for at most one batch: about 50 ms of decisions
POLL_MS = 250
COLLECT_AFTER = (50_000, 20, 50)
"""Objects, then rounds, between two looks for garbage in cycles. A batch's objects live until it is written: with
CPython's 700 they are looked at again and again, a quarter of a decision's time, and next to none are in a cycle."""
BATCH_BYTES = 256 * 1024  # of a partition: a batch of intents fits at once; a quarter of what a broker takes
REFUSED_FOR_GOOD = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidMessageError)

RECORDS = Counter(
    "harkara_loop_records_total",
    "Records a loop has finished, by outcome (done, quarantined). A growing `quarantined`: look at the topic's DLQ.",
    ["loop", "topic", "outcome"],
)
LAG = Gauge(
    "harkara_loop_lag_seconds",
    "Age of the newest record of the last batch when it was committed. Growing: the service is behind its input.",
    ["loop"],
)
BATCH_SECONDS = Histogram(
    "harkara_loop_batch_seconds",
    "From taking a batch to its commit. Above 1 s: the broker acknowledges slowly or a decision is slow.",
    ["loop"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15),
)
GATED = Gauge(
    "harkara_loop_gated",
    "1 while the loop waits for what it needs to decide (a replica that is behind). Look at the replica's staleness.",
    ["loop"],
)

log = structlog.get_logger()


class Refused(Exception):
    """Raised by a decision for a record that cannot be processed: `str()` is the reason, without personal data."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One decoded record. `timestamp` is the record's (its producer's clock)."""

    topic: Topic
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: datetime
    envelope: Envelope


Decide = Callable[[Incoming], Iterable[Output]]
Handle = Callable[[list[Incoming]], Awaitable[Iterable[Output]]]
Gate = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a record leads to, and the trace that it belongs to (None: the outputs say their own)."""

    record: ConsumerRecord
    outputs: Sequence[Output | RawOutput]
    traceparent: str | None = None


Effects = list[Effect]


def _open() -> str | None:
    return None


class AtLeastOnce(ConsumerRebalanceListener, ABC):  # type: ignore[misc]
    """What both loops share: polling in order of urgency, writing, quarantine, commit."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        name: str,
        topics: Sequence[Topic],
        gate: Gate = _open,
        clock: Clock | None = None,
        batch_records: int = BATCH_RECORDS,
    ) -> None:
        self.name = name
        self._settings = settings
        self._topics = {settings.kafka.topic(topic): topic for topic in topics}
        self._gate = gate
        self._clock = clock or SystemClock()
        self._batch_records = batch_records
        self._producer: AIOKafkaProducer | None = None
        self._writer: Writer | None = None
        self._joined = False
        self._working = asyncio.Lock()

    def ready(self) -> str | None:
        """Ready when it has its partitions and its gate is open."""
        return self._gate() if self._joined else "joining its consumer group"

    async def run(self) -> None:
        """Consume until cancelled; leaves its group in order, so that the next owner starts at once."""
        gc.set_threshold(*max(COLLECT_AFTER, gc.get_threshold()))
        consumer = await start_consumer(self._settings, group=self.name)
        try:
            await self._fresh_producer()
            consumer.subscribe(list(self._topics), listener=self)
            while True:
                if await self._waits_at_gate(consumer):
                    continue
                batch = await self._poll(consumer)
                if batch and self._gate() is not None:
                    _give_back(consumer, batch)  # it closed while the poll waited
                elif batch:
                    async with self._working:
                        await self._work(consumer, batch)
        finally:
            self._joined = False
            await consumer.stop()
            if self._producer is not None:
                await self._producer.stop()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish and commit the batch at hand first, so that the next owner need not repeat it."""
        async with self._working:
            self._joined = False

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """The loop owns its partitions now (perhaps none: fewer partitions than instances)."""
        self._joined = True

    async def _waits_at_gate(self, consumer: AIOKafkaConsumer) -> bool:
        closed = self._gate()
        GATED.labels(self.name).set(closed is not None)
        if closed is None:
            if paused := consumer.paused():
                consumer.resume(*paused)
            return False
        consumer.pause(*consumer.assignment())
        found = await consumer.getmany(timeout_ms=POLL_MS)  # polling keeps the membership
        _give_back(consumer, [each for records in found.values() for each in records])  # assigned since the pause
        return True

    async def _poll(self, consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
        """The next batch, the topics in the order they were named: urgent records never wait behind bulk."""
        for name in self._topics:
            partitions = [p for p in consumer.assignment() if p.topic == name]
            if partitions:
                found = await consumer.getmany(*partitions, timeout_ms=0, max_records=self._batch_records)
                if found:
                    return [record for records in found.values() for record in records]
        found = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._batch_records)
        order = list(self._topics)
        ordered = sorted(found.items(), key=lambda item: order.index(item[0].topic))
        return [record for _, records in ordered for record in records]

    async def _work(self, consumer: AIOKafkaConsumer, batch: list[ConsumerRecord]) -> None:
        with BATCH_SECONDS.labels(self.name).time():
            effects = await self._decided(batch)
            await self._write(effects)
            await self._commit(consumer, batch)
        LAG.labels(self.name).set(max(0.0, self._clock.now().timestamp() - batch[-1].timestamp / 1000))

    @abstractmethod
    async def _decided(self, batch: list[ConsumerRecord]) -> Effects:
        """What each record leads to."""

    def _incoming(self, record: ConsumerRecord) -> Incoming:
        topic = self._topics[record.topic]
        where = f"{record.topic}-{record.partition}-{record.offset}"
        return Incoming(
            topic=topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            timestamp=datetime.fromtimestamp(record.timestamp / 1000, UTC),
            envelope=decode(topic.events, record.value, record.headers, fallback_id=where),
        )

    def _quarantine(self, record: ConsumerRecord, reason: str) -> RawOutput:
        topic = self._topics[record.topic]
        RECORDS.labels(self.name, topic.name, "quarantined").inc()
        log.error(
            "record_quarantined",
            loop=self.name,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=reason,
        )
        return quarantined(record, topic, self.name, reason)

    async def _write(self, effects: Effects) -> None:
        """Write everything at once; where the broker refused, record by record, quarantining those it refuses alone."""
        assert self._writer is not None
        owners = [effect for effect in effects for _ in effect.outputs]
        outputs = [(output, effect.traceparent) for effect in effects for output in effect.outputs]
        faults = await self._writer.write_together(outputs)
        failed: dict[int, Effect] = {}
        mended: tuple[type[BaseException], ...] = REFUSED_FOR_GOOD
        if any(isinstance(fault, REFUSED_FOR_GOOD) for fault in faults):
            mended += (OutOfOrderSequenceNumber,)  # what came behind a refused batch was not taken either
        for fault, effect in zip(faults, owners, strict=True):
            if fault is not None and not isinstance(fault, mended):
                raise fault
            if fault is not None:
                failed[id(effect)] = effect
        for effect in failed.values():
            await self._write_alone(effect)

    async def _write_alone(self, effect: Effect) -> None:
        """A refused batch takes its innocent neighbours along, so each record's outputs are tried once more alone.

        After a refusal the producer's sequence numbers are spoilt: it is thrown away.
        """
        try:
            for output in effect.outputs:
                writer = await self._fresh_producer()
                for fault in await writer.write_together([(output, effect.traceparent)]):
                    if fault is not None:
                        raise fault
        except REFUSED_FOR_GOOD as error:
            writer = await self._fresh_producer()
            reason = f"an output was refused by the broker for good: {type(error).__name__}"
            await writer.write([self._quarantine(effect.record, reason)])

    async def _fresh_producer(self) -> Writer:
        if self._producer is not None:
            await self._producer.stop()
        self._producer = await start_producer(self._settings, max_batch_size=BATCH_BYTES)
        settings = self._settings
        self._writer = Writer(self._producer, settings.kafka, settings.partitions, settings.service)
        return self._writer

    async def _commit(self, consumer: AIOKafkaConsumer, batch: list[ConsumerRecord]) -> None:
        offsets: dict[TopicPartition, int] = {}
        for record in batch:
            partition = TopicPartition(record.topic, record.partition)
            offsets[partition] = max(offsets.get(partition, 0), record.offset + 1)
        try:
            await consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            # the partitions have gone to another instance, which repeats the batch and writes the same events
            log.warning("commit_came_too_late", loop=self.name, error=type(error).__name__)


class Loop(AtLeastOnce):
    """Decides record by record: `decide` is pure and raises `Refused` (or anything) for a record it cannot process."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        name: str,
        topics: Sequence[Topic],
        decide: Decide,
        gate: Gate = _open,
        clock: Clock | None = None,
        batch_records: int = BATCH_RECORDS,
    ) -> None:
        super().__init__(settings, name=name, topics=topics, gate=gate, clock=clock, batch_records=batch_records)
        self._decide = decide

    async def _decided(self, batch: list[ConsumerRecord]) -> Effects:
        effects, done = [], Counted[str]()
        for record in batch:
            effect = self._effect_of(record)
            effects.append(effect)
            done[record.topic] += effect.traceparent is not None
        for name, count in (+done).items():
            RECORDS.labels(self.name, self._topics[name].name, "done").inc(count)
        return effects

    def _effect_of(self, record: ConsumerRecord) -> Effect:
        try:
            incoming = self._incoming(record)
            with span(self.name, incoming.envelope.traceparent, topic=incoming.topic.name) as running:
                return Effect(record, list(self._decide(incoming)), running.traceparent)
        except (Undecodable, Refused) as error:
            return Effect(record, [self._quarantine(record, str(error))])
        except Exception as error:
            log.exception("decision_raised", loop=self.name, topic=record.topic, offset=record.offset)
            return Effect(record, [self._quarantine(record, f"the decision raised {type(error).__name__}")])


class BatchLoop(AtLeastOnce):
    """Handles a whole batch at once (a database transaction, say); an exception ends the process before the commit."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        name: str,
        topics: Sequence[Topic],
        handle: Handle,
        gate: Gate = _open,
        clock: Clock | None = None,
        batch_records: int = BATCH_RECORDS,
    ) -> None:
        super().__init__(settings, name=name, topics=topics, gate=gate, clock=clock, batch_records=batch_records)
        self._handle = handle

    async def _decided(self, batch: list[ConsumerRecord]) -> Effects:
        effects: Effects = []
        incoming: list[Incoming] = []
        for record in batch:
            try:
                incoming.append(self._incoming(record))
            except Undecodable as error:
                effects.append(Effect(record, [self._quarantine(record, str(error))]))
        effects.append(Effect(batch[-1], list(await self._handle(incoming))))
        for name, count in Counted(each.topic.name for each in incoming).items():
            RECORDS.labels(self.name, name, "done").inc(count)
        return effects


def _give_back(consumer: AIOKafkaConsumer, batch: list[ConsumerRecord]) -> None:
    """Fetch these again later; whoever has got their partitions meanwhile begins at what was committed."""
    first: dict[TopicPartition, int] = {}
    for record in batch:
        partition = TopicPartition(record.topic, record.partition)
        first[partition] = min(first.get(partition, record.offset), record.offset)
    for partition in first.keys() & consumer.assignment():
        consumer.seek(partition, first[partition])


def quarantined(record: ConsumerRecord, topic: Topic, loop: str, reason: str) -> RawOutput:
    """The record for its DLQ: bytes, key and headers as they came, and who put it there and why."""
    about: Headers = [
        ("dlq-reason", reason.encode()),
        ("dlq-loop", loop.encode()),
        ("dlq-source", f"{record.topic}-{record.partition}-{record.offset}".encode()),
    ]
    return RawOutput(
        topic=topic.dlq,
        partition=record.partition,
        key=record.key,
        value=record.value,
        headers=list(record.headers) + about,
    )
