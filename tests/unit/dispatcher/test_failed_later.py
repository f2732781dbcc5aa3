"""What Meta takes and refuses a moment later, by a status: nothing goes on as if it had been delivered.

Nothing that is over by the status's own time is held anew, however late it is read and however often.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.numbers import NumberEvent
from harkara.contracts.templates import TemplateEvent
from harkara.dispatcher.barred import Bar, Barred
from harkara.dispatcher.failed_later import BELIEVED_SECONDS
from harkara.dispatcher.holds import hold_barred
from harkara.dispatcher.inbox import EchoArrived, _echo
from harkara.dispatcher.plan import last_gate
from harkara.dispatcher.statuses import REMEMBERED, Statuses
from harkara.dispatcher.wordings import TemplateWord
from harkara.graph_api.outcome import Refused
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, THREE, TIMEOUT, TWO, HandDriven, iso, order, refused

PAYMENT, TOKEN, REGISTERED, SPAM, PAUSED_TEMPLATE = 131042, 190, 131045, 131048, 132015
TEMPLATE = ("template", "waba-1/daily_update:en")
HOUR = 3600.0


def accepted(count: int = 1, **more: Any) -> HandDriven:
    """Meta has taken so many messages; nothing waits."""
    lane = HandDriven()
    lane.take(*(order(f"message-{n}", **more) for n in range(1, count + 1)))
    for n in range(1, count + 1):
        lane.answer(ACCEPTED, f"message-{n}")
    return lane


def told(lane: HandDriven) -> list[tuple[str, str]]:
    """(number, kind) of every number event."""
    events = [each.event for each in lane.emissions() if isinstance(each.event, NumberEvent)]
    return [(event.phone_number_id, event.kind) for event in events]


@pytest.mark.req("DSP-12", "DSP-14")
@pytest.mark.parametrize("code", [PAYMENT, 131031, 368, SPAM, REGISTERED, TOKEN, 131064, PAUSED_TEMPLATE, 10, 80007, 4])
def test_a_queue_that_fails_behind_the_answers_stops_with_the_first_status(code: int) -> None:
    lane = HandDriven(limits=Limits(per_second=10))
    lane.take(*(order(f"message-{n:02}") for n in range(60)))
    for _ in range(40):
        lane.round(0.5)
        for message_id, attempt in list(lane.under_way):
            lane.answer(ACCEPTED, message_id, attempt)
            lane.failed(code, message_id, attempt)
    assert len(lane.attempts) <= 2
    assert len({each[0] for each in lane.attempts}) == len(lane.attempts), "what Meta had is not sent again"
    assert sum(state["status"] == "held" for state in lane.shown().values()) >= 58, "nothing of the queue is lost"


def test_calls_that_were_journaled_and_have_not_begun_do_not() -> None:
    lane = accepted()
    lane.take(order("message-2"))
    message = lane.state.messages["message-2"]
    assert last_gate(lane.state, lane.around, message, lane.now) is None
    lane.failed(PAYMENT)
    assert last_gate(lane.state, lane.around, message, lane.now) == "meta_131042"


@pytest.mark.parametrize("before", [None, TIMEOUT], ids=["before the answer", "in doubt"])
def test_it_holds_whatever_is_known_of_the_message_which_is_done(before: object) -> None:
    lane = HandDriven()
    lane.take(order())
    if before is not None:
        lane.answer(TIMEOUT)
    lane.failed(PAUSED_TEMPLATE)
    assert set(lane.state.holds) == {TEMPLATE}
    lane.round(2 * HOUR)
    assert (lane.status(), len(lane.attempts)) == ("submitted", 1)


@pytest.mark.parametrize("code", [PAYMENT, SPAM])
def test_a_status_of_before_a_resume_holds_nothing_anew(code: int) -> None:
    lane = accepted(3)
    lane.failed(code)
    lane.now += 60
    lane.verdict(ONE, "open", version=2, resumed_at=lane.now)
    assert ("number", ONE) not in lane.state.holds
    lane.round(30)
    events = told(lane)
    lane.failed(code, at=START)  # read again
    lane.failed(code, "message-2", at=START + 59)  # late
    assert ("number", ONE) not in lane.state.holds and told(lane) == events
    lane.failed(code, "message-3")
    assert ("number", ONE) in lane.state.holds, "one of after it does"


def test_a_resume_that_is_heard_of_later_than_the_status_ends_what_the_status_held() -> None:
    lane = accepted()
    lane.now += 120
    lane.failed(PAYMENT, at=START + 1)
    assert ("number", ONE) in lane.state.holds
    lane.verdict(ONE, "open", version=2, resumed_at=START + 60)
    assert ("number", ONE) not in lane.state.holds
    lane.crash()
    assert ("number", ONE) not in lane.state.holds
    events = [each.event for each in lane.emissions() if isinstance(each.event, NumberEvent)]
    assert {event.at.timestamp() for event in events} == {START + 1}, "so that whoever keeps the halts sees it so too"


def test_of_numbers_that_share_the_account_those_resumed_since_go_on() -> None:
    lane = accepted()
    lane.verdict(TWO, "open", resumed_at=START + 10)
    lane.now += 20
    lane.failed(PAYMENT, at=START + 5)
    assert {target for _, target in lane.state.holds} == {ONE, THREE}


def test_where_somebody_has_resumed_the_number_itself_since_it_stops_no_other() -> None:
    lane = accepted()
    lane.verdict(ONE, "open", resumed_at=START + 10)
    lane.now += 20
    lane.failed(PAYMENT, at=START + 5)
    assert not lane.state.holds


@pytest.mark.parametrize(("code", "seconds"), [(SPAM, 1800.0), (80007, 1800.0), (131057, 120.0), (133015, 300.0)])
def test_a_pause_lasts_from_the_statuss_own_time_and_one_that_is_over_does_not_begin(code: int, seconds: float) -> None:
    lane = accepted(2)
    lane.now += 100
    lane.failed(code, at=START)
    assert lane.state.holds[("number", ONE)].until == START + seconds
    lane.now = START
    lane.round(seconds)
    events = told(lane)
    assert not lane.state.holds
    for message_id in ("message-1", "message-2"):
        lane.failed(code, message_id, at=START)
    assert not lane.state.holds and told(lane) == events


def test_a_flood_of_statuses_of_one_pause_is_one_pause() -> None:
    lane = accepted(5)
    for n in range(1, 6):
        lane.now += 1
        lane.failed(SPAM, f"message-{n}")
    assert told(lane) == [(ONE, "rate_limited")]
    assert lane.state.holds[("number", ONE)].until == START + 1 + 1800


def test_a_pair_is_held_as_long_as_for_an_answer_from_the_status_on() -> None:
    lane = accepted()
    lane.failed(131056, person_key="person-7")
    assert {key: hold.until for key, hold in lane.state.holds.items()} == {("pair", f"{ONE}/person-7"): START + 1.0}
    lane.now += 2
    lane.failed(131056, at=START, person_key="person-8")
    assert ("pair", f"{ONE}/person-8") not in lane.state.holds


def test_a_template_that_was_approved_since_is_not_held() -> None:
    lane = accepted(2)
    lane.around.templates = {TEMPLATE[1]: TemplateWord(1, "APPROVED", START + 30, None, "UTILITY")}
    lane.now += 60
    lane.failed(PAUSED_TEMPLATE, at=START + 10)
    assert not lane.state.holds
    lane.failed(PAUSED_TEMPLATE, "message-2", at=START + 40)
    assert lane.state.holds[TEMPLATE].until == START + 40 + HOUR
    (event,) = [each.event for each in lane.emissions() if isinstance(each.event, TemplateEvent)]
    assert event.at.timestamp() == START + 40


@pytest.mark.parametrize("code", [PAUSED_TEMPLATE, SPAM, 131056])
def test_what_is_over_by_the_statuss_own_time_leaves_no_trace(code: int) -> None:
    lane = accepted()
    lane.now += HOUR
    lane.failed(code, at=START, person_key="person-7")
    assert not any(entry.kind == "hold" for entry in lane.journal)


def test_the_template_is_known_to_whoever_takes_the_lane() -> None:
    lane = accepted()
    lane.crash()
    lane.failed(PAUSED_TEMPLATE)
    assert set(lane.state.holds) == {TEMPLATE}


def test_a_text_has_no_template_to_hold() -> None:
    lane = accepted(form="session")
    lane.failed(PAUSED_TEMPLATE)
    assert not lane.state.holds


def test_what_is_held_by_a_status_survives_the_owner_and_ends_by_a_resume() -> None:
    lane = accepted()
    lane.failed(TOKEN)
    lane.crash()
    lane.take(order("message-2"))
    assert lane.status("message-2") == "held"
    lane.now += 1
    lane.verdict(ONE, "open", version=2, resumed_at=lane.now)
    assert lane.attempts[-1][0] == "message-2"


def test_a_status_of_an_attempt_that_the_lane_never_made_or_of_long_ago_holds_nobody() -> None:
    lane = accepted()
    lane.failed(PAYMENT, "of another lane")
    lane.failed(PAYMENT, attempt=2)
    lane.failed(PAYMENT, attempt=0)
    lane.failed(PAYMENT, number="100000000000099")
    lane.take(order("message-2"))
    lane.failed(PAYMENT, "message-2", attempt=2)
    lane.now += BELIEVED_SECONDS + 1
    lane.failed(PAYMENT, at=START)
    assert not lane.state.holds and told(lane) == []
    lane.failed(PAYMENT, at=START + 2)
    assert ("number", ONE) in lane.state.holds, "a night without webhooks is no reason to burn the queue"


def test_a_clock_that_is_ahead_does_not_outlive_a_resume() -> None:
    lane = accepted()
    lane.failed(PAYMENT, at=START + 500)
    lane.now += 1
    lane.verdict(ONE, "open", version=2, resumed_at=lane.now)
    assert ("number", ONE) not in lane.state.holds


def test_a_code_that_holds_a_template_and_lets_a_fallback_go_does_both() -> None:
    other = {"session": {"type": "text", "body": "Good morning"}, "plan": [{"phone_number_id": ONE, "form": "session"}]}
    lane = HandDriven()
    lane.take(order(fallback=other))
    lane.answer(ACCEPTED)
    lane.failed(PAUSED_TEMPLATE)
    assert set(lane.state.holds) == {TEMPLATE}
    assert [(each[1], each[3]) for each in lane.attempts] == [(1, "template"), (2, "session")]


class TestTheLane:
    """What the shell does with a status besides."""

    @staticmethod
    def failure(code: int | None, message_id: str = "message-1", at: float = START) -> EchoArrived:
        return EchoArrived(message_id, 1, "wamid.A", ONE, at, code)

    @staticmethod
    def counted(code: str, scope: str) -> float:
        labels = {"code": code, "scope": scope}
        return REGISTRY.get_sample_value("harkara_dispatcher_failed_later_total", labels) or 0.0

    @pytest.mark.parametrize(
        ("code", "label", "scope"),
        [(PAYMENT, "131042", "waba"), (131026, "131026", "recipient"), (0, "none", "message")],
    )
    def test_a_failure_is_counted_once_and_only_of_what_the_lane_sent(self, code: int, label: str, scope: str) -> None:
        lane, statuses = accepted(2), Statuses(lambda number, outcome, since=None: None)
        before = self.counted(label, scope)
        for message_id in ("message-1", "message-1", "message-2", "of another lane"):
            echo = self.failure(code, message_id)
            lane.write(lambda scribe, echo=echo: statuses.take(scribe, lane.around, echo))  # type: ignore[misc]
        lane.write(lambda scribe: statuses.take(scribe, lane.around, self.failure(None)))
        assert self.counted(label, scope) - before == 2

    def test_no_more_is_remembered_of_them_than_meta_may_repeat(self) -> None:
        lane, statuses = accepted(1), Statuses(lambda number, outcome, since=None: None)
        statuses._counted = {(f"message of before {n}", 1): None for n in range(REMEMBERED)}
        lane.write(lambda scribe: statuses.take(scribe, lane.around, self.failure(131026)))
        assert len(statuses._counted) == REMEMBERED and ("message-1", 1) in statuses._counted

    def test_numbers_in_other_lanes_of_the_process_stop_at_once_but_those_resumed_since(self) -> None:
        lane, barred = accepted(), list[tuple[str, Refused, float | None]]()
        statuses = Statuses(lambda number, outcome, since=None: barred.append((number, outcome, since)))
        lane.now += 30
        lane.write(lambda scribe: statuses.take(scribe, lane.around, self.failure(TOKEN, at=START + 10)))
        lane.write(lambda scribe: statuses.take(scribe, lane.around, self.failure(TOKEN, at=START + 10)))
        ((number, outcome, since),) = barred
        assert (number, since) == (ONE, START + 10)
        other = HandDriven(now=lane.now)
        other.verdict(TWO, "open", resumed_at=START + 20)
        for each in (TWO, THREE):
            other.write(
                lambda scribe, each=each: hold_barred(scribe, other.around, each, outcome, own=False, since=since)  # type: ignore[misc]
            )
        assert {target: hold.at for (_, target), hold in other.state.holds.items()} == {THREE: START + 10}

    def test_a_narrow_refusal_in_the_same_round_does_not_hide_a_wide_one(self) -> None:
        lane, barred = HandDriven(), Barred()
        for code in (TOKEN, REGISTERED):
            barred.add(ONE, Bar(refused(code), own=True, since=None))
        assert ONE in barred and TWO not in barred
        lane.write(lambda scribe: barred.write(scribe, lane.around))
        assert {target for _, target in lane.state.holds} == {ONE, TWO} and ONE not in barred

    @pytest.mark.parametrize("own", [True, False])
    def test_what_was_resumed_since_is_not_held_by_the_lane_that_is_told(self, own: bool) -> None:
        lane, barred = HandDriven(now=START + 20), Barred()
        lane.verdict(ONE, "open", resumed_at=START + 5)
        barred.add(ONE, Bar(refused(PAYMENT), own=own, since=START))
        lane.write(lambda scribe: barred.write(scribe, lane.around))
        assert not lane.state.holds

    def test_a_status_says_who_the_person_is(self) -> None:
        event = MessageLifecycle(
            message_id="message-1", home="pool-a", status="failed", attempt=2, at=iso(START), phone_number_id=ONE,
            wamid="wamid.A", error_code=131056, reached_key="person-7",
        )  # fmt: skip
        found = _echo(orjson.dumps(event.model_dump(mode="json")))
        assert found == EchoArrived("message-1", 2, "wamid.A", ONE, START, 131056, False, "person-7")


class TestOthers:
    """Numbers in other lanes are told of what is refused: each once, and of a wider or longer hold again."""

    @staticmethod
    def lane() -> HandDriven:
        """ONE and TWO send with one token, THREE is of their account; each is in a lane of its own."""
        made = HandDriven()
        made.fleet[TWO] = replace(made.fleet[TWO], home="beside", partition=3)
        made.fleet[THREE] = replace(made.fleet[THREE], home="elsewhere", partition=5)
        made.take(*(order(f"message-{n}") for n in range(1, 6)))
        return made

    @pytest.mark.req("DSP-14")
    @pytest.mark.parametrize("by_status", [False, True], ids=["by an answer", "by a status"])
    def test_a_wider_halt_after_a_narrower_one_is_told(self, by_status: bool) -> None:
        lane = self.lane()
        for n, code in enumerate((REGISTERED, TOKEN, TOKEN, PAYMENT), 1):
            if by_status:
                lane.answer(ACCEPTED, f"message-{n}")
                lane.failed(code, f"message-{n}")
            else:
                lane.answer(refused(code, 401), f"message-{n}")
        assert {number for number, kind in told(lane) if kind == "halted"} == {ONE, TWO, THREE}
        assert [number for number, _ in told(lane) if number != ONE] == [TWO, THREE], "each of them once"
        assert lane.state.holds[("number", ONE)].reason == "meta_131045", "the first is what the number is held for"

    def test_a_halt_is_told_to_those_who_know_of_a_pause(self) -> None:
        lane = self.lane()
        for n, code in enumerate((REGISTERED, 80007, 80007, PAYMENT, 80007), 1):
            lane.answer(refused(code), f"message-{n}")
        assert [(number, kind) for number, kind in told(lane) if number == THREE] == [
            (THREE, "rate_limited"),
            (THREE, "halted"),
        ]
        assert lane.state.holds[("number", ONE)].until is None

    def test_a_flood_of_statuses_of_one_pause_is_told_once(self) -> None:
        lane = self.lane()
        for n in range(1, 6):
            lane.answer(ACCEPTED, f"message-{n}")
        for n in range(1, 6):
            lane.now += 1
            lane.failed(80007, f"message-{n}")
        assert sorted(told(lane)) == [(ONE, "rate_limited"), (TWO, "rate_limited"), (THREE, "rate_limited")]
        lane.round(1801)
        lane.take(order("message-6"))
        lane.answer(ACCEPTED, "message-6")
        lane.failed(80007, "message-6")
        assert len(told(lane)) == 6, "another pause is told anew"

    def test_they_are_told_why_and_until_when_they_are_held_themselves(self) -> None:
        lane = self.lane()
        for n, code in enumerate((REGISTERED, 80007), 1):
            lane.answer(refused(code), f"message-{n}")
        (event,) = [
            each.event
            for each in lane.emissions()
            if isinstance(each.event, NumberEvent) and each.event.phone_number_id == THREE
        ]
        assert event.reason is not None and event.reason.code == "meta_80007"
        assert event.hold_until is not None and event.hold_until.timestamp() == START + 1800

    def test_an_old_status_that_is_told_on_does_not_make_the_halt_itself_older(self) -> None:
        lane = self.lane()
        lane.answer(ACCEPTED, "message-1")
        lane.now += 5
        lane.answer(refused(REGISTERED), "message-2")
        lane.failed(TOKEN, "message-1", at=START + 1)
        assert (TWO, "halted") in told(lane)
        lane.verdict(ONE, "open", resumed_at=START + 3)
        assert ("number", ONE) in lane.state.holds

    def test_who_was_told_is_known_to_the_next_owner(self) -> None:
        lane = self.lane()
        lane.answer(refused(REGISTERED), "message-1")
        lane.answer(refused(TOKEN, 401), "message-2")
        before = told(lane)
        lane.crash()
        lane.write(lambda scribe: hold_barred(scribe, lane.around, ONE, refused(TOKEN, 401), own=True))
        assert told(lane) == before
        lane.write(lambda scribe: hold_barred(scribe, lane.around, ONE, refused(PAYMENT), own=True))
        assert (THREE, "halted") in told(lane)

    def test_one_that_was_resumed_since_is_told_again(self) -> None:
        lane = self.lane()
        lane.answer(refused(TOKEN, 401), "message-1")
        lane.now += 10
        lane.verdict(TWO, "open", resumed_at=lane.now)
        lane.now += 10
        lane.write(lambda scribe: hold_barred(scribe, lane.around, ONE, refused(TOKEN, 401), own=True))
        assert [number for number, _ in told(lane)].count(TWO) == 2
