"""What was accepted and not reported is counted, exactly and in little room."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.ingestion.unreported import BUCKET_SECONDS, MOST_BUCKETS, Unreported

NUMBER, OTHER = "445566778899001", "445566778899002"


@pytest.mark.req("ING-12")
@given(st.integers(0, 2**32))
def test_whatever_comes_and_is_reported_the_count_is_what_is_younger_than_the_report(seed: int) -> None:
    """Beside it a list of every one. What is of one tenth of a second with the report may be counted too."""
    random, unreported, at, until = Random(seed), Unreported(), 1_800_000_000.0, 0.0
    accepted: list[tuple[float, tuple[int, str]]] = []
    for _ in range(200):
        at += random.choice((0.001, 0.02, 0.3, 4.0))
        if random.random() < 0.8:
            sharer = (random.choice((1, 3)), random.choice("ab"))
            unreported.add(NUMBER, at, *sharer)
            accepted.append((at, sharer))
        else:
            until = max(until, at - random.choice((0.0, 0.3, 2.0)))
            unreported.reported(NUMBER, until)
            accepted = [each for each in accepted if each[0] >= until - BUCKET_SECONDS]
            surely = sum(1 for when, _ in accepted if when >= until)
            assert surely <= unreported.counts(NUMBER).total() <= len(accepted)
    unreported.reported(NUMBER, at + 1)
    assert unreported.counts(NUMBER).total() == unreported.size(NUMBER) == 0
    assert not unreported.counts(OTHER)


def test_a_silent_hour_takes_a_hundred_buckets_and_forgets_nothing() -> None:
    unreported = Unreported()
    for n in range(36_000):
        unreported.add(NUMBER, n / 10, 1 + n % 3, f"shop-{n % 5}")
    assert unreported.size(NUMBER) <= MOST_BUCKETS
    assert unreported.counts(NUMBER).total() == 36_000
    assert len(unreported.counts(NUMBER)) == 15
    unreported.reported(NUMBER, 3_599.0)
    assert unreported.counts(NUMBER).total() == pytest.approx(10, abs=1)


def test_a_clock_that_was_set_back_keeps_nothing_for_an_hour() -> None:
    unreported = Unreported()
    unreported.add(NUMBER, 3_600.0, 1, "shop")
    for at in (10.0, 10.5, 11.0):
        unreported.add(NUMBER, at, 1, "shop")
    unreported.reported(NUMBER, 10.0)
    assert unreported.counts(NUMBER).total() == 4
    unreported.reported(NUMBER, 10.8)
    assert unreported.counts(NUMBER).total() == 1
