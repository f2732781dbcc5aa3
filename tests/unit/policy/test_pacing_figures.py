"""The arithmetic behind a pace: the generator, the rests, what a number that never called may do."""

from __future__ import annotations

from math import sqrt

import pytest

from harkara.policy.pacing import AHEAD_SECONDS, Limits, Pace, next_fraction, paced, rests_of

ONE = "100000000000011"
START = 1_800_000_000.0  # a whole minute


def test_fractions_are_those_of_splitmix64() -> None:
    """The first values of its reference implementation for the seed 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    seed, found = 1234567, []
    for _ in published:
        seed, fraction = next_fraction(seed)
        found.append(fraction)
    assert found == [(value >> 11) / 2**53 for value in published]


@pytest.mark.parametrize(("rate", "ahead"), [(299, 0.0), (300, AHEAD_SECONDS), (None, 0.0)])
def test_a_number_is_fast_from_three_hundred_a_second_on(rate: int | None, ahead: float) -> None:
    assert paced(ONE, Limits(per_second=rate)).ahead() == ahead


def test_who_never_called_waits_for_nothing_whatever_the_limits() -> None:
    limits = Limits(per_second=1, per_minute=1, per_hour=1, per_day=1, media_per_hour=1, base_delay_seconds=9.0)
    for each in (limits, Limits()):
        assert (paced(ONE, each).next_at(), paced(ONE, each).next_at(media=True)) == (0.0, 0.0)
        assert paced(ONE, each, paced(ONE, limits)).next_at() == 0.0, "another profile makes no call of it"


def test_without_limits_a_call_delays_none() -> None:
    pace = paced(ONE, Limits())
    pace.note(0.25, media=True)
    assert (pace.next_at(), pace.next_at(media=True)) == (0.25, 0.25)


@pytest.mark.parametrize("jitter", [0.05, 1.0, 30.0])
def test_rests_are_taken_only_where_the_jitter_alone_does_not_vary_enough(jitter: float) -> None:
    """An even jitter from 0 varies by 0.577 of its mean, whatever its unit: 0.48 and the margins are just within."""
    assert rests_of(Limits(max_jitter_seconds=jitter, gap_variation=0.47)) == (0.0, 0.0)
    chance, longest = rests_of(Limits(max_jitter_seconds=jitter, gap_variation=0.49))
    assert 0 < chance < 1 and longest > 0


@pytest.mark.parametrize("limits", [Limits(per_second=1), Limits(), Limits(gap_variation=0.4)])
def test_nothing_asked_or_nothing_forced_means_no_rests(limits: Limits) -> None:
    assert rests_of(limits) == (0.0, 0.0)


@pytest.mark.parametrize("variation", [0.3, 0.4])
@pytest.mark.parametrize(
    ("limits", "mean", "variance", "forced"),
    [
        ({"per_second": 1}, 1.0, 0.0, 1.0),
        ({"per_second": 4}, 0.25, 0.0, 0.25),
        ({"base_delay_seconds": 2.0, "max_jitter_seconds": 1.5, "per_second": 1}, 2.75, 0.1875, 2.75),
        ({"base_delay_seconds": 2.0, "max_jitter_seconds": 1.5, "per_minute": 20}, 2.75, 0.1875, 3.0),
        ({"base_delay_seconds": 5.0}, 5.0, 0.0, 5.0),
    ],
)
def test_rests_cost_three_hundredths_of_the_rate_and_make_gaps_uneven_enough(
    limits: dict[str, float], mean: float, variance: float, forced: float, variation: float
) -> None:
    """Mean and deviation of a gap (`mean`, `variance` without rests) with a rest that is even between 0 and longest."""
    chance, longest = rests_of(Limits(**limits, gap_variation=variation))  # type: ignore[arg-type]
    assert 0 < chance < 1
    rest, rest_squared = chance * longest / 2, chance * longest**2 / 3
    assert mean + rest == pytest.approx(1.03 * forced)
    assert sqrt(variance + rest_squared - rest**2) / (mean + rest) == pytest.approx(variation + 0.08)


def test_a_number_that_only_its_minute_slows_rests_after_every_call() -> None:
    """Rests even between 0 and 2 * 3.09 s vary by 0.577 of their mean, which is more than 0.4 and the margin: a rest
    that is longer and rarer is not needed."""
    assert rests_of(Limits(per_minute=20, gap_variation=0.4)) == pytest.approx((1.0, 6.18))


def test_a_delay_is_drawn_from_the_number_and_the_microsecond() -> None:
    """So whoever owns the number next, by whatever version, waits as its last owner would have."""
    seed, jitter = next_fraction(7 ^ 1_800_000_000_250_000)
    _, draw = next_fraction(seed)
    limits = Limits(base_delay_seconds=2.0, max_jitter_seconds=1.5)
    ordinary = 2.0 + 1.5 * jitter
    for chance, rest in ((0.0, 0.0), (draw, 0.0), (2 * draw, 5.0)):
        pace = Pace(limits, 7, rests=(chance, 10.0))
        assert pace.gap_after(START + 0.25) == pytest.approx(ordinary + rest), "a draw below the chance is a rest"


def test_each_limit_has_its_window() -> None:
    limits = Limits(per_second=4, per_minute=3, per_hour=2, per_day=1)
    assert limits.windows() == ((4, 1.0), (3, 60.0), (2, 3600.0), (1, 86_400.0))
    assert Limits(per_minute=3, per_hour=0).windows() == ((3, 60.0),)


@pytest.mark.parametrize(
    ("limits", "media", "waits"),
    [
        (Limits(per_minute=1), False, 60.0),
        (Limits(per_hour=1), False, 3660.0),
        (Limits(per_day=1), False, 86_460.0),
        (Limits(media_per_hour=1), True, 3660.0),
    ],
)
def test_a_full_window_is_waited_for_to_the_second(limits: Limits, media: bool, waits: float) -> None:
    """An hour and a day count per minute: a call leaves them when its whole minute does."""
    pace = paced(ONE, limits)
    pace.note(START, media)
    assert pace.next_at(media) == START + waits


def test_media_are_counted_for_an_hour_and_calls_for_a_day() -> None:
    pace = paced(ONE, Limits())
    pace.note(START, media=True)
    for hours, tally in ((1, pace.media), (24, pace.day)):
        tally.reach(START + hours * 3600.0 + 59.0)
        assert tally.total == 1
        tally.reach(START + hours * 3600.0 + 60.0)
        assert tally.total == 0


@pytest.mark.parametrize("limits", [Limits(per_hour=3), Limits(per_day=3), Limits(media_per_hour=3)], ids=str)
def test_a_window_that_is_not_full_is_not_waited_for_from_the_first_second_on(limits: Limits) -> None:
    pace = paced(ONE, limits)
    pace.note(0.25, media=True)
    assert pace.next_at(media=True) == 0.25


def test_a_pace_remembers_a_minute_of_calls_and_none_older() -> None:
    pace = paced(ONE, Limits(per_minute=20))
    for at in (START, START + 59.0, START + 60.0):
        pace.note(at)
    assert list(pace.minute) == [START + 59.0, START + 60.0]
