"""The calls of a number's last second, known by when each was to start."""

from __future__ import annotations

import pytest

from harkara.policy.second import Second


def test_of_what_was_before_only_the_newest_are_kept() -> None:
    assert Second(2, [3.0, 1.0, 2.0]).starts == [2.0, 3.0]
    assert Second(0, [1.0]).starts == []
    with pytest.raises(IndexError):
        _ = Second(2).first


def test_the_oldest_gives_way_and_what_is_older_than_all_is_not_kept() -> None:
    second = Second(2)
    for at in (2.0, 1.0, 3.0, 0.5):
        second.add(at)
    assert (second.starts, second.first, len(second)) == ([2.0, 3.0], 2.0, 2)
    none = Second(0)
    none.add(1.0)
    assert none.starts == []


def test_a_call_that_starts_late_moves_alone() -> None:
    second = Second(3, [1.0, 2.0, 3.0])
    second.began(1.0, 2.5)
    assert second.starts == [2.0, 2.5, 3.0]
    second.forget(1.0)  # by the time that it was noted for
    assert second.starts == [2.0, 3.0]


def test_a_call_begins_once() -> None:
    second = Second(3, [1.0])
    second.began(1.0, 2.0)
    second.began(1.0, 3.0)
    assert second.starts == [2.0]


def test_of_two_that_start_at_once_the_one_that_is_meant_moves() -> None:
    second = Second(3, [1.0, 2.0])
    second.began(1.0, 2.0)
    second.began(2.0, 3.0)
    assert second.starts == [2.0, 3.0]
    second.forget(1.0)
    assert second.starts == [3.0]


def test_a_call_takes_the_place_of_one_that_started_late_at_the_same_time() -> None:
    second = Second(1, [1.0])
    second.began(1.0, 2.0)
    second.add(2.0)
    second.forget(1.0)
    assert second.starts == [2.0]
    second.forget(2.0)
    assert second.starts == []


@pytest.mark.parametrize("noted", [0.5, 1.5, 9.0])
def test_what_was_never_noted_neither_begins_nor_is_forgotten(noted: float) -> None:
    second = Second(3, [1.0, 2.0])
    second.began(noted, 5.0)
    second.forget(noted)
    assert second.starts == [1.0, 2.0]


def test_a_copy_goes_its_own_way() -> None:
    second = Second(2, [1.0, 2.0])
    other = second.copy()
    other.add(3.0)
    other.began(2.0, 2.5)
    second.forget(1.0)
    assert (second.starts, other.starts) == ([2.0], [2.5, 3.0])


def test_only_a_full_one_has_an_oldest_that_is_waited_for() -> None:
    assert Second(0).oldest_if_full is None
    second, found = Second(2), list[float | None]()
    for at in (1.0, 2.0, 3.0):
        found.append(second.oldest_if_full)
        second.add(at)
    assert [*found, second.oldest_if_full] == [None, None, 1.0, 2.0]


def test_one_that_is_moved_knows_its_calls_by_their_new_times() -> None:
    second = Second(3)
    for at in (1.0, 2.0, 3.0):
        second.add(at)
    moved = second.moved(-0.5)
    assert list(moved.starts) == [0.5, 1.5, 2.5]
    moved.forget(1.5)
    assert list(moved.starts) == [0.5, 2.5]
    assert list(second.starts) == [1.0, 2.0, 3.0]
