"""Meta holds the first message of a template to see how people take it: the others wait here, and go by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.templates import TemplateEvent
from harkara.dispatcher.assessment import TRIED_EVERY_SECONDS
from harkara.dispatcher.core import ROUND, place_waiting, tick
from harkara.dispatcher.hold import IN_ASSESSMENT
from harkara.dispatcher.journal import Entry
from harkara.dispatcher.lane_clock import STEP_SECONDS
from harkara.dispatcher.observe import count_entries
from harkara.dispatcher.probes import STANDS_SECONDS, TEMPLATE_FORGOTTEN_SECONDS
from harkara.dispatcher.wakeup import next_wake
from harkara.graph_api.outcome import Accepted, Outcome
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, THREE, TIMEOUT, TWO, HandDriven, order, refused
from tests.unit.dispatcher.test_templates import BOTH, Lane, state

ASSESSED = Accepted("wamid.A", message_status="held_for_quality_assessment")
OTHER_TEMPLATE = {"type": "template", "name": "weekly_update", "language": "en"}
HINDI = {"type": "template", "name": "daily_update", "language": "hi"}
NAME = "waba-1/daily_update:en"
KEY = ("template", NAME)
HOUR, LONG = 3600.0, 10 * 86_400.0
WAITING = [f"message-{n:02}" for n in range(20)]


def called(lane: HandDriven) -> list[str]:
    return [each[0] for each in lane.attempts]


def in_assessment(waiting: list[str] = WAITING, capacity: int = 40) -> HandDriven:
    """Since START, by the message `first`; the others came after."""
    lane = HandDriven(capacity=capacity)
    lane.take(order("first"))
    lane.answer(ASSESSED, "first")
    lane.take(*(order(each, life=LONG) for each in waiting))
    return lane


def went_by(lane: HandDriven, message_id: str) -> str:
    """The template of its first attempt, as operators see it."""
    return str(lane.shown()[message_id]["attempts"]["1"]["template"])


def steps_of(lane: HandDriven, status: str) -> list[Entry]:
    return [entry for entry in lane.journal if entry.kind == "step" and (entry.data or {})["status"] == status]


def compacted(journal: list[Entry]) -> list[Entry]:
    """What Kafka's compaction leaves at the least: of each key the newest entry, and no tombstones."""
    newest = {entry.key: entry for entry in journal}
    return [entry for entry in journal if newest[entry.key] is entry and entry.data is not None]


@pytest.mark.req("B13")
def test_only_the_messages_of_that_template_in_that_account_wait_and_no_attempt_is_burnt() -> None:
    lane = in_assessment()
    lane.fleet[THREE] = replace(lane.fleet[THREE], waba_id="waba-2")
    lane.take(
        order("other", template=OTHER_TEMPLATE), order("text", form="session"), order("hindi", template=HINDI),
        order("elsewhere", (THREE,)), order("other number", (TWO,)),
    )  # fmt: skip
    assert sorted(called(lane)) == ["elsewhere", "first", "hindi", "other", "text"]
    assert lane.status("first") == "submitted"
    for each in (*WAITING, "other number"):
        message, shown = lane.state.messages[each], lane.shown()[each]
        assert (message.attempt, message.spent) == (0, 0)
        assert (shown["status"], shown["reason"]["code"]) == ("held", "template_in_assessment")
    told = [each.event for each in lane.emissions()]
    held = [each for each in told if isinstance(each, MessageLifecycle) and each.status == "held"]
    assert len(held) == len(WAITING) + 1
    assert {each.hold_until for each in held} == {None}, "nobody knows when Meta has seen enough"
    assert not [each for each in told if isinstance(each, TemplateEvent)], "it is approved as before"


@pytest.mark.req("B13")
def test_all_go_when_one_of_those_that_meta_holds_is_sent_on() -> None:
    lane = in_assessment()
    lane.round(90)
    lane.echo("first", 1)
    assert not lane.state.holds and sorted(called(lane)) == ["first", *WAITING]
    assert {lane.state.messages[each].attempt for each in WAITING} == {1}
    lane.echo("first", 1)  # Meta repeats its statuses
    assert not lane.state.assessed


