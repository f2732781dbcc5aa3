"""Replica tables on a real broker: complete before ready, honest about being fresh."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from harkara.contracts.consent import ConsentState, PurposeConsent
from harkara.contracts.event import Event
from harkara.contracts.topics import CONSENT_STATE, TOPICS, Topic
from harkara.runtime.clock import ManualClock
from harkara.runtime.kafka import Output, Writer, start_producer
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.topic_admin import TopicsDoNotFit, ensure_topics
from tests.support.wait import eventually

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)


def settings_for(bootstrap: str, prefix: str, partitions: int = 2) -> ServiceSettings:
    kafka = KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix)
    return ServiceSettings(service="test", kafka=kafka, partitions=partitions, replication_factor=1)


def state(person: str, standing: str) -> Output:
    word = PurposeConsent.model_validate({"standing": standing, "at": AT, "event_id": "e"})
    event = ConsentState(person_key=person, marketing=word)
    return Output(CONSENT_STATE, person, person, event, f"s-{person}-{standing}", AT)


async def test_it_is_ready_when_complete_follows_and_forgets_tombstones(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    assert await ensure_topics(settings) == len(TOPICS)
    assert await ensure_topics(settings) == 0
    producer = await start_producer(settings)
    writer = Writer(producer, settings.kafka, settings.partitions, "test")
    await writer.write([state(f"p{n}", "opted_out") for n in range(200)])

    held: dict[str, Event] = {}

    def apply(_: Topic, key: str, event: Event | None) -> None:
        if event is None:
            held.pop(key, None)
        else:
            held[key] = event

    clock = ManualClock(AT)
    replica = ReplicaTable(settings, "test-consent", [CONSENT_STATE], apply, clock)
    assert replica.ready() is not None and not replica.fresh()
    running = asyncio.create_task(replica.run())
    try:
        await eventually(lambda: replica.ready() is None, timeout_seconds=20)
        assert len(held) == 200, "ready only when everything written before has been applied"
        await writer.write([state("p1", "opted_in"), Output(CONSENT_STATE, "p2", "p2", None, "t", AT)])
        await eventually(lambda: "p2" not in held, timeout_seconds=10)
        changed = held["p1"]
        assert isinstance(changed, ConsentState) and changed.denies("marketing", AT) is None
        clock.advance(60)  # a jump of the clock is the broker's silence, as far as the replica can tell
        await eventually(lambda: replica.fresh(), timeout_seconds=10)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await producer.stop()
    clock.advance(3)
    assert not replica.fresh(), "what is not read is not fresh"


async def test_a_topic_with_other_partitions_is_refused_in_words(kafka_bootstrap: str, topic_prefix: str) -> None:
    await ensure_topics(settings_for(kafka_bootstrap, topic_prefix, partitions=1))
    with pytest.raises(TopicsDoNotFit, match="has 1 partitions, HARKARA_PARTITIONS says 3"):
        await ensure_topics(settings_for(kafka_bootstrap, topic_prefix, partitions=3))


async def test_a_missing_topic_is_named_by_readiness_and_waited_for(kafka_bootstrap: str, topic_prefix: str) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    replica = ReplicaTable(settings, "test-missing", [CONSENT_STATE], lambda topic, key, event: None)
    running = asyncio.create_task(replica.run())
    try:
        await eventually(lambda: "do not exist" in str(replica.ready()), timeout_seconds=20)
        assert settings.kafka.topic(CONSENT_STATE) in str(replica.ready()) and not replica.fresh()
        await ensure_topics(settings)
        await eventually(lambda: replica.ready() is None, timeout_seconds=20)
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
