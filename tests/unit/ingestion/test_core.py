"""Decisions that need no HTTP."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.intents import DEFAULT_LIFE, SendIntent, Text
from harkara.contracts.runs import AudienceRow, SendRun
from harkara.contracts.topics import SEND_INTENTS, SEND_INTENTS_URGENT, SEND_RUNS
from harkara.ingestion.core import Sender, by_home, choose_sender, emitted, slot
from harkara.ingestion.known import MOST_RUNS, Known
from harkara.ingestion.requests import e164
from tests.unit.ingestion.conftest import NOW


def row(**changes: object) -> AudienceRow:
    intent = SendIntent.model_validate(
        {"message_id": "m-abcdefgh", "sender": "s1", "to": "+919999900001", "category": "service",
         "content": Text(body="x")} | changes
    )  # fmt: skip
    return AudienceRow(run_id="r-1", row=1, home="h1", intent=intent)


def test_a_row_is_emitted_as_it_was_frozen() -> None:
    found = emitted(row())
    assert (found.topic, found.partition_key, found.key, found.subject) == (SEND_INTENTS, "h1", "s1", "m-abcdefgh")
    assert found.event == row().intent
    assert emitted(row()) == found
    assert emitted(row(priority=3)).topic == SEND_INTENTS_URGENT


def test_a_row_with_a_slot_is_scheduled_with_a_whole_life() -> None:
    later = NOW + timedelta(hours=30)
    event = emitted(row().model_copy(update={"emit_at": later})).event
    assert isinstance(event, SendIntent)
    assert (event.not_before, event.expires_at) == (later, later + DEFAULT_LIFE)
    until = later + timedelta(hours=1)
    event = emitted(row(expires_at=until).model_copy(update={"emit_at": later})).event
    assert isinstance(event, SendIntent)
    assert event.expires_at == until


@given(st.integers(1, 1000), st.floats(0, 1440))
def test_slots_never_go_back_and_end_before_the_spread_does(count: int, minutes: float) -> None:
    slots = [slot(NOW, minutes, index, count) for index in range(count)]
    assert slots == sorted(slots)
    assert slots[0] == NOW
    assert slots[-1] <= NOW + timedelta(minutes=minutes)


def test_adding_a_home_moves_only_its_share() -> None:
    homes = [Sender(f"h{n}", f"h{n}") for n in range(5)]
    before, after = by_home(homes[:4]), by_home(homes)
    people = [f"person-{n}" for n in range(2000)]
    moved = [p for p in people if choose_sender(before, p) != choose_sender(after, p)]
    assert all(choose_sender(after, p) == homes[4] for p in moved)
    assert 300 < len(moved) < 500
    assert min(Counter(choose_sender(after, p).home for p in people).values()) > 300


def test_several_senders_of_one_home_are_that_home() -> None:
    pool = by_home([Sender("n1", "pool"), Sender("n2", "pool"), Sender("n1", "pool")])
    assert choose_sender(pool, "p") == Sender("pool", "pool")
    assert choose_sender(by_home([Sender("n1", "pool")]), "p") == Sender("n1", "pool")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("+91 99999-00011", "+919999900011"),
        ("919999900011", "+919999900011"),
        ("(+1) 202.555.0143", "+12025550143"),
        ("9999900011", "9999900011"),
        (7, 7),
    ],
)
def test_phones_are_written_in_one_way(given: object, expected: object) -> None:
    assert e164(given) == expected


def test_only_so_many_runs_are_remembered() -> None:
    known = Known()
    run = SendRun(run_id="r", name="n", producer="p", expected=1, homes={}, audience_hash="h", created_at=NOW)
    for number in range(MOST_RUNS + 5):
        known.apply(SEND_RUNS, f"r{number}", run.model_copy(update={"run_id": f"r{number}"}))
    assert len(known.runs) == MOST_RUNS
    assert "r4" not in known.runs
    known.apply(SEND_RUNS, "r100", None)
    assert "r100" not in known.runs
