"""A template that Meta refused is tried by one message when its time is over; the others wait for what it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harkara.contracts.templates import TemplateEvent
from harkara.dispatcher.core import place_waiting, tick
from harkara.dispatcher.message import Probe
from harkara.dispatcher.probes import PASSED_SECONDS, STANDS_SECONDS, TEMPLATE_FORGOTTEN_SECONDS
from harkara.dispatcher.state import LOOK_AT_LEAST_EVERY_SECONDS
from harkara.dispatcher.wakeup import next_wake
from harkara.graph_api.outcome import NotSent, Outcome
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, THREE, TIMEOUT, TWO, HandDriven, order, refused

PAUSED = refused(132015)
NAME = "waba-1/daily_update:en"
HOUR = 3600.0
WAITING = 50


def held(capacity: int = 80) -> HandDriven:
    """A template is held since START, with a queue behind it."""
    lane = HandDriven(limits=Limits(per_second=80), capacity=capacity)
    lane.take(order("first"))
    lane.answer(PAUSED, "first")
    lane.take(*(order(f"message-{n:02}") for n in range(WAITING)))
    assert len(lane.attempts) == 1 and lane.state.tally(ONE, "held") == WAITING + 1
    return lane


def calls_since(lane: HandDriven, begun: int) -> list[str]:
    return [message_id for message_id, *_ in lane.attempts[begun:]]


def pass_the_hour(lane: HandDriven) -> str:
    """To the end of the hour, and some rounds; the one message that is tried."""
    begun = len(lane.attempts)
    lane.now = lane.state.holds[("template", NAME)].until or 0.0
    for _ in range(20):
        lane.round(0.01)
    (tried,) = calls_since(lane, begun)
    return tried


@pytest.mark.req("B13")
def test_one_message_is_called_an_hour_while_it_is_refused() -> None:
    lane = held()
    for hour in range(1, 6):
        tried = pass_the_hour(lane)
        assert len(lane.attempts) == 1 + hour
        lane.answer(PAUSED, tried)
        lane.round(1)
        assert len(lane.attempts) == 1 + hour and not lane.state.probes
        assert lane.state.holds[("template", NAME)].until == START + HOUR * (hour + 1)
    told = [each.event for each in lane.emissions() if isinstance(each.event, TemplateEvent)]
    assert len(told) == 6
    steps = [entry for entry in lane.journal if entry.kind == "step" and (entry.data or {})["status"] == "held"]
    assert len(steps) <= (WAITING + 2) * 6, "each waiting message is told once an hour until when it waits"


def test_calls_that_were_under_way_together_hold_the_template_once() -> None:
    lane = HandDriven(capacity=10)
    lane.take(*(order(f"message-{n}") for n in range(10)))
    for n in range(10):
        lane.now += 0.1
        lane.answer(PAUSED, f"message-{n}")
    assert sum(entry.key.startswith("hold/template/") for entry in lane.journal) == 1
    assert lane.state.holds[("template", NAME)].until == START + 0.1 + HOUR


def test_one_that_was_taken_by_a_call_of_before_ends_nothing() -> None:
    lane = HandDriven(capacity=2)
    lane.take(order("message-1"), order("message-2"))
    lane.answer(PAUSED, "message-1")
    lane.answer(ACCEPTED, "message-2")
    assert ("template", NAME) in lane.state.holds


def test_of_those_that_stood_in_a_slow_queue_all_the_while_one_is_tried_too() -> None:
    lane = HandDriven(limits=Limits(per_hour=2))
    lane.take(*(order(f"message-{n}", life=HOUR / 2 if n < 2 else 10 * HOUR) for n in range(6)))
    for n in range(2):
        lane.answer(PAUSED, f"message-{n}")
    lane.round(HOUR / 2)
    assert lane.state.number(ONE).standing[1] == 4, "nobody has looked at them since"
    for _ in range(20):
        lane.round(HOUR / 30)
    assert len(lane.under_way) == 1


def test_another_reason_holds_it_for_its_own_time() -> None:
    lane = HandDriven(capacity=10)
    lane.take(order("message-1"), order("message-2"))
    lane.answer(refused(132001), "message-1")
    lane.answer(PAUSED, "message-2")
    hold = lane.state.holds[("template", NAME)]
    assert (hold.reason, hold.until) == ("meta_132015", START + HOUR)


@pytest.mark.req("B13")
def test_the_others_go_when_it_is_accepted() -> None:
    lane = held()
    tried = pass_the_hour(lane)
    lane.answer(ACCEPTED, tried)
    lane.round(1)
    assert not lane.state.holds
    for _ in range(20):
        lane.round(0.1)
    assert len(calls_since(lane, 1)) == WAITING + 1


@pytest.mark.parametrize(
    "outcome",
    [refused(131026), TIMEOUT, refused(131016, 500), refused(131056)],
    ids=["person", "doubt", "unwell", "pair"],
)
def test_the_next_is_tried_where_its_call_says_nothing_of_the_template(outcome: Outcome) -> None:
    lane = held()
    begun = len(lane.attempts)
    lane.answer(outcome, pass_the_hour(lane))
    assert len(calls_since(lane, begun)) == 2 and len(lane.under_way) == 1


@pytest.mark.parametrize("why", ["impossible", "connect"])
def test_one_that_could_not_be_sent_does_not_keep_another_number_waiting(why: str) -> None:
    lane = held()
    lane.take(order("elsewhere", (TWO,)))
    begun = len(lane.attempts)
    tried = pass_the_hour(lane)
    lane.answer(NotSent(why), tried)
    assert lane.attempts[begun:] == [
        (tried, lane.attempts[begun][1], ONE, "template"),
        ("elsewhere", 1, TWO, "template"),
    ]


def test_where_there_is_no_other_number_another_message_is_tried_in_some_seconds() -> None:
    lane = held()
    begun = len(lane.attempts)
    tried = pass_the_hour(lane)
    lane.answer(NotSent("connect"), tried)
    assert calls_since(lane, begun) == [tried] and lane.state.messages[tried].status == "held"
    at = next_wake(lane.state, lane.around, lane.now, None)
    assert at is not None and lane.now < at <= lane.now + PASSED_SECONDS
    lane.round(PASSED_SECONDS)
    lane.round()
    assert len(calls_since(lane, begun)) == 2 and calls_since(lane, begun)[1] != tried


def test_a_message_that_waits_alone_is_tried_again_itself() -> None:
    lane = HandDriven()
    lane.take(order("first"))
    lane.answer(PAUSED, "first")
    lane.round(HOUR)
    lane.answer(NotSent("impossible"), "first")
    for _ in range(3):
        lane.round(PASSED_SECONDS)
    assert len(lane.attempts) == 3 and len(lane.under_way) == 1


def stands_at_one() -> HandDriven:
    """The template's hour is over; who tries it stands in a queue whose number has used up its day."""
    lane = HandDriven(limits=Limits(per_day=1))
    lane.take(order("first", life=48 * HOUR))
    lane.answer(PAUSED, "first")
    lane.take(order("second"), order("elsewhere", (TWO,)), order("as well", (TWO,)))
    lane.round(HOUR)
    assert lane.state.probes[NAME].message_id == "first" and len(lane.attempts) == 1
    return lane


