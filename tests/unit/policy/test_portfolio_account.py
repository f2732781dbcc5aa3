"""The bookkeeping of a portfolio's limit: what a home has in hand, which places are told, when a lease is due."""

from __future__ import annotations

import pytest

from harkara.contracts.portfolios import UNLIMITED
from harkara.policy.portfolio import COUNTS_SECONDS, FREE_PASS_SECONDS, Account, Ledger, Window, begun_with, lease_of
from tests.unit.policy.test_portfolio import PEOPLE, START, Log


def window(*times: float) -> Window:
    made = Window()
    for person, at in enumerate(times):
        made.count(f"person-{person}", at)
    return made


@pytest.mark.req("B7")
def test_few_places_are_told_one_by_one_and_many_in_round_figures() -> None:
    told = list(window(*(START + second for second in range(1200))).frees(0))
    assert [place for place, _ in told] == [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert all(at == START + place - 1 + COUNTS_SECONDS for place, at in told)


@pytest.mark.req("B7")
def test_a_place_is_free_when_those_who_are_too_many_have_gone_before() -> None:
    assert list(window(0.1, 0.2, 0.3, 0.4, 0.5).frees(2)) == [
        (1, 0.3 + COUNTS_SECONDS), (2, 0.4 + COUNTS_SECONDS), (3, 0.5 + COUNTS_SECONDS)
    ]  # fmt: skip
    assert list(window().frees(0)) == []


def test_a_place_behind_one_that_a_fast_clock_counted_is_free_no_sooner() -> None:
    assert [at for _, at in window(9.0, 5.0).frees(0)] == [9.0 + COUNTS_SECONDS] * 2


@pytest.mark.req("B7")
@pytest.mark.parametrize(
    ("granted", "reported", "beyond", "in_hand"),
    [
        (10, 5, set(), 5),
        (10, 5, {(6, 8)}, 3),
        (10, 5, {(6, 8), (7, 9)}, 2),
        (10, 5, {(3, 4)}, 5),
        (10, 5, {(3, 7)}, 3),
        (1, 3, set(), 0),
    ],
)
def test_a_unit_is_in_hand_until_it_is_reported_once(
    granted: int, reported: int, beyond: set[tuple[int, int]], in_hand: int
) -> None:
    assert Account(granted, reported, beyond).outstanding == in_hand


def test_what_was_used_was_granted() -> None:
    account = Account(target=6)
    account.report(0, 5)
    assert (account.granted, account.outstanding, account.wanted) == (5, 0, 1)


def due(log: Log) -> bool:
    """Whether the next lease says something new to a lane."""
    return log.ledger.said


@pytest.mark.req("B7")
def test_a_lease_is_due_when_units_are_granted_and_not_when_nobody_waits() -> None:
    log = Log()
    log.limit(1)
    assert due(log)
    log.say("wanted", "pool-a", wanted=1)
    log.say("wanted", "pool-b", wanted=1)
    lease_of(log.ledger)
    assert not due(log)
    log.say("spent", "pool-a", sequence=1, returned=1)
    assert (log.granted("pool-b"), due(log)) == (1, True)
    lease_of(log.ledger)
    log.say("spent", "pool-b", sequence=1, persons=PEOPLE[:1])
    assert not due(log)


def test_without_a_limit_a_report_asks_for_no_lease() -> None:
    log = Log()
    log.limit(UNLIMITED)
    log.say("wanted", wanted=2)
    assert (log.granted(), due(log)) == (2, True)
    lease_of(log.ledger)
    log.say("spent", sequence=2, persons=PEOPLE[:2])
    assert not due(log)


def test_who_begins_with_a_lease_knows_what_its_writer_knew() -> None:
    log = Log()
    log.limit(3)
    log.say("wanted", wanted=2)
    assert begun_with(lease_of(log.ledger)) == log.ledger, "nobody counts yet, and Meta has said nothing"


@pytest.mark.req("B7")
def test_a_person_counts_for_a_day_and_the_longest_call_and_is_written_to_again_an_hour_before() -> None:
    assert (COUNTS_SECONDS, FREE_PASS_SECONDS) == (24 * 3600 + 70, 23 * 3600)
    made = window(START)
    made.forget(START + 24 * 3600 + 69.9)
    assert (len(made), made.until("person-0")) == (1, START + 24 * 3600 + 70)
    made.forget(START + 24 * 3600 + 70)
    assert (len(made), made.until("person-0")) == (0, None)


def test_a_ledger_that_knows_no_record_grants_nothing_and_has_nothing_to_say() -> None:
    new = Ledger("300000000000001")
    assert (new.version, new.now, new.said) == (-1, 0.0, False)
    assert (new.limit, new.free, new.outstanding, len(new.window)) == (None, 0, 0, 0)
