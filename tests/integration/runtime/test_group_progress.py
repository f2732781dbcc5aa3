"""What a group has read is what it has committed, and what no longer exists."""

from __future__ import annotations

from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from harkara.contracts.audit import AuditRecord
from harkara.contracts.topics import Topic
from harkara.runtime.group_progress import GroupProgress
from harkara.runtime.kafka import start_consumer
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.support.kafka import create_topic, produce

INPUT = Topic("progress-in", (AuditRecord,), "subject", "source", ("test",), ("test",), 1)


async def test_a_group_has_read_what_it_committed_and_what_is_gone(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    kafka = KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix)
    settings = ServiceSettings(kafka=kafka, partitions=2, replication_factor=1, data_dir=tmp_path)
    name, first = kafka.topic(INPUT), TopicPartition(kafka.topic(INPUT), 0)
    await create_topic(kafka_bootstrap, name, 2)
    reader = await start_consumer(settings, group="reader")
    reader.assign([first])
    try:
        async with GroupProgress.of(settings, {"reader": INPUT}) as group:
            assert await group.has_read(await group.ends()), "there is nothing to read"
            await produce(kafka_bootstrap, name, [(None, b"x")] * 3, partition=0)
            ends = await group.ends()
            assert not await group.has_read(ends)
            await reader.commit({first: 2})
            assert not await group.has_read(ends)
            await reader.commit({first: 3})
            await produce(kafka_bootstrap, name, [(None, b"x")] * 2, partition=1)
            assert await group.has_read(ends), "what came later is not asked for"
            later = await group.ends()
            assert not await group.has_read(later)
            await delete_before(settings, TopicPartition(name, 1), 2)
            assert await group.has_read(later), "what has expired cannot be read any more"
    finally:
        await reader.stop()


async def delete_before(settings: ServiceSettings, partition: TopicPartition, offset: int) -> None:
    admin = AIOKafkaAdminClient(**settings.kafka.aiokafka_options())
    await admin.start()
    await admin.delete_records({partition: RecordsToDelete(before_offset=offset)})
    await admin.close()
