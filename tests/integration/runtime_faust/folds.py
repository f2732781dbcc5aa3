"""A projection to try Faust with: its two topics, what it is fed, what it publishes and how far it has committed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from harkara.contracts.audit import AuditRecord
from harkara.contracts.envelope import encode
from harkara.contracts.topics import Topic
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.kafka import start_producer
from harkara.runtime.loop import Incoming
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.support.kafka import read_all

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
INPUT = Topic("fold-in", (AuditRecord,), "subject", "source", ("test",), ("test",), 1)
STATE = Topic("fold-state", (AuditRecord,), "subject", "source", ("test",), ("test",), compacted=True)
PARTITIONS = 2
GROUP = "fold"
KEPT = {"retention.ms": "-1"}  # fed records bear 1970's time: a broker 30 s old would delete them before they are read


def settings_for(bootstrap: str, prefix: str, data_dir: Path, instance: str = "test-0") -> ServiceSettings:
    return ServiceSettings(
        service="test",
        instance=instance,
        kafka=KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix),
        partitions=PARTITIONS,
        replication_factor=1,
        data_dir=data_dir,
        broker_session_timeout_seconds=6.0,
    )


async def create(settings: ServiceSettings, topics: Iterable[Topic], **state_configs: str) -> None:
    admin = AIOKafkaAdminClient(**settings.kafka.aiokafka_options())
    await admin.start()
    try:
        extra = {STATE.name: {"cleanup.policy": "compact"} | state_configs}
        wanted = [
            NewTopic(settings.kafka.topic(t), PARTITIONS, 1, topic_configs=KEPT | extra.get(t.name, {})) for t in topics
        ]
        response = await admin.create_topics(wanted)
        assert [code for _, code, _ in response.topic_errors] == [0] * len(wanted)
    finally:
        await admin.close()


def record(number: int, text: str = "", subject: str | None = None) -> AuditRecord:
    return AuditRecord(
        audit_id=f"a-{number}",
        actor="test",
        action="try",
        subject=subject or f"s{number}",
        at=AT,
        details={"text": text},
    )


async def feed(settings: ServiceSettings, records: Iterable[AuditRecord]) -> None:
    producer = await start_producer(settings)
    for number, each in enumerate(records):
        value, headers = encode(each, event_id=each.audit_id, source="test", time=AT)
        await producer.send_and_wait(
            settings.kafka.topic(INPUT), value, partition=number % PARTITIONS, headers=headers, timestamp_ms=1_000
        )
    await producer.stop()


def keep_and_count(app: ProjectionApp) -> None:
    """Each subject's ids, as a set: idempotent, and it shows every record that was applied."""
    table = app.projection_table("state", STATE)

    def take(incoming: Incoming) -> None:
        event = incoming.envelope.event
        assert isinstance(event, AuditRecord)
        row = table.read(incoming.partition, event.subject) or {"ids": [], "version": 0}
        if event.audit_id not in row["ids"]:
            ids = sorted([*row["ids"], event.audit_id])
            new = {"ids": ids, "text": event.details["text"], "version": row["version"] + 1}
            table.write(incoming.partition, event.subject, new)

    app.fold(INPUT, take)


async def published(settings: ServiceSettings, topic: Topic = STATE) -> dict[str, dict[str, object]]:
    rows: dict[str, dict[str, object]] = {}
    for each in await read_all(settings.kafka.bootstrap, settings.kafka.topic(topic)):
        assert each.key is not None
        if each.value is None:
            rows.pop(each.key.decode(), None)
        else:
            rows[each.key.decode()] = orjson.loads(each.value)
    return rows


async def committed(settings: ServiceSettings) -> int:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap, group_id=settings.kafka.group(GROUP), enable_auto_commit=False
    )
    await consumer.start()
    try:
        name = settings.kafka.topic(INPUT)
        return sum([(await consumer.committed(TopicPartition(name, n))) or 0 for n in range(PARTITIONS)])
    finally:
        await consumer.stop()


def expect_published(
    settings: ServiceSettings, subjects: set[str], task: asyncio.Task[None]
) -> Callable[[], Awaitable[bool]]:
    async def all_published() -> bool:
        assert not task.done(), f"the projection ended: {task.exception()!r}"
        return set(await published(settings)) == subjects

    return all_published
