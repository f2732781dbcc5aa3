"""Writes the events that the journal implies: an ordinary idempotent producer, every acknowledgement awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message, Producer

from harkara.contracts.envelope import Headers, encode
from harkara.contracts.event import epoch_ms
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import LARGEST_RECORD_BYTES, Topic
from harkara.dispatcher.journal import instant
from harkara.dispatcher.projection import Emission
from harkara.dispatcher.settings import Settings


class NotWritten(Exception):
    """The broker refused an event for good: the process ends, and the next owner writes what is missing."""


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
    """Events written together: done when the last is acknowledged."""

    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop
    open: int
    error: str | None = None
    closed: bool = field(default=False)

    def acknowledged(self, error: KafkaError | None, _: Message) -> None:
        """librdkafka's callback, in the polling thread."""
        self.open -= 1
        if error is not None:
            self.error = error.name()
        if self.open == 0:
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

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
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
        producer, quarantined = self._producer, list(raw)
        if producer is None:
            raise RuntimeError("the emitter has not started")
        loop = asyncio.get_running_loop()
        batch = _Batch(loop.create_future(), loop, len(emissions) + len(quarantined))
        if not batch.open:
            batch.done.set_result(None)
        for emission in emissions:
            self._send(producer, emission, batch)
        for record in quarantined:
            self._quarantine(producer, record, batch)
        return batch.done

    def _send(self, producer: Producer, emission: Emission, batch: _Batch) -> None:
        at = instant(emission.at)
        value, headers = encode(
            emission.event,
            event_id=emission.id,
            source="dispatcher",
            time=at,
            subject=emission.subject,
            traceparent=emission.trace,
        )
        if emission.dlq_reason is not None:
            headers += [("dlq-reason", emission.dlq_reason.encode()), ("dlq-loop", b"dispatcher")]
        producer.produce(
            self._settings.kafka.topic(emission.topic),
            value,
            emission.key,
            partition_for(emission.partition_key, self._settings.partitions),
            batch.acknowledged,
            timestamp=epoch_ms(at),
            headers=[*headers],
        )

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
        producer.flush(5.0)

    def _options(self) -> dict[str, object]:
        return self._settings.kafka.librdkafka_options() | {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": int(self._settings.linger_seconds * 1000),
            "queue.buffering.max.messages": 1_000_000,  # bounded by the rounds of the lanes, which await these
            "message.max.bytes": LARGEST_RECORD_BYTES,
            "client.id": f"dispatcher-{self._settings.instance}-events",
            "log_level": 3,
        }
