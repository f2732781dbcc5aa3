"""Writes the events that the journal implies: an ordinary producer, every acknowledgement awaited.

An event that the broker refuses for what it is (a time that its topic does not take) would be written again by every
owner to come, and refused again: it goes to its topic's DLQ, with the reason. The broker refuses the whole batch with
it and does not say which it was, so each of these is written once more, alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from harkara.contracts.envelope import Headers, encode_at
from harkara.contracts.event import epoch_ms
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import LARGEST_RECORD_BYTES, QUARANTINED, Topic
from harkara.dispatcher.journal import instant
from harkara.dispatcher.projection import Emission
from harkara.dispatcher.settings import Settings
from harkara.runtime.clock import Clock, SystemClock

REFUSALS = frozenset({KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP})
"""What the broker says of a batch with a record in it that it will never take."""
FRESH_SECONDS = 600.0
"""An event younger than that by our own clock, and yet refused for its time: the clock is wrong, and so would be every
event to come. The process ends instead of putting all of them aside while it goes on sending."""
_DLQS = frozenset(topic.name for topic in QUARANTINED)

log = structlog.get_logger()


class NotWritten(Exception):
    """An event could not be written: the process ends, and the next owner writes what is missing."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that is no order, as it came, with the reason."""

    topic: Topic
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: str


@dataclass(slots=True)
class _Batch:
    """Events written together: done when it is closed and the last is acknowledged. `written` is counted by the loop's
    thread alone, and `told` by the polling one: no count is changed by both."""

    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop
    written: int = 0
    told: int = 0
    total: int | None = None
    error: str | None = None

    def close(self) -> asyncio.Future[None]:
        """Nothing more is written in it. It is done in a later turn of the loop, where it was acknowledged before: an
        earlier batch's end may stand in the loop's queue already, and is to come first."""
        self.total = self.written
        if self.told == self.total:
            self.loop.call_soon(self._finish)
        return self.done

    def acknowledged(self, error: KafkaError | None, _: Message) -> None:
        """librdkafka's callback, in the polling thread."""
        if error is not None:
            self.error = error.name()
        self.told += 1
        if self.told == self.total:
            self.loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self.done.done():
            return
        if self.error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(NotWritten(self.error))


