"""The breaker of one number: what opens it, what a half-open one lets through, what closes it; and a refused token."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from harkara.contracts.numbers import NumberEvent
from harkara.dispatcher.breaker import LONGEST_OPEN_SECONDS, OPENS_AFTER, open_seconds, state_of
from harkara.dispatcher.evolve import evolve
from harkara.dispatcher.holds import hold_barred, sharing
from harkara.dispatcher.journal import Entry, decoded, encoded
from harkara.dispatcher.observe import alert_label
from harkara.dispatcher.plan import PATIENCE_SECONDS, RESTING_TRIPS, calls_allowed
from harkara.dispatcher.state import LaneState
from harkara.dispatcher.wakeup import next_wake
from harkara.graph_api.errors import policy_for
from harkara.graph_api.outcome import IMPOSSIBLE, InDoubt, NotSent, Outcome
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


def read_back(lane: HandDriven, *, compacted: bool) -> LaneState:
    """What a new owner knows from the journal as it was written, or as compaction leaves it."""
    newest = {entry.key: entry for entry in lane.journal}
    kept = [entry for entry in lane.journal if newest[entry.key] is entry and entry.data is not None]
    state = LaneState()
    for entry in kept if compacted else lane.journal:
        evolve(state, decoded(entry.key.encode(), encoded(entry)))
    return state


@pytest.mark.req("FHL-10")
@pytest.mark.parametrize("compacted", [False, True])
def test_what_a_new_owner_knows_of_the_breaker_is_what_the_old_one_knew(compacted: bool) -> None:
    lane, seen = backlog(count=300), set[str]()

    def compare(what: str) -> None:
        state, now = read_back(lane, compacted=compacted), lane.now
        assert state.number(ONE).trips == lane.state.number(ONE).trips, what
        assert state_of(state, ONE, now) == state_of(lane.state, ONE, now), what
        assert calls_allowed(state, lane.fleet[ONE]) == calls_allowed(lane.state, lane.fleet[ONE]), what
        seen.add(state_of(state, ONE, now))

    for turn in range(3):
        flood(lane, TIMEOUT, OPENS_AFTER)
        compare("it opens")
        flood(lane, TIMEOUT, len(lane.under_way))
        for _ in range(3):
            lane.round(LONGEST_OPEN_SECONDS)
            compare("its time is over")
            flood(lane, TIMEOUT, 1)
            compare("it opens again")
        lane.round(LONGEST_OPEN_SECONDS)
        flood(lane, refused(190, 401) if turn == 1 else ACCEPTED, 1)
        compare("a call is served")
        lane.now += 1
        lane.verdict(ONE, "open", version=turn + 1, resumed_at=lane.now)
        compare("the number is let go")
    assert seen == {"open", "half_open", "closed"}


def test_a_halt_that_another_lane_tells_of_leaves_a_half_open_one_half_open() -> None:
    lane = backlog()
    flood(lane, TIMEOUT, OPENS_AFTER)
    lane.write(lambda scribe: hold_barred(scribe, lane.around, ONE, refused(80007), own=False))
    flood(lane, ACCEPTED, 1)  # a call that was under way says nothing of the journal's hold
    for compacted in (False, True):
        assert read_back(lane, compacted=compacted).number(ONE).trips == lane.state.number(ONE).trips == 1


def test_calls_that_are_served_write_nothing_of_the_breaker() -> None:
    lane = backlog()
    flood(lane, TIMEOUT, OPENS_AFTER)
    flood(lane, TIMEOUT, len(lane.under_way))
    lane.round(0.6)
    flood(lane, ACCEPTED, 20)
    holds = [entry for entry in lane.journal if entry.key.startswith("hold/")]
    assert [entry.data is None for entry in holds] == [False, True], "it opened, and one call closed it"


def test_a_lane_with_a_half_open_breaker_and_nothing_to_send_sleeps() -> None:
    lane = backlog(count=OPENS_AFTER)
    flood(lane, TIMEOUT, OPENS_AFTER)
    lane.round(1.0)
    assert state_of(lane.state, ONE, lane.now) == "half_open"
    at = next_wake(lane.state, lane.around, lane.now, None)
    assert at is not None and at > lane.now + 60


def test_a_breaker_that_is_half_open_is_shown() -> None:
    lane = backlog(count=OPENS_AFTER)
    flood(lane, TIMEOUT, OPENS_AFTER)
    lane.state.touched.clear()
    lane.round(0.4)
    assert ONE not in lane.state.touched
    lane.round(0.2)
    assert ONE in lane.state.touched


def test_it_wakes_when_the_time_of_each_opening_is_over() -> None:
    lane = backlog(count=OPENS_AFTER)
    flood(lane, TIMEOUT, OPENS_AFTER)
    lane.round(1.0)
    lane.take(order("probe-message", category="marketing"))
    lane.answer(TIMEOUT, "probe-message")
    at = next_wake(lane.state, lane.around, lane.now, None)
    assert at == lane.state.holds[("number", ONE)].until == lane.now + open_seconds(2)


@pytest.mark.parametrize("compacted", [False, True])
def test_a_pause_that_an_older_version_wrote_over_an_opening_is_no_opening(compacted: bool) -> None:
    lane, key = backlog(), "hold/number/" + ONE
    tripped = {"reason": "endpoint_failing", "until": START + 1, "trips": 3}
    paused = {"reason": "meta_131048", "until": START + 1800, "code": 131048}
    lane.journal += [Entry(key, 901, "hold", START, HOME, tripped), Entry(key, 902, "hold", START, HOME, paused)]
    assert read_back(lane, compacted=compacted).number(ONE).trips == 0


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


@pytest.mark.req("FHL-3")
def test_where_no_request_can_be_made_the_queue_waits_and_somebody_is_told() -> None:
    """A wrong address or way out is no fault of the messages: none ends, and none is in doubt."""
    lane = backlog(count=30)
    flood(lane, NotSent(IMPOSSIBLE), len(lane.under_way))
    for _ in range(3600):
        lane.round(1.0)
        flood(lane, NotSent(IMPOSSIBLE), len(lane.under_way))
    assert {shown["status"] for shown in lane.shown().values()} == {"queued"}
    told = [entry.data for entry in lane.journal if entry.kind == "hold" and entry.data is not None]
    assert told and all(data["alert"] and data["reason"] == "request_impossible" for data in told)
    assert {alert_label(data) for data in told} == {"request_impossible"}
    flood_after = len(lane.attempts)
    lane.round(LONGEST_OPEN_SECONDS)
    assert len(lane.attempts) == flood_after + 1, "one at a time"
    flood(lane, ACCEPTED, 1)
    assert lane.state.holds == {} and len(lane.under_way) > 1


def test_with_another_number_in_the_plan_it_goes_by_that_one() -> None:
    lane = backlog((ONE, TWO), count=10, capacity=2)
    for _ in range(60):
        lane.round(1.0)
        for message_id, attempt in list(lane.under_way):
            by = next(number for m, n, number, _ in lane.attempts if (m, n) == (message_id, attempt))
            lane.answer(NotSent(IMPOSSIBLE) if by == ONE else ACCEPTED, message_id, attempt)
    assert {shown["status"] for shown in lane.shown().values()} == {"submitted"}


def test_who_is_told_of_what() -> None:
    assert alert_label({"code": 190, "reason": "x"}) == "190"
    assert alert_label({"reason": "request_invalid"}) == "request_invalid"
    assert alert_label({"reason": "meta_without_code"}) == "http"
