"""Halved when Meta says too fast, back little by little: few refusals while it lasts, the full rate soon after."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest

from harkara.graph_simulator.limits import SlidingSecond
from harkara.policy.pacing import Limits, next_fraction, paced
from harkara.policy.throttle import LONGEST_BREATH_SECONDS, Cut, next_cut, rate_at

START = 1_800_000_000.0
LATENCY_SECONDS = 0.08
FULL = 80


@dataclass
class Sending:
    """A number with a full queue before a Meta that takes `quota(now)` a second and refuses the rest."""

    full: int = FULL
    now: float = START
    calls: list[tuple[float, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pace = paced("100000000000011", Limits(per_second=self.full))
        self.meta = SlidingSecond()
        self.answers: list[tuple[float, float]] = []
        self.seed = 1

    def run(self, seconds: float, quota: int) -> None:
        """So long, in steps of 5 ms, each refusal answered after the latency."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.005
            while self.answers and self.answers[0][0] <= self.now:
                self._refused(heapq.heappop(self.answers)[1])
            while self.pace.next_at() <= self.now:
                self.pace.note(self.now)
                taken = self.meta.take(self.now, quota)
                self.calls.append((self.now, taken))
                if not taken:
                    heapq.heappush(self.answers, (self.now + LATENCY_SECONDS, self.now))

    def _refused(self, called_at: float) -> None:
        self.seed, fraction = next_fraction(self.seed)
        cut = next_cut(self.pace.cut, float(self.full), called_at, self.now, 0.0, fraction)
        if cut is not None:
            self.pace.throttle(cut)

    def counts(self, since: float, until: float) -> tuple[int, int]:
        """(calls, of these refused) between two times."""
        found = [taken for at, taken in self.calls if since <= at < until]
        return len(found), found.count(False)


@pytest.mark.req("DSP-15", "DSP-18")
@pytest.mark.parametrize(("full", "quota"), [(80, 20), (80, 40), (80, 70), (1000, 250)])
def test_a_smaller_throughput_than_promised_costs_one_call_in_a_hundred(full: int, quota: int) -> None:
    """After 10 s at most 1 % of the calls are refused, and two thirds of what Meta takes is used."""
    number = Sending(full)
    number.run(10, quota)
    begin = number.now
    number.run(300, quota)
    calls, refused = number.counts(begin, number.now)
    assert refused / calls <= 0.01, (calls, refused)
    assert (calls - refused) / 300 >= 0.62 * quota


@pytest.mark.req("DSP-15", "DSP-18")
@pytest.mark.parametrize("quota", [20, 2, 0])
def test_a_storm_is_over_within_a_minute_of_its_end(quota: int) -> None:
    """Five minutes of refusals; 60 s after them and the last breath nine tenths of the rate, after 75 s all of it."""
    number = Sending()
    number.run(300, quota)
    calls, refused = number.counts(START + 10, number.now)
    assert refused <= max(0.015 * calls, 300 / LONGEST_BREATH_SECONDS * 5)
    cut = number.pace.cut
    assert cut is not None
    over = max(number.now, cut.until)
    number.run(over + 60 - number.now, FULL)
    assert number.pace.rate(number.now) >= 0.9 * FULL
    number.run(15, FULL)
    assert number.pace.rate(number.now) == FULL
    assert number.counts(over + 40, number.now)[1] == 0


def test_a_healthy_number_is_never_cut() -> None:
    number = Sending()
    number.run(30, FULL)
    assert number.counts(START, number.now)[1] == 0
    assert number.pace.cut is None
    assert number.pace.rate(number.now) == FULL


def test_calls_that_were_under_way_together_cut_once() -> None:
    cut = next_cut(None, 80.0, START, START + 0.1, 0.0, 0.0)
    assert cut == Cut(40.0, START + 1.1)
    assert next_cut(cut, 80.0, START + 0.05, START + 0.2, 0.0, 0.0) is None


def test_refused_at_once_waits_twice_as_long_up_to_half_a_minute() -> None:
    cut, now, breaths = None, START, []
    for _ in range(8):
        cut = next_cut(cut, 80.0, now, now, 0.0, 0.0)
        assert cut is not None
        breaths.append(cut.until - now)
        now = cut.until
    assert breaths == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30])
    assert cut is not None and cut.rate == 4.0
    later = next_cut(cut, 80.0, now + 5, now + 5, 0.0, 0.0)
    assert later is not None and later.row == 0


def test_the_answers_own_time_is_kept() -> None:
    cut = next_cut(None, 80.0, START, START, 45.0, 0.5)
    assert cut is not None and cut.until == START + 45.0


def test_a_number_of_one_a_second_keeps_its_rate_and_takes_a_breath() -> None:
    cut = next_cut(None, 1.0, START, START, 0.0, 0.0)
    assert cut == Cut(1.0, START + 1.0)


def test_the_climb_is_gentle_then_steep_and_never_above_the_profile() -> None:
    cut = Cut(10.0, START)
    assert rate_at(cut, 80.0, START - 5) == 10.0
    assert rate_at(cut, 80.0, START + 10) == pytest.approx(14.0)
    assert rate_at(cut, 80.0, START + 20) == pytest.approx(18.0)
    assert rate_at(cut, 80.0, START + 40) == pytest.approx(18.0 + 20 * 80 / 45)
    assert rate_at(cut, 80.0, START + 1000) == 80.0
    assert rate_at(cut, 5.0, START) == 5.0


def test_a_changed_profile_does_not_forget_what_meta_said() -> None:
    before = paced("100000000000011", Limits(per_second=80))
    before.throttle(Cut(10.0, START))
    after = paced("100000000000011", Limits(per_second=60), before)
    assert after.rate(START + 10) == pytest.approx(14.0)
    assert after.next_at() == START


def test_the_breath_is_longer_by_up_to_a_quarter() -> None:
    for fraction, breath in ((0.0, 1.0), (0.4, 1.1), (0.8, 1.2)):
        cut = next_cut(None, 80.0, START, START, 0.0, fraction)
        assert cut is not None and cut.until - START == pytest.approx(breath)


def test_a_number_is_slowed_to_no_less_than_one_a_second_and_a_twentieth_of_its_rate() -> None:
    for full, lowest in ((10.0, 1.0), (100.0, 5.0), (0.5, 0.5)):
        cut = next_cut(Cut(lowest, START), full, START, START, 0.0, 0.0)
        assert cut is not None and cut.rate == lowest


def test_a_refusal_counts_as_at_once_within_a_second() -> None:
    cut = Cut(40.0, START, row=3)
    for called_at, row in ((START, 4), (START + 0.9, 4), (START + 1.0, 0), (START + 1.5, 0)):
        following = next_cut(cut, 80.0, called_at, called_at, 0.0, 0.0)
        assert following is not None and following.row == row
