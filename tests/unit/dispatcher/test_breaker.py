"""The breaker of one number: what opens it, what a half-open one lets through, what closes it; and a refused token."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from harkara.contracts.numbers import NumberEvent
from harkara.dispatcher.breaker import LONGEST_OPEN_SECONDS, OPENS_AFTER, open_seconds, state_of
from harkara.dispatcher.holds import hold_barred, sharing
from harkara.dispatcher.plan import PATIENCE_SECONDS, RESTING_TRIPS
from harkara.dispatcher.state import LaneState
from harkara.dispatcher.wakeup import next_wake
from harkara.graph_api.errors import policy_for
from harkara.graph_api.outcome import InDoubt, NotSent, Outcome
from tests.unit.dispatcher.lanes import ACCEPTED, HOME, ONE, START, THREE, TIMEOUT, TWO, HandDriven, order, refused

UNWELL: list[Outcome] = [TIMEOUT, InDoubt("http_5xx"), InDoubt("connection"), InDoubt("answer"), refused(131016, 500)]
SERVED: list[Outcome] = [ACCEPTED, refused(131026), refused(131056), refused(132000)]


def flood(lane: HandDriven, outcome: Outcome, calls: int) -> None:
    """So many calls end so, those that were started first first."""
    for _ in range(calls):
        message_id, attempt = lane.under_way[0]
        lane.answer(outcome, message_id, attempt)


def backlog(numbers: tuple[str, ...] = (ONE,), count: int = 100, capacity: int = 8) -> HandDriven:
    lane = HandDriven(capacity=capacity)
    lane.take(*(order(f"message-{n:03}", numbers, category="marketing") for n in range(count)))
    return lane


@pytest.mark.req("FHL-10", "FHL-3")
@pytest.mark.parametrize("outcome", UNWELL, ids=str)
def test_calls_that_are_not_served_open_it_soon(outcome: Outcome) -> None:
    lane = backlog()
    flood(lane, outcome, OPENS_AFTER)
    assert state_of(lane.state, ONE, lane.now) == "open"
    calls = len(lane.attempts)
    assert calls < OPENS_AFTER + 8
    flood(lane, outcome, len(lane.under_way))
    lane.round(0.4)
    assert len(lane.attempts) == calls, "while it is open no call starts"


@pytest.mark.parametrize("outcome", SERVED, ids=str)
def test_an_answer_of_meta_between_keeps_it_closed(outcome: Outcome) -> None:
    lane = backlog()
    for _ in range(5):
        flood(lane, TIMEOUT, OPENS_AFTER - 1)
        flood(lane, outcome, 1)
    assert state_of(lane.state, ONE, lane.now) == "closed"


def test_a_half_open_one_lets_one_call_through_at_a_time_for_longer_and_longer() -> None:
    lane = backlog(count=200)
    flood(lane, TIMEOUT, OPENS_AFTER)
    flood(lane, TIMEOUT, len(lane.under_way))
    waits = []
    for _ in range(9):
        opened_at, calls = lane.now, len(lane.attempts)
        while len(lane.attempts) == calls:
            lane.round(0.05)
        assert state_of(lane.state, ONE, lane.now) == "half_open"
        waits.append(lane.now - opened_at)
        lane.round(5.0)
        assert len(lane.under_way) == 1 == len(lane.attempts) - calls
        flood(lane, TIMEOUT, 1)
    assert waits[0] < 0.6
    assert all(later >= before for before, later in pairwise(waits))
    assert LONGEST_OPEN_SECONDS <= waits[-1] < LONGEST_OPEN_SECONDS + 0.2


@pytest.mark.parametrize("outcome", SERVED[:3], ids=str)
def test_one_served_call_closes_it(outcome: Outcome) -> None:
    lane = backlog()
    flood(lane, TIMEOUT, OPENS_AFTER)
    flood(lane, TIMEOUT, len(lane.under_way))
    lane.round(0.6)
    flood(lane, outcome, 1)
    assert state_of(lane.state, ONE, lane.now) == "closed"
    lane.round()
    assert len(lane.under_way) == 8


def test_a_call_that_was_under_way_and_is_served_closes_it_at_once() -> None:
    lane = backlog()
    flood(lane, TIMEOUT, OPENS_AFTER)
    flood(lane, ACCEPTED, 1)
    assert state_of(lane.state, ONE, lane.now) == "closed"
    assert len(lane.under_way) == 8


@pytest.mark.req("FHL-8", "FHL-10")
def test_the_number_beside_it_notices_nothing() -> None:
    lane = HandDriven(capacity=4)
    for n in range(40):
        lane.take(order(f"one-{n:02}", (ONE,)), order(f"two-{n:02}", (TWO,)))
    for _ in range(20):
        for message_id, attempt in list(lane.under_way):
            lane.answer(TIMEOUT if message_id.startswith("one") else ACCEPTED, message_id, attempt)
    assert sum(each[2] == TWO for each in lane.attempts) == 40
    assert sum(each[2] == ONE for each in lane.attempts) < 10


def test_what_it_stops_goes_by_another_number_once_it_stays_open() -> None:
    lane = backlog(numbers=(ONE, TWO), count=100, capacity=4)
    for _ in range(200):
        for message_id, attempt in list(lane.under_way):
            number = next(n for m, a, n, _ in lane.attempts if (m, a) == (message_id, attempt))
            lane.answer(TIMEOUT if number == ONE else ACCEPTED, message_id, attempt)
        lane.round(0.5)
    in_doubt = [message_id for message_id, state in lane.shown().items() if state["status"] == "in_doubt"]
    assert len(in_doubt) < 20  # five that open it, four under way, and a probe for each time it opens
    assert {each[2] for each in lane.attempts[-20:]} <= {ONE, TWO}
    assert sum(state["status"] == "submitted" for state in lane.shown().values()) == 100 - len(in_doubt)


def test_a_number_that_has_moved_its_queue_comes_back_by_one_message_at_a_time() -> None:
    lane = backlog(numbers=(ONE, TWO), count=400, capacity=4)

    def rounds(count: int, one: Outcome) -> list[str]:
        begun = len(lane.attempts)
        for _ in range(count):
            for message_id, attempt in list(lane.under_way):
                number = next(n for m, a, n, _ in lane.attempts if (m, a) == (message_id, attempt))
                lane.answer(one if number == ONE else ACCEPTED, message_id, attempt)
            lane.round(0.5)
        return [each[2] for each in lane.attempts[begun:]]

    rounds(40, TIMEOUT)
    during = rounds(40, TIMEOUT)
    assert during.count(ONE) <= 3 < during.count(TWO)
    lane.verdict(TWO, "paused", until=lane.now + 1e6)
    lane.round(LONGEST_OPEN_SECONDS)
    after = rounds(4, ACCEPTED)
    assert state_of(lane.state, ONE, lane.now) == "closed"
    assert after.count(ONE) > 10


def test_the_queue_moves_when_it_stays_open_for_longer_than_a_moment() -> None:
    assert open_seconds(RESTING_TRIPS - 1) <= PATIENCE_SECONDS < open_seconds(RESTING_TRIPS)


def test_it_survives_the_owner() -> None:
    lane = backlog()
    flood(lane, TIMEOUT, OPENS_AFTER)
    lane.crash()
    lane.round()
    assert lane.under_way == []
    lane.round(0.6)
    assert len(lane.under_way) == 1
    assert next_wake(lane.state, lane.around, lane.now, None) != lane.now


@pytest.mark.req("DSP-2", "DSP-15")
def test_a_number_that_cannot_be_reached_waits_and_its_message_keeps_its_place() -> None:
    lane = HandDriven(capacity=1)
    lane.take(order("message-1"), order("message-2"))
    lane.answer(NotSent("connect"), "message-1")
    assert lane.under_way == []
    lane.round(0.55)
    assert [each[0] for each in lane.attempts] == ["message-1", "message-1"]
    assert lane.state.messages["message-1"].spent == 0


@pytest.mark.req("SEC-4")
def test_a_token_is_refused_three_times_and_then_only_another_one_is_tried() -> None:
    lane = HandDriven(capacity=2)
    lane.take(*(order(f"message-{n}") for n in range(4)))
    for turn in range(1, 6):
        while lane.under_way:  # two calls that were under way together count once
            message_id, attempt = lane.under_way[0]
            lane.answer(refused(190, 401), message_id, attempt)
        lane.round(60)
        lane.crash()
        lane.verdict(ONE, "open", version=turn, resumed_at=lane.now)
    assert len(lane.attempts) == 6
    assert {state["reason"]["code"] for state in lane.shown().values()} == {"token_refused_thrice"}
    lane.fleet[ONE] = replace(lane.fleet[ONE], token="rotated")
    lane.verdict(ONE, "open", version=9, resumed_at=lane.now)
    assert len(lane.under_way) == 2
    flood(lane, ACCEPTED, 2)
    lane.crash()
    assert lane.state.auth_failures == {}


def test_a_number_that_is_accepted_between_has_its_three_attempts_again() -> None:
    lane = HandDriven(capacity=1)
    lane.take(*(order(f"message-{n}") for n in range(9)))
    for version in range(1, 8, 2):
        flood(lane, refused(190, 401), 1)
        lane.now += 1
        lane.verdict(ONE, "open", version=version, resumed_at=lane.now)
        flood(lane, ACCEPTED, 1)
    assert lane.under_way


class TestSharing:
    """Numbers in other lanes: told by number events, and in the same process at once."""

    @staticmethod
    def lane() -> HandDriven:
        made = HandDriven(capacity=1)
        made.fleet[TWO] = replace(made.fleet[TWO], home="elsewhere", partition=3)
        made.fleet[THREE] = replace(made.fleet[THREE], home="beside")
        return made

    @pytest.mark.req("DSP-14")
    def test_a_halt_holds_here_and_tells_of_every_number_under_its_own_home(self) -> None:
        lane = self.lane()
        lane.take(order())
        lane.answer(refused(131031, 403))
        assert {target for scope, target in lane.state.holds if scope == "number"} == {ONE, THREE}
        told = [(each, each.event) for each in lane.emissions() if isinstance(each.event, NumberEvent)]
        assert {(event.phone_number_id, event.home, each.partition_key) for each, event in told} == {
            (ONE, HOME, HOME),
            (TWO, "elsewhere", "elsewhere"),
            (THREE, "beside", "beside"),
        }
        assert len({each.id for each, _ in told}) == 3
        assert all("resume" in event.reason.text for _, event in told if event.reason is not None)

    def test_a_lane_that_is_told_holds_without_telling_again(self) -> None:
        lane = self.lane()
        lane.write(lambda scribe: hold_barred(scribe, lane.around, ONE, refused(190, 401), own=False))
        lane.take(order())
        assert (lane.attempts, lane.status()) == ([], "held")
        assert not any(isinstance(each.event, NumberEvent) for each in lane.emissions())
        lane.now += 1
        lane.verdict(ONE, "open", resumed_at=lane.now)
        assert len(lane.attempts) == 1

    def test_a_pause_that_is_told_ends_by_itself(self) -> None:
        lane = self.lane()
        lane.write(lambda scribe: hold_barred(scribe, lane.around, ONE, refused(80007), own=False))
        assert lane.state.holds[("number", ONE)].until == START + 1800

    def test_a_refusal_nobody_waited_for_is_told_nevertheless(self) -> None:
        lane = self.lane()
        lane.write(lambda scribe: hold_barred(scribe, lane.around, ONE, refused(190, 401), own=True))
        events = [each.event for each in lane.emissions() if isinstance(each.event, NumberEvent)]
        assert {each.phone_number_id for each in events} == {ONE, TWO}

    def test_numbers_without_a_token_share_none(self) -> None:
        lane = self.lane()
        for number in (ONE, TWO):
            lane.fleet[number] = replace(lane.fleet[number], token="", usable=False)
        assert sharing(lane.fleet, ONE, policy_for(190)) == [ONE]
        assert sharing(lane.fleet, "unknown", policy_for(190)) == ["unknown"]


def test_a_new_lane_has_every_breaker_closed() -> None:
    assert state_of(LaneState(), ONE, START) == "closed"
