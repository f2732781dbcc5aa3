"""The error policy carried out: what each kind of refusal does to the message and to whom it holds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from harkara.contracts.consent import ConsentEvent
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.numbers import NumberEvent, NumberState
from harkara.contracts.topics import CONSENT_EVENTS, DISPATCH_ORDERS
from harkara.graph_api.outcome import NotSent
from tests.unit.dispatcher.lanes import (
    ACCEPTED,
    HOME,
    ONE,
    START,
    THREE,
    TIMEOUT,
    TWO,
    HandDriven,
    iso,
    order,
    policy,
    refused,
)


@pytest.mark.req("DSP-11")
def test_three_attempts_then_failed_and_a_dead_letter() -> None:
    lane = HandDriven()
    lane.take(order())
    for seconds in (1.3, 5.1, 60.0):
        lane.answer(refused(131016, 500))
        lane.round(seconds)
    assert lane.steps() == ["queued", *["attempting", "retrying"] * 2, "attempting", "failed_unsent"]
    assert lane.shown()["message-1"]["error_code"] == 131016
    (end,) = [entry.data or {} for entry in lane.journal if entry.kind == "end"]
    assert end["alert"], "three attempts are used up: somebody is told"
    dead = [each for each in lane.emissions() if each.topic == DISPATCH_ORDERS.dlq]
    assert len(dead) == 1 and isinstance(dead[0].event, DispatchOrder)
    assert dead[0].event.to == "+919999950050"
    assert dead[0].event.template is not None and dead[0].event.template.body == ("Asha",)
    assert "131016" in (dead[0].dlq_reason or "")


class TestRedrive:
    """The copy of a failed message's order on the DLQ, written to its topic again."""

    def failed(self, **more: Any) -> tuple[HandDriven, dict[str, Any]]:
        lane = HandDriven()
        lane.take(order(**more))
        lane.answer(refused(131026))
        (dead,) = [each for each in lane.emissions() if each.topic == DISPATCH_ORDERS.dlq]
        return lane, dead.event.model_dump(mode="json", exclude_none=True)

    def test_it_goes_on_with_the_next_attempt_however_often_the_letter_comes(self) -> None:
        lane, letter = self.failed()
        lane.take(letter, letter)
        assert [(each[0], each[1]) for each in lane.attempts] == [("message-1", 1), ("message-1", 2)]
        lane.crash()
        lane.answer(ACCEPTED, "message-1", 2)
        lane.take(letter)
        assert lane.status() == "submitted"
        assert len(lane.attempts) == 2

    def test_after_another_failure_the_old_letter_does_nothing_and_the_new_one_does(self) -> None:
        lane, letter = self.failed()
        lane.take(letter)
        lane.answer(refused(131026))
        lane.take(letter)
        assert len(lane.attempts) == 2
        newest = [each for each in lane.emissions() if each.topic == DISPATCH_ORDERS.dlq][-1]
        lane.take(newest.event.model_dump(mode="json", exclude_none=True))
        assert [each[1] for each in lane.attempts] == [1, 2, 3]

    def test_a_person_who_said_no_a_cancel_and_the_deadline_stop_it(self) -> None:
        lane, letter = self.failed(life=600.0)
        lane.command("cancel_message", "message-1")
        lane.take(letter)
        assert lane.status() == "cancelled"
        lane, letter = self.failed(life=600.0)
        lane.now += 601
        lane.take(letter)
        assert lane.status() == "expired"
        assert len(lane.attempts) == 1

    def test_one_with_an_older_attempt_of_unknown_fate_has_no_letter_that_reopens_it(self) -> None:
        lane = HandDriven()
        lane.take(order(category="service"))
        lane.answer(TIMEOUT)
        lane.round(61)
        lane.command("resolve_in_doubt", "message-1", resolution="resend")
        lane.answer(refused(131026))
        letters = [each.event for each in lane.emissions() if each.topic == DISPATCH_ORDERS.dlq]
        for letter in letters:
            lane.take(letter.model_dump(mode="json", exclude_none=True))
        assert len(lane.attempts) == 2


def test_a_retry_waits_for_its_delay() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(refused(131016, 500))
    lane.round(0.9)
    assert len(lane.attempts) == 1
    lane.round(0.5)
    assert len(lane.attempts) == 2


