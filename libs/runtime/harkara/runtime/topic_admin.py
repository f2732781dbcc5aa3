"""Creates the topics of the table, and refuses to go on with ones that do not fit it."""

from __future__ import annotations

import asyncio

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from harkara.contracts.topics import TOPICS
from harkara.runtime.settings import ServiceSettings


class TopicsDoNotFit(Exception):
    """The cluster's topics differ from the table in a way that would break partitioning."""


async def ensure_topics(settings: ServiceSettings) -> int:
    """Create the topics that are missing; return how many were.

    Raises TopicsDoNotFit when a topic has another number of partitions: everything about one message meets in one
    partition, so all of them need the same number, and it can never be changed in place.
    """
    admin = AIOKafkaAdminClient(**settings.kafka.aiokafka_options(), request_timeout_ms=30_000)
    await admin.start()
    try:
        wanted = {settings.kafka.topic(topic): topic for topic in TOPICS}
        existing = set(await admin.list_topics())
        missing = [name for name in wanted if name not in existing]
        if missing:
            response = await admin.create_topics(
                [
                    NewTopic(
                        name,
                        settings.partitions,
                        settings.replication_factor,
                        topic_configs=wanted[name].configs() | _durability(settings),
                    )
                    for name in missing
                ]
            )
            _check_created(response.topic_errors)
        await _check_partitions(admin, [name for name in wanted if name in existing], settings.partitions)
        return len(missing)
    finally:
        await admin.close()


def _durability(settings: ServiceSettings) -> dict[str, str]:
    return {"min.insync.replicas": "2"} if settings.replication_factor >= 3 else {}


def _check_created(errors: list[tuple[str, int, str]]) -> None:
    for name, code, message in errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise TopicsDoNotFit(f"{name} could not be created: {message or for_code(code).__name__}")


async def _check_partitions(admin: AIOKafkaAdminClient, names: list[str], partitions: int) -> None:
    if not names:
        return
    for found in await admin.describe_topics(names):
        count = len(found["partitions"])
        if count != partitions:
            raise TopicsDoNotFit(
                f"{found['topic']} has {count} partitions, HARKARA_PARTITIONS says {partitions}; "
                "set it to what the cluster has, or use another HARKARA_KAFKA_TOPIC_PREFIX"
            )


def main() -> None:
    """`python -m harkara.runtime.topic_admin`: create the topics and end; for a job before the services start."""
    asyncio.run(ensure_topics(ServiceSettings(service="topic-admin")))


if __name__ == "__main__":
    main()
