"""Position and estimate against what the lane then does, in virtual time."""

from __future__ import annotations

from random import Random
from statistics import quantiles

import pytest

from harkara.contracts.numbers import QueueState
from harkara.dispatcher.core import place_waiting
from harkara.dispatcher.queue_state import MOST_FIRST, MOST_FLOWS, queue_state
from harkara.dispatcher.settle import settle
from harkara.policy.governance import BUILT_IN_PROFILES
from harkara.policy.pacing import Limits, limits_of, paced
from harkara.policy.schedule import Schedule, mixed_place, nth_call, pace_shown, turns_before
from harkara.policy.throttle import Cut
from tests.unit.dispatcher.lanes import ACCEPTED, HOME, ONE, START, HandDriven, order

LEAST_WAIT_SECONDS = 1.0  # a wait is measured against at least this: an estimate 20 ms late is not 100 % wrong

PROFILES = {
    "governance": limits_of(BUILT_IN_PROFILES["governance"]),
    "conservative": limits_of(BUILT_IN_PROFILES["conservative"]),
    "trust-level, cold": limits_of(BUILT_IN_PROFILES["trust-level"].at_age(1)),
    "trust-level, warm": limits_of(BUILT_IN_PROFILES["trust-level"].at_age(7)),
    "trust-level, hot": limits_of(BUILT_IN_PROFILES["trust-level"].at_age(100)),
    "cloud-api": limits_of(BUILT_IN_PROFILES["cloud-api"]),
    "an hour's limit": Limits(per_second=10, per_hour=60),
}


def placed(lane: HandDriven) -> None:
    """What has arrived stands in the queue; nothing is called."""
    while lane.state.unplaced:
        lane.write(lambda scribe: place_waiting(scribe, lane.around))


def shown(lane: HandDriven) -> QueueState:
    """What the lane would publish now, as a reader gets it."""
    said = queue_state(lane.state, lane.around, ONE, HOME, lane.now)
    return QueueState.model_validate_json(said.model_dump_json())


def promised(
    state: QueueState, flow: str, priority: int, now: float, message_id: str = "", producer: str = "tests"
) -> float:
    """The time told to somebody who asks now."""
    assert state.pace is not None
    place = mixed_place(ONE, message_id, now) if message_id else None
    turns = turns_before(state.flows, flow, priority, place=place, producer=producer)
    at = Schedule(state.pace, now).at(turns + 1)
    assert at is not None
    return at


def run(lane: HandDriven, until: float, started: dict[str, float]) -> None:
    """The lane works until then: every call is answered at once."""
    while True:
        for message in lane.round():
            started[message.message_id] = lane.now
        for message_id, attempt in list(lane.under_way):
            lane.answer(ACCEPTED, message_id, attempt)
            for other, number, *_ in lane.attempts[len(started) :]:
                started.setdefault(other, lane.now)
                assert number == 1
        due = lane.state.number(ONE).next_at()
        if due is None or due > until:
            lane.now = max(lane.now, until)
            return
        lane.now = max(due, lane.now + 0.001)


@pytest.mark.req("ING-11", "B24")
@pytest.mark.parametrize("name", PROFILES)
def test_estimates_are_within_ten_percent_for_nine_in_ten(name: str) -> None:
    """500 messages, each told its time as it comes; prints the ninth decile of the error."""
    mixed = PROFILES[name].randomised_order
    errors = (errors_of_a_mixed_queue if mixed else errors_of)(PROFILES[name], Random(7))
    tenths = quantiles(errors, n=10)
    print(f"{name}: {len(errors)} estimates, error median {tenths[4]:.1%}, p90 {tenths[8]:.1%}")
    assert tenths[8] < 0.10


def errors_of(limits: Limits, random: Random) -> list[float]:
    """Bursts of one producer's messages, with pauses in which the queue may run empty."""
    lane, started = HandDriven(limits=limits, capacity=10_000), dict[str, float]()
    told: dict[str, tuple[float, float]] = {}
    while len(told) < 500:
        for _ in range(random.randint(1, 120)):
            _ask(lane, f"message-{len(told):04}", told)
        run(lane, lane.now + random.choice([0.0, 0.5, 30.0, 600.0]), started)
    return _errors(lane, told, started)