@pytest.mark.req("B13")
@pytest.mark.parametrize("how", ["crash", "compacted", "run twice"])
def test_a_new_owner_of_the_lane_knows_it_too(how: str) -> None:
    lane = in_assessment()
    if how == "compacted":
        lane.journal = compacted(lane.journal)
    for _ in range(2 if how == "run twice" else 1):
        lane.crash()
    before = lane.state.holds[KEY]
    lane.round(1)
    assert called(lane) == ["first"] and lane.state.holds[KEY] == before
    assert (before.reason, before.with_meta) == (IN_ASSESSMENT, {"first": 1})
    lane.echo("first", 1)
    assert sorted(called(lane)) == ["first", *WAITING]


def test_a_message_that_went_before_says_nothing_when_it_is_delivered() -> None:
    lane = HandDriven(capacity=2)
    lane.take(order("before"), order("first"), order("waits"))
    lane.answer(ACCEPTED, "before")
    lane.command("cancel_message", "waits")
    lane.answer(ASSESSED, "first")
    lane.take(order("after"))
    lane.echo("before", 1)
    assert KEY in lane.state.holds and "after" not in called(lane)


@pytest.mark.parametrize("code", [0, 131049])
def test_one_that_meta_held_and_did_not_deliver_for_its_persons_sake_says_nothing(code: int) -> None:
    lane = in_assessment()
    lane.failed(code, "first")
    assert KEY in lane.state.holds and called(lane) == ["first"]


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_status_of_an_older_attempt_says_nothing(attempt: int) -> None:
    lane = HandDriven()
    lane.take(order("first"))
    lane.answer(refused(131016, 500), "first")
    lane.round(5)
    lane.answer(ASSESSED, "first", 2)
    lane.echo("first", attempt)
    assert (KEY in lane.state.holds) == (attempt == 1)


@pytest.mark.parametrize("plain_first", [True, False])
def test_of_calls_under_way_together_the_plain_answers_end_nothing_and_the_held_ones_hold_once(
    plain_first: bool,
) -> None:
    lane = HandDriven(capacity=6)
    lane.take(*(order(f"call-{n}") for n in range(6)), order("waits"))
    lane.answer(ASSESSED, "call-0")
    until = lane.state.holds[KEY].until
    for n in range(1, 6):
        lane.now += 1
        lane.answer(ACCEPTED if (n % 2 == 0) == plain_first else ASSESSED, f"call-{n}")
    assert sum(entry.key == f"hold/template/{NAME}" for entry in lane.journal) == 1
    assert lane.state.holds[KEY].until == until and "waits" not in called(lane)
    held = sorted(lane.state.holds[KEY].with_meta)
    assert held == [f"call-{n}" for n in range(6) if n == 0 or (n % 2 == 0) != plain_first]
    lane.echo(held[-1], 1)
    assert "waits" in called(lane), "any of them will do"


def test_a_status_that_overtakes_the_answer_leaves_nothing_to_wait_for() -> None:
    lane = HandDriven(capacity=1)
    lane.take(order("first"), order("next"))
    lane.echo("first", 1)
    lane.answer(ASSESSED, "first")
    assert not lane.state.holds and called(lane) == ["first", "next"]


def test_a_pause_that_overtakes_the_answer_stays_the_reason() -> None:
    lane = HandDriven(capacity=2)
    lane.take(order("first"), order("second"), order("waits"))
    lane.answer(ASSESSED, "first")
    lane.failed(132015, "first")
    lane.answer(ASSESSED, "second")
    lane.echo("second", 1)
    assert lane.state.holds[KEY].reason == "meta_132015" and called(lane) == ["first", "second"]


