"""Writing to Kafka for callers who wait: every acknowledgement within a time, a broken producer replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from harkara.contracts.envelope import Headers
from harkara.ingestion.core import Emission
from harkara.ingestion.metrics import PRODUCERS_REPLACED
from harkara.ingestion.settings import Settings
from harkara.runtime.kafka import Output, RawOutput, Writer, start_producer

BATCH_BYTES = 256 * 1024  # aiokafka has one request per broker under way: a small batch would cap what a burst gets
RETRY_SECONDS = 0.5  # between attempts to reach Kafka: soon enough for Meta's next try, no storm of connections
RETIRE_SECONDS = 20.0  # for a replaced producer to finish what it holds; longer than its request timeout
LARGEST_SURE_BYTES = 900_000  # below Kafka's default of 1 MB a record; smaller ones are never refused for their size

log = structlog.get_logger()


class Unavailable(Exception):
    """Not every record was acknowledged in time: the caller must be told to try again."""


class TooLarge(Exception):
    """A record is larger than the broker takes; trying again is useless."""


class Appender(Protocol):
    """What the routes need of Kafka."""

    async def write(self, outputs: Sequence[Output | RawOutput]) -> None:
        """Return once every record is acknowledged by all in-sync replicas. Raises Unavailable or TooLarge."""
        ...


def outputs_of(
    emissions: Iterable[Emission], time: datetime, traceparent: str | None = None, headers: Headers | None = None
) -> list[Output]:
    """The emissions as records of that time."""
    return [
        Output(
            topic=each.topic,
            partition_key=each.partition_key,
            key=each.key,
            event=each.event,
            id=each.id,
            time=time,
            subject=each.subject,
            traceparent=traceparent,
            headers=headers or [],
        )
        for each in emissions
    ]


@dataclass(slots=True)
class _Open:
    producer: AIOKafkaProducer
    writer: Writer


class KafkaAppender:
    """An idempotent producer that is replaced after any error of Kafka's: its sequence numbers may be spoilt, and one
    whose leader stayed away too long never recovers (aiokafka issue 1017). The old one finishes what it holds."""

    name = "appender"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: _Open | None = None
        self._spoilt = asyncio.Event()
        self._retiring: set[asyncio.Task[None]] = set()  # bounded: one more per RETRY_SECONDS, each ends in time

    def ready(self) -> str | None:
        """Ready while it has a producer that has not failed."""
        if self._open is None:
            return "connecting to Kafka"
        return "Kafka refused or did not answer; a new producer is being made" if self._spoilt.is_set() else None

    async def run(self) -> None:
        """Hold a producer open until cancelled, then let it finish what was handed to it."""
        try:
            while True:
                await self._replace()
                await self._spoilt.wait()
                PRODUCERS_REPLACED.inc()
        finally:
            last, self._open = self._open, None
            if last is not None:
                await _retire(last.producer)
            await asyncio.gather(*self._retiring)

    async def _replace(self) -> None:
        settings = self._settings
        while True:
            try:
                producer = await start_producer(settings, max_batch_size=BATCH_BYTES)
            except (KafkaError, OSError) as error:
                log.warning("kafka_unreachable", error=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            break
        old = self._open
        self._open = _Open(producer, Writer(producer, settings.kafka, settings.partitions, settings.service))
        self._spoilt.clear()
        if old is not None:
            task = asyncio.create_task(_retire(old.producer))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def write(self, outputs: Sequence[Output | RawOutput]) -> None:
        """Write all within the time. Raises Unavailable, or TooLarge where one of these records is the reason."""
        used = self._open
        if used is None:
            raise Unavailable("there is no connection to Kafka yet")
        try:
            async with asyncio.timeout(self._settings.write_timeout_seconds):
                await _acknowledged(used.writer, outputs)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            self._replace_later(used, error)
            if any(_size(output) > LARGEST_SURE_BYTES for output in outputs):
                raise TooLarge("a record is larger than the broker takes") from None
            raise Unavailable("a record of another request spoilt the batch") from None
        except (KafkaError, TimeoutError) as error:
            self._replace_later(used, error)
            raise Unavailable(f"Kafka did not acknowledge: {type(error).__name__}") from None

    def _replace_later(self, used: _Open, error: BaseException) -> None:
        if used is self._open and not self._spoilt.is_set():
            log.error("producer_spoilt", error=type(error).__name__)
            self._spoilt.set()


async def _acknowledged(writer: Writer, outputs: Sequence[Output | RawOutput]) -> None:
    if len(outputs) == 1:
        await (await writer.enqueue(outputs[0]))
        return
    await writer.write(outputs)


def _size(output: Output | RawOutput) -> int:
    if isinstance(output, RawOutput):
        return len(output.value or b"")
    return 0 if output.event is None else len(output.event.model_dump_json())


async def _retire(producer: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(RETIRE_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError) as error:
        log.warning("producer_did_not_stop", error=type(error).__name__)
