"""Who was written to since when: as a dict in the order of its entries would have it, in a fifth of the memory."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from harkara.policy.people import People

Told = dict[str, float]


def noted(people: People, told: Told, person: str, at: float) -> None:
    at = max(at, told.pop(person, at))
    told[person] = at
    people.note(person, at)


def alike(people: People, told: Told, names: list[str]) -> None:
    assert (len(people), list(people)) == (len(told), list(told.values()))
    assert people.first() == next(iter(told.values()), None)
    assert [people.since(name) for name in names] == [told.get(name) for name in names]


@pytest.mark.parametrize("seed", range(8))
def test_it_is_a_dict_in_the_order_of_what_was_noted_last(seed: int) -> None:
    chance = random.Random(seed)
    names = [f"person-{n}" for n in range(chance.choice([1, 3, 40, 4000]))]
    people, told = People(), Told()
    for turn in range(6000):
        if told and chance.random() < (0.2 if turn % 2000 < 1500 else 0.8):
            del told[next(iter(told))]
            people.drop_first()
        else:
            noted(people, told, chance.choice(names), chance.uniform(0, 100))
        if turn % 500 == 0:
            alike(people, told, names)
    alike(people, told, names)
    while told:
        del told[next(iter(told))]
        people.drop_first()
    alike(people, told, names)


def test_of_two_times_the_later_counts_and_the_order_is_that_of_the_words() -> None:
    people = People()
    for person, at in (("a", 5.0), ("b", 7.0), ("a", 3.0)):
        people.note(person, at)
    assert (people.since("a"), people.since("b"), people.since("c")) == (5.0, 7.0, None)
    assert list(people) == [7.0, 5.0]
    people.note("b", 8.0)
    assert (people.since("b"), list(people)) == (8.0, [5.0, 8.0])


def test_they_are_equal_where_the_same_people_count_since_the_same_times_in_the_same_order() -> None:
    def made(*rows: tuple[str, float]) -> People:
        people = People()
        for person, at in rows:
            people.note(person, at)
        return people

    one = made(("a", 1.0), ("b", 2.0))
    other = made(("x", 0.0), ("b", 2.0), ("a", 1.0), ("b", 2.0))
    assert one != other
    other.drop_first()
    assert one == other
    for different in (made(("a", 1.0)), made(("a", 1.0), ("c", 2.0)), made(("a", 1.0), ("b", 3.0))):
        assert one != different
    assert one != made(("b", 2.0), ("a", 1.0))
    assert one != [1.0, 2.0]


def test_nobody() -> None:
    people = People()
    assert (len(people), list(people), people.first(), people.since("a")) == (0, [], None, None)


def test_places_are_used_again() -> None:
    people = People()
    for n in range(1000):
        people.note(f"person-{n}", float(n))
    held = people.held_bytes
    for n in range(1000, 20_000):
        people.drop_first()
        people.note(f"person-{n}", float(n))
    assert len(people) == 1000
    assert people.held_bytes <= 1.1 * held, "chains alone may have grown"


def test_a_person_takes_forty_bytes_at_most() -> None:
    tracemalloc.start()
    try:
        people = People()
        for n in range(30_000):
            people.note(f"{n:032x}", 1.5 + n)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert people.held_bytes <= 40 * 30_000
    assert held <= 45 * 30_000, "arrays are a little larger than what is in them"
    assert people.since(f"{77:032x}") == 78.5
