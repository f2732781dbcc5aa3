"""A consent that was recorded upstream becomes one event, whichever way it came (CMP-4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import pytest

from harkara.contracts.consent import Change, ConsentEvent, Purpose
from harkara.policy.recording import recorded
from tests.unit.policy.cases import NOW, PERSON

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Given:
    standing: Change = "opted_in"
    purpose: Purpose | Literal["all"] | None = None
    at: datetime | None = None
    until: datetime | None = None
    origin: str = "crm"
    proof: str = "form 17"
    language: str | None = "hi"


def event_of(given: Given) -> ConsentEvent:
    return recorded(given, identity="c-1", person_key=PERSON, source="api", actor="crm", received_at=NOW)


def test_all_that_was_recorded_is_in_the_event() -> None:
    event = event_of(Given("paused", "marketing", NOW - HOUR, NOW + HOUR))
    assert event.model_dump(exclude_none=True) == {
        "event_id": "c-1",
        "person_key": PERSON,
        "standing": "paused",
        "purpose": "marketing",
        "source": "api",
        "at": NOW - HOUR,
        "until": NOW + HOUR,
        "proof": "form 17",
        "origin": "crm",
        "language": "hi",
        "actor": "crm",
    }
    assert event_of(Given("paused", "marketing", NOW - HOUR, NOW + HOUR)) == event


@pytest.mark.parametrize(("purpose", "kept"), [(None, None), ("all", None), ("transactional", "transactional")])
def test_all_purposes_are_said_by_none(purpose: Purpose | Literal["all"] | None, kept: Purpose | None) -> None:
    assert event_of(Given(purpose=purpose)).purpose == kept


@pytest.mark.parametrize(("at", "kept"), [(None, NOW), (NOW - HOUR, NOW - HOUR), (NOW + HOUR, NOW)])
def test_nothing_is_said_in_the_future(at: datetime | None, kept: datetime) -> None:
    """A clock that is ahead would win over every word until then."""
    assert event_of(Given(at=at)).at == kept


@pytest.mark.parametrize(
    ("standing", "cancels"), [("opted_out", True), ("blocked", True), ("paused", False), ("opted_in", False)]
)
def test_who_wants_nothing_gets_nothing_that_was_accepted_until_it_was_heard(standing: Change, cancels: bool) -> None:
    """However long ago it was said: what was accepted since then is waiting in a lane."""
    assert event_of(Given(standing, at=NOW - HOUR)).cancels_until == (NOW if cancels else None)
