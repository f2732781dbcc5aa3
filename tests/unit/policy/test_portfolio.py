"""The ledger of a portfolio's messaging limit: never one person too many, and no place is lost for ever."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from harkara.contracts.portfolios import UNLIMITED, PortfolioEvent, PortfolioLease
from harkara.policy.portfolio import (
    CALL_SECONDS,
    COUNTS_SECONDS,
    DAY_SECONDS,
    FREE_PASS_SECONDS,
    Account,
    Ledger,
    begun_with,
    evolve,
    lease_of,
)

START = 1_800_000_000.0
PORTFOLIO = "300000000000001"
LIMIT = 5
HOMES = ("pool-a", "pool-b", "pool-c")
PEOPLE = [f"person-{number}" for number in range(9)]


def event(kind: str, at: float, **more: Any) -> PortfolioEvent:
    values = {"portfolio_id": PORTFOLIO, "kind": kind, "at": datetime.fromtimestamp(at, UTC)}
    return PortfolioEvent.model_validate(values | more)


@dataclass
class Log:
    """portfolio-events, and a ledger that reads them."""

    ledger: Ledger = field(default_factory=lambda: Ledger(PORTFOLIO))
    now: float = START

    def say(self, kind: str, home: str | None = "pool-a", **more: Any) -> None:
        evolve(self.ledger, event(kind, self.now, home=home, **more), self.ledger.version + 1, self.now)

    def limit(self, limit: int, source: str = "policy") -> None:
        self.say("limit", None, limit=limit, source=source)

    def granted(self, home: str = "pool-a") -> int:
        return self.ledger.accounts[home].granted


@pytest.fixture
def log() -> Log:
    made = Log()
    made.limit(LIMIT)
    return made


@pytest.mark.req("B7")
def test_a_unit_for_each_person_and_no_more_than_the_limit_over_all_homes(log: Log) -> None:
    log.say("wanted", "pool-a", wanted=3)
    log.say("wanted", "pool-b", wanted=9)
    assert (log.granted("pool-a"), log.granted("pool-b"), log.ledger.free) == (3, 2, 0)
    log.say("spent", "pool-a", sequence=3, persons=PEOPLE[:3])
    log.say("spent", "pool-b", sequence=2, persons=PEOPLE[3:5])
    assert (len(log.ledger.window), log.ledger.outstanding, log.granted("pool-b")) == (5, 0, 2)


@pytest.mark.req("B7")
def test_a_person_whom_another_home_wrote_to_already_takes_no_second_place(log: Log) -> None:
    log.say("wanted", "pool-a", wanted=3)
    log.say("wanted", "pool-b", wanted=9)
    log.say("spent", "pool-a", sequence=3, persons=PEOPLE[:3])
    log.say("spent", "pool-b", sequence=2, persons=[PEOPLE[0], PEOPLE[3]])
    assert len(log.ledger.window) == 4
    assert log.granted("pool-b") == 3, "the unit that was spent twice on the same person is free again"


@pytest.mark.req("B7")
def test_places_are_told_and_free_a_day_later_and_no_sooner(log: Log) -> None:
    for person in range(LIMIT):
        log.say("wanted", sequence=person, wanted=1)
        log.say("spent", sequence=person + 1, persons=[PEOPLE[person]])
        log.now += 60
    log.say("wanted", sequence=5, wanted=2, persons=[PEOPLE[0], PEOPLE[8]])
    lease = lease_of(log.ledger)
    assert (lease.used, lease.outstanding, lease.limit) == (5, 0, 5)
    assert [(places, at.timestamp()) for places, at in lease.frees] == [
        (places, START + 60 * (places - 1) + COUNTS_SECONDS) for places in (1, 2, 3, 5)
    ]
    assert {person: at.timestamp() for person, at in lease.known.items()} == {PEOPLE[0]: START + COUNTS_SECONDS}
    log.now = START + DAY_SECONDS + CALL_SECONDS - 0.001
    log.say("wanted", sequence=5, wanted=2)
    assert log.granted() == 5
    log.now = START + DAY_SECONDS + CALL_SECONDS
    log.say("wanted", sequence=5, wanted=2)
    assert log.granted() == 6


@pytest.mark.req("B7")
def test_a_repeat_counts_from_the_newest_message(log: Log) -> None:
    log.say("wanted", wanted=5)
    log.say("spent", sequence=5, persons=PEOPLE[:5])
    log.now += 3600
    log.say("spent", sequence=5, again=[PEOPLE[0]])
    log.now = START + COUNTS_SECONDS
    log.say("wanted", sequence=5, wanted=9)
    assert [each for each in PEOPLE if log.ledger.window.until(each) is not None] == [PEOPLE[0]]
    assert log.granted() == 9


def test_an_ask_or_a_report_that_comes_again_changes_nothing(log: Log) -> None:
    log.say("wanted", wanted=3)
    log.say("wanted", wanted=3)
    assert log.granted() == 3
    log.say("spent", sequence=2, persons=PEOPLE[:2])
    log.say("spent", sequence=2, persons=PEOPLE[:2])
    log.say("spent", sequence=3, returned=1)
    log.say("spent", sequence=3, returned=1)
    assert (log.ledger.outstanding, log.ledger.free, len(log.ledger.window)) == (0, 3, 2)
    log.say("wanted", wanted=3)  # from before what it reported since
    assert log.granted() == 3


def test_reports_in_another_order_keep_the_units_between_them() -> None:
    account = Account(granted=10)
    account.report(4, 6)
    account.report(7, 8)
    account.report(4, 6)
    assert (account.reported, account.outstanding) == (0, 7)
    account.report(0, 4)
    assert (account.reported, account.outstanding) == (6, 3)
    account.report(6, 7)
    assert (account.reported, account.outstanding, account.beyond) == (8, 2, set())


def test_scarce_places_go_round_the_homes_that_wait() -> None:
    log = Log()
    for home in HOMES:
        log.say("wanted", home, wanted=10)
    log.limit(7)
    assert sum(log.granted(home) for home in HOMES) == 7
    assert sorted(log.granted(home) for home in HOMES) == [2, 2, 3]
    first = next(home for home in HOMES if log.granted(home) == 3)
    log.say("spent", first, sequence=3, returned=3)
    assert sorted(log.granted(home) for home in HOMES if home != first) == [3, 4], "who gave back wants none"


def test_metas_word_takes_the_place_of_the_policys_and_the_newest_counts(log: Log) -> None:
    log.say("wanted", wanted=20)
    log.now += 10
    log.limit(12, "meta")
    assert log.granted() == 12
    log.limit(3)
    assert log.ledger.limit == 12
    earlier = event("limit", log.now - 5, limit=250, source="meta")
    evolve(log.ledger, earlier, log.ledger.version + 1, log.now)
    assert log.ledger.limit == 12
    log.limit(UNLIMITED, "meta")
    assert log.granted() == 20
    log.limit(4, "meta")
    log.say("wanted", sequence=0, wanted=30)
    assert log.granted() == 20, "nothing until fewer count than are allowed"


def test_without_a_limit_nothing_is_granted() -> None:
    log = Log()
    log.say("wanted", wanted=1)
    assert log.granted() == 0
    log.limit(1)
    assert log.granted() == 1


def test_a_clock_that_is_ahead_frees_nothing_too_soon() -> None:
    """Neither the lane's nor the broker's alone; and a time of next year keeps no place until then."""
    for lane, broker in ((DAY_SECONDS, 0.0), (0.0, DAY_SECONDS)):
        log = Log()
        log.limit(1)
        log.say("wanted", wanted=1)
        log.say("spent", sequence=1, persons=[PEOPLE[0]])
        ask = event("wanted", START + 60 + lane, home="pool-a", sequence=1, wanted=1)
        evolve(log.ledger, ask, log.ledger.version + 1, START + 60 + broker)
        assert log.granted() == 1
    log = Log()
    log.limit(1)
    evolve(log.ledger, event("spent", START + 400 * DAY_SECONDS, home="pool-a", sequence=1, persons=["a"]), 9, START)
    assert (log.ledger.window.until("a") or 0.0) <= START + COUNTS_SECONDS + 3600


@dataclass
class Lane:
    """A home: what it journaled, what of that is reported, the newest lease it has seen. Its clock may be wrong."""

    spent: int = 0
    granted: int = 0
    seen: int = -1
    skew: float = 0.0
    journal: list[PortfolioEvent] = field(default_factory=list)
    reported: int = 0
    passes: dict[str, float] = field(default_factory=dict)


@dataclass
class Owner:
    """One who reads the log and writes leases: perhaps one who does not know that others do too."""

    ledger: Ledger
    position: int = 0


class World:
    """Homes ask, spend, report late, twice and after crashes; owners come, freeze and come back; clocks are wrong."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = START
        self.log: list[tuple[PortfolioEvent, float]] = []
        self.leases: list[PortfolioLease] = []
        self.lanes = {home: Lane() for home in HOMES}
        self.owners = [Owner(Ledger(PORTFOLIO)), Owner(Ledger(PORTFOLIO))]
        self.sent: dict[str, float] = {}
        self.of_broker = False
        self.broker_skew = 0.0
        self.sends = 0
        self.unreported_since: float | None = None

    def begin(self) -> None:
        """The broker's clock is wrong, or those of two lanes."""
        self.of_broker = self.random.random() < 0.5
        self.clock_steps()
        self.append(event("limit", self.now, limit=LIMIT, source="policy"))

    def step(self) -> None:
        """One thing that happens."""
        home, person, pick = self.random.choice(HOMES), self.random.choice(PEOPLE), self.random.randrange
        things: dict[Callable[[], None], int] = {
            lambda: self.send(home, person): 20,
            lambda: self.owner_works(pick(2), 1 + pick(60)): 12,
            lambda: self.lane_reads(home, self.random.choice((0, 0, 0, 1, 3))): 10,
            lambda: self.ask(home, pick(8), person): 6,
            lambda: self.report(home, 1 + pick(4)): 6,
            lambda: self.time_passes(self.random.choice((1.0, 1.0, 60.0, 600.0, 3000.0, 20_000.0))): 4,
            lambda: self.give_back(home): 2,
            lambda: self.old_record_again(pick(len(self.log))): 2,
            self.clock_steps: 1,
            lambda: self.lane_crashes(home, 1 + pick(6)): 1,
            lambda: self.owner_begins(pick(2), pick(1 << 20), pick(6)): 1,
        }
        self.random.choices(list(things), list(things.values()))[0]()

    def clock_steps(self) -> None:
        """A wrong clock is set to another wrong time, forward or back."""
        if self.of_broker:
            self.broker_skew = self.random.uniform(-1200, 1200)
        else:
            for home in HOMES[:2]:
                self.lanes[home].skew = self.random.uniform(-1200, 1200)

    def append(self, what: PortfolioEvent) -> None:
        self.log.append((what, self.now + self.broker_skew))

    def ask(self, home: str, wanted: int, person: str) -> None:
        lane = self.lanes[home]
        at = self.now + lane.skew
        self.append(event("wanted", at, home=home, sequence=lane.spent, wanted=wanted, persons=[person]))

    def send(self, home: str, person: str) -> None:
        lane = self.lanes[home]
        at = self.now + lane.skew
        if lane.passes.get(person, 0.0) > at:
            lane.journal.append(event("spent", at, home=home, sequence=lane.spent, again=[person]))
        elif lane.spent < lane.granted:
            lane.spent += 1
            lane.journal.append(event("spent", at, home=home, sequence=lane.spent, persons=[person]))
        else:
            return
        lane.passes[person] = at + FREE_PASS_SECONDS
        self.sent[person] = self.now
        self.sends += 1
        if self.unreported_since is None:
            self.unreported_since = self.now
        within = [each for each, when in self.sent.items() if when > self.now - DAY_SECONDS]
        assert len(within) <= LIMIT, within

    def give_back(self, home: str) -> None:
        lane = self.lanes[home]
        units, at = lane.granted - lane.spent, self.now + lane.skew
        if units > 0:
            lane.spent += units
            lane.journal.append(event("spent", at, home=home, sequence=lane.spent, returned=units))

    def report(self, home: str, count: int) -> None:
        lane = self.lanes[home]
        for what in lane.journal[lane.reported : lane.reported + count]:
            self.append(what)
        lane.reported = min(len(lane.journal), lane.reported + count)

    def lane_crashes(self, home: str, back: int) -> None:
        """The next owner of the lane reports again what may not have been, and has forgotten what others counted."""
        lane = self.lanes[home]
        lane.reported = max(0, lane.reported - back)
        lane.granted, lane.seen = 0, -1
        own = {each for what in lane.journal for each in (*what.persons, *what.again)}
        lane.passes = {person: until for person, until in lane.passes.items() if person in own}

    def old_record_again(self, which: int) -> None:
        self.append(self.log[which][0])

    def owner_works(self, owner: int, count: int) -> None:
        """Its lease says all that it read; a frozen one's may come long after those of another."""
        working = self.owners[owner]
        batch = self.log[working.position : working.position + count]
        for what, appended_at in batch:
            evolve(working.ledger, what, working.position, appended_at)
            working.position += 1
        if batch:
            self.leases.append(PortfolioLease.model_validate_json(lease_of(working.ledger).model_dump_json()))

    def owner_begins(self, owner: int, which: int, early: int) -> None:
        """From some lease, as the compacted topic may have it, and the records that may still count."""
        if not self.leases:
            self.owners[owner] = Owner(Ledger(PORTFOLIO))
            return
        lease = self.leases[which % len(self.leases)]
        since = lease.at.timestamp() - COUNTS_SECONDS - 3600
        ledger, first = begun_with(lease), len(self.log)
        for offset, (_, appended_at) in enumerate(self.log):
            if appended_at >= since or offset > lease.version:
                first = max(0, offset - early)
                break
        upto = max(first, lease.version + 1)
        for offset in range(first, upto):
            evolve(ledger, self.log[offset][0], offset, self.log[offset][1])
        self.owners[owner] = Owner(ledger, upto)
        for other in self.owners:
            if other.ledger.version == ledger.version:
                assert lease_of(other.ledger).homes == lease_of(ledger).homes
                assert other.ledger.window == ledger.window

    def lane_reads(self, home: str, which: int) -> None:
        """The newest lease, or an older one."""
        lane = self.lanes[home]
        for lease in self.leases[len(self.leases) - 1 - which :][:1]:
            if lease.version > lane.seen:
                lane.seen = lease.version
                lane.granted = lease.homes[home].granted if home in lease.homes else 0
            for person, until in lease.known.items():
                passes = until.timestamp() - COUNTS_SECONDS + FREE_PASS_SECONDS
                lane.passes[person] = max(passes, lane.passes.get(person, 0.0))

    def time_passes(self, seconds: float) -> None:
        """Reports are at most ten minutes late: of a repeat nothing is known that long."""
        oldest = self.unreported_since
        if oldest is not None and self.now + seconds > oldest + 600:
            for home in HOMES:
                self.report(home, 10_000)
            self.unreported_since = None
        self.now += seconds

    def all_is_free_in_the_end(self) -> None:
        """When all is reported and given back and a day has passed, every place can be granted to anybody."""
        for home, lane in self.lanes.items():
            self.owner_works(0, 10_000)
            granted = self.owners[0].ledger.accounts.get(home, Account()).granted
            lane.granted = max(lane.granted, granted)
            self.ask(home, 0, PEOPLE[0])
            self.give_back(home)
            self.report(home, 10_000)
        self.owner_works(0, 10_000)
        self.now += COUNTS_SECONDS + 2 * 3600
        self.ask(HOMES[2], LIMIT, PEOPLE[0])
        self.owner_works(0, 10_000)
        ledger = self.owners[0].ledger
        assert (len(ledger.window), ledger.outstanding, ledger.free) == (0, LIMIT, 0)
        assert ledger.accounts[HOMES[2]].outstanding == LIMIT


@pytest.mark.req("B7")
@pytest.mark.parametrize("seed", range(30))
def test_never_more_people_in_a_day_than_the_limit_and_no_place_is_lost(seed: int) -> None:
    world = World(seed)
    world.begin()
    for _ in range(1200):
        world.step()
    world.all_is_free_in_the_end()
    assert world.sends > 40, "the world stood still"


def test_what_comes_after_a_lost_report_is_one_part_and_only_the_gap_stays_out() -> None:
    account = Account(granted=1000)
    account.report(0, 10)
    for begin in random.Random(1).sample(range(13, 1000), 987):
        account.report(begin, begin + 1)
    assert (account.reported, account.beyond, account.outstanding) == (10, {(13, 1000)}, 3)
    account.report(1000, 1000)  # nobody new
    account.report(9, 13)
    assert (account.reported, account.beyond, account.outstanding) == (1000, set(), 0)
