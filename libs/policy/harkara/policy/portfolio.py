"""The ledger of a portfolio's messaging limit: who counts, which home may write to how many more people (row B7).

Meta counts the unique people that a portfolio's numbers wrote to outside service windows in any 24 hours. Lanes spend
units that they were granted beforehand, one for each person who does not count yet, and report whom they wrote to. So
of every portfolio, always:

    people in the window + units granted and not reported  <=  limit, whenever a unit is granted

A unit that is reported makes one person count, or none where they count already: then it is free again. Nothing else
moves units, so the people who count never exceed the limit (where it was lowered: no unit is granted until they are
below it).

The ledger is a function of the records of portfolio-events alone, their times and the limits included. Whoever reads
the same records grants the same units to the same homes: two owners at once, a frozen one that wakes up, or one that
begins in the middle with a lease for its counters and a day of records for its window can say nothing that differs.
That is why no owner needs to be fenced off.

Times. A person counts from the later of what lane and broker say (as far as they agree to the hour); the ledger's own
time goes by the earlier of the two, and never back. So one wrong clock can keep a place longer than a day, and free
none too soon.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from harkara.contracts.portfolios import UNLIMITED, LeaseAccount, PortfolioEvent, PortfolioLease
from harkara.policy.people import People

DAY_SECONDS = 86_400.0
CALL_SECONDS = 70.0
"""A call may reach Meta so long after its attempt was journaled: lease (at most 5 s), time-out (60 s), margin."""
COUNTS_SECONDS = DAY_SECONDS + CALL_SECONDS
FREE_PASS_SECONDS = DAY_SECONDS - 3600.0
"""So long after a person was counted a lane writes to them again without a unit. The hour before their place is free is
the time in which the report of such a repeat has to arrive; within it a repeat takes a unit as a new person does."""
CLOCKS_APART_SECONDS = 3600.0
"""A lane's time that is further ahead of the broker's is not believed, for it would keep a place for ever; and what is
reported later than this is an old report, often one that comes again: nobody counts anew by it."""
FREES_TOLD = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Of how many places it is told when they are free: enough to tell every message that waits a time."""
MOST_KNOWN = 2000  # people told in one lease, 100 KB: of each home's hundred, twenty homes at once


@dataclass(slots=True)
class Window:
    """The people who count: since when each does (Unix seconds), in the order in which they were last counted.

    Also of a portfolio without a limit: where Meta lowers it, the day before counts, and of people who are not known
    nothing could be granted for a day."""

    people: People = field(default_factory=People)

    def __len__(self) -> int:
        return len(self.people)

    def count(self, person: str, at: float) -> None:
        """They were written to at `at`."""
        self.people.note(person, at)

    def forget(self, now: float) -> None:
        """Those whose day is over at `now`. One counted by a clock that was ahead keeps those behind it a little."""
        while (since := self.people.first()) is not None and since + COUNTS_SECONDS <= now:
            self.people.drop_first()

    def until(self, person: str) -> float | None:
        """Until when they count; None: they do not."""
        since = self.people.since(person)
        return None if since is None else since + COUNTS_SECONDS

    def frees(self, over: int) -> Iterator[tuple[int, float]]:
        """(so many places, free by then), for the numbers of places in FREES_TOLD. `over`: people who must go before
        the first place is free."""
        latest, told = 0.0, iter(FREES_TOLD)
        following = next(told)
        for place, since in enumerate(islice(self.people, over + FREES_TOLD[-1]), start=1 - over):
            latest = max(latest, since)
            if place == following or (place > 0 and place + over == len(self.people)):
                yield place, latest + COUNTS_SECONDS
                following = next(told, 0)


@dataclass(slots=True)
class Account:
    """One home's units, as in a lease."""

    granted: int = 0
    reported: int = 0
    beyond: set[tuple[int, int]] = field(default_factory=set)
    target: int = 0

    @property
    def outstanding(self) -> int:
        """Units in the home's hands, or used and not reported yet."""
        ahead = 0
        covered = self.reported
        for begin, end in sorted(self.beyond):
            ahead += max(0, end - max(begin, covered))
            covered = max(covered, end)
        return max(0, self.granted - self.reported - ahead)

    @property
    def wanted(self) -> int:
        """Units that the home would like to have besides."""
        return max(0, self.target - self.granted)

    def report(self, begin: int, end: int) -> None:
        """The units after `begin` up to `end` are used up. In any order, any number of times.

        Parts that touch become one: of a report that is lost one gap remains, not all that came after it."""
        if end > self.reported:
            for part in [part for part in self.beyond if part[0] <= end and begin <= part[1]]:
                self.beyond.discard(part)
                begin, end = min(begin, part[0]), max(end, part[1])
            self.beyond.add((begin, end))
        while reached := [part for part in self.beyond if part[0] <= self.reported]:
            self.reported = max(self.reported, *(part[1] for part in reached))
            self.beyond.difference_update(reached)
        self.granted = max(self.granted, self.reported)


