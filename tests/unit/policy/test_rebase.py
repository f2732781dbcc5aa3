"""A pace after the machine's clock was set: the same distances from now, the same attempts under their new times."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.policy.pacing import Limits, Pace, paced
from harkara.policy.rebase import rebase
from harkara.policy.tally import MINUTE_SECONDS, Tally
from harkara.policy.throttle import Cut

START = 1_800_000_000.0
LIMITS = Limits(per_second=3, per_minute=10, per_hour=40, per_day=90, media_per_hour=5, base_delay_seconds=0.25)
STEPS = [-86_400.0 * 400, -3600.0, -3.75, 2.5, 3600.0, 86_400.0]


def used(limits: Limits = LIMITS, calls: int = 45, gap: float = 0.5) -> Pace:
    """A pace with so many attempts, some of media, people's messages between them, and a cut."""
    pace = paced("100000000000011", limits)
    for n in range(calls):
        pace.note(START + n * gap, media=n % 4 == 0)
        if n % 5 == 0:
            pace.note_inbound(START + n * gap + 0.1)
    return pace


def seen(pace: Pace, now: float) -> list[float]:
    """When what may go, from now on, and how much counts."""
    return [
        pace.next_at() - now,
        pace.next_at(media=True) - now,
        pace.rate(now + 7.0),
        float(pace.in_last_day(now)),
        *(at - now for at in pace.minute),
        *(at - now for at in pace.second.starts),
        *(at - now for at in pace.inbound),
        *(at - now for at, _ in pace.day.leaving(now, 3600.0)),
    ]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "limits",
    [
        LIMITS,
        replace(LIMITS, per_hour=None, per_day=None),
        Limits(per_second=1, per_minute=60, base_delay_seconds=20.0, max_jitter_seconds=5.0),
        Limits(per_second=400),
        Limits(per_second=80, media_per_hour=3),
        Limits(per_second=80, per_day=45),
    ],
)
def test_everything_keeps_its_distance_from_now(limits: Limits, step: float) -> None:
    for cut in (None, Cut(1.5, START + 60.0)):
        pace, now = used(limits), START + 23.0
        if cut is not None:
            pace.throttle(cut)
        before = seen(pace, now)
        rebase(pace, step)
        assert seen(pace, now + step) == pytest.approx(before, abs=1e-5)
        assert pace.last == START + 22.0 + step


@pytest.mark.parametrize("step", STEPS)
def test_an_attempt_is_known_by_its_new_time(step: float) -> None:
    pace, last = used(), START + 22.0
    total, starts = pace.day.total, len(pace.second)
    rebase(pace, step)
    pace.began(last + step, last + step + 0.2)
    assert pace.second.starts[-1] == last + step + 0.2
    pace.forget(last + step, media=True)
    assert (pace.day.total, len(pace.second)) == (total - 1, starts - 1)
    assert last + step not in pace.minute


def test_a_number_that_has_done_nothing_has_done_nothing_after_a_step() -> None:
    pace = paced("100000000000011", LIMITS)
    rebase(pace, 3600.0)
    assert pace.last == 0.0 and pace.next_at() <= 3600.0 and pace.next_at() - START < 0
    assert paced("100000000000011", replace(LIMITS, per_second=2), pace).not_before == 0.0


def test_a_copy_made_after_a_step_goes_by_the_new_time() -> None:
    pace = used()
    rebase(pace, -3600.25)
    assert seen(pace.copy(), START - 3577.0) == seen(pace, START - 3577.0)


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.floats(-50_000.0, 50_000.0)), min_size=1, max_size=30),
    st.integers(1, 5),
)
def test_a_window_of_counts_is_never_exceeded_over_any_steps(moves: list[tuple[int, float]], most: int) -> None:
    """In real seconds, of which the tally knows nothing: it is told the clock's, and each step of it."""
    tally, real, offset, calls = Tally(1), 0.0, START, list[float]()
    for seconds, step in moves:
        real += seconds
        offset += step
        tally.move(step)
        tally.reach(real + offset)
        free_at = tally.free_at(most, 3600.0) - offset
        if free_at <= real:
            tally.add(real + offset)
            calls.append(real)
        else:
            oldest = calls[-most]
            assert oldest + 3600.0 < free_at + 1e-3 and free_at <= oldest + 3600.0 + MINUTE_SECONDS + 1e-3
    assert all(later - at >= 3600.0 - 1e-3 for at, later in zip(calls, calls[most:], strict=False))