def errors_of_a_mixed_queue(limits: Limits, random: Random) -> list[float]:
    """500 that came together, and 100 more in the next twenty minutes, each going anywhere among them. (How many come
    later and overtake is not known to anybody: with three times as many the ninth decile is 11 to 12 %.)"""
    lane, started = HandDriven(limits=limits, capacity=10_000), dict[str, float]()
    lane.take(*(order(f"bulk-{n:04}", at=lane.now, life=10**8) for n in range(500)), start=False)
    placed(lane)
    told: dict[str, tuple[float, float]] = {}
    while len(told) < 100:
        _ask(lane, f"message-{len(told):04}", told)
        run(lane, lane.now + random.random() * 24, started)
    return _errors(lane, told, started)


def _ask(lane: HandDriven, message_id: str, told: dict[str, tuple[float, float]]) -> None:
    told[message_id] = (lane.now, promised(shown(lane), "tests", 1, lane.now, message_id))
    lane.take(order(message_id, at=lane.now, life=10**8), start=False)
    placed(lane)


def _errors(lane: HandDriven, told: dict[str, tuple[float, float]], started: dict[str, float]) -> list[float]:
    run(lane, lane.now + 10**8, started)
    waits = {each: started[each] - asked for each, (asked, _) in told.items()}
    return [abs(at - started[each]) / max(waits[each], LEAST_WAIT_SECONDS) for each, (_, at) in told.items()]


@pytest.mark.req("ING-11", "B24")
def test_estimates_of_a_number_that_decides_ahead_are_within_ten_percent() -> None:
    """A queue of 3,000 at 1,000/s, 2,000 more after two seconds; in each of 300 rounds somebody is told their time."""
    lane = HandDriven(limits=limits_of(BUILT_IN_PROFILES["cloud-api-high"]), capacity=10_000)
    told, called = dict[str, tuple[float, float]](), dict[str, float]()
    lane.take(*(order(f"bulk-{n:04}", life=10**8) for n in range(3000)), start=False)
    for turn in range(600):
        if turn == 133:
            lane.take(*(order(f"more-{n:04}", life=10**8) for n in range(2000)), start=False)
        placed(lane)
        if turn < 300:
            _ask(lane, f"message-{turn:04}", told)
        for message in lane.round(0.015):
            called[message.message_id] = message.called_at
        for name, attempt in lane.under_way:
            lane.write(lambda scribe, of=name, nth=attempt: settle(scribe, lane.around, of, nth, ACCEPTED))  # type: ignore[misc]
        lane.under_way.clear()
    waits = {each: called[each] - asked for each, (asked, _) in told.items()}
    errors = [abs(at - called[each]) / max(waits[each], LEAST_WAIT_SECONDS) for each, (_, at) in told.items()]
    tenths = quantiles(errors, n=10)
    print(f"cloud-api-high: {len(errors)} estimates, error median {tenths[4]:.1%}, p90 {tenths[8]:.1%}")
    assert len(errors) == 300 and max(waits.values()) > 2.0
    assert tenths[8] < 0.10


@pytest.mark.req("B14", "B24")
def test_estimates_follow_the_shares_of_producers_and_of_their_runs() -> None:
    """Of a producer with thirty runs, of one with a run and single messages: each message is told its call."""
    lane, started = HandDriven(limits=Limits(per_second=10), capacity=10_000), dict[str, float]()
    bulk = [order(f"bulk-{n:03}", run_id=f"run-{n % 30}", producer="bulk", life=10**8) for n in range(600)]
    mine = [order(f"mine-{n:03}", run_id="run-mine", producer="shop", life=10**8) for n in range(100)]
    lane.take(*bulk, *mine, start=False)
    placed(lane)
    told = dict[str, tuple[float, float]]()
    for n in range(40):
        at = promised(shown(lane), "shop", 1, lane.now, producer="shop")
        told[f"single-{n:03}"] = (lane.now, at)
        lane.take(order(f"single-{n:03}", producer="shop", life=10**8), start=False)
        placed(lane)
    tenths = quantiles(_errors(lane, told, started), n=10)
    print(f"producers and runs: {len(told)} estimates, error median {tenths[4]:.1%}, p90 {tenths[8]:.1%}")
    assert tenths[8] < 0.10


