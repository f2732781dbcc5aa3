"""A message of which Meta may have an attempt is sent again by the number of that attempt, or not without being asked:
the same words from another number would come from a stranger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harkara.dispatcher.core import number_changed
from tests.unit.dispatcher.lanes import ACCEPTED, LEASE, ONE, START, TIMEOUT, TWO, HandDriven, order, policy, refused

DOUBT_SECONDS = 20.0  # of an authentication message, by the policy of these tests


def in_doubt(**more: Any) -> HandDriven:
    """By ONE, with TWO beside it in the plan; its first call timed out."""
    lane = HandDriven(policy=policy(**more))
    lane.state.accounts = {number: facts.waba_id for number, facts in lane.fleet.items()}
    lane.take(order(numbers=(ONE, TWO), category="authentication"))
    lane.answer(TIMEOUT)
    return lane


def doubt_ends(lane: HandDriven) -> None:
    """Other messages' statuses come, and the message's time in doubt is over."""
    lane.now += DOUBT_SECONDS + 1
    lane.state.heard_of(ONE, lane.now - 1, lane.now)
    lane.round()


def numbers(lane: HandDriven) -> list[str]:
    return [number for _, _, number, _ in lane.attempts]


@pytest.mark.req("B1", "B2")
def test_a_paused_number_is_waited_for_by_what_it_is_to_send_again() -> None:
    lane = in_doubt()
    lane.verdict(ONE, "paused", until=lane.now + 600)
    doubt_ends(lane)
    assert (numbers(lane), lane.status()) == ([ONE], "held")
    lane.crash()
    lane.round(600)
    assert numbers(lane) == [ONE, ONE]
    lane.answer(ACCEPTED)
    assert lane.status() == "submitted"


def test_what_keeps_a_resend_from_going_out_does_not_unpin_it() -> None:
    lane = in_doubt()
    doubt_ends(lane)
    lane.answer(LEASE)
    lane.answer(refused(131016, 500))
    lane.verdict(ONE, "paused", until=lane.now + 600)
    lane.round(60)
    assert (set(numbers(lane)), lane.status()) == ({ONE}, "held")
    lane.round(600)
    assert (set(numbers(lane)), len(lane.attempts)) == ({ONE}, 4)


def lose(lane: HandDriven, how: str) -> None:
    """ONE cannot send any more, and no time mends it."""
    match how:
        case "halted":
            lane.verdict(ONE, "halted")
        case "token refused":
            lane.take(order("message-2", (ONE,)))
            lane.answer(refused(190, 401), "message-2")
        case "token used up":
            lane.state.auth_failures[ONE] = (3, lane.fleet[ONE].token)
        case "elsewhere at home":
            lane.fleet[ONE] = replace(lane.fleet[ONE], home="pool-b")


@pytest.mark.req("B1", "B2")
@pytest.mark.parametrize("how", ["halted", "token refused", "token used up", "elsewhere at home"])
def test_where_its_number_is_lost_an_operator_is_asked(how: str) -> None:
    lane = in_doubt()
    lose(lane, how)
    doubt_ends(lane)
    calls = [each for each in lane.attempts if each[0] == "message-1"]
    assert (len(calls), lane.status()) == (1, "unknown")
    reason = lane.shown()["message-1"]["reason"]
    assert reason["code"] == "resend_number_lost" and reason["rule"] == "dispatch.in_doubt_policy"
    lane.crash()
    lane.echo()
    assert lane.status() == "submitted"


@pytest.mark.req("B1", "B2")
@pytest.mark.parametrize("how", ["number_without_token", "number_not_configured"])
def test_a_token_or_a_number_that_is_gone_for_a_moment_is_waited_for(how: str) -> None:
    """Both are in files that are replaced while the lane runs; an alert tells of those that stay away."""
    lane = in_doubt()
    facts = lane.fleet.pop(ONE)
    if how == "number_without_token":
        lane.fleet[ONE] = replace(facts, token="", usable=False)
    doubt_ends(lane)
    assert (numbers(lane), lane.status()) == ([ONE], "held")
    assert lane.shown()["message-1"]["reason"]["code"] == how
    lane.fleet[ONE] = facts
    lane.write(lambda scribe: number_changed(scribe, lane.around, ONE))
    lane.round()
    assert numbers(lane) == [ONE, ONE]


@pytest.mark.req("B2")
def test_a_number_that_is_lost_while_the_resend_waits_for_it() -> None:
    lane = in_doubt()
    lane.verdict(ONE, "paused", until=lane.now + 600)
    doubt_ends(lane)
    lane.verdict(ONE, "halted", version=2)
    assert (numbers(lane), lane.status()) == ([ONE], "unknown")


@pytest.mark.req("B2")
def test_a_window_that_closes_over_the_only_way_of_its_number_ends_no_message_as_unsent() -> None:
    lane = HandDriven()
    lane.state.accounts = {number: facts.waba_id for number, facts in lane.fleet.items()}
    text = order(numbers=(ONE,), category="authentication", form="session", valid_until=START + 30)
    text["plan"] += order(numbers=(TWO,))["plan"]
    lane.take(text)
    lane.answer(TIMEOUT)
    lane.verdict(ONE, "paused", until=lane.now + 600)
    doubt_ends(lane)
    lane.round(30)
    assert (numbers(lane), lane.status()) == ([ONE], "unknown")


@pytest.mark.req("B1")
@pytest.mark.parametrize("resolution", ["resend", "drop"])
def test_an_operators_resend_goes_by_its_number_and_by_another_only_when_they_say_so_again(resolution: str) -> None:
    lane = in_doubt()
    lane.verdict(ONE, "halted")
    lane.now += 60
    lane.command("resolve_in_doubt", "message-1", resolution="resend")
    assert (numbers(lane), lane.status()) == ([ONE], "unknown")
    lane.crash()
    lane.now += 1
    lane.command("resolve_in_doubt", "message-1", resolution=resolution)
    if resolution == "drop":
        assert (numbers(lane), lane.shown()["message-1"]["reason"]["code"]) == ([ONE], "dropped_by_operator")
        return
    assert numbers(lane) == [ONE, TWO]
    lane.answer(ACCEPTED)
    assert lane.status() == "submitted"
    lane.echo(attempt=1)
    assert [entry.kind for entry in lane.journal].count("duplicate") == 1


@pytest.mark.req("B1")
def test_a_number_that_came_back_sends_it_again_itself() -> None:
    lane = HandDriven()
    lane.take(order(numbers=(TWO, ONE), category="authentication"))
    lane.verdict(TWO, "halted")
    lane.answer(LEASE)
    lane.answer(TIMEOUT)
    lane.verdict(ONE, "halted", version=2)
    lane.now += 60
    lane.command("resolve_in_doubt", "message-1", resolution="resend")
    assert (numbers(lane), lane.status()) == ([TWO, ONE], "unknown")
    lane.verdict(ONE, "open", version=3)
    lane.verdict(TWO, "open", version=4)
    assert lane.status() == "unknown", "a resume alone sends nothing"
    lane.now += 1
    lane.command("resolve_in_doubt", "message-1", resolution="resend")
    assert numbers(lane) == [TWO, ONE, ONE]


@pytest.mark.req("B1")
def test_an_operators_resend_waits_for_a_pause_and_goes_by_the_same_number() -> None:
    lane = in_doubt()
    lane.verdict(ONE, "paused", until=lane.now + 600)
    lane.now += 60
    lane.command("resolve_in_doubt", "message-1", resolution="resend")
    assert (numbers(lane), lane.status()) == ([ONE], "held")
    lane.round(600)
    assert numbers(lane) == [ONE, ONE]


def test_what_meta_surely_has_not_is_not_pinned() -> None:
    lane = HandDriven()
    lane.take(order(numbers=(ONE, TWO), category="authentication"))
    lane.verdict(ONE, "halted")
    lane.answer(LEASE)
    assert numbers(lane) == [ONE, TWO]
