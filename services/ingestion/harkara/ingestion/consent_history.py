"""A person's consent events, read from the topic that keeps them for ever.

Held in memory nowhere here: somebody asks for a person now and then, and a partition of a million persons' events is
read in seconds. So few are read at once, and never for longer than somebody waits.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from harkara.contracts.consent import ConsentEvent
from harkara.contracts.envelope import Undecodable, decode
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import CONSENT_EVENTS
from harkara.ingestion.effects import Unavailable
from harkara.runtime.kafka import start_consumer
from harkara.runtime.settings import ServiceSettings

READERS = 2  # at once: each parses, and Meta's webhooks wait in the same event loop
LONGEST_SECONDS = 10.0
CHUNK_RECORDS = 500  # parsed before others have their turn: about 10 ms


class ConsentHistory:
    """Reads the partition of a person from its first record to where it ended when it was asked."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._turns = asyncio.Semaphore(READERS)

    async def of(self, person: str) -> list[ConsentEvent]:
        """The person's events in the order of their record. Raises Unavailable where it takes too long."""
        try:
            async with asyncio.timeout(LONGEST_SECONDS), self._turns:
                consumer = await start_consumer(self._settings, group=None)
                try:
                    return await self._read(consumer, person)
                finally:
                    await consumer.stop()
        except (TimeoutError, KafkaError) as error:
            raise Unavailable(f"the history cannot be read: {type(error).__name__}") from None

    async def _read(self, consumer: AIOKafkaConsumer, person: str) -> list[ConsentEvent]:
        settings = self._settings
        partition = TopicPartition(settings.kafka.topic(CONSENT_EVENTS), partition_for(person, settings.partitions))
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        await consumer.seek_to_beginning(partition)
        found: list[ConsentEvent] = []
        while await consumer.position(partition) < end:
            batch = await consumer.getmany(partition, timeout_ms=200, max_records=CHUNK_RECORDS)
            for record in batch.get(partition, ()):
                if record.key == person.encode() and (event := _event(record.value, record.headers)) is not None:
                    found.append(event)
            await asyncio.sleep(0)
        return found


def _event(value: bytes | None, headers: object) -> ConsentEvent | None:
    """What cannot be read is on the topic's DLQ, put there by the projection."""
    try:
        event = decode(CONSENT_EVENTS.events, value, list(headers), fallback_id="").event  # type: ignore[call-overload]
    except Undecodable:
        return None
    return event if isinstance(event, ConsentEvent) else None