@pytest.mark.req("DSP-13")
@pytest.mark.parametrize("code", [131026, 100, 999_999, 132000])
def test_a_terminal_refusal_fails_at_once(code: int) -> None:
    lane = HandDriven()
    lane.take(order(), order("message-2"))
    lane.answer(refused(code))
    assert lane.status() == "failed_unsent"
    assert len(lane.attempts) == 2


def test_attempts_of_a_kept_message_are_not_spent() -> None:
    lane = HandDriven(policy=policy(number_pause_seconds=10.0))
    lane.take(order())
    for _ in range(6):
        lane.answer(refused(80007))
        lane.round(10.1)
    assert lane.status() == "attempting"
    assert len(lane.attempts) == 7


@pytest.mark.parametrize("code", [190, 10, 131031])
def test_a_refused_token_or_account_halts_before_the_next_call_and_loses_no_message(code: int) -> None:
    lane = HandDriven(capacity=1)
    lane.take(order(), order("message-2"))
    lane.answer(refused(code, 401))
    lane.round(3600)
    assert len(lane.attempts) == 1
    assert {lane.status("message-1"), lane.status("message-2")} == {"held"}
    events = [each.event for each in lane.emissions() if isinstance(each.event, NumberEvent)]
    assert ("halted", ONE) in {(each.kind, each.phone_number_id) for each in events}
    lane.crash()
    lane.round(1)
    assert len(lane.attempts) == 1


def test_a_halt_of_the_token_takes_numbers_with_the_same_token_along() -> None:
    lane = HandDriven(capacity=1)
    lane.take(order(), order("message-2", (TWO,)), order("message-3", (THREE,)))
    lane.answer(refused(190, 401))
    assert {target for scope, target in lane.state.holds if scope == "number"} == {ONE, TWO}


def test_only_an_operators_later_resume_ends_a_halt() -> None:
    lane = HandDriven()
    lane.verdict(ONE, "open", version=4, resumed_at=START - 60)
    lane.take(order())
    lane.now += 1
    lane.answer(refused(190, 401))
    lane.verdict(ONE, "open", version=5, resumed_at=START - 60)  # a health poll's, that knows nothing of the halt yet
    assert lane.status() == "held"
    lane.now += 5
    lane.verdict(ONE, "halted", version=6, resumed_at=START - 60)
    assert lane.status() == "held"
    lane.verdict(ONE, "pause_proactive", version=7, resumed_at=lane.now)
    lane.verdict(ONE, "open", version=8, resumed_at=lane.now)
    assert [each[1] for each in lane.attempts] == [1, 2]


def test_a_resume_that_was_told_while_nobody_had_the_lane_ends_the_halt_with_the_recovery() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(refused(190, 401))
    values = {"phone_number_id": ONE, "home": HOME, "verdict": "open", "updated_at": iso(lane.now)}
    for version, resumed_at, holds in ((1, START - 60, {ONE, TWO}), (2, START + 30, {TWO})):
        told = values | {"version": version, "resumed_at": iso(resumed_at)}
        lane.states[ONE] = NumberState.model_validate(told)  # and nobody tells the next owner
        lane.now += 60
        lane.crash()
        lane.round()
        assert {target for _, target in lane.state.holds} == holds
    assert [each[1] for each in lane.attempts] == [1, 2]


def test_a_halted_number_asks_for_somebody_to_look() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(refused(190, 401))
    halts = [each.event for each in lane.emissions() if isinstance(each.event, NumberEvent)]
    told = [(each.kind, each.phone_number_id, each.hold_until) for each in halts]
    assert told == [("halted", ONE, None), ("halted", TWO, None)]  # they share the token
    for each in halts:
        assert each.reason is not None and each.reason.code == "meta_190"
        assert each.reason.text.endswith("Someone must look: mend the cause, then resume the number.")


def test_an_operators_resume_ends_a_pause_of_the_lanes_own() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(refused(131048))
    lane.round(10)
    assert len(lane.attempts) == 1
    lane.verdict(ONE, "open", version=2, resumed_at=lane.now)
    assert len(lane.attempts) == 2


def test_a_number_scoped_rate_error_pauses_the_number_and_tells_so() -> None:
    lane = HandDriven()
    lane.take(order(numbers=(ONE, TWO)))
    lane.answer(refused(131048))
    assert [each[2] for each in lane.attempts] == [ONE, TWO]
    event = next(each.event for each in lane.emissions() if isinstance(each.event, NumberEvent))
    assert (event.kind, event.phone_number_id) == ("rate_limited", ONE)
    assert event.hold_until is not None and event.hold_until.timestamp() == START + 1800


