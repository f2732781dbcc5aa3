"""Topics read on and on: each record is read once, however often a test looks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition


class TopicTail:
    """What is new on some topics."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = partitions

    async def news(self) -> list[ConsumerRecord]:
        """Every record up to where the topics end now, since the last time; each partition's in order of offset."""
        found: list[ConsumerRecord] = []
        for partition, end in (await self._consumer.end_offsets(self._partitions)).items():
            while await self._consumer.position(partition) < end:
                batch = await self._consumer.getmany(partition, timeout_ms=100)
                found += batch.get(partition, [])
        return found


@asynccontextmanager
async def topic_tail(
    bootstrap: str, topics: Sequence[str], *, from_the_end: bool = False, read_committed: bool = False
) -> AsyncIterator[TopicTail]:
    """From the beginning of topics that exist, or from their end as it is now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        isolation_level="read_committed" if read_committed else "read_uncommitted",
    )
    await consumer.start()
    try:
        known = await consumer._client.fetch_all_metadata()
        every = [
            TopicPartition(topic, number) for topic in topics for number in known.partitions_for_topic(topic) or ()
        ]
        assert {each.topic for each in every} == set(topics), f"not all of {topics} are there"
        consumer.assign(every)
        offsets = await (consumer.end_offsets if from_the_end else consumer.beginning_offsets)(every)
        for partition, offset in offsets.items():
            consumer.seek(partition, offset)
        yield TopicTail(consumer, every)
    finally:
        await consumer.stop()
