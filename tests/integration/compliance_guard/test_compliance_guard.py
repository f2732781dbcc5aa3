"""The guard on a real broker: what goes on, what is refused, and what happens when it cannot know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from harkara.compliance_guard.app import create
from harkara.compliance_guard.progress import FRESH_SECONDS
from harkara.compliance_guard.settings import Settings
from harkara.contracts.consent import ConsentEvent, ConsentState
from harkara.contracts.envelope import header
from harkara.contracts.event import Event, event_id
from harkara.contracts.identity import person_key
from harkara.contracts.intents import ClearedIntent, SendIntent, Text
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import (
    CLEARED_INTENTS,
    CLEARED_INTENTS_URGENT,
    CONSENT_EVENTS,
    CONSENT_REQUESTS,
    CONSENT_STATE,
    INBOUND_MESSAGES,
    MESSAGE_LIFECYCLE,
    SEND_INTENTS,
    SEND_INTENTS_URGENT,
    Topic,
)
from harkara.contracts.webhooks import InboundMessage
from harkara.runtime.kafka import Output
from tests.support.kafka import produce, read_all
from tests.support.services import GOVERNANCE_FILE, isolated, ready, running, write
from tests.support.wait import eventually

PEPPER = "a pepper for tests only"
ASHA, RAVI = "+919999910001", "+919999910002"


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Settings:
    pepper = SecretStr(PEPPER)
    return await isolated(
        Settings, kafka_bootstrap, topic_prefix, tmp_path, governance_file=GOVERNANCE_FILE, pepper=pepper
    )


async def feed(settings: Settings, topic: Topic, events: Sequence[tuple[str, Event]]) -> None:
    """Events with what partitions each."""
    now = datetime.now(UTC)
    await write(settings, [Output(topic, key, key, event, event_id(event), now) for key, event in events])


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
    await feed(settings, topic, [(each.sender, each) for each in intents])


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
        await feed(settings, INBOUND_MESSAGES, [("advisors", inbound("wamid.1", "Hello", RAVI, at))])
        await feed(settings, INBOUND_MESSAGES, [("advisors", inbound("wamid.2", "s\u200btop!", ASHA, at))])
        await consents("opted_out")
        await refused_from_now_on(settings, "m-after-a")
        await send(settings, intent("m-another1", to=RAVI))
        assert await decided(settings, "m-another1") == "cleared"
    again = create(settings)
    async with running(again.components):
        await send(settings, intent("m-restart1"))
        assert await decided(settings, "m-restart1") == "opted_out"
        start = inbound("wamid.3", "START", ASHA, at + timedelta(seconds=1))
        await feed(settings, INBOUND_MESSAGES, [("advisors", start)])
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
    await feed(settings, CONSENT_EVENTS, [(key_of(ASHA), preference)])
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
    [judging] = [each for each in others if each.name == "compliance-guard"]
    async with running(others):
        await send(settings, intent("m-waits-01"))
        await eventually(lambda: "nothing is cleared" in (judging.ready() or ""), timeout_seconds=30)
        await feed(settings, INBOUND_MESSAGES, [("advisors", inbound("wamid.9", "stop", RAVI))])

        async def heard() -> bool:
            return await consent_of(settings, RAVI) == "opted_out"

        await eventually(heard, timeout_seconds=30)  # STOP is heard while the guard is blind
        assert not await steps(settings)
        async with running([replica]):
            assert await decided(settings, "m-waits-01") == "cleared"
            assert judging.ready() is None


@pytest.mark.req("CMP-5")
async def test_each_command_is_confirmed_once_and_the_blocked_are_told_nothing(settings: Settings) -> None:
    """A webhook that comes again is the same message: the same confirmation, by the same id."""
    at = datetime.now(UTC)
    blocked = ConsentEvent(
        event_id="b1", person_key=key_of(RAVI), standing="blocked", source="operator", at=at - timedelta(hours=1)
    )
    await feed(settings, CONSENT_EVENTS, [(key_of(RAVI), blocked)])
    said = [inbound("wamid.s", "STOP", ASHA, at), inbound("wamid.p", "विराम 3 दिन", ASHA, at + timedelta(seconds=1))]
    service = create(settings)
    async with running(service.components):
        await ready(service.components)
        for message in (*said, *said, inbound("wamid.r", "STOP", RAVI, at)):
            await feed(settings, INBOUND_MESSAGES, [("advisors", message)])

        async def answered() -> bool:
            return len([id for id in await steps(settings) if id.startswith("c-")]) == 3

        await eventually(answered, timeout_seconds=30)
        refused = [seen["rejected"] for seen in (await steps(settings)).values() if "rejected" in seen]
    assert [each.reason.code for each in refused if each.reason] == ["blocked"]
    assert refused[0].person_key == key_of(RAVI)
    confirmed = await cleared(settings, CLEARED_INTENTS_URGENT)
    assert len(confirmed) == 2
    texts = {each.intent.metadata["confirms"]: each for each in confirmed.values()}
    assert texts["stop"].answers == at and texts["stop"].intent.sender == "100000000000002"
    pause = texts["pause"].intent.content
    assert isinstance(pause, Text) and "START" in pause.body and "समाप्त" in pause.body  # opted out all the same


@pytest.mark.req("CMP-4")
async def test_an_opt_in_recorded_by_kafka_is_what_explicit_consent_asks_for(
    settings: Settings, tmp_path: Path
) -> None:
    """With its proof; without one it goes to the DLQ, and nothing may be sent by it."""
    strict = tmp_path / "explicit.yaml"
    strict.write_text(GOVERNANCE_FILE.read_text("utf-8").replace("consent_mode: opt_out", "consent_mode: explicit"))
    given = {
        "request_id": "crm-00000001", "phone": ASHA, "standing": "opted_in", "purpose": "transactional",
        "at": (datetime.now(UTC) - timedelta(days=9)).isoformat(), "origin": "web-form", "proof": "form-9",
        "language": "hi", "producer": "crm",
    }  # fmt: skip
    without = given | {"request_id": "crm-00000002", "phone": RAVI, "proof": ""}
    records = [(b"any key", json.dumps(each).encode()) for each in (given, without)]
    await produce(settings.kafka.bootstrap, settings.kafka.topic(CONSENT_REQUESTS), records)
    service = create(settings.model_copy(update={"governance_file": strict}))
    async with running(service.components):
        await ready(service.components)
        await cleared_from_now_on(settings, "m-explicit-")
        await send(settings, intent("m-no-opt-in", to=RAVI), intent("m-market-no", category="marketing"))
        assert await decided(settings, "m-no-opt-in") == "no_opt_in"
        assert await decided(settings, "m-market-no") == "no_opt_in"
    [dead] = await read_all(settings.kafka.bootstrap, settings.kafka.topic(CONSENT_REQUESTS.dlq))
    assert "proof" in (header(dead.headers, "dlq-reason") or "")
    [recorded] = await read_all(settings.kafka.bootstrap, settings.kafka.topic(CONSENT_EVENTS))
    event = ConsentEvent.model_validate_json(recorded.value or b"")
    assert (event.person_key, event.source, event.proof, event.origin, event.language, event.purpose, event.actor) == (
        key_of(ASHA), "kafka", "form-9", "web-form", "hi", "transactional", "crm",
    )  # fmt: skip
    assert ASHA.lstrip("+") not in (recorded.value or b"").decode()


@pytest.mark.req("CMP-7")
async def test_what_was_said_and_not_yet_projected_keeps_everything_back(settings: Settings) -> None:
    """The replica has read all of consent-state, and still somebody's word may lie unread before the projection."""
    components = {each.name: each for each in create(settings).components}
    projection = components.pop("compliance-guard-consent")
    judging = components["compliance-guard"]
    stop = ConsentEvent(
        event_id="e1", person_key=key_of(ASHA), standing="opted_out", source="api", at=datetime.now(UTC)
    )
    async with running(list(components.values())):
        async with running([projection]):
            await ready([*components.values(), projection])
            await send(settings, intent("m-before-1"))
            assert await decided(settings, "m-before-1") == "cleared"
        await feed(settings, CONSENT_EVENTS, [(key_of(ASHA), stop)])  # while the projection moves to another instance
        unknown_from = asyncio.get_running_loop().time() + FRESH_SECONDS

        def keeps_back() -> bool:
            late = asyncio.get_running_loop().time() > unknown_from
            return (
                late
                and "nothing is cleared" in (judging.ready() or "")
                and components["replica:consent"].ready() is None
            )

        await eventually(keeps_back, timeout_seconds=30)
        await send(settings, intent("m-meanwhile"))
        async with running([projection]):
            assert await decided(settings, "m-meanwhile") == "opted_out"