def test_the_pair_limit_holds_only_the_pair() -> None:
    lane = HandDriven()
    same = {"person_key": "somebody"}
    lane.take(order("message-1", **same))
    lane.answer(refused(131056))
    lane.take(order("message-2", **same), order("message-3"))
    assert [each[0] for each in lane.attempts] == ["message-1", "message-3"]
    lane.round(1.3)
    assert [each[0] for each in lane.attempts[2:]] == ["message-1"]  # one recipient's messages keep their order
    lane.answer(ACCEPTED)
    assert [each[0] for each in lane.attempts[3:]] == ["message-2"]


def test_the_pair_is_tried_again_after_four_times_as_long_each_time() -> None:
    """4^X seconds (Meta, of 131056), with up to a quarter more; the third refusal is the last."""
    lane = HandDriven()
    lane.take(order())
    for longest in (1.0, 4.0):
        lane.answer(refused(131056))
        tried = len(lane.attempts)
        lane.round(longest - 0.01)
        assert len(lane.attempts) == tried, "sooner than 4^X"
        lane.round(0.25 * longest + 0.02)
        assert len(lane.attempts) == tried + 1
    lane.answer(refused(131056))
    assert lane.steps()[-1] == "failed_unsent"


def test_too_fast_slows_the_number_and_moves_no_queue() -> None:
    lane = HandDriven(capacity=1)
    lane.take(order("message-1", (ONE, TWO)), order("message-2", (ONE, TWO)))
    lane.answer(refused(130429))
    assert len(lane.attempts) == 1
    lane.round(1.3)
    lane.answer(ACCEPTED, "message-1")
    assert [each[2] for each in lane.attempts] == [ONE, ONE, ONE]


def test_a_closed_window_goes_on_as_template_where_the_plan_has_one() -> None:
    both = order(form="session")
    both["plan"].append({"phone_number_id": ONE, "form": "template"})
    lane = HandDriven()
    lane.take(both, order("message-2", form="session"))
    lane.answer(refused(131047))
    lane.answer(refused(131047), "message-2")
    assert [each[3] for each in lane.attempts if each[0] == "message-1"] == ["session", "template"]
    assert lane.status("message-2") == "failed_unsent"


def test_a_paused_template_is_held_and_others_go_on() -> None:
    lane = HandDriven(capacity=1)
    other = {"type": "template", "name": "another", "language": "en", "body": []}
    lane.take(order("message-1"), order("message-2"), order("message-3", template=other))
    lane.answer(refused(132015))
    assert [each[0] for each in lane.attempts] == ["message-1", "message-3"]
    lane.answer(ACCEPTED, "message-3")
    lane.round(3600.1)
    assert lane.attempts[-1][0] == "message-1"


def test_who_stopped_marketing_is_recorded_as_opted_out() -> None:
    lane = HandDriven()
    lane.take(order(category="marketing"))
    lane.answer(refused(131050))
    (told,) = [each for each in lane.emissions() if isinstance(each.event, ConsentEvent)]
    assert isinstance(told.event, ConsentEvent)
    assert (told.topic, told.event.standing, told.event.purpose) == (CONSENT_EVENTS, "opted_out", "marketing")
    assert told.partition_key == "person of message-1"


def test_an_unreachable_far_side_pauses_the_number_longer_and_longer_and_spends_no_attempt() -> None:
    lane = HandDriven(capacity=1)
    lane.take(order(life=86_400))
    called_at = [lane.now]
    for _ in range(12):
        lane.answer(NotSent("connect"))
        while len(lane.attempts) == len(called_at):
            lane.round(0.25)
        called_at.append(lane.now)
    gaps = [b - a for a, b in pairwise(called_at)]
    assert gaps[0] < 1.0 and gaps[-1] > 29.0
    lane.answer(ACCEPTED)
    assert lane.status() == "submitted"


def test_a_request_that_cannot_be_made_fails() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(NotSent("invalid"))
    assert lane.status() == "failed_unsent"


def test_a_seed_gives_every_retry_its_own_jitter() -> None:
    lane = HandDriven()
    lane.take(*(order(f"message-{n}") for n in range(10)))
    for n in range(10):
        lane.answer(refused(131016, 500), f"message-{n}")
    untils = {message.until for message in lane.state.messages.values()}
    assert len(untils) == 10
    assert all(START + 1 <= (until or 0) <= START + 1.25 for until in untils)
