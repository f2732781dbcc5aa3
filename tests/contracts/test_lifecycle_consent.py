"""The consent join: the latest word wins, whatever the order of arrival."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.consent import ConsentEvent, ConsentState, advance_consent

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
PERSON = "0123456789abcdef0123456789abcdef"


@st.composite
def words(draw: st.DrawFn) -> ConsentEvent:
    standing = draw(st.sampled_from(["opted_in", "opted_out", "paused", "blocked"]))
    number = draw(st.integers(0, 20))
    return ConsentEvent.model_validate(
        {
            "event_id": f"e{number}",
            "person_key": PERSON,
            "standing": standing,
            "purpose": draw(st.sampled_from([None, "marketing", "transactional"])),
            "source": "keyword",
            "at": AT + timedelta(seconds=draw(st.integers(0, 3))),
        }
    )


def folded(seen: list[ConsentEvent]) -> ConsentState:
    state: ConsentState | None = None
    for each in seen:
        state = advance_consent(state, each)
    assert state is not None
    return state


def unambiguous(seen: list[ConsentEvent]) -> list[ConsentEvent]:
    """One event per id, as ids are deterministic."""
    return list({each.event_id: each for each in seen}.values())


@settings(max_examples=300, deadline=None)
@given(st.lists(words(), min_size=1, max_size=9).map(unambiguous), st.randoms(use_true_random=False), st.data())
def test_every_permutation_and_repetition_converges(
    seen: list[ConsentEvent], chance: random.Random, data: st.DataObject
) -> None:
    repeated = seen + data.draw(st.lists(st.sampled_from(seen), max_size=5))
    chance.shuffle(repeated)
    assert folded(repeated) == folded(seen)


def word(standing: str, seconds: float = 0, **more: Any) -> ConsentEvent:
    fields = {"event_id": f"e-{standing}", "person_key": PERSON, "standing": standing, "source": "keyword"}
    return ConsentEvent.model_validate(fields | {"at": AT + timedelta(seconds=seconds)} | more)


@pytest.mark.parametrize(
    ("seen", "denied"),
    [
        ([word("opted_in"), word("opted_out", 1)], "opted_out"),
        ([word("opted_in", 2), word("opted_out", 1)], None),
        ([word("opted_in", 1), word("opted_out", 1)], "opted_out"),
        ([word("opted_out", 1), word("blocked", 1)], "blocked"),
        ([word("paused", 1, until=AT + timedelta(hours=1))], "paused"),
        ([word("paused", 1, until=AT - timedelta(hours=1))], None),
        ([word("opted_out", 1, purpose="marketing")], "opted_out"),
        ([word("opted_out", 1, purpose="transactional")], None),
    ],
)
def test_who_may_not_be_written_to_for_marketing(seen: list[ConsentEvent], denied: str | None) -> None:
    for order in (seen, seen[::-1]):
        assert folded(order).denies("marketing", AT) == denied