def test_one_that_stands_and_is_not_called_keeps_the_others_for_a_minute() -> None:
    lane = stands_at_one()
    assert next_wake(lane.state, lane.around, lane.now, None) == lane.now + LOOK_AT_LEAST_EVERY_SECONDS
    lane.state.busy.clear()
    assert next_wake(lane.state, lane.around, lane.now, None) == lane.now + STANDS_SECONDS
    lane.round(STANDS_SECONDS - 1)
    assert len(lane.attempts) == 1
    lane.round(1)
    assert lane.attempts[1:] == [("elsewhere", 1, TWO, "template")]
    lane.answer(ACCEPTED, "elsewhere")
    assert not lane.state.holds


def test_one_that_was_passed_over_goes_when_its_number_comes_to_it() -> None:
    lane = stands_at_one()
    lane.round(STANDS_SECONDS)
    lane.answer(refused(131026), "elsewhere")
    lane.round(86_400 - HOUR - 2 * STANDS_SECONDS)
    assert len(lane.attempts) == 2, "the day of both numbers is used up"
    for _ in range(10):
        lane.round(STANDS_SECONDS)
    assert ("first", 2, ONE, "template") in lane.attempts


def test_the_head_of_a_queue_does_not_wait_for_one_that_stands_in_another() -> None:
    lane = HandDriven(limits=Limits(per_day=1))
    lane.take(order("first", life=48 * HOUR))
    lane.answer(PAUSED, "first")
    lane.round(HOUR / 2)
    lane.take(order("day of two", (TWO,), template={"type": "template", "name": "weekly_update", "language": "en"}))
    lane.take(order("elsewhere", (TWO,), life=48 * HOUR))
    lane.round(HOUR / 2)
    lane.round(STANDS_SECONDS)
    assert lane.state.probes[NAME][:2] == ("elsewhere", TWO) and len(lane.attempts) == 2
    lane.round(lane.state.number(ONE).pace.next_at() - lane.now)
    assert lane.attempts[2:] == [("first", 2, ONE, "template")]


def test_the_clock_set_back_does_not_make_the_minute_longer() -> None:
    lane = stands_at_one()
    hold = lane.state.holds[("template", NAME)]
    lane.now -= HOUR
    lane.write(lambda scribe: scribe.clock_set(-HOUR))
    lane.round(STANDS_SECONDS)
    assert lane.state.holds[("template", NAME)].until == (hold.until or 0.0) - HOUR
    assert lane.attempts[1:] == [("elsewhere", 1, TWO, "template")]


def test_what_is_more_urgent_does_not_wait_for_one_that_stands() -> None:
    lane = stands_at_one()
    lane.take(order("same", (TWO,)), order("code", (TWO,), priority=3))
    assert lane.attempts[1:] == [("code", 1, TWO, "template")]
    lane.take(order("code again", (THREE,), priority=3))
    assert len(lane.attempts) == 2, "one is called: that one is waited for"


