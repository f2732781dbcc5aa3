"""Many outputs as few record batches: all of them, in their order, each with what went wrong with it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, OutOfOrderSequenceNumber
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from harkara.contracts.audit import AuditRecord
from harkara.contracts.identity import message_traceparent
from harkara.contracts.topics import AUDIT_LOG, LARGEST_RECORD_BYTES
from harkara.runtime.kafka import CAUSED_BY, Output, RawOutput, Writer
from harkara.runtime.loop import Effect, Loop
from harkara.runtime.settings import KafkaSettings, ServiceSettings

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


class Broker:
    """A producer whose batches are kept; `refused`: the partitions that it refuses."""

    def __init__(self, batch_bytes: int, refused: frozenset[int] = frozenset()) -> None:
        self.batches: list[tuple[str, int, list[Any]]] = []
        self._batch_bytes = batch_bytes
        self._refused = refused

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(self._batch_bytes, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[None]:
        assert batch.closed(), "one that is open would wait for more"
        records = MemoryRecords(bytes(batch._build())).next_batch()
        self.batches.append((topic, partition, list(records) if records is not None else []))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if partition in self._refused:
            done.set_exception(MessageSizeTooLargeError())
        else:
            done.set_result(None)
        return done


def writer(broker: Broker) -> Writer:
    return Writer(cast("AIOKafkaProducer", broker), KafkaSettings(topic_prefix="t."), 4, "test")


def output(number: int, text: str = "", home: str = "a") -> Output:
    event = AuditRecord(audit_id=f"a-{number}", actor="x", action="y", subject="s", at=AT, details={"text": text})
    return Output(AUDIT_LOG, home, f"k{number}", event, f"id-{number}", AT, subject=f"m-{number}", traceparent="own")


async def test_all_records_go_in_their_order_in_few_batches() -> None:
    broker = Broker(batch_bytes=4000)
    outputs = [output(number, home="abcdefgh"[number % 8]) for number in range(100)]
    faults = await writer(broker).write_together([(each, TRACE) for each in outputs])
    assert faults == [None] * 100
    by_partition: dict[int, list[bytes]] = {}
    for topic, partition, records in broker.batches:
        assert topic == "t.audit-log"
        by_partition.setdefault(partition, []).extend(record.key for record in records)
    assert sorted(key for keys in by_partition.values() for key in keys) == sorted(f"k{n}".encode() for n in range(100))
    assert all([int(key[1:]) for key in keys] == sorted(int(key[1:]) for key in keys) for keys in by_partition.values())
    assert len(by_partition) < len(broker.batches) < 20


async def test_a_record_is_what_it_would_be_alone() -> None:
    broker = Broker(batch_bytes=10_000)
    raw = RawOutput(AUDIT_LOG.dlq, 3, b"key", None, [("dlq-reason", b"r")])
    await writer(broker).write_together([(output(1), TRACE), (output(2), None), (raw, TRACE)])
    (_, _, [first, second]), (_, partition, [third]) = sorted(broker.batches, key=lambda each: each[0])
    headers = dict(first.headers)
    assert (first.timestamp, headers["ce_id"]) == (int(AT.timestamp() * 1000), b"id-1")
    assert headers["traceparent"].decode() == message_traceparent("m-1") and headers[CAUSED_BY].decode() == TRACE
    assert dict(second.headers)[CAUSED_BY] == b"own", "no trace of its record: the output's own"
    assert (partition, third.key, third.value, third.headers) == (3, b"key", None, [("dlq-reason", b"r")])


async def test_what_is_refused_is_told_of_each_record_of_the_batch_and_of_no_other() -> None:
    outputs = [output(number, home="abcd"[number % 4]) for number in range(40)]
    broker = Broker(batch_bytes=100_000)
    await writer(broker).write_together([(each, None) for each in outputs])
    refused = broker.batches[0][1]
    lost = {record.key for _, partition, records in broker.batches if partition == refused for record in records}
    faults = await writer(Broker(100_000, frozenset({refused}))).write_together([(each, None) for each in outputs])
    told = {each.key.encode() for each, fault in zip(outputs, faults, strict=True) if fault is not None}
    assert told == lost and 0 < len(lost) < 40


async def test_a_record_that_no_broker_takes_is_not_sent() -> None:
    broker = Broker(batch_bytes=1000)
    small, large, huge = output(1), output(2, "x" * 5000), output(3, "x" * LARGEST_RECORD_BYTES)
    faults = await writer(broker).write_together([(small, None), (large, None), (huge, None), (small, None)])
    assert [type(fault) for fault in faults] == [type(None), type(None), MessageSizeTooLargeError, type(None)]
    assert [[record.key for record in records] for _, _, records in broker.batches] == [[b"k1"], [b"k2"], [b"k1"]]


class Halfway(Loop):
    """A loop that notes which records' outputs it tries alone."""

    def __init__(self, faults: list[BaseException | None]) -> None:
        settings = ServiceSettings(service="test", kafka=KafkaSettings(), partitions=4)
        super().__init__(settings, name="test", topics=[AUDIT_LOG], decide=lambda incoming: [])
        self._writer = cast("Writer", Answers(faults))
        self.alone: list[int] = []

    async def _write_alone(self, effect: Effect) -> None:
        self.alone.append(effect.record.offset)


class Answers:
    """A writer of which is known what becomes of each output."""

    def __init__(self, faults: list[BaseException | None]) -> None:
        self._faults = faults

    async def write_together(self, outputs: object) -> list[BaseException | None]:
        return self._faults


def effects(count: int) -> list[Effect]:
    return [
        Effect(ConsumerRecord("t", 0, number, 0, 0, None, None, None, 0, 0, []), [output(number)])
        for number in range(count)
    ]


async def test_what_came_behind_a_refused_batch_is_tried_alone_too() -> None:
    loop = Halfway([None, MessageSizeTooLargeError(), OutOfOrderSequenceNumber(), None])
    await loop._write(effects(4))
    assert loop.alone == [1, 2]


@pytest.mark.parametrize(
    "faults", [[OutOfOrderSequenceNumber(), None], [MessageSizeTooLargeError(), KafkaTimeoutError()]], ids=["", "both"]
)
async def test_any_other_fault_ends_the_process_before_the_commit(faults: list[BaseException | None]) -> None:
    loop = Halfway(faults)
    with pytest.raises((OutOfOrderSequenceNumber, KafkaTimeoutError)):
        await loop._write(effects(2))
    assert loop.alone == []
