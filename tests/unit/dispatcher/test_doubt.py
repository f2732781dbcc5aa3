"""When a doubt ends: what an owner that comes late still waits for, and when a resend is one too many."""

from __future__ import annotations

import pytest

from harkara.dispatcher.doubt import RECOVERY_GRACE_SECONDS, UNREAD_LOOK_SECONDS, reads_old
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, TIMEOUT, TWO, HandDriven, order, policy, refused

DOUBT_SECONDS = 20.0  # of an authentication message, by the policy of these tests


def heard(lane: HandDriven) -> None:
    """Statuses of other messages come: one of this would have."""
    lane.state.accounts = {number: facts.waba_id for number, facts in lane.fleet.items()}
    lane.state.heard_of(ONE, lane.now, lane.now)


@pytest.mark.req("B1", "B2")
def test_an_owner_that_comes_after_the_time_reads_what_came_meanwhile_before_it_decides() -> None:
    """The call was under way when its owner died; the lane was nobody's for longer than the category's time."""
    lane = HandDriven()
    lane.take(order(category="authentication"))
    lane.now += 5 * DOUBT_SECONDS
    lane.crash()
    heard(lane)
    lane.round(RECOVERY_GRACE_SECONDS - 0.1)
    assert (lane.status(), len(lane.attempts)) == ("in_doubt", 1)
    lane.echo()
    assert (lane.status(), len(lane.attempts)) == ("submitted", 1)


@pytest.mark.req("B1")
def test_the_time_for_reading_is_no_longer_than_the_category_waits_and_ends() -> None:
    lane = HandDriven(policy=policy(in_doubt_timeout_seconds={"service": 4.0}))
    lane.take(order(category="service"))
    lane.now += 100
    lane.crash()
    lane.round(3.9)
    assert lane.status() == "in_doubt"
    lane.round(0.2)
    assert lane.status() == "unknown"


@pytest.mark.req("B1", "B2")
@pytest.mark.parametrize("category", ["service", "authentication"])
def test_no_doubt_ends_while_statuses_of_before_its_owner_are_read(category: str) -> None:
    """Its echo may be the last of a million: whoever decided before would call unknown what Meta has, or repeat it."""
    lane = HandDriven()
    lane.take(order(category=category))
    lane.now += 5 * DOUBT_SECONDS
    lane.crash()
    for _ in range(60):
        heard(lane)
        lane.write(reads_old)
        lane.round(RECOVERY_GRACE_SECONDS - 1)
    assert (lane.status(), len(lane.attempts)) == ("in_doubt", 1)
    lane.echo()
    assert (lane.status(), len(lane.attempts)) == ("submitted", 1)


@pytest.mark.req("B1")
@pytest.mark.parametrize("step", [0.0, -3600.0, 3600.0])
def test_where_no_more_of_them_come_it_ends(step: float) -> None:
    lane = HandDriven()
    lane.take(order(category="service"))
    lane.crash()
    lane.round(5 * DOUBT_SECONDS)
    lane.take(order("message-2", category="service"))
    lane.crash()
    lane.write(reads_old)
    lane.now += step
    if step:
        lane.write(lambda scribe: scribe.clock_set(step))
    lane.round(RECOVERY_GRACE_SECONDS - UNREAD_LOOK_SECONDS)
    lane.round(UNREAD_LOOK_SECONDS - 0.1)
    assert lane.status("message-2") == "in_doubt"
    for _ in range(10):
        lane.round(DOUBT_SECONDS)
    assert lane.status("message-2") == "unknown"


@pytest.mark.req("B1")
def test_what_nobody_resolved_waits_for_them_too() -> None:
    lane = HandDriven()
    lane.take(order(category="service"))
    lane.answer(TIMEOUT)
    lane.round(5 * DOUBT_SECONDS)
    assert lane.status() == "unknown"
    until = lane.state.messages["message-1"].until
    assert until is not None
    lane.crash()
    lane.now = until + 1
    lane.write(reads_old)
    lane.round(RECOVERY_GRACE_SECONDS - 1)
    assert "message-1" in lane.state.messages
    lane.echo()
    assert lane.status() == "submitted"


@pytest.mark.req("B1")
@pytest.mark.parametrize(("most", "calls", "status"), [(1, 1, "unknown"), (2, 2, "attempting")])
def test_a_call_of_unknown_fate_counts_to_the_attempts_that_are_allowed(most: int, calls: int, status: str) -> None:
    lane = HandDriven(policy=policy(max_attempts=most))
    lane.take(order(category="authentication"))
    lane.answer(TIMEOUT)
    lane.now += DOUBT_SECONDS + 1
    heard(lane)
    lane.round()
    assert (len(lane.attempts), lane.status()) == (calls, status)


@pytest.mark.req("B1")
def test_a_resend_that_is_answered_ends_the_doubt() -> None:
    lane = HandDriven()
    lane.take(order(category="authentication"))
    lane.answer(TIMEOUT)
    lane.now += DOUBT_SECONDS + 1
    heard(lane)
    lane.round()
    lane.answer(ACCEPTED)
    assert lane.status() == "submitted"


@pytest.mark.parametrize("told", ["by status", "by answer"])
def test_the_template_in_the_place_of_a_text_that_was_sent_again_keeps_its_number(told: str) -> None:
    """Meta may have the first attempt, from that number."""
    forms = ((ONE, "session"), (TWO, "template"), (ONE, "template"))
    plan = [{"phone_number_id": number, "form": form} for number, form in forms]
    lane = HandDriven()
    lane.take(order("message-1", form="session", plan=plan, category="utility", duplicate_ok=True))
    lane.answer(TIMEOUT)
    lane.command("resolve_in_doubt", "message-1", resolution="resend")
    lane.round(20)
    if told == "by status":
        lane.answer(ACCEPTED)
        lane.failed(131047, "message-1", 2)
    else:
        lane.answer(refused(131047))
    lane.crash()
    lane.round()
    assert [number for _, _, number, _ in lane.attempts] == [ONE, ONE, ONE]
