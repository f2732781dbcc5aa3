"""aiokafka clients, made in one way; and the one way to write an event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import RecordMetadata

from harkara.contracts.envelope import Headers, encode
from harkara.contracts.event import Event, epoch_ms
from harkara.contracts.identity import message_traceparent
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import LARGEST_RECORD_BYTES, Topic
from harkara.runtime.settings import KafkaSettings, ServiceSettings

logging.getLogger("aiokafka").setLevel(logging.WARNING)  # its debug records cost 9 % CPU even where dropped


SURELY_FITS_BYTES = LARGEST_RECORD_BYTES // 2  # a value of no more leaves room for any headers that we write
CAUSED_BY = "caused-by-traceparent"  # the request or webhook, in its own trace, that led to an event of a message


@dataclass(frozen=True, slots=True)
class Output:
    """An event to write: where, under which key, in whose partition, with which deterministic id.

    `partition_key` is what the topic is partitioned by (usually the home); `key` the record's key. `event` None is a
    tombstone for `key`. `time` is the event's own; `subject` the message id where there is one; its trace is then
    the event's.
    """

    topic: Topic
    partition_key: str
    key: str
    event: Event | None
    id: str
    time: datetime
    subject: str | None = None
    traceparent: str | None = None
    headers: Headers = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RawOutput:
    """Bytes to write as they are (a quarantined record): partition given, key and headers kept."""

    topic: Topic
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


async def start_producer(settings: ServiceSettings, **overrides: Any) -> AIOKafkaProducer:
    """An idempotent producer with acks=all; every send's future must be awaited."""
    options: dict[str, Any] = {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": int(settings.linger_seconds * 1000),
        "max_request_size": LARGEST_RECORD_BYTES,
        "request_timeout_ms": 15_000,
        "client_id": f"{settings.service}-{settings.instance}",
    }
    producer = AIOKafkaProducer(**settings.kafka.aiokafka_options(), **(options | overrides))
    await _started(producer)
    return producer


async def start_consumer(
    settings: ServiceSettings, topics: Iterable[Topic] = (), group: str | None = None, **overrides: Any
) -> AIOKafkaConsumer:
    """A consumer that never commits by itself; a new group starts at the earliest record, so nothing is skipped."""
    options: dict[str, Any] = {
        "group_id": None if group is None else settings.kafka.group(group),
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "session_timeout_ms": int(settings.broker_session_timeout_seconds * 1000),
        "heartbeat_interval_ms": int(settings.broker_session_timeout_seconds * 250),
        "max_partition_fetch_bytes": LARGEST_RECORD_BYTES,
        "metadata_max_age_ms": 5_000,  # a topic made while the group formed is seen this soon; the default is 5 minutes
        "client_id": f"{settings.service}-{settings.instance}",
    }
    names = [settings.kafka.topic(topic) for topic in topics]
    consumer = AIOKafkaConsumer(*names, **settings.kafka.aiokafka_options(), **(options | overrides))
    await _started(consumer)
    return consumer


