"""The arithmetic behind a pace: the generator, the rests, what a number that never called may do."""

from __future__ import annotations

from math import sqrt

import pytest

from harkara.policy.pacing import AHEAD_SECONDS, Limits, next_fraction, paced, rests_of

ONE = "100000000000011"


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