@pytest.mark.req("B13")
def test_one_message_tries_it_every_ten_minutes_and_nobody_else_is_told_anything() -> None:
    lane = in_assessment()
    told = len(steps_of(lane, "held"))
    for tries in range(1, 7):
        assert next_wake(lane.state, lane.around, lane.now, None) == START + tries * TRIED_EVERY_SECONDS
        lane.now = START + tries * TRIED_EVERY_SECONDS
        for _ in range(5):
            lane.round(0.01)
        assert len(lane.attempts) == 1 + tries and len(lane.under_way) == 1
        lane.answer(ASSESSED, called(lane)[-1])
        lane.round(1)
        assert len(lane.attempts) == 1 + tries and not lane.state.probes
        assert lane.state.holds[KEY].with_meta == {called(lane)[-1]: 1}
    assert len(steps_of(lane, "held")) == told
    lane.echo(called(lane)[-1], 1)
    assert sorted(called(lane)) == ["first", *WAITING]


@pytest.mark.req("B13")
def test_all_go_when_the_one_that_tries_it_is_taken_plainly() -> None:
    lane = in_assessment()
    lane.round(TRIED_EVERY_SECONDS)
    (tried,) = called(lane)[1:]
    lane.answer(ACCEPTED, tried)
    assert not lane.state.holds and sorted(called(lane)) == ["first", *WAITING]


@pytest.mark.parametrize("outcome", [refused(131026), TIMEOUT, refused(131016, 500)], ids=["person", "doubt", "unwell"])
def test_the_next_tries_it_where_a_call_says_nothing_of_the_template(outcome: Outcome) -> None:
    lane = in_assessment()
    lane.round(TRIED_EVERY_SECONDS)
    lane.answer(outcome, called(lane)[-1])
    assert len(lane.attempts) == 3 and len(lane.under_way) == 1


def test_whom_the_pause_stops_that_the_one_that_tries_it_brings_are_told_until_when() -> None:
    lane = in_assessment()
    lane.round(TRIED_EVERY_SECONDS)
    lane.answer(refused(132015), called(lane)[-1])
    until = lane.state.holds[KEY].until
    assert until == START + TRIED_EVERY_SECONDS + HOUR
    assert {(m.reason, m.until) for m in lane.state.messages.values()} == {("meta_132015", until)}


def test_a_template_that_was_paused_and_is_tried_out_now_waits_for_that() -> None:
    lane = HandDriven()
    lane.take(*(order(each, life=LONG) for each in WAITING))
    for each in WAITING:
        lane.answer(refused(132015), each)
    lane.round(HOUR)
    lane.answer(ASSESSED, called(lane)[-1])
    assert {(m.reason, m.until) for m in lane.state.messages.values()} == {("template_in_assessment", None)}
    lane.echo(called(lane)[-1], called(lane).count(called(lane)[-1]))
    assert not lane.state.holds and len(lane.under_way) == len(WAITING) - 1


def test_that_the_template_is_approved_says_nothing_for_it_is_all_the_while() -> None:
    lane = Lane()
    lane.told(state("APPROVED", START - 1))
    lane.take(order("first"))
    lane.answer(ASSESSED, "first")
    lane.take(order("waits"))
    lane.now += 60
    lane.told(state("APPROVED", lane.now))
    lane.crash()
    lane.round(1)
    assert lane.called() == ["first"]


@pytest.mark.req("B13", "TPL-7")
def test_one_with_an_approved_backup_goes_by_that_at_once_and_tries_nothing() -> None:
    lane = Lane(capacity=1)
    lane.told(state("APPROVED", START - 1, language="hi"))
    lane.take(order("first"), order("swapped-1", template=BOTH), order("alone", life=LONG))
    lane.answer(ASSESSED, "first")
    assert lane.called() == ["first", "swapped-1"]
    assert went_by(lane, "swapped-1") == "daily_update:hi"
    assert lane.state.messages["swapped-1"].course.template == "daily_update:hi"
    lane.answer(ACCEPTED, "swapped-1")
    lane.now += TRIED_EVERY_SECONDS
    lane.take(order("swapped-2", template=BOTH, at=lane.now, priority=3))
    assert lane.called()[-1] == "swapped-2" and went_by(lane, "swapped-2") == "daily_update:hi"
    lane.answer(ACCEPTED, "swapped-2")
    assert lane.called()[-1] == "alone" and KEY in lane.state.holds
    lane.answer(ACCEPTED, "alone")
    lane.take(order("own", template=BOTH, at=lane.now))
    assert went_by(lane, "own") == "daily_update:en"


