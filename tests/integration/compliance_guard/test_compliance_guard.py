"""The guard on a real broker: what goes on, what is refused, and what happens when it cannot know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from harkara.compliance_guard.app import create
from harkara.compliance_guard.settings import Settings
from harkara.contracts.consent import ConsentEvent, ConsentState
from harkara.contracts.envelope import header
from harkara.contracts.event import Event, event_id
from harkara.contracts.identity import person_key
from harkara.contracts.intents import ClearedIntent, SendIntent
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import (
    CLEARED_INTENTS,
    CLEARED_INTENTS_URGENT,
    CONSENT_EVENTS,
    CONSENT_STATE,
    INBOUND_MESSAGES,
    MESSAGE_LIFECYCLE,
    SEND_INTENTS,
    SEND_INTENTS_URGENT,
    Topic,
)
from harkara.contracts.webhooks import InboundMessage
from harkara.runtime.kafka import Output, Writer, start_producer
from harkara.runtime.service import Component
from harkara.runtime.settings import KafkaSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.support.kafka import produce, read_all
from tests.support.wait import eventually

EXAMPLE = Path(__file__).parents[3] / "examples" / "governance.yaml"
PEPPER = "a pepper for tests only"
ASHA, RAVI = "+919999910001", "+919999910002"


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Settings:
    made = Settings(
        kafka=KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix),
        partitions=2,
        replication_factor=1,
        data_dir=tmp_path,
        governance_file=EXAMPLE,
        pepper=SecretStr(PEPPER),
        broker_session_timeout_seconds=6.0,
    )
    await ensure_topics(made)
    return made


@asynccontextmanager
async def running(components: Sequence[Component]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(component.run()) for component in components]
    try:
        yield
    finally:
        ended = [task for task in tasks if task.done()]
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait([task])
        assert not ended, f"it ended by itself: {[task.exception() for task in ended]!r}"


async def ready(components: Sequence[Component]) -> None:
    await eventually(lambda: all(each.ready() is None for each in components), timeout_seconds=60)


async def write(settings: Settings, topic: Topic, events: Sequence[tuple[str, Event]]) -> None:
    """Events with what partitions each."""
    producer = await start_producer(settings)
    now = datetime.now(UTC)
    outputs = [Output(topic, key, key, event, event_id(event), now) for key, event in events]
    await Writer(producer, settings.kafka, settings.partitions, "test").write(outputs)
    await producer.stop()


def intent(message: str, to: str = ASHA, **more: Any) -> SendIntent:
    fields: dict[str, Any] = {
        "message_id": message,
        "sender": "advisors",
        "to": to,
        "category": "utility",
        "content": {"type": "template", "name": "daily_advice", "language": "en", "body": ["Asha"]},
    }
    return SendIntent.model_validate(fields | more)


async def send(settings: Settings, *intents: SendIntent, topic: Topic = SEND_INTENTS) -> None:
    await write(settings, topic, [(each.sender, each) for each in intents])


def inbound(wamid: str, text: str, phone: str = ASHA, at: datetime | None = None) -> InboundMessage:
    sent_at = at or datetime.now(UTC)
    return InboundMessage(
        wamid=wamid,
        phone_number_id="100000000000002",
        home="advisors",
        from_phone=phone,
        person_key=key_of(phone),
        kind="text",
        text=text,
        sent_at=sent_at,
        received_at=sent_at,
    )


def key_of(phone: str) -> str:
    return person_key(PEPPER.encode(), phone)


async def steps(settings: Settings) -> dict[str, dict[str, MessageLifecycle]]:
    """Per message, its lifecycle events by status."""
    found: dict[str, dict[str, MessageLifecycle]] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_LIFECYCLE)):
        assert record.value is not None
        event = MessageLifecycle.model_validate_json(record.value)
        assert event.message_id == header(record.headers, "ce_subject")
        assert record.partition == partition_for(event.home, settings.partitions)
        found.setdefault(event.message_id or "", {})[event.status] = event
    return found


async def cleared(settings: Settings, topic: Topic = CLEARED_INTENTS) -> dict[str, ClearedIntent]:
    records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(topic))
    events = [ClearedIntent.model_validate_json(record.value) for record in records if record.value is not None]
    return {event.intent.message_id: event for event in events}


async def decided(settings: Settings, message: str) -> str:
    """How the guard decided on a message, once it has."""

    async def done() -> bool:
        return bool((await steps(settings)).get(message, {}).keys() & {"cleared", "rejected"})

    await eventually(done, timeout_seconds=30)
    seen = (await steps(settings))[message]
    reason = seen["rejected"].reason if "rejected" in seen else None
    assert ("cleared" in seen) == (reason is None)
    return reason.code if reason else "cleared"


async def consent_of(settings: Settings, phone: str) -> str | None:
    state = None
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(CONSENT_STATE)):
        assert record.key is not None and record.value is not None
        if record.key.decode() == key_of(phone):
            state = ConsentState.model_validate_json(record.value)
    return state.marketing.standing if state and state.marketing else None


@pytest.mark.req("ING-15", "CMP-7")
async def test_intents_are_cleared_or_refused_and_what_is_no_intent_goes_to_the_dlq(settings: Settings) -> None:
    """A console producer's records have no headers; a broken one among them holds nothing up."""
    good, foreign = intent("m-plain-1"), intent("m-foreign", to="+12025550123")
    records = [
        (b"advisors", b"{not json"),
        (b"advisors", good.model_dump_json().encode()),
        (b"advisors", b'{"message_id": "m-2", "sender": "advisors", "to": "12345", "txt": "x"}'),
        (None, foreign.model_dump_json().encode()),
    ]
    await produce(settings.kafka.bootstrap, settings.kafka.topic(SEND_INTENTS), records)
    await send(settings, intent("m-unknown1", sender="nobody"))
    await send(settings, intent("m-urgent-1", priority=3), topic=SEND_INTENTS_URGENT)
    async with running(create(settings).components):
        assert await decided(settings, "m-plain-1") == "cleared"
        assert await decided(settings, "m-foreign") == "country_not_allowed"
        assert await decided(settings, "m-unknown1") == "unknown_sender"
        assert await decided(settings, "m-urgent-1") == "cleared"

        async def quarantined() -> bool:
            return len(await read_all(settings.kafka.bootstrap, settings.kafka.topic(SEND_INTENTS.dlq))) == 2

        await eventually(quarantined)
    assert (await cleared(settings)).keys() == {"m-plain-1"}
    assert (await cleared(settings, CLEARED_INTENTS_URGENT)).keys() == {"m-urgent-1"}
    assert (await cleared(settings))["m-plain-1"].person_key == key_of(ASHA)
    dead = await read_all(settings.kafka.bootstrap, settings.kafka.topic(SEND_INTENTS.dlq))
    assert {record.value for record in dead} == {records[0][1], records[2][1]}
    reasons = " ".join(header(record.headers, "dlq-reason") or "" for record in dead)
    assert "Invalid JSON" in reasons and "to: String should match" in reasons and "12345" not in reasons


