"""The lifecycle's join: any order and any repetition of the same events gives the same state."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.envelope import decode, encode
from harkara.contracts.lifecycle import (
    EFFECT_RANK,
    MARK_RANK,
    POLICY_RANK,
    MessageLifecycle,
    MessageState,
    State,
    advance,
)

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
LANE = ["queued", "scheduled", "held", "attempting", "retrying", "in_doubt", "cancelled", "expired", "failed_unsent"]
LANE += ["unknown"]


@st.composite
def events(draw: st.DrawFn) -> MessageLifecycle:
    """Any event of one message, also ones that no writer of ours would write together."""
    status = draw(st.sampled_from([*MARK_RANK, *POLICY_RANK, *LANE, *EFFECT_RANK]))
    fields: dict[str, Any] = {
        "message_id": "m-00000001",
        "home": "pool-a",
        "status": status,
        "at": AT + timedelta(microseconds=draw(st.sampled_from([0, 1, 999_999, 1_000_000, 86_400_000_000]))),
        "attempt": 0 if status in POLICY_RANK else draw(st.integers(1, 3)),
    }
    if status in LANE:
        fields["rank"] = draw(st.integers(0, 4))
    optional: dict[str, list[Any]] = {
        "wamid": ["w1", "w2"],
        "phone_number_id": ["100000000000001", "100000000000002"],
        "form": ["session", "template"],
        "template": ["t1", "t2"],
        "error_code": [131026, 131049],
        "reason": [{"code": "a", "text": "a"}, {"code": "b", "text": "b"}],
        "pricing": [{"category": "utility", "billable": True}, {"category": "marketing"}],
        "run_id": ["r-1", "r-2"],
        "person_key": ["p1"],
        "received_at": [AT, AT + timedelta(seconds=1)],
        "hold_until": [AT + timedelta(minutes=1), AT + timedelta(minutes=2)],
    }
    for name, values in optional.items():
        if draw(st.booleans()):
            fields[name] = draw(st.sampled_from(values))
    return MessageLifecycle.model_validate(fields)


def folded(all_events: list[MessageLifecycle]) -> State:
    state: State | None = None
    for each in all_events:
        state = advance(state, each)
    assert state is not None
    return {key: value for key, value in state.items() if key != "version"}


@pytest.mark.req("WHK-6", "B3")
@settings(max_examples=400, deadline=None)
@given(st.lists(events(), min_size=1, max_size=9), st.randoms(use_true_random=False), st.data())
def test_every_permutation_and_repetition_converges(
    seen: list[MessageLifecycle], chance: random.Random, data: st.DataObject
) -> None:
    repeated = seen + data.draw(st.lists(st.sampled_from(seen), max_size=5))
    chance.shuffle(repeated)
    assert folded(repeated) == folded(seen)


@settings(max_examples=200, deadline=None)
@given(st.lists(events(), min_size=1, max_size=8), st.data())
def test_what_is_known_changes_nothing_and_what_is_new_raises_the_version(
    seen: list[MessageLifecycle], data: st.DataObject
) -> None:
    state: State | None = None
    for each in seen:
        after = advance(state, each)
        assert after is state or after["version"] == (0 if state is None else state["version"]) + 1
        state = after
    assert state is not None
    assert advance(state, data.draw(st.sampled_from(seen))) is state


@settings(max_examples=100, deadline=None)
@given(st.lists(events(), min_size=1, max_size=8))
def test_every_state_is_one_that_readers_can_decode(seen: list[MessageLifecycle]) -> None:
    state: State | None = None
    for each in seen:
        state = advance(state, each)
    assert state is not None
    decoded = MessageState.model_validate(state)
    earliest = {s: min(e.at for e in seen if e.status == s) for s in {e.status for e in seen}}
    assert decoded.first_seen == earliest


def event(status: str, seconds: float = 0, attempt: int = 1, **more: Any) -> MessageLifecycle:
    fields = {"message_id": "m-00000001", "home": "pool-a", "status": status, "at": AT + timedelta(seconds=seconds)}
    return MessageLifecycle.model_validate(fields | {"attempt": attempt} | more)


SHOWN: list[tuple[str, list[MessageLifecycle], tuple[str, int]]] = [
    ("the policy's rank", [event("received", 0, 0), event("routed", 2, 0), event("cleared", 1, 0)], ("routed", 0)),
    ("a re-run's refusal", [event("queued", 1, rank=5), event("rejected", 2, 0)], ("queued", 1)),
    ("the lane's sequence", [event("held", 1, rank=9), event("queued", 2, rank=4)], ("held", 1)),
    ("a late echo beats unknown", [event("unknown", 9, rank=9), event("sent", 3)], ("sent", 1)),
    ("failed beats sent", [event("failed", 3), event("sent", 4)], ("failed", 1)),
    ("delivered beats failed", [event("failed", 4), event("delivered", 3)], ("delivered", 1)),
    ("read beats delivered", [event("read", 3), event("delivered", 4)], ("read", 1)),
    ("the newest attempt", [event("failed", 1), event("queued", 2, 2, rank=3)], ("queued", 2)),
    ("an older that reached", [event("delivered", 1), event("submitted", 5, 2)], ("delivered", 1)),
    ("the best that reached", [event("read", 1), event("delivered", 5, 2)], ("read", 1)),
    ("equal ones: the newer", [event("read", 1), event("read", 5, 2)], ("read", 2)),
    ("standing at sent", [event("sent", 1), event("cancelled", 5, 2, rank=8)], ("sent", 1)),
    ("standing at submitted", [event("submitted", 1), event("expired", 5, 2, rank=8)], ("submitted", 1)),
    ("an older failure", [event("failed", 1), event("expired", 5, 2, rank=8)], ("expired", 2)),
    ("newer under way", [event("sent", 1), event("attempting", 5, 2, rank=8)], ("attempting", 2)),
]


@pytest.mark.parametrize(("seen", "shown"), [row[1:] for row in SHOWN], ids=[row[0] for row in SHOWN])
def test_the_status_that_is_shown(seen: list[MessageLifecycle], shown: tuple[str, int]) -> None:
    for order in (seen, seen[::-1]):
        state = folded(order)
        assert (state["status"], state["attempt"]) == shown


def test_two_attempts_that_both_reached_are_a_duplicate() -> None:
    assert not folded([event("read"), event("sent", 1, 2)])["duplicate"]
    assert folded([event("read"), event("delivered", 1, 2)])["duplicate"]


def test_delivered_after_failed_is_an_anomaly() -> None:
    assert folded([event("failed"), event("delivered", 1)])["anomalies"] == ["failed_after_delivered"]
    assert folded([event("failed"), event("delivered", 1, 2)])["anomalies"] == []


def test_what_a_later_status_does_not_repeat_is_kept() -> None:
    state = folded([event("read", 9), event("submitted", 1, wamid="w", form="template", phone_number_id="1")])
    assert (state["status"], state["wamid"], state["phone_number_id"]) == ("read", "w", "1")


@pytest.mark.parametrize("status", ["queued", "in_doubt", "unknown"])
def test_a_lanes_status_needs_its_sequence(status: str) -> None:
    with pytest.raises(ValueError, match="journal sequence"):
        event(status)


def test_a_status_without_callback_data_survives_the_wire() -> None:
    """Statuses of Meta's without our callback data carry no message id, and a None is not written."""
    anonymous = event("sent", wamid="w").model_copy(update={"message_id": None})
    value, headers = encode(anonymous, event_id="e", source="test", time=AT)
    assert decode([MessageLifecycle], value, headers, fallback_id="x").event == anonymous