def test_where_the_backup_is_tried_out_too_both_wait_and_each_ends_by_itself() -> None:
    lane = Lane(capacity=1)
    lane.told(state("APPROVED", START - 1, language="hi"))
    lane.take(order("first"), order("second", template=BOTH), order("third", template=BOTH))
    lane.answer(ASSESSED, "first")
    lane.answer(ASSESSED, "second")
    assert lane.called() == ["first", "second"] and lane.state.messages["third"].reason == "template_in_assessment"
    lane.echo("second", 1)
    assert went_by(lane, "third") == "daily_update:hi" and KEY in lane.state.holds


def test_the_clock_set_back_makes_no_wait_longer() -> None:
    lane = in_assessment()
    lane.now -= HOUR
    lane.write(lambda scribe: scribe.clock_set(-HOUR))
    lane.round(TRIED_EVERY_SECONDS - 1)
    assert called(lane) == ["first"]
    lane.crash()
    lane.round(1)
    assert len(lane.attempts) == 2, "who tries it"


def test_a_clock_that_goes_back_by_less_than_a_step_before_all_are_placed_leaves_nobody_behind() -> None:
    lane = in_assessment(capacity=ROUND + 1)
    for n in range(ROUND):
        lane.take(order(f"other-{n}", template=OTHER_TEMPLATE, life=LONG), start=False)
    lane.now = START + TRIED_EVERY_SECONDS
    lane.write(lambda scribe: tick(scribe, lane.around))
    lane.write(lambda scribe: place_waiting(scribe, lane.around))
    assert len(lane.state.unplaced) == len(WAITING), "woken, and not placed yet"
    lane.round(-STEP_SECONDS / 2)
    assert not set(called(lane)) & set(WAITING)
    lane.round(STEP_SECONDS)
    assert [each for each in called(lane) if each in WAITING] == WAITING[:1], "who tries it"


def test_the_next_owner_takes_a_step_back_that_nobody_saw_for_none() -> None:
    lane = in_assessment()
    lane.now -= HOUR
    lane.crash()
    lane.round(TRIED_EVERY_SECONDS)
    assert len(lane.attempts) == 2
    lane.echo("first", 1)
    assert sorted(called(lane)) == ["first", *WAITING]


def test_a_hold_that_is_forgotten_leaves_nobody_behind() -> None:
    """All of its numbers have used up their day, again and again."""
    lane = in_assessment()
    lane.verdict(ONE, "halted")
    lane.round(TRIED_EVERY_SECONDS)
    lane.verdict(ONE, "open", version=2, until=None)
    tried = called(lane)[-1]
    lane.round(TEMPLATE_FORGOTTEN_SECONDS)
    assert not lane.state.holds and tried != "first"
    lane.answer(TIMEOUT, tried)
    assert sorted(set(called(lane))) == ["first", *WAITING]


def test_one_that_stands_in_a_queue_keeps_another_number_for_a_minute() -> None:
    lane = in_assessment(["message-1", "message-2"], capacity=1)
    lane.take(order("elsewhere", (TWO,), life=LONG), order("busy", template=OTHER_TEMPLATE))
    lane.round(TRIED_EVERY_SECONDS)
    assert lane.state.probes[NAME].message_id == "message-1" and called(lane) == ["first", "busy"]
    lane.round(STANDS_SECONDS)
    assert called(lane) == ["first", "busy", "elsewhere"]


def test_it_is_counted_by_whether_it_began_or_was_tried_in_vain() -> None:
    def counts() -> tuple[float, ...]:
        name = "harkara_dispatcher_template_assessments_total"
        return tuple(REGISTRY.get_sample_value(name, {"word": word}) or 0.0 for word in ("began", "again"))

    lane, before = in_assessment(), counts()
    for _ in range(2):
        lane.round(TRIED_EVERY_SECONDS)
        lane.answer(ASSESSED, called(lane)[-1])
    count_entries(lane.journal)
    assert [after - first for after, first in zip(counts(), before, strict=True)] == [1, 2]