def test_one_that_moves_to_a_number_of_another_account_tries_nothing_there() -> None:
    lane = HandDriven(limits=Limits(per_day=1))
    lane.fleet[TWO] = replace(lane.fleet[TWO], waba_id="waba-2")
    lane.take(order("day of two", (TWO,)), order("first"))
    lane.answer(ACCEPTED, "day of two")
    lane.answer(PAUSED, "first")
    lane.command("cancel_message", "first")
    lane.verdict(TWO, "halted")
    lane.take(order("moves", (ONE, TWO)), order("stays", (THREE,)))
    lane.now += HOUR
    lane.write(lambda scribe: tick(scribe, lane.around))
    lane.write(lambda scribe: place_waiting(scribe, lane.around))
    assert lane.state.messages["moves"].placed == ONE
    lane.verdict(TWO, "open", version=2)
    lane.verdict(ONE, "halted", version=3)
    assert lane.state.messages["moves"].placed == TWO
    lane.round()
    assert lane.attempts[-1] == ("stays", 1, THREE, "template")


def test_a_round_follows_where_the_one_that_stands_is_cancelled_in_it() -> None:
    lane = stands_at_one()
    lane.command("cancel_message", "first")
    assert len(lane.attempts) == 1
    assert next_wake(lane.state, lane.around, lane.now, None) == lane.now
    lane.round()
    assert lane.state.probes[NAME].message_id == "second"


def test_the_next_owner_of_one_that_stands_comes_to_the_others_as_well() -> None:
    lane = stands_at_one()
    lane.crash()
    lane.round()
    assert lane.state.probes[NAME].message_id == "first" and len(lane.attempts) == 1
    lane.round(STANDS_SECONDS)
    assert lane.attempts[1:] == [("elsewhere", 1, TWO, "template")]


@pytest.mark.parametrize("how", ["cancelled", "number halted"])
def test_the_next_is_tried_where_it_is_not_called_at_all(how: str) -> None:
    lane = held(capacity=1)
    lane.take(order("other", template={"type": "template", "name": "weekly_update", "language": "en"}))
    lane.round(HOUR)
    assert calls_since(lane, 1) == ["other"], "the number is busy: the one that is tried stands in its queue"
    tried = lane.state.probes[NAME].message_id
    lane.round(1)
    assert lane.state.number(ONE).standing[1] == 1, "and it alone"
    if how == "cancelled":
        lane.command("cancel_message", tried)
    else:
        lane.verdict(ONE, "halted")
        lane.verdict(ONE, "open", version=2)
    lane.answer(ACCEPTED, "other")
    assert len(calls_since(lane, 2)) == 1
    assert how == "number halted" or calls_since(lane, 2) != [tried]


def test_the_next_is_tried_where_it_goes_another_way() -> None:
    lane, first = held(), order("late", session={"type": "text", "body": "Good morning"})
    first["plan"].append({"phone_number_id": ONE, "form": "session"})
    lane.now = START + HOUR
    lane.verdict(ONE, "pause_proactive")
    lane.take(first)
    assert lane.attempts[-1] == ("late", 1, ONE, "session")
    lane.state.probes[NAME] = Probe("late", ONE, lane.now)  # as if chosen before its number sent texts alone
    lane.verdict(ONE, "open", version=2)
    assert len(lane.under_way) == 2 and lane.attempts[-1][3] == "template"


def test_a_new_message_waits_for_the_one_that_is_tried() -> None:
    lane = held()
    pass_the_hour(lane)
    lane.take(order("late", priority=3), order("other", template={"type": "template", "name": "x", "language": "en"}))
    assert lane.status("late") == "held" and lane.attempts[-1][0] == "other"
    assert lane.state.messages["late"].until == START + 2 * HOUR


def test_a_new_owner_tries_one_too() -> None:
    lane = held()
    pass_the_hour(lane)
    lane.crash()
    for _ in range(5):
        lane.round(0.05)
    assert len(lane.under_way) == 1


def test_numbers_of_another_account_try_their_own_template() -> None:
    lane = held()
    lane.fleet[THREE] = replace(lane.fleet[THREE], waba_id="waba-2")
    pass_the_hour(lane)
    lane.take(order("elsewhere", (THREE,)))
    assert lane.attempts[-1][0] == "elsewhere"


def test_one_that_nobody_wants_is_forgotten_after_a_day_and_wakes_nobody() -> None:
    lane = HandDriven()
    lane.take(order("first", life=HOUR / 2))
    lane.answer(PAUSED, "first")
    lane.round(HOUR + 1)
    assert ("template", NAME) in lane.state.holds
    at = next_wake(lane.state, lane.around, lane.now, None)
    assert at is None or at > lane.now + HOUR
    lane.round(TEMPLATE_FORGOTTEN_SECONDS)
    assert not lane.state.holds and lane.journal[-1].key.startswith("hold/template/")
