"""The at-least-once loop on a real broker: nothing is lost, whatever the broker refuses and whoever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from harkara.contracts.audit import AuditRecord
from harkara.contracts.envelope import encode, header
from harkara.contracts.topics import SEND_COMMANDS, SEND_INTENTS, SEND_INTENTS_URGENT, Topic
from harkara.runtime.kafka import Output, start_producer
from harkara.runtime.loop import Incoming, Loop, Refused
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.support.kafka import read_all
from tests.support.services import running
from tests.support.wait import eventually

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
INPUT = Topic("loop-in", (AuditRecord,), "subject", "source", ("test",), ("test",), 1)
URGENT = Topic("loop-in-urgent", (AuditRecord,), "subject", "source", ("test",), ("test",), 1)
OUTPUT = Topic("loop-out", (AuditRecord,), "subject", "source", ("test",), ("test",), 1)
PARTITIONS = 2
KEPT = {"retention.ms": "-1"}  # fed records bear 1970's time: a broker 30 s old would delete them before they are read


def settings_for(bootstrap: str, prefix: str) -> ServiceSettings:
    return ServiceSettings(
        service="test", kafka=KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix), partitions=PARTITIONS
    )


async def create(settings: ServiceSettings, configs: dict[str, dict[str, str]]) -> None:
    admin = AIOKafkaAdminClient(**settings.kafka.aiokafka_options())
    await admin.start()
    try:
        names = [t for topic in (INPUT, URGENT, OUTPUT) for t in (topic, topic.dlq)]
        await admin.create_topics(
            [
                NewTopic(settings.kafka.topic(t), PARTITIONS, 1, topic_configs=KEPT | configs.get(t.name, {}))
                for t in names
            ]
        )
    finally:
        await admin.close()


def record(number: int, text: str = "") -> AuditRecord:
    return AuditRecord(
        audit_id=f"a-{number}", actor="test", action="try", subject=f"s{number}", at=AT, details={"text": text}
    )


async def feed(settings: ServiceSettings, topic: Topic, values: Iterable[bytes | AuditRecord]) -> None:
    producer = await start_producer(settings)
    for number, value in enumerate(values):
        body, headers = (
            (value, []) if isinstance(value, bytes) else encode(value, event_id=value.audit_id, source="test", time=AT)
        )
        await producer.send_and_wait(
            settings.kafka.topic(topic), body, partition=number % PARTITIONS, headers=headers, timestamp_ms=1_000
        )
    await producer.stop()


def copy(incoming: Incoming) -> list[Output]:
    event = incoming.envelope.event
    assert isinstance(event, AuditRecord)
    if event.subject == "s3":
        raise Refused("s3 is not wanted")
    return [Output(OUTPUT, event.subject, event.subject, event, f"copy-{event.audit_id}", AT, subject=event.subject)]


async def values_of(settings: ServiceSettings, topic: Topic) -> list[str]:
    return sorted(
        AuditRecord.model_validate_json(r.value).audit_id
        for r in await read_all(settings.kafka.bootstrap, settings.kafka.topic(topic))
        if r.value is not None
    )


@pytest.mark.req("ING-19")
async def test_a_batch_refused_by_the_broker_loses_nothing(kafka_bootstrap: str, topic_prefix: str) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    await create(settings, {"loop-out": {"max.message.bytes": "1000"}})
    small, large = list(range(10, 40)), [40, 41]
    await feed(settings, INPUT, [*(record(n) for n in small), *(record(n, "x" * 2000) for n in large)])
    async with running([Loop(settings, name="copy", topics=[INPUT], decide=copy)]) as (task,):

        async def all_accounted_for() -> bool:
            assert not task.done(), task.exception()
            kept = await values_of(settings, OUTPUT) + await values_of(settings, INPUT.dlq)
            return len(set(kept)) == len(small) + len(large)

        await eventually(all_accounted_for, timeout_seconds=60)
    assert set(await values_of(settings, OUTPUT)) == {f"a-{n}" for n in small}
    quarantined = await read_all(kafka_bootstrap, settings.kafka.topic(INPUT.dlq))
    assert {header(r.headers, "dlq-reason") for r in quarantined} == {
        "an output was refused by the broker for good: MessageSizeTooLargeError"
    }
    assert all(header(r.headers, "ce_type") == "harkara.audit.v1" for r in quarantined)


async def test_what_cannot_be_processed_is_quarantined_with_its_bytes_and_blocks_nothing(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    await create(settings, {})
    await feed(settings, INPUT, [record(1), b"{not json", record(3), b'{"audit_id": 1}', record(5)])
    async with running([Loop(settings, name="copy", topics=[INPUT], decide=copy)]):
        await eventually(lambda: _count(settings, INPUT.dlq, 3), timeout_seconds=30)
        await eventually(lambda: _count(settings, OUTPUT, 2), timeout_seconds=30)
    dead = await read_all(kafka_bootstrap, settings.kafka.topic(INPUT.dlq))
    reasons = {r.value: header(r.headers, "dlq-reason") for r in dead}
    assert b"{not json" in reasons and "JSON" in str(reasons[b"{not json"])
    assert "actor: Field required" in str(reasons[b'{"audit_id": 1}'])
    assert "s3 is not wanted" in reasons.values()
    assert {header(r.headers, "dlq-source") for r in dead} == {
        f"{topic_prefix}loop-in-1-0", f"{topic_prefix}loop-in-0-1", f"{topic_prefix}loop-in-1-1"
    }  # fmt: skip


async def _count(settings: ServiceSettings, topic: Topic, wanted: int) -> bool:
    return len(await read_all(settings.kafka.bootstrap, settings.kafka.topic(topic))) >= wanted


async def test_stopped_before_the_commit_the_same_events_are_written_again_with_the_same_ids(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    await create(settings, {})
    await feed(settings, INPUT, [record(n) for n in range(10, 20)])

    class KilledBeforeCommit(Loop):
        async def _commit(self, *_: object) -> None:
            raise RuntimeError("killed here")

    killed = asyncio.create_task(KilledBeforeCommit(settings, name="copy", topics=[INPUT], decide=copy).run())
    await asyncio.wait([killed], timeout=30)
    assert isinstance(killed.exception(), RuntimeError)
    async with running([Loop(settings, name="copy", topics=[INPUT], decide=copy)]):
        await eventually(lambda: _ids_seen(settings, 10, at_least=11), timeout_seconds=30)
    records = await read_all(kafka_bootstrap, settings.kafka.topic(OUTPUT))
    assert {header(r.headers, "ce_id") for r in records} == {f"copy-a-{n}" for n in range(10, 20)}


async def _ids_seen(settings: ServiceSettings, ids: int, at_least: int) -> bool:
    records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(OUTPUT))
    return len(records) >= at_least and len({header(r.headers, "ce_id") for r in records}) == ids


async def test_urgent_records_do_not_wait_behind_a_backlog(kafka_bootstrap: str, topic_prefix: str) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    await create(settings, {})
    await feed(settings, INPUT, [record(n) for n in range(100, 1700)])
    await feed(settings, URGENT, [record(1), record(2)])
    order: list[str] = []

    def note(incoming: Incoming) -> list[Output]:
        order.append(incoming.topic.name)
        return []

    async with running([Loop(settings, name="note", topics=[URGENT, INPUT], decide=note)]):

        async def all_seen() -> bool:
            return len(order) == 1602

        await eventually(all_seen, timeout_seconds=30)
    last_urgent = max(i for i, name in enumerate(order) if name == URGENT.name)
    assert last_urgent < 1602 - 600, "urgent records were taken within a batch or two of being there"


async def test_a_closed_gate_decides_nothing_and_goes_on_by_itself(kafka_bootstrap: str, topic_prefix: str) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    await create(settings, {})
    await feed(settings, INPUT, [record(n) for n in range(10, 15)])
    why: list[str] = ["the replica is behind"]
    loop = Loop(settings, name="gated", topics=[INPUT], decide=copy, gate=lambda: why[0] if why else None)
    async with running([loop]):

        async def waits() -> bool:
            return loop.ready() == "the replica is behind"

        await eventually(waits, timeout_seconds=20)
        assert await values_of(settings, OUTPUT) == []
        why.clear()
        await eventually(lambda: _count(settings, OUTPUT, 5), timeout_seconds=20)


def test_priority_is_the_order_in_which_topics_are_named() -> None:
    assert SEND_INTENTS_URGENT.name == f"{SEND_INTENTS.name}-urgent"
    assert SEND_COMMANDS.dlq.name == "send-commands-dlq"


@pytest.mark.req("CMP-7")
async def test_what_is_read_after_the_gate_closed_waits_for_it_to_open(kafka_bootstrap: str, topic_prefix: str) -> None:
    """A poll waits up to 250 ms for records: the gate may close meanwhile, and then nothing may be decided."""
    settings = settings_for(kafka_bootstrap, topic_prefix)
    await create(settings, {})
    closed: str | None = None
    decided: list[str] = []

    def decide(incoming: Incoming) -> list[Output]:
        decided.append(closed or "open")
        return copy(incoming)

    loop = Loop(settings, name="copy", topics=[INPUT], decide=decide, gate=lambda: closed)
    async with running([loop]):
        await eventually(lambda: loop.ready() is None, timeout_seconds=30)
        for number in range(10, 15):
            closed = "closed"
            await feed(settings, INPUT, [record(number)])
            assert (loop.ready(), len(decided)) == ("closed", number - 10)
            closed = None
            await eventually(lambda expected=number - 9: len(decided) == expected, timeout_seconds=20)
    assert decided == ["open"] * 5
    assert await values_of(settings, OUTPUT) == [f"a-{number}" for number in range(10, 15)]
