"""A compacted topic held in memory by every instance that needs it: no group, no commit, ready when caught up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge

from harkara.contracts.envelope import Undecodable, decode
from harkara.contracts.event import Event
from harkara.contracts.topics import Topic
from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.kafka import start_consumer
from harkara.runtime.settings import ServiceSettings

CHECK_SECONDS = 0.5  # how often the end offsets are asked for: four times within the 2 s that count as fresh
CHECK_TIMEOUT_SECONDS = 1.5
LOOK_FOR_TOPICS_SECONDS = 0.25  # a fresh stack creates them meanwhile; each look asks one broker for metadata
TELL_MISSING_SECONDS = 30.0  # a stack that creates its topics takes some; readiness says at once what is missing
BATCH_RECORDS = 5000  # applied without a pause: 150 ms of the event loop; an owner that serves others takes fewer
FETCH_BYTES = 8 * 1024 * 1024  # at once: it is gone when it is applied, but the process keeps its largest size

STALENESS = Gauge(
    "harkara_replica_staleness_seconds",
    "Seconds since the replica was last read to the end of its topics. Above 2 s its owner stops deciding: see Kafka.",
    ["replica"],
)
UNREADABLE = Counter(
    "harkara_replica_unreadable_total",
    "Records of a replicated topic that could not be decoded and were passed over. Should be 0: look at the writer.",
    ["replica"],
)

Apply = Callable[[Topic, str, Event | None], None]
Take = Callable[[Topic, bytes, bytes], bool]
log = structlog.get_logger()


class ReplicaTable:
    """Reads topics from their beginning and calls `apply(topic, key, event)` per record; None is a tombstone.

    The owner keeps its own structure, so that it holds no more than it needs. Where it is asked for millions of
    records, `take(topic, key, value)` is asked first: an owner that knows what the bytes say takes them as they are,
    and of what it answers False to, the record is decoded and applied. `fresh()` is evidence, not hope: the end offsets
    were fetched from the broker and everything before them had been applied.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        name: str,
        topics: Sequence[Topic],
        apply: Apply,
        clock: Clock | None = None,
        batch_records: int = BATCH_RECORDS,
        take: Take | None = None,
    ) -> None:
        self.name = f"replica:{name}"
        self._settings = settings
        self._topics = {settings.kafka.topic(topic): topic for topic in topics}
        self._apply = apply
        self._take_bytes = take
        self._batch_records = batch_records
        self._clock = clock or SystemClock()
        self._caught_up_at: float | None = None
        self._missing: list[str] = []
        self._staleness = STALENESS.labels(name)
        self._staleness.set_function(self._staleness_or_start)
        self._unreadable = UNREADABLE.labels(name)
        self._started_at = self._clock.monotonic()

    def ready(self) -> str | None:
        """Ready once read to the end, for as long as it stays fresh."""
        if self._missing:
            return f"waits for topics that do not exist: {', '.join(self._missing)}; run `harkara topics create`"
        if self._caught_up_at is None:
            return "reading its topics for the first time"
        return None if self.fresh(10.0) else f"not read to the end for {self.staleness_seconds():.0f} s"

    def staleness_seconds(self) -> float:
        """Seconds since it was last known to be complete; infinity before the first time."""
        return float("inf") if self._caught_up_at is None else self._clock.monotonic() - self._caught_up_at

    def fresh(self, within_seconds: float = 2.0) -> bool:
        """Whether it was complete that recently (design: 2 s, else nothing is cleared and no call starts)."""
        return self.staleness_seconds() <= within_seconds

    async def run(self) -> None:
        """Read until cancelled."""
        consumer = await start_consumer(self._settings, group=None, fetch_max_bytes=FETCH_BYTES)
        try:
            partitions = await self._all_partitions(consumer)
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            checks = asyncio.create_task(self._watch_the_end(consumer, partitions))
            try:
                await self._read(consumer, checks)
            finally:
                checks.cancel()
        finally:
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer, checks: asyncio.Task[None]) -> None:
        while not checks.done():
            batch = await consumer.getmany(timeout_ms=200, max_records=self._batch_records)
            for records in batch.values():
                for record in records:
                    self._take(record)
        checks.result()  # raises what ended it

    def _take(self, record: ConsumerRecord) -> None:
        if self._taken(record):
            return
        topic = self._topics[record.topic]
        key = record.key.decode() if record.key else ""
        if record.value is None:
            self._apply(topic, key, None)
            return
        try:
            envelope = decode(topic.events, record.value, record.headers, fallback_id=key)
        except Undecodable as error:
            self._unreadable.inc()
            log.error("replica_record_unreadable", topic=record.topic, offset=record.offset, reason=str(error))
            return
        self._apply(topic, key, envelope.event)

    def _taken(self, record: ConsumerRecord) -> bool:
        """Whether its owner has taken it as it is."""
        take, topic = self._take_bytes, self._topics[record.topic]
        if take is None or not record.key or record.value is None or not _is_plain(topic, record.headers):
            return False
        return take(topic, record.key, record.value)

    async def _watch_the_end(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        while True:
            asked_at = self._clock.monotonic()
            try:
                ends = await asyncio.wait_for(consumer.end_offsets(partitions), CHECK_TIMEOUT_SECONDS)
            except (KafkaError, TimeoutError) as error:
                log.warning("replica_cannot_ask_for_the_end", replica=self.name, error=type(error).__name__)
                await asyncio.sleep(CHECK_SECONDS)
                continue
            while not await self._reached(consumer, ends):  # noqa: ASYNC110  the position has no event to wait for
                await asyncio.sleep(0.02)
            self._caught_up_at = asked_at
            await asyncio.sleep(CHECK_SECONDS)

    async def _reached(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        for partition, end in ends.items():
            if end > 0 and await consumer.position(partition) < end:
                return False
        return True

    def _staleness_or_start(self) -> float:
        since = self._started_at if self._caught_up_at is None else self._caught_up_at
        return self._clock.monotonic() - since

    async def _all_partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        """Every partition of the topics, once all of these exist: until then readiness and, now and then, the log say
        which do not. Ending the process would make none of them."""
        topics, loop = list(self._topics), asyncio.get_running_loop()
        tell_at = loop.time() + TELL_MISSING_SECONDS
        await consumer._client.set_topics(topics)
        while True:
            found = {topic: consumer.partitions_for_topic(topic) for topic in topics}
            self._missing = [topic for topic, numbers in found.items() if not numbers]
            if not self._missing:
                return [TopicPartition(topic, number) for topic in topics for number in sorted(found[topic] or ())]
            if loop.time() > tell_at:
                tell_at = loop.time() + TELL_MISSING_SECONDS
                log.error("replica_topics_missing", replica=self.name, topics=self._missing)
            await asyncio.sleep(LOOK_FOR_TOPICS_SECONDS)
            await consumer._client.force_metadata_update()


def _is_plain(topic: Topic, headers: Sequence[tuple[str, bytes]]) -> bool:
    """Whether its value alone says what a record is: the topic has one kind of event, and no header says otherwise."""
    if len(topic.events) != 1 or not headers:
        return len(topic.events) == 1
    named = topic.events[0].ce_type.encode()
    return all(name != "ce_type" or value == named for name, value in headers)
