"""The guard finds an hour's backlog: it decides by what holds now, and by when things happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord
from pydantic import SecretStr

from harkara.compliance_guard.app import create
from harkara.compliance_guard.settings import Settings
from harkara.contracts.consent import ConsentState
from harkara.contracts.envelope import header
from harkara.contracts.event import Event, event_id
from harkara.contracts.intents import DEFAULT_LIFE, ClearedIntent
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import (
    CLEARED_INTENTS,
    CONSENT_STATE,
    INBOUND_MESSAGES,
    MESSAGE_LIFECYCLE,
    SEND_INTENTS,
    Topic,
)
from harkara.runtime.kafka import Output
from tests.integration.compliance_guard.test_compliance_guard import PEPPER, inbound, intent, key_of
from tests.support.backlog import HOUR, SEED, twice_and_mixed
from tests.support.kafka import read_all
from tests.support.services import GOVERNANCE_FILE, isolated, running, write
from tests.support.wait import eventually

INTENTS, PEOPLE = 1_000, 50


def phone(person: int) -> str:
    return f"+91999992{person:04d}"


async def backlog(settings: Settings, topic: Topic, events: Sequence[tuple[str, Event, datetime]]) -> None:
    """Events with their keys and the times at which they were written."""
    outputs = [Output(topic, key, key, event, event_id(event), at) for key, event, at in events]
    await write(settings, twice_and_mixed(outputs))


async def records(settings: Settings, topic: Topic) -> list[ConsumerRecord]:
    return await read_all(settings.kafka.bootstrap, settings.kafka.topic(topic))


async def words(settings: Settings) -> dict[str, str]:
    """Per person, what holds for marketing."""
    found: dict[str, str] = {}
    for record in await records(settings, CONSENT_STATE):
        state = ConsentState.model_validate_json(record.value or b"")
        found[state.person_key] = state.marketing.standing if state.marketing else "nothing"
    return found


@pytest.mark.req("CMP-1", "ING-19")
async def test_an_hours_backlog(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    pepper = SecretStr(PEPPER)
    settings = await isolated(
        Settings, kafka_bootstrap, topic_prefix, tmp_path, governance_file=GOVERNANCE_FILE, pepper=pepper
    )
    then = datetime.now(UTC) - HOUR
    said = []
    for person in range(PEOPLE):  # of both words the one said last counts, whichever is read last
        stop, start = (0, 60) if person % 2 else (60, 0)
        for minute, text in ((stop, "stop"), (start, "START"), (30, "Namaste")):
            at = then + timedelta(seconds=minute)
            said.append(("advisors", inbound(f"wamid.{person}.{text}", text, phone(person), at), at))
    await backlog(settings, INBOUND_MESSAGES, said)
    stopped = {key_of(phone(person)) for person in range(0, PEOPLE, 2)}
    service = create(settings)
    async with running(service.components):

        async def heard() -> bool:
            now = await words(settings)
            return len(now) == PEOPLE and {key for key, word in now.items() if word == "opted_out"} == stopped

        await eventually(heard, timeout_seconds=60)
        late = then - timedelta(minutes=10)  # written before anybody said stop
        await backlog(
            settings,
            SEND_INTENTS,
            [
                ("advisors", intent(f"m-{n:08d}", phone(n % PEOPLE), expires_at=life_of(n, late)), late)
                for n in range(INTENTS)
            ],
        )

        async def all_decided() -> bool:
            return len(await outcomes(settings)) == INTENTS

        await eventually(all_decided, timeout_seconds=90, every=0.5)
    expected = {f"m-{n:08d}": outcome_of(n) for n in range(INTENTS)}
    assert await outcomes(settings) == expected, f"seed {SEED}"
    await goes_on_once(settings, {message for message, outcome in expected.items() if outcome == "cleared"}, late)


def life_of(n: int, written: datetime) -> datetime | None:
    """Every third was to arrive within half an hour."""
    return written + timedelta(minutes=30) if n % 3 == 0 else None


def outcome_of(n: int) -> str:
    if (n % PEOPLE) % 2 == 0:
        return "opted_out"
    return "expired_already" if n % 3 == 0 else "cleared"


async def outcomes(settings: Settings) -> dict[str, str]:
    """Per message the one outcome that was said of it, with one id however often it was said.

    Nobody is told an hour later that their command was heard.
    """
    found: dict[str, set[tuple[str, str | None]]] = {}
    for record in await records(settings, MESSAGE_LIFECYCLE):
        event = MessageLifecycle.model_validate_json(record.value or b"")
        if (event.message_id or "").startswith("c-"):
            assert event.status == "received" or (event.reason and event.reason.code == "expired_already")
        elif event.status != "received":
            outcome = event.reason.code if event.reason else event.status
            found.setdefault(event.message_id or "", set()).add((outcome, header(record.headers, "ce_id")))
    assert all(len(each) == 1 for each in found.values()), "one message, two outcomes"
    return {message: next(iter(each))[0] for message, each in found.items()}


async def goes_on_once(settings: Settings, messages: set[str], written: datetime) -> None:
    """What goes on carries the time at which its producer wrote it, and the life that follows from that."""
    ids: dict[str, set[str | None]] = {}
    for record in await records(settings, CLEARED_INTENTS):
        event = ClearedIntent.model_validate_json(record.value or b"")
        ids.setdefault(event.intent.message_id, set()).add(header(record.headers, "ce_id"))
        assert abs(event.received_at - written) < timedelta(milliseconds=1)
        assert event.expires_at == event.received_at + DEFAULT_LIFE
    assert ids.keys() == messages
    assert all(len(each) == 1 for each in ids.values())