class Emitter:
    """One producer for all lanes of the process. Acknowledgements are polled in a thread of its own."""

    name = "emitter"

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._producer: Producer | None = None
        self._alone: Producer | None = None
        self._stopping = False

    def ready(self) -> str | None:
        """Ready once it runs."""
        return None if self._producer is not None else "starting"

    async def run(self) -> None:
        """Poll for acknowledgements until cancelled; then write out what waits."""
        self._producer = Producer(self._options())
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "emitter") as thread:
            polling = loop.run_in_executor(thread, self._poll)
            try:
                await asyncio.shield(polling)
            finally:
                self._stopping = True
                await polling

    def write(self, emissions: Sequence[Emission], raw: Iterable[Quarantined] = ()) -> asyncio.Future[None]:
        """Hand over; the future is done when every one is acknowledged. Order per partition is kept between calls.

        Raises RuntimeError before the start; the future raises NotWritten.
        """
        producer, batch = self._begun()
        for emission in emissions:
            self._send(producer, emission, batch)
        for record in raw:
            self._quarantine(producer, record, batch)
            batch.written += 1
        return batch.close()

    async def write_by_parts(
        self, parts: Iterable[Sequence[Emission]], pause: Callable[[], Awaitable[None]]
    ) -> asyncio.Future[None] | None:
        """As `write`, of one sequence after the other, with a `pause` after each; None: there was nothing to write. All
        of it is handed over when this ends. The same caller writes nothing else meanwhile, so the order is kept."""
        producer, batch = self._begun()
        for emissions in parts:
            for emission in emissions:
                self._send(producer, emission, batch)
            await pause()
        return batch.close() if batch.written else None

    def _begun(self) -> tuple[Producer, _Batch]:
        if self._producer is None:
            raise RuntimeError("the emitter has not started")
        loop = asyncio.get_running_loop()
        return self._producer, _Batch(loop.create_future(), loop)

    def _send(self, producer: Producer, emission: Emission, batch: _Batch) -> None:
        self._produce(producer, emission, partial(self._told, emission, batch))
        batch.written += 1

    def _produce(
        self, producer: Producer, emission: Emission, told: Callable[[KafkaError | None, Message], None]
    ) -> None:
        value, headers = _encoded(emission)
        producer.produce(
            self._settings.kafka.topic(emission.topic),
            value,
            emission.key,
            partition_for(emission.partition_key, self._settings.partitions),
            told,
            timestamp=_times(emission.at)[1],
            headers=[*headers],
        )

    def _told(self, emission: Emission, batch: _Batch, error: KafkaError | None, message: Message) -> None:
        """librdkafka's callback, in the polling thread. One of a refused batch is written alone."""
        if error is None or error.code() not in REFUSALS:
            batch.acknowledged(error, message)
            return
        if self._alone is None:
            self._alone = Producer(self._options() | {"batch.num.messages": 1})
        try:
            self._produce(self._alone, emission, partial(self._told_alone, emission, batch))
        except (BufferError, KafkaException):
            batch.acknowledged(error, message)

    def _told_alone(self, emission: Emission, batch: _Batch, error: KafkaError | None, message: Message) -> None:
        """As `_told`: now it is this one that is refused. Without a DLQ nothing is passed over."""
        producer, topic = self._producer, emission.topic
        refused = error is not None and error.code() in REFUSALS and topic.name in _DLQS
        if error is None or not refused or producer is None or self._by_our_clock(error, emission):
            batch.acknowledged(error, message)
            return
        log.error("event_refused", topic=topic.name, event_id=emission.id, reason=error.name())
        value, headers = _encoded(emission)
        partition = partition_for(emission.partition_key, self._settings.partitions)
        reason = f"the broker refused it: {error.name()}"
        self._quarantine(producer, Quarantined(topic, partition, emission.key.encode(), value, headers, reason), batch)

    def _by_our_clock(self, error: KafkaError, emission: Emission) -> bool:
        fresh = emission.at > self._clock.now().timestamp() - FRESH_SECONDS
        return fresh and error.code() == KafkaError.INVALID_TIMESTAMP

    def _quarantine(self, producer: Producer, record: Quarantined, batch: _Batch) -> None:
        about: Headers = [("dlq-reason", record.reason.encode()), ("dlq-loop", b"dispatcher")]
        producer.produce(
            self._settings.kafka.topic(record.topic.dlq),
            record.value,
            record.key,
            record.partition,
            batch.acknowledged,
            headers=[*record.headers, *about],
        )

    def _poll(self) -> None:
        producer = self._producer
        assert producer is not None
        while not self._stopping:
            producer.poll(0.5)
            if self._alone is not None:
                self._alone.poll(0)
        for each in (producer, self._alone, producer):  # what is written alone may lead to one for a DLQ
            if each is not None:
                each.flush(5.0)

    def _options(self) -> dict[str, object]:
        return self._settings.kafka.librdkafka_options() | {
            "acks": "all",
            "max.in.flight.requests.per.connection": 1,  # none overtakes a repeat; why not idempotence: ADR 21
            "linger.ms": int(self._settings.linger_seconds * 1000),
            "queue.buffering.max.messages": 1_000_000,  # bounded by the rounds of the lanes, which await these
            "message.max.bytes": LARGEST_RECORD_BYTES,
            "client.id": f"dispatcher-{self._settings.instance}-events",
            "log_level": 3,
        }


def _encoded(emission: Emission) -> tuple[bytes, Headers]:
    value, headers = encode_at(
        _times(emission.at)[0],
        emission.event,
        event_id=emission.id,
        source="dispatcher",
        subject=emission.subject,
        traceparent=emission.trace,
    )
    if emission.dlq_reason is not None:
        headers += [("dlq-reason", emission.dlq_reason.encode()), ("dlq-loop", b"dispatcher")]
    return value, headers


@lru_cache(maxsize=64)  # the events of a round have one instant
def _times(at: float) -> tuple[bytes, int]:
    """As a header has it, and as a record's timestamp."""
    moment = instant(at)
    return moment.isoformat().encode(), epoch_ms(moment)