@dataclass(slots=True)
class Ledger:
    """One portfolio. `version`: the offset of the newest record it knows; `now`: its time. `asked`: people whom lanes
    asked about since the last lease; `said`: whether the next lease says something new to a lane."""

    portfolio_id: str
    version: int = -1
    now: float = 0.0
    window: Window = field(default_factory=Window)
    accounts: dict[str, Account] = field(default_factory=dict)
    policy_limit: int | None = None
    meta_limit: int | None = None
    meta_at: float = 0.0
    asked: dict[str, None] = field(default_factory=dict)
    said: bool = False

    @property
    def limit(self) -> int | None:
        """Meta's word where it is known, else the policy's; None: nobody has said one, so nothing is granted."""
        return self.policy_limit if self.meta_limit is None else self.meta_limit

    @property
    def outstanding(self) -> int:
        """Units that are granted and not reported."""
        return sum(account.outstanding for account in self.accounts.values())

    @property
    def free(self) -> int:
        """Units that may be granted now."""
        return max(0, (self.limit or 0) - len(self.window) - self.outstanding)


def evolve(ledger: Ledger, event: PortfolioEvent, offset: int, appended_at: float) -> None:
    """Take in a record of portfolio-events. `appended_at`: the record's own time, which is the broker's. Grants what
    can be granted now. A record that is known already, or part of a lease that the ledger began with, only counts
    people: whom it names count since the record was appended, whatever came after it."""
    at = event.at.timestamp()
    for person in (*event.persons, *event.again) if event.kind == "spent" else ():
        ledger.window.count(person, min(max(at, appended_at), min(at, appended_at) + CLOCKS_APART_SECONDS))
    if offset <= ledger.version:
        ledger.window.forget(ledger.now)
        return
    ledger.version = offset
    ledger.now = max(ledger.now, min(at, appended_at))
    ledger.window.forget(ledger.now)
    _book(ledger, event)
    _grant(ledger)


def _book(ledger: Ledger, event: PortfolioEvent) -> None:
    if event.kind == "limit":
        _note_limit(ledger, event)
        return
    if event.home is None:
        return
    account = ledger.accounts.setdefault(event.home, Account())
    if event.kind == "spent":
        account.report(max(0, event.sequence - len(event.persons) - event.returned), event.sequence)
        if event.returned:
            account.target = min(account.target, event.sequence)  # it has nothing to send: not to be given back at once
    else:
        account.target = event.sequence + event.wanted
        ledger.asked |= dict.fromkeys(event.persons)
        ledger.said = True


def _note_limit(ledger: Ledger, event: PortfolioEvent) -> None:
    before, at = ledger.limit, event.at.timestamp()
    if event.source == "policy":
        ledger.policy_limit = event.limit
    elif event.limit is not None and at >= ledger.meta_at:
        ledger.meta_limit, ledger.meta_at = event.limit, at
    ledger.said |= ledger.limit != before


def _grant(ledger: Ledger) -> None:
    """What is free, in equal shares to the homes that want some; who is served goes to the end of the line."""
    if ledger.limit is None or not any(account.wanted for account in ledger.accounts.values()):
        return
    if ledger.limit == UNLIMITED:
        for account in ledger.accounts.values():
            account.granted = max(account.granted, account.target)
        ledger.said = True
        return
    free = ledger.free
    while free and (waiting := [home for home, account in ledger.accounts.items() if account.wanted]):
        share = max(1, free // len(waiting))
        for home in waiting[:free]:
            account = ledger.accounts.pop(home)
            units = min(account.wanted, share)
            account.granted += units
            free -= units
            ledger.accounts[home] = account
        ledger.said = True


def lease_of(ledger: Ledger) -> PortfolioLease:
    """The ledger for the world, with everything but its window; what lanes asked about is answered with it."""
    waits = any(account.wanted for account in ledger.accounts.values())
    over = max(0, len(ledger.window) + ledger.outstanding - max(0, ledger.limit or 0))
    known = {person: until for person in ledger.asked if (until := ledger.window.until(person)) is not None}
    ledger.asked.clear()
    ledger.said = False
    return PortfolioLease(
        portfolio_id=ledger.portfolio_id,
        version=ledger.version,
        at=_instant(ledger.now),
        limit=ledger.limit,
        used=len(ledger.window),
        outstanding=ledger.outstanding,
        homes={home: _account(account) for home, account in ledger.accounts.items()},
        frees=tuple((places, _instant(at)) for places, at in ledger.window.frees(over)) if waits else (),
        known={person: _instant(known[person]) for person in islice(known, MOST_KNOWN)},
        policy_limit=ledger.policy_limit,
        meta_limit=ledger.meta_limit,
        meta_limit_at=_instant(ledger.meta_at) if ledger.meta_limit is not None else None,
    )


def begun_with(lease: PortfolioLease) -> Ledger:
    """The ledger as the lease has it, with an empty window: to be given the records of the day before it, then those
    after it."""
    accounts = {
        home: Account(each.granted, each.reported, set(each.beyond), each.target) for home, each in lease.homes.items()
    }
    return Ledger(
        lease.portfolio_id,
        lease.version,
        lease.at.timestamp(),
        accounts=accounts,
        policy_limit=lease.policy_limit,
        meta_limit=lease.meta_limit,
        meta_at=0.0 if lease.meta_limit_at is None else lease.meta_limit_at.timestamp(),
    )


def _account(account: Account) -> LeaseAccount:
    return LeaseAccount(
        granted=account.granted,
        reported=account.reported,
        beyond=tuple(sorted(account.beyond)),
        target=account.target,
    )


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