async def _started(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """One that does not start is closed: while Kafka is away they are tried every second, each with its connections."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise


@dataclass(slots=True)
class _Parcel:
    """A record batch of one partition, and the places of its records among the outputs."""

    topic: str
    partition: int
    batch: BatchBuilder
    places: list[int] = field(default_factory=list)


class Writer:
    """Encodes outputs and hands them to a producer. `source` is the CloudEvents source: the service's name."""

    def __init__(self, producer: AIOKafkaProducer, kafka: KafkaSettings, partitions: int, source: str) -> None:
        self._producer = producer
        self._kafka = kafka
        self._partitions = partitions
        self._source = source

    async def enqueue(self, output: Output | RawOutput) -> asyncio.Future[RecordMetadata]:
        """Put one output into the producer's buffer; the future is its acknowledgement and must be awaited."""
        if isinstance(output, RawOutput):
            kept: asyncio.Future[RecordMetadata] = await self._producer.send(
                self._kafka.topic(output.topic),
                value=output.value,
                key=output.key,
                partition=output.partition,
                headers=output.headers,
            )
            return kept
        value, headers = self._encoded(output, output.traceparent)
        sent: asyncio.Future[RecordMetadata] = await self._producer.send(
            self._kafka.topic(output.topic),
            value=value,
            key=output.key.encode(),
            partition=partition_for(output.partition_key, self._partitions),
            timestamp_ms=epoch_ms(output.time),
            headers=headers + output.headers,
        )
        return sent

    async def write(self, outputs: Iterable[Output | RawOutput]) -> None:
        """Write all and wait for every acknowledgement. Raises the first error; what was acknowledged stays."""
        futures = [await self.enqueue(output) for output in outputs]
        results = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def write_together(
        self, outputs: Iterable[tuple[Output | RawOutput, str | None]]
    ) -> list[BaseException | None]:
        """Write all, packed into a record batch per partition here, and wait for every acknowledgement: handed over one
        by one each would have a future of its own. Each comes with the trace that it belongs to (None: the output's
        own). What went wrong with each of them, or None; a batch that is refused is wrong of all its records.
        """
        faults, parcels = self._packed(outputs)
        send = self._producer.send_batch
        waiting = [await send(each.batch, each.topic, partition=each.partition) for each in parcels]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        for parcel, result in zip(parcels, results, strict=True):
            if isinstance(result, BaseException):
                for place in parcel.places:
                    faults[place] = result
        return faults

    def _packed(
        self, outputs: Iterable[tuple[Output | RawOutput, str | None]]
    ) -> tuple[list[BaseException | None], list[_Parcel]]:
        """The batches in the order in which they were begun: those of a partition come one after the other."""
        faults: list[BaseException | None] = []
        begun: list[_Parcel] = []
        open_ones: dict[tuple[str, int], _Parcel] = {}
        for place, (output, traceparent) in enumerate(outputs):
            topic, partition, record = self._record(output, traceparent)
            faults.append(None)
            if not _fits(output, record):
                faults[place] = MessageSizeTooLargeError("larger than any record may be")
                continue
            parcel = open_ones.get((topic, partition))
            if parcel is None or parcel.batch.append(**record) is None:
                parcel = _Parcel(topic, partition, self._producer.create_batch())
                parcel.batch.append(**record)  # the first one always goes in
                open_ones[topic, partition] = parcel
                begun.append(parcel)
            parcel.places.append(place)
        for parcel in begun:
            parcel.batch.close()  # it waits for nothing more
        return faults, begun

    def _record(self, output: Output | RawOutput, traceparent: str | None) -> tuple[str, int, dict[str, Any]]:
        topic = self._kafka.topic(output.topic)
        if isinstance(output, RawOutput):
            raw = {"timestamp": None, "key": output.key, "value": output.value, "headers": output.headers}
            return topic, output.partition, raw
        value, headers = self._encoded(output, output.traceparent if traceparent is None else traceparent)
        record = {
            "timestamp": epoch_ms(output.time),
            "key": output.key.encode(),
            "value": value,
            "headers": headers + output.headers if output.headers else headers,
        }
        return topic, partition_for(output.partition_key, self._partitions), record

    def _encoded(self, output: Output, traceparent: str | None) -> tuple[bytes | None, Headers]:
        """What is about a message belongs to the message's trace, whatever request or batch it came from."""
        if output.event is None:
            return None, []
        trace = traceparent if output.subject is None else message_traceparent(output.subject, traceparent)
        value, headers = encode(
            output.event,
            event_id=output.id,
            source=self._source,
            time=output.time,
            subject=output.subject,
            traceparent=trace,
        )
        if traceparent is not None and traceparent != trace:
            headers.append((CAUSED_BY, traceparent.encode()))
        return value, headers


def _fits(output: Output | RawOutput, record: dict[str, Any]) -> bool:
    """Whether a record is none that the client itself refuses; in a batch that is packed here it would not look."""
    value = record["value"]
    if isinstance(output, Output) and not output.headers and (value is None or len(value) <= SURELY_FITS_BYTES):
        return True
    size = DefaultRecordBatchBuilder.estimate_size_in_bytes(record["key"], value, record["headers"])
    return bool(size <= LARGEST_RECORD_BYTES)


@asynccontextmanager
async def open_writer(settings: ServiceSettings, source: str | None = None) -> AsyncIterator[Writer]:
    """A writer on a producer of its own, closed at the end; `source` is the service's name unless told."""
    producer = await start_producer(settings)
    try:
        yield Writer(producer, settings.kafka, settings.partitions, source or settings.service)
    finally:
        await producer.stop()
