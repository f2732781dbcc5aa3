"""A fast number's calls are decided before their time, so that no commit costs it a place in its second."""

from __future__ import annotations

import heapq
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.policy.pacing import AHEAD_SECONDS, CATCH_UP, Limits, Pace, paced
from harkara.policy.second import Second

NUMBER = "100000000000011"
INTERVAL_SECONDS = 0.015  # between two group commits
START_SECONDS = 0.0003  # of processor time, so that calls which are all late do not start all at once


def decided_by(
    pace: Pace, seconds: float, seed: int = 1, late_seconds: float = 0.001, stalls_per_second: float = 0.0
) -> list[float]:
    """When the calls of a full queue were to start: rounds with commits of 3 to 12 ms, timers that are late, and a
    process that now and then stands still for 20 to 40 ms."""
    chance, now = random.Random(seed), 0.0
    noted: list[float] = []
    waiting: list[tuple[float, float]] = []
    while now < seconds:
        if chance.random() < stalls_per_second * INTERVAL_SECONDS:
            woken = now + chance.uniform(0.02, 0.04)
            waiting = [
                (max(begins, woken + number * START_SECONDS), at) for number, (begins, at) in enumerate(sorted(waiting))
            ]
            now = woken
        while waiting and waiting[0][0] <= now:
            begun, at = heapq.heappop(waiting)
            pace.began(at, begun)
        decided = []
        while pace.next_at() - pace.ahead() <= now:
            at = max(now, pace.next_at())
            pace.note(at)
            decided.append(at)
        committed = now + chance.uniform(0.003, 0.012)
        for at in decided:
            heapq.heappush(waiting, (max(at, committed) + chance.uniform(0.0, late_seconds), at))
        noted += decided
        now = max(committed, now + INTERVAL_SECONDS)
    return noted


@pytest.mark.req("DSP-8")
def test_a_number_at_metas_highest_rate_gives_no_place_away_to_a_commit() -> None:
    noted = decided_by(paced(NUMBER, Limits(per_second=1000)), 20.0)
    steady = [at for at in noted if 5.0 <= at < 19.0]
    assert len(steady) / 14.0 >= 998
    assert all(later - sooner >= 1.0 - 1e-9 for sooner, later in zip(steady, steady[1000:], strict=False))
    assert all(later >= sooner for sooner, later in pairwise(noted))


@pytest.mark.parametrize(("rate", "ahead"), [(1000, AHEAD_SECONDS), (300, AHEAD_SECONDS), (80, 0.0), (1, 0.0)])
def test_only_a_fast_number_decides_ahead(rate: int, ahead: float) -> None:
    assert paced(NUMBER, Limits(per_second=rate)).ahead() == ahead
    assert paced(NUMBER, Limits(per_minute=20)).ahead() == 0.0


def test_a_call_that_starts_late_takes_its_place_in_the_second_when_it_starts() -> None:
    pace = paced(NUMBER, Limits(per_second=1000))
    for place in range(1000):
        pace.note(place / 1000)
    pace.began(0.0, 0.0005)
    assert pace.next_at() == pytest.approx(1.0)
    pace.began(0.0, 0.04)
    assert pace.next_at() == pytest.approx(1.001), "the next place is free as before"
    for place in range(1, 41):
        pace.note(1.0 + place / 1000)
    assert [round(at, 3) for at in pace.second.starts[:2]] == [0.04, 0.041]


def test_what_people_write_is_counted_when_it_came_whatever_is_decided_ahead() -> None:
    pace = paced(NUMBER, Limits(per_second=1000))
    pace.note(10.03)
    pace.note_inbound(10.0)
    pace.began(10.03, 10.05)
    assert pace.second.starts == [10.0, pytest.approx(10.045)]


@pytest.mark.parametrize(("late_ms", "least"), [(1, 999), (3, 996), (5, 994), (10, 990)])
def test_timers_that_are_late_cost_a_number_little(late_ms: int, least: float) -> None:
    """A call that starts late moves its own place alone: else each second would be pushed on by the next."""
    noted = decided_by(paced(NUMBER, Limits(per_second=1000)), 20.0, late_seconds=late_ms / 1000)
    assert len([at for at in noted if 5.0 <= at < 19.0]) / 14.0 >= least


@pytest.mark.parametrize("seed", range(3))
def test_of_what_stalls_cost_most_is_made_up_for(seed: int) -> None:
    """A process that stands still for 20 to 40 ms in every second. 994.2 to 996.4 calls/s were left where a late call's
    place was its start, and where only 50 ms could be made up for."""
    noted = decided_by(paced(NUMBER, Limits(per_second=1000)), 120.0, seed, stalls_per_second=1.0)
    steady = [at for at in noted if 5.0 <= at < 119.0]
    assert len(steady) / 114.0 >= 996.6


def test_what_is_made_up_for_is_no_heap() -> None:
    pace, noted = paced(NUMBER, Limits(per_second=1000)), list[float]()
    for now in (10.0, 10.02, 10.12):  # it stands still for 20 ms, then for 100
        while (at := max(now, pace.next_at())) <= now + 0.02:
            pace.note(at)
            noted.append(at)
    assert min(later - sooner for sooner, later in pairwise(noted)) >= 0.001 / CATCH_UP - 1e-9
    assert sum(at >= 10.12 for at in noted) == pytest.approx(60, abs=2), "at three times its rate"


@pytest.mark.parametrize("pause", [1.0, 1.5, 10.0])
def test_a_pause_is_not_made_up_for(pause: float) -> None:
    pace = paced(NUMBER, Limits(per_second=1000))
    pace.note(10.0)
    again = 10.0 + pause
    noted = list[float]()
    while (at := max(again, pace.next_at())) <= again + 1.0:
        pace.note(at)
        noted.append(at)
    assert len(noted) <= 1001
    assert sum(at < again + 0.5 for at in noted) <= 551, "evenly, but for what one commit leaves"


@given(st.lists(st.tuples(st.floats(0, 0.3), st.floats(0, 0.2)), min_size=1, max_size=60), st.integers(1, 20))
def test_the_second_holds_the_newest_starts_in_their_order(calls: list[tuple[float, float]], size: int) -> None:
    second, model, at = Second(size), list[list[float]](), 0.0
    for gap, late in calls:
        at += gap
        second.add(at)
        model.append([at, at])
        model = sorted(model, key=lambda each: each[1])[-size:] if len(model) > size else model
        if [at, at] in model:
            second.began(at, at + late)
            model[model.index([at, at])][1] = at + late
        assert second.starts == sorted(start for _, start in model)