@pytest.mark.req("CMP-1")
async def test_stop_refuses_what_comes_after_it_until_start_also_over_a_restart(settings: Settings) -> None:
    at = datetime.now(UTC)

    async def consents(standing: str) -> None:
        async def shown() -> bool:
            return await consent_of(settings, ASHA) == standing

        await eventually(shown, timeout_seconds=30)

    service = create(settings)
    async with running(service.components):
        await ready(service.components)
        await send(settings, intent("m-before-1"))
        assert await decided(settings, "m-before-1") == "cleared"
        await write(settings, INBOUND_MESSAGES, [("advisors", inbound("wamid.1", "Hello", RAVI, at))])
        await write(settings, INBOUND_MESSAGES, [("advisors", inbound("wamid.2", "s\u200btop!", ASHA, at))])
        await consents("opted_out")
        await refused_from_now_on(settings, "m-after-a")
        await send(settings, intent("m-another1", to=RAVI))
        assert await decided(settings, "m-another1") == "cleared"
    again = create(settings)
    async with running(again.components):
        await send(settings, intent("m-restart1"))
        assert await decided(settings, "m-restart1") == "opted_out"
        start = inbound("wamid.3", "START", ASHA, at + timedelta(seconds=1))
        await write(settings, INBOUND_MESSAGES, [("advisors", start)])
        await consents("opted_in")
        await cleared_from_now_on(settings, "m-start-a")
    assert "m-restart1" not in await cleared(settings)


async def refused_from_now_on(settings: Settings, stem: str) -> None:
    """The replica follows its topic within moments; of messages sent meanwhile the last one tells."""
    await _decided_as(settings, stem, "opted_out")


async def cleared_from_now_on(settings: Settings, stem: str) -> None:
    await _decided_as(settings, stem, "cleared")


async def _decided_as(settings: Settings, stem: str, expected: str) -> None:
    sent = 0

    async def so() -> bool:
        nonlocal sent
        sent += 1
        await send(settings, intent(f"{stem}{sent}"))
        return await decided(settings, f"{stem}{sent}") == expected

    await eventually(so, timeout_seconds=15)


async def test_consent_by_other_ways_is_projected_and_obeyed_per_purpose(settings: Settings) -> None:
    fields = {"person_key": key_of(ASHA), "at": datetime.now(UTC)}
    preference = ConsentEvent.model_validate(
        fields | {"event_id": "e1", "standing": "opted_out", "purpose": "marketing", "source": "meta_preference"}
    )
    service = create(settings)
    await write(settings, CONSENT_EVENTS, [(key_of(ASHA), preference)])
    async with running(service.components):

        async def shown() -> bool:
            return await consent_of(settings, ASHA) == "opted_out"

        await eventually(shown, timeout_seconds=30)
        sent = 0

        async def marketing_refused() -> bool:
            nonlocal sent
            sent += 1
            await send(settings, intent(f"m-market-{sent}", category="marketing"))
            return await decided(settings, f"m-market-{sent}") == "opted_out"

        await eventually(marketing_refused, timeout_seconds=15)
        await send(settings, intent("m-utility1"))
        assert await decided(settings, "m-utility1") == "cleared"


async def test_without_knowing_consent_nothing_is_cleared_and_it_goes_on_by_itself(settings: Settings) -> None:
    replica, *others = create(settings).components
    judging = others[-1]
    async with running(others):
        await send(settings, intent("m-waits-01"))
        await eventually(lambda: "nothing is cleared" in (judging.ready() or ""), timeout_seconds=30)
        await write(settings, INBOUND_MESSAGES, [("advisors", inbound("wamid.9", "stop", RAVI))])

        async def heard() -> bool:
            return await consent_of(settings, RAVI) == "opted_out"

        await eventually(heard, timeout_seconds=30)  # STOP is heard while the guard is blind
        assert not await steps(settings)
        async with running([replica]):
            assert await decided(settings, "m-waits-01") == "cleared"
            assert judging.ready() is None
