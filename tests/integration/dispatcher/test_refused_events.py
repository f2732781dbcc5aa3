"""An event that the broker will never take: it is put aside with the reason, and what came with it is written."""

from __future__ import annotations

import asyncio
import time

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from harkara.contracts.envelope import decode
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.numbers import QueueState
from harkara.contracts.topics import MESSAGE_LIFECYCLE, QUEUE_STATE
from harkara.dispatcher.emitter import NotWritten
from harkara.dispatcher.journal import instant
from harkara.dispatcher.projection import Emission
from harkara.dispatcher.settings import Settings
from harkara.runtime.settings import KafkaSettings
from tests.integration.dispatcher.emitting import emitting, records

HOME = "pool-a"
DAY = 86_400.0


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str) -> Settings:
    """Records older than an hour are not taken, as some brokers of others are set."""
    kafka = KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix)
    young = {"message.timestamp.before.max.ms": "3600000"}
    topics = [NewTopic(kafka.topic(topic), 1, 1, config=young) for topic in (MESSAGE_LIFECYCLE, QUEUE_STATE)]
    topics.append(NewTopic(kafka.topic(MESSAGE_LIFECYCLE.dlq), 1, 1))
    admin = AdminClient(kafka.librdkafka_options())
    for future in admin.create_topics(topics).values():
        await asyncio.to_thread(future.result, 10)
    return Settings(kafka=kafka, partitions=1, replication_factor=1, instance="dispatcher-0", linger_seconds=0.05)


def told(number: int, age: float = 0.0) -> Emission:
    at = time.time() - age
    event = MessageLifecycle(
        message_id=f"message-{number}", home=HOME, status="queued", rank=number, attempt=1, at=instant(at)
    )
    return Emission(MESSAGE_LIFECYCLE, HOME, HOME, event, f"event-{number}", at, f"message-{number}")


def messages(found: list[Message]) -> list[str]:
    events = [decode(MESSAGE_LIFECYCLE.events, each.value(), _headers(each), fallback_id="").event for each in found]
    return sorted(str(event.message_id) for event in events if isinstance(event, MessageLifecycle))


def _headers(record: Message) -> list[tuple[str, bytes]]:
    found = record.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    return [(name, value if isinstance(value, bytes) else b"") for name, value in pairs]


async def test_it_goes_to_the_dlq_and_the_others_of_its_batch_are_written(settings: Settings) -> None:
    async with emitting(settings) as emitter:
        for _ in range(2):  # the next owner writes it again: the same end
            await asyncio.wait_for(emitter.write([told(1), told(2, age=DAY), told(3)]), 20)
        await asyncio.wait_for(emitter.write([told(4)]), 20)
    assert set(messages(records(settings, MESSAGE_LIFECYCLE))) == {"message-1", "message-3", "message-4"}
    aside = records(settings, MESSAGE_LIFECYCLE.dlq)
    assert messages(aside) == ["message-2", "message-2"]
    assert dict(_headers(aside[0]))["dlq-reason"] == b"the broker refused it: INVALID_TIMESTAMP"
    assert (aside[0].key(), aside[0].partition()) == (HOME.encode(), 0)


async def test_a_clock_that_is_ahead_ends_the_process(settings: Settings) -> None:
    """It would put everything aside, and go on sending."""
    async with emitting(settings) as emitter:
        with pytest.raises(NotWritten):
            await asyncio.wait_for(emitter.write([told(1, age=-DAY)]), 20)
    assert records(settings, MESSAGE_LIFECYCLE.dlq) == []


async def test_where_there_is_no_dlq_nothing_is_passed_over(settings: Settings) -> None:
    at = time.time() - DAY
    counts = ("queued", "scheduled", "held", "in_flight", "in_doubt", "sent_last_minute", "sent_today")
    named = {"phone_number_id": "100000000000011", "home": HOME, "updated_at": instant(at)}
    state = QueueState.model_validate(dict.fromkeys(counts, 0) | named)
    async with emitting(settings) as emitter:
        emission = Emission(QUEUE_STATE, HOME, "100000000000011", state, "event-1", at)
        with pytest.raises(NotWritten):
            await asyncio.wait_for(emitter.write([emission]), 20)
