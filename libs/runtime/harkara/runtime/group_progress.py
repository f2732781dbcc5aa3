"""How far consumer groups have come, all their instances together: for whoever must not speak before all is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from harkara.contracts.topics import Topic
from harkara.runtime.kafka import start_consumer
from harkara.runtime.settings import ServiceSettings

Offsets = dict[TopicPartition, int]


class GroupProgress:
    """Asks the broker about groups, without joining them. Every question raises aiokafka's KafkaError."""

    def __init__(
        self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, inputs: Mapping[str, list[TopicPartition]]
    ) -> None:
        self._consumer = consumer
        self._admin = admin
        self._inputs = inputs

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: ServiceSettings, inputs: Mapping[str, Topic]) -> AsyncIterator[GroupProgress]:
        """For groups and the topic that each of them reads; no two read the same."""
        partitions = {
            settings.kafka.group(group): [
                TopicPartition(settings.kafka.topic(topic), number) for number in range(settings.partitions)
            ]
            for group, topic in inputs.items()
        }
        consumer = await start_consumer(settings)
        admin = AIOKafkaAdminClient(**settings.kafka.aiokafka_options())
        try:
            await admin.start()
            yield cls(consumer, admin, partitions)
        finally:
            await admin.close()
            await consumer.stop()

    async def ends(self) -> Offsets:
        """Where the topics end now: per partition the offset after its last record."""
        ends: Offsets = await self._consumer.end_offsets(self._partitions)
        return ends

    async def read(self) -> Offsets:
        """Before which offset everything is read and committed, as far as it still exists."""
        read: Offsets = await self._consumer.beginning_offsets(self._partitions)
        for group, partitions in self._inputs.items():
            found = await self._admin.list_consumer_group_offsets(group, partitions=partitions)
            read |= {each: max(committed.offset, read[each]) for each, committed in found.items()}
        return read

    async def has_read(self, ends: Offsets) -> bool:
        """Whether everything before these ends is read."""
        read = await self.read()
        return all(read[partition] >= end for partition, end in ends.items())

    @property
    def _partitions(self) -> list[TopicPartition]:
        return [each for partitions in self._inputs.values() for each in partitions]
