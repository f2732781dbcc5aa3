"""Signed HTTP callbacks, one loop per producer: nobody's endpoint waits for anybody else's.

Outcomes of one message go one after another, different messages side by side. One that fails is tried again while the
others go on; what is committed is what everything before is done of. Killed anywhere, at most the 2,000 outcomes of
the window are called again, under the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from harkara.contracts.envelope import Undecodable, header
from harkara.contracts.outcomes import MessageOutcome
from harkara.contracts.topics import MESSAGE_OUTCOMES
from harkara.outcome_notifier import metrics
from harkara.outcome_notifier.calls import IN_FLIGHT, Answer, Caller
from harkara.outcome_notifier.core import body_of, delay_after, signed_headers
from harkara.outcome_notifier.endpoints import Endpoint
from harkara.outcome_notifier.settings import Settings
from harkara.outcome_notifier.window import Window
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import RawOutput
from harkara.runtime.loop import AtLeastOnce, Effects

MOST_WAITING = 2_000  # outcomes of one producer in memory, 1 kB each; beyond it the rest waits in Kafka, for 7 days
FAILING = 5  # failures in a row after which an endpoint is called by one at a time, until one call succeeds
PRODUCER_HEADER = "producer"
"""On each record of message-outcomes, so that a loop passes over what is not its own without reading it."""

Wait = Callable[[float], Awaitable[None]]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Item:
    """One callback that is to be made."""

    partition: TopicPartition
    record: ConsumerRecord
    id: str
    body: bytes
    give_up_at: datetime


class CallbackLoop(AtLeastOnce):
    """Delivers the outcomes of one producer's messages to its endpoint."""

    def __init__(self, settings: Settings, endpoint: Endpoint, clock: Clock, wait: Wait = asyncio.sleep) -> None:
        super().__init__(
            settings,
            name=f"callbacks-{endpoint.producer}",
            topics=[MESSAGE_OUTCOMES],
            gate=self._room,
            clock=clock,
        )
        self._endpoint = endpoint
        self._caller = Caller(endpoint, settings.callback_timeout_seconds)
        self._keep_trying = timedelta(hours=settings.callback_give_up_hours)
        self._wait = wait
        self._window: Window[TopicPartition] = Window()
        self._chains: dict[tuple[TopicPartition, str], deque[_Item]] = {}
        self._tasks: dict[tuple[TopicPartition, str], asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._alone = asyncio.Lock()
        self._failures_in_a_row = 0
        self._dead: list[RawOutput] = []
        self._consumer: AIOKafkaConsumer | None = None
        metrics.WAITING.labels(endpoint.producer).set_function(lambda: len(self._window))
        metrics.OLDEST_SECONDS.labels(endpoint.producer).set_function(self._oldest_seconds)

    def ready(self) -> str | None:
        """Ready in its group: an endpoint that is down is its producer's matter, not this service's."""
        return None if self._joined else "joining its consumer group"

    async def run(self) -> None:
        """Deliver until cancelled. Calls under way then are made again by whoever has the partitions next."""
        async with self._caller, asyncio.TaskGroup() as group:
            self._group = group
            try:
                await super().run()
            finally:
                self._forget()

    # --- the loop's side: records in, positions out ---------------------------------------------------------------

    def _room(self) -> str | None:
        return f"{MOST_WAITING} outcomes wait for the endpoint" if len(self._window) >= MOST_WAITING else None

    async def _waits_at_gate(self, consumer: AIOKafkaConsumer) -> bool:
        self._consumer = consumer
        async with self._working:
            await self._settle(consumer)  # here, because it is passed four times a second, also when nothing comes
        return await super()._waits_at_gate(consumer)

    async def _decided(self, batch: list[ConsumerRecord]) -> Effects:
        for record in batch:
            self._admit(record)
        return []

    async def _commit(self, consumer: AIOKafkaConsumer, batch: list[ConsumerRecord]) -> None:
        await self._settle(consumer)

    async def _settle(self, consumer: AIOKafkaConsumer) -> None:
        """Write what was given up, then commit what is done: both as they stand now, before anything is awaited."""
        positions, dead = self._window.positions(), self._dead
        self._dead = []
        if dead and self._writer is not None:
            await self._writer.write(dead)
        owned = consumer.assignment()
        offsets = {partition: position for partition, position in positions.items() if partition in owned}
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            log.warning("commit_came_too_late", loop=self.name, error=type(error).__name__)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Commit what is done; the rest is the next owner's."""
        async with self._working:
            if self._consumer is not None:
                await self._settle(self._consumer)
            self._forget()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin at what is committed, with nothing left over from before."""
        self._forget()
        await super().on_partitions_assigned(assigned)

    def _forget(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self._chains.clear()
        self._window.forget()

    def _admit(self, record: ConsumerRecord) -> None:
        partition = TopicPartition(record.topic, record.partition)
        if not self._window.add(partition, record.offset):
            return
        item = self._item(partition, record)
        if item is None:
            self._window.done(partition, record.offset)
            return
        key = (partition, str(header(record.headers, "ce_subject")))
        self._chains.setdefault(key, deque()).append(item)
        if key not in self._tasks and self._group is not None:
            self._tasks[key] = self._group.create_task(self._deliver_all(key), name=f"{self.name}:deliver")

    def _item(self, partition: TopicPartition, record: ConsumerRecord) -> _Item | None:
        """The callback of a record; None where it is another producer's, or not asked for, or unreadable."""
        if header(record.headers, PRODUCER_HEADER) != self._endpoint.producer:
            return None
        try:
            envelope = self._incoming(record).envelope
        except Undecodable as error:
            self._dead.append(self._quarantine(record, str(error)))
            return None
        outcome = envelope.event
        assert isinstance(outcome, MessageOutcome)  # the topic has no other kind
        if outcome.kind not in self._endpoint.kinds:
            return None
        written_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        return _Item(partition, record, envelope.id, body_of(outcome), written_at + self._keep_trying)

    # --- the endpoint's side --------------------------------------------------------------------------------------

    async def _deliver_all(self, key: tuple[TopicPartition, str]) -> None:
        """The outcomes of one message, each when the one before has ended."""
        chain = self._chains[key]
        while chain:
            await self._deliver(chain[0])
            self._window.done(chain[0].partition, chain[0].record.offset)
            chain.popleft()
        del self._chains[key], self._tasks[key]

    async def _deliver(self, item: _Item) -> None:
        """Call until it is delivered or given up. It is called at least once, however old it is."""
        failures = 0
        while True:
            answer = await self._call(item)
            if answer.delivered:
                self._count("delivered")
                return
            if answer.gone or self._clock.now() >= item.give_up_at:
                self._give_up(item, answer)
                return
            failures += 1
            self._count("failed")
            await self._wait(delay_after(failures, item.id, answer.wait_seconds))

    async def _call(self, item: _Item) -> Answer:
        async with self._slots:
            if self._failures_in_a_row < FAILING:
                return await self._post(item)
            async with self._alone:
                return await self._post(item)

    async def _post(self, item: _Item) -> Answer:
        headers = signed_headers(item.id, item.body, self._endpoint.secrets, self._clock.now())
        with metrics.CALL_SECONDS.labels(self._endpoint.producer).time():
            answer = await self._caller.post(item.body, headers)
        self._failures_in_a_row = 0 if answer.delivered else self._failures_in_a_row + 1
        if not answer.delivered:
            log.warning("callback_failed", producer=self._endpoint.producer, webhook_id=item.id, said=answer.said)
        return answer

    def _give_up(self, item: _Item, answer: Answer) -> None:
        self._count("given_up")
        reason = f"the callback of {self._endpoint.producer} was given up; the endpoint's last answer: {answer.said}"
        self._dead.append(self._quarantine(item.record, reason))

    def _count(self, outcome: str) -> None:
        metrics.CALLBACKS.labels(self._endpoint.producer, outcome).inc()

    def _oldest_seconds(self) -> float:
        oldest = min((chain[0].record.timestamp for chain in self._chains.values() if chain), default=None)
        return 0.0 if oldest is None else max(0.0, self._clock.now().timestamp() - oldest / 1000)
