"""A real emitter, and what has come of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from confluent_kafka import Consumer, Message, TopicPartition

from harkara.contracts.topics import Topic
from harkara.dispatcher.emitter import Emitter
from harkara.dispatcher.settings import Settings
from tests.support.services import ready, running


@asynccontextmanager
async def emitting(settings: Settings) -> AsyncIterator[Emitter]:
    emitter = Emitter(settings)
    async with running([emitter]):
        await ready([emitter])
        yield emitter


def records(settings: Settings, topic: Topic) -> list[Message]:
    """All of the topic, of its one partition."""
    options = {"group.id": "tests", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer(settings.kafka.librdkafka_options() | options)
    consumer.assign([TopicPartition(settings.kafka.topic(topic), 0, 0)])
    found: list[Message] = []
    while (record := consumer.poll(10.0)) is not None and record.error() is None:
        found.append(record)
    consumer.close()
    return found


def subject_of(record: Message) -> str:
    """The message that the record's event is about."""
    return header_of(record, "ce_subject")


def header_of(record: Message, name: str) -> str:
    """Raises KeyError where the record has no such header."""
    found = record.headers() or []
    value = dict(found.items() if isinstance(found, dict) else found)[name]
    return value.decode() if isinstance(value, bytes) else str(value)
