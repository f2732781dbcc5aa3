"""Sliding windows, spacing and delays, also over a restart."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.dispatcher.pacing import Limits, Pace, next_fraction, paced
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, HandDriven, order

LIMITS = st.builds(
    Limits,
    per_second=st.one_of(st.none(), st.integers(1, 20)),
    per_minute=st.one_of(st.none(), st.integers(1, 60)),
    per_hour=st.one_of(st.none(), st.integers(1, 100)),
    base_delay_seconds=st.sampled_from([0.0, 0.5]),
    max_jitter_seconds=st.sampled_from([0.0, 1.0]),
)


def run(pace: Pace, waits: list[float], now: float = START) -> list[float]:
    """Call whenever it is allowed, after waiting at least each of `waits`."""
    times = []
    for wait in waits:
        now = max(now + wait, pace.next_at())
        pace.note(now)
        times.append(now)
    return times


@pytest.mark.req("DSP-6")
@given(LIMITS, st.lists(st.floats(0, 30), min_size=1, max_size=150))
def test_no_window_of_any_length_holds_more_than_its_limit(limits: Limits, waits: list[float]) -> None:
    times = run(paced(ONE, limits), waits)
    for calls, seconds in limits.windows():
        for index in range(len(times) - calls):
            assert times[index + calls] - times[index] >= seconds - 1e-6


def test_a_second_is_filled_evenly() -> None:
    times = run(paced(ONE, Limits(per_second=80)), [0.0] * 400)
    assert times[-1] - times[0] == pytest.approx(399 / 80, abs=0.15)
    assert max(sum(start <= at < start + 0.1 for at in times) for start in times) <= 2 * 8 + 1


def test_the_governance_profile_spreads_its_gaps() -> None:
    times = run(paced(ONE, Limits(1, 20, base_delay_seconds=2.0, max_jitter_seconds=1.5)), [0.0] * 200)
    gaps = [b - a for a, b in pairwise(times)]
    assert min(gaps) >= 2.0
    assert pstdev(gaps) / mean(gaps) > 0.1


def test_a_restart_resets_no_window() -> None:
    lane = HandDriven(limits=Limits(per_minute=5))
    lane.take(*(order(f"message-{n}") for n in range(12)))
    assert len(lane.attempts) == 5
    for message_id, *_ in list(lane.attempts):
        lane.answer(ACCEPTED, message_id)
    for _ in range(5):
        lane.round(5)
        lane.crash()
    assert len(lane.attempts) == 5
    lane.round(36)
    assert len(lane.attempts) == 10


def test_a_changed_profile_keeps_the_attempts_of_the_old_one() -> None:
    before = paced(ONE, Limits(per_minute=10))
    times = run(before, [0.0] * 10)
    after = paced(ONE, Limits(per_minute=5), before)
    assert after.next_at() == pytest.approx(times[5] + 60)


def test_fractions_are_even_and_the_same_for_the_same_seed() -> None:
    seed, found = 7, []
    for _ in range(5000):
        seed, fraction = next_fraction(seed)
        found.append(fraction)
    assert all(0 <= fraction < 1 for fraction in found)
    assert mean(found) == pytest.approx(0.5, abs=0.02)
    assert next_fraction(7)[1] == found[0]
