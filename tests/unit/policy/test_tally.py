"""Calls per minute: a window is never exceeded, and a place in it is used at most a minute late."""

from __future__ import annotations

import pytest

from harkara.policy.tally import MINUTE_SECONDS, Tally

HOUR = 3600.0
AT = 1_000_000 * MINUTE_SECONDS  # a whole minute


def tally(*calls: tuple[float, int], hours: int = 1) -> Tally:
    """One with so many calls, so many minutes after AT."""
    made = Tally(hours)
    for minutes, count in calls:
        made.add(AT + minutes * MINUTE_SECONDS, count)
    return made


def test_a_call_counts_until_its_whole_minute_is_a_window_ago() -> None:
    made = tally((0.0, 1), (0.9, 1), (1.0, 3))
    totals = []
    for minutes in (60.9, 61.0, 61.9, 62.0):
        made.reach(AT + minutes * MINUTE_SECONDS)
        totals.append(made.total)
    assert totals == [5, 3, 3, 0]


@pytest.mark.parametrize(("late", "kept"), [(60.0, 3), (60.99, 3), (61.0, 2)])
def test_a_call_told_of_late_counts_as_long_as_its_minute_does(late: float, kept: int) -> None:
    made = tally((late, 2))
    made.add(AT, 1)
    assert made.total == kept
    assert sum(count for _, count in made.leaving(AT + late * MINUTE_SECONDS, HOUR)) == kept


def test_what_was_not_made_after_all_is_taken_back_and_nothing_more() -> None:
    made = tally((0, 2))
    made.add(AT, -1)
    assert made.total == 1
    made.add(AT + MINUTE_SECONDS, -1)
    assert made.total == 1
    made.add(AT, -1)
    assert made.total == 0
    made.add(AT, -1)
    assert (made.total, list(made.leaving(AT, HOUR))) == (0, [])


def test_a_time_before_the_newest_forgets_nothing() -> None:
    made = tally((5, 1), (3, 1))
    made.reach(AT)
    assert made.total == 2
    made.reach(AT + 64 * MINUTE_SECONDS)
    assert made.total == 1


def test_a_long_time_without_a_call_leaves_none() -> None:
    made = tally((0, 1), (30, 1), (60, 1))
    made.reach(AT + 10_000 * MINUTE_SECONDS)
    assert (made.total, list(made.leaving(AT + 10_000 * MINUTE_SECONDS, HOUR))) == (0, [])
    made.add(AT + 10_000 * MINUTE_SECONDS)
    assert made.total == 1


@pytest.mark.parametrize(
    ("calls", "free"),
    [
        (7, 0.0),  # fewer than so many: now
        (6, 1),  # the oldest two have to go
        (5, 1),
        (4, 11),
        (3, 11),
        (2, 11),
        (1, 31),
    ],
)
def test_a_place_is_free_when_the_minute_of_the_call_before_it_has_left(calls: int, free: float) -> None:
    """Six calls: two in the first minute, three in the eleventh, one in the thirty-first."""
    made = tally((0.5, 2), (10.0, 3), (30.99, 1))
    assert made.free_at(calls, HOUR) == (free and AT + free * MINUTE_SECONDS + HOUR)


def test_a_shorter_window_looks_at_its_own_calls() -> None:
    made = tally((0, 5), (100, 1), hours=24)
    assert made.free_at(2, HOUR) == 0.0  # of the last hour there is one only
    assert made.free_at(1, HOUR) == AT + 101 * MINUTE_SECONDS + HOUR
    assert made.free_at(2, 24 * HOUR) == AT + 1 * MINUTE_SECONDS + 24 * HOUR
    on_the_edge = tally((40, 1), (100, 1), hours=24)
    assert on_the_edge.free_at(2, HOUR) == AT + 41 * MINUTE_SECONDS + HOUR
    assert tally((39, 1), (100, 1), hours=24).free_at(2, HOUR) == 0.0


def test_what_leaves_is_told_by_the_minute_the_oldest_first() -> None:
    made = tally((0, 2), (1, 1), (40, 1), (100, 4), hours=24)
    now = AT + 100 * MINUTE_SECONDS

    def leaving(seconds: float) -> list[tuple[float, int]]:
        return [((at - AT - seconds) / MINUTE_SECONDS, count) for at, count in made.leaving(now, seconds)]

    assert leaving(HOUR) == [(41, 1), (101, 4)]
    assert leaving(24 * HOUR) == [(1, 2), (2, 1), (41, 1), (101, 4)]
    later = AT + 101 * MINUTE_SECONDS
    assert [count for _, count in made.leaving(later, HOUR)] == [4]


def test_the_first_minutes_of_all_count_like_any_other() -> None:
    made = Tally(1)
    made.add(0.0)
    assert made.free_at(1, HOUR) == MINUTE_SECONDS + HOUR
    assert list(made.leaving(30.0, HOUR)) == [(MINUTE_SECONDS + HOUR, 1)]


def test_a_copy_goes_its_own_way() -> None:
    made = tally((0, 2))
    other = made.copy()
    other.add(AT, 3)
    other.reach(AT + MINUTE_SECONDS)
    assert (made.total, other.total) == (2, 5)
    assert list(made.leaving(AT, HOUR)) == [(AT + MINUTE_SECONDS + HOUR, 2)]
    made.reach(AT + 61 * MINUTE_SECONDS)
    assert (made.total, other.total) == (0, 5)
