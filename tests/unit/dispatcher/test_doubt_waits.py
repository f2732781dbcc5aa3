"""A time in doubt that is shorter than a call: a resend waits for the call's end, and is not lost for it."""

from __future__ import annotations

from typing import Any

import pytest

from harkara.dispatcher.doubt import RESEND_MARGIN_SECONDS, quarantine_seconds
from tests.unit.dispatcher.lanes import ONE, START, TIMEOUT, HandDriven, order, policy

SHORT = {"authentication": 3.0, "utility": 3.0, "marketing": 3.0, "service": 3.0}
QUIET_SECONDS = 14.0


def in_doubt(**more: Any) -> HandDriven:
    lane = HandDriven(policy=policy(in_doubt_timeout_seconds=SHORT))
    lane.state.accounts = {ONE: "waba-1"}
    lane.take(order(**more))
    lane.answer(TIMEOUT)
    return lane


def heard(lane: HandDriven) -> None:
    lane.state.heard_of(ONE, lane.now, lane.now)


def test_the_time_that_a_call_may_take_follows_from_the_policy() -> None:
    lane = in_doubt(category="authentication")
    assert quarantine_seconds(lane.around) == QUIET_SECONDS == 2.0 + 10.0 + RESEND_MARGIN_SECONDS


@pytest.mark.req("DSP-13")
@pytest.mark.parametrize(
    "more", [{"category": "authentication"}, {"category": "utility", "duplicate_ok": True}], ids=str
)
def test_it_is_sent_again_as_soon_as_the_older_call_has_surely_ended(more: dict[str, Any]) -> None:
    lane = in_doubt(**more)
    lane.now = START + QUIET_SECONDS - 0.5
    heard(lane)
    lane.round()
    assert (lane.status(), len(lane.attempts)) == ("in_doubt", 1)
    lane.round(0.6)
    assert len(lane.attempts) == 2


def test_also_by_a_new_owner() -> None:
    lane = in_doubt(category="authentication")
    lane.round(4.0)
    lane.crash()
    heard(lane)
    lane.round(6.0)
    assert len(lane.attempts) == 1
    heard(lane)
    lane.round(4.5)
    assert len(lane.attempts) == 2


def test_webhooks_may_be_heard_while_it_waits_and_without_any_it_is_unknown() -> None:
    lane = in_doubt(category="authentication")
    lane.round(4.0)
    assert lane.status() == "in_doubt", "whether they come is asked at the end"
    lane.round(11.0)
    assert (lane.status(), len(lane.attempts)) == ("unknown", 1)


@pytest.mark.parametrize("more", [{"category": "utility"}, {"category": "marketing"}, {"category": "service"}], ids=str)
def test_what_is_never_sent_again_waits_for_its_own_time_alone(more: dict[str, Any]) -> None:
    lane = in_doubt(**more)
    heard(lane)
    lane.round(4.0)
    assert lane.status() == "unknown"