def test_a_new_producer_is_told_its_share_not_the_whole_queue() -> None:
    lane = HandDriven(limits=Limits(per_second=1))
    lane.take(*(order(f"bulk-{n:04}", run_id="run-a") for n in range(1000)), start=False)
    placed(lane)
    state = shown(lane)
    assert state.by_priority == {"3": 0, "2": 0, "1": 1000}
    assert promised(state, "shop", 1, START, producer="shop") < START + 3
    assert promised(state, "run-b", 1, START) < START + 3
    assert promised(state, "run-a", 1, START) == pytest.approx(START + 1000, rel=0.01)
    assert promised(state, "shop", 3, START, producer="shop") < START + 2
    lane.take(*(order(f"high-{n:04}", run_id="run-b", priority=2) for n in range(100)), start=False)
    placed(lane)
    assert promised(shown(lane), "shop", 1, START, producer="shop") == pytest.approx(START + 100, abs=2)


def test_a_halted_number_has_no_time_and_a_paused_one_its_end() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.verdict(ONE, "halted")
    state = shown(lane)
    assert state.pace is not None and state.pace.next_at is None
    assert Schedule(state.pace, lane.now).at(1) is None
    lane.verdict(ONE, "paused", version=2, until=lane.now + 600)
    assert promised(shown(lane), "tests", 1, lane.now) == pytest.approx(lane.now + 600, abs=0.01)


def test_what_a_lane_tells_is_bounded() -> None:
    lane = HandDriven(limits=Limits(per_minute=1, per_hour=10_000, per_day=100_000))
    lane.take(*(order(f"message-{n:05}", run_id=f"run-{n % 500}") for n in range(1500)))
    state = shown(lane)
    assert len(state.first) == MOST_FIRST
    assert len(state.flows) == MOST_FLOWS + 1
    assert sum(each.queued for each in state.flows) == state.by_priority["1"] == 1499
    assert (state.flows[-1].producer, state.flows[-1].flows) == ("tests", 480)
    assert len(state.model_dump_json()) < 6000
    lane.take(*(order(f"other-{n:05}", producer=f"shop-{n % 100}", run_id=f"run-{n}") for n in range(1000)))
    state = shown(lane)
    assert sum(each.queued for each in state.flows) == state.by_priority["1"] == 2499
    assert len(state.flows) == 2 * MOST_FLOWS + 1
    assert (state.flows[-1].producer, state.flows[-1].flows, state.flows[-1].weight) == ("", 810, 81.0)
    assert len(state.model_dump_json()) < 10_000


def test_a_slowed_number_is_told_slower() -> None:
    pace = paced(ONE, Limits(per_second=80))
    usual = Schedule(pace_shown(pace, START), START).at(800)
    pace.throttle(Cut(rate=10.0, until=START + 2))
    slowed = Schedule(pace_shown(pace, START), START).at(800)
    assert usual == pytest.approx(START + 10, abs=0.2)
    assert slowed is not None and START + 20 < slowed < START + 60


def test_numbers_of_a_pool_send_side_by_side() -> None:
    told = [pace_shown(paced(number, Limits(per_second=rate)), START) for number, rate in (("1", 10), ("2", 30))]
    schedules = [Schedule(each, START) for each in told]
    times = [nth_call(schedules, number) or 0.0 for number in (1, 40, 400, 400_000)]
    assert times == pytest.approx([START, START + 1, START + 10, START + 10_000], abs=1, rel=1e-12)
    assert nth_call([], 1) is None
