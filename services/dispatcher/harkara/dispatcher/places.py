"""A portfolio's places: people outside service windows that a lane may write to under Meta's messaging limit (row B7).

quality-monitor's ledger grants each home units, one for each person who does not count yet (`policy.portfolio`). A lane
journals the unit with the attempt, before the call, so a kill loses none and spends none twice; what the journal says
is reported on portfolio-events. Without a unit a message waits: never a call on trust. An old lease says too little,
never too much, so nothing here asks how fresh it is.

Messages for which there is no place are held in a line of their home and go as places come: the higher priorities
first, as in a number's queue, and each in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from harkara.contracts.portfolios import LeaseAccount, PortfolioLease
from harkara.dispatcher import causes
from harkara.dispatcher.causes import Cause
from harkara.dispatcher.journal import Entry, instant
from harkara.policy.lane import place_in_time, without_place
from harkara.policy.portfolio import COUNTS_SECONDS, FREE_PASS_SECONDS

if TYPE_CHECKING:
    from harkara.dispatcher.message import Message

NO_PLACE = "portfolio_limit"
NO_ANSWER = "portfolio_unanswered"
TOO_LATE = "portfolio_limit_too_late"
HELD_FOR_A_PLACE = frozenset({NO_PLACE, TOO_LATE, NO_ANSWER})
HOPE_SECONDS = 2.0  # a queue stands still so long for the ledger's answer (usually 0.05 s); then what waits is held
RETOLD_SECONDS = 300.0  # one that another home forestalled is told a new time this often at most: a step each
UNTOLD_SECONDS = 60.0  # where all places are other homes' units, which they use or give back
FIRST_BATCH, LARGEST_BATCH = 20, 1000  # units in hand: doubled where they last less than BATCH_LASTS_SECONDS
BATCH_LASTS_SECONDS = 2.0
PREFERRED = (3, 2)  # priorities that go before the rest of their line
MOST_KNOWN = 20_000  # people of a portfolio whom others counted: 4 MB; beyond it the oldest answer is forgotten

Key = tuple[str, str]
"""(portfolio, home)"""
NOTHING = LeaseAccount()


@dataclass(slots=True)
class Leases:
    """What the ledger says, by portfolio; and until when people whom other homes counted are written to without a unit
    (Unix seconds)."""

    by_portfolio: dict[str, PortfolioLease] = field(default_factory=dict)
    known: dict[str, dict[str, float]] = field(default_factory=dict)

    def take(self, lease: PortfolioLease) -> list[str]:
        """A newer lease counts; an older one, or the same again, says nothing. Returns the homes for which it says
        something new, those that wait among them."""
        known = self.by_portfolio.get(lease.portfolio_id)
        if known is not None and known.version >= lease.version:
            return []
        self.by_portfolio[lease.portfolio_id] = lease
        passes = self.known.setdefault(lease.portfolio_id, {})
        for person, until in lease.known.items():
            passes[person] = until.timestamp() - COUNTS_SECONDS + FREE_PASS_SECONDS
        while len(passes) > MOST_KNOWN:
            del passes[next(iter(passes))]
        before = {} if known is None else known.homes
        return [home for home, account in lease.homes.items() if _is_news(before.get(home, NOTHING), account)]

    def account(self, key: Key) -> LeaseAccount:
        """The home's units."""
        lease = self.by_portfolio.get(key[0])
        return NOTHING if lease is None else lease.homes.get(key[1], NOTHING)

    def free_at(self, portfolio_id: str, place: int, now: float) -> float | None:
        """When so many places are free (Unix seconds); None: nobody has said."""
        lease = self.by_portfolio.get(portfolio_id)
        frees = () if lease is None else lease.frees
        enough = [at for places, at in frees if places >= place] or [at for _, at in frees[-1:]]
        return max(now, enough[0].timestamp()) if enough else None


def _is_news(before: LeaseAccount, account: LeaseAccount) -> bool:
    changed = (account.granted, account.target) != (before.granted, before.target)
    return changed or account.target > account.granted


@dataclass(slots=True)
class Units:
    """What a home has used of its units, and what it asks for. `spent` is the journal's; the rest is volatile.

    `wants`: in this round a message had to wait for a unit. `target`: what was asked for last, as in a lease.
    `used_at`: when a unit was spent or came last.
    """

    spent: int = 0
    wants: bool = False
    target: int = 0
    asked_at: float = 0.0
    tries: int = 0
    looked_at: float = 0.0
    batch: int = FIRST_BATCH
    seen: int = 0
    used_at: float = 0.0

    def in_hand(self, lease: LeaseAccount) -> int:
        """Units that may be spent."""
        return lease.granted - self.spent

    def answered(self, lease: LeaseAccount) -> bool:
        """Whether the ledger knows what was asked for last."""
        return lease.target == self.target or lease.granted >= self.target

    def hopeful(self, lease: LeaseAccount, now: float) -> bool:
        """Whether a unit may come at once: nothing has been asked for that is not used up, or only just."""
        if self.target <= self.spent:
            return True
        return not self.answered(lease) and 0.0 <= now - self.asked_at < HOPE_SECONDS


@dataclass(slots=True)
class Draft:
    """Whom a round writes to: `persons` a unit each, `again` without one."""

    persons: dict[str, None] = field(default_factory=dict)
    again: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Places:
    """A lane's share of its portfolios. `counted`: when each person was last written to, but for
    portfolios without a limit; `lines`: the messages of a
    home that are held for a place; `preferred`: those of them with one of the higher priorities, by it; `let`: those
    that were let go and have not been called; `unanswered`: held while the ledger was silent; `unnamed`: people of a
    line whom the ledger has not been asked about."""

    units: dict[Key, Units] = field(default_factory=dict)
    counted: dict[str, dict[str, float]] = field(default_factory=dict)
    lines: dict[str, dict[str, Message]] = field(default_factory=dict)
    preferred: dict[tuple[str, int], dict[str, Message]] = field(default_factory=dict)
    let: dict[str, Message] = field(default_factory=dict)
    unanswered: dict[str, Message] = field(default_factory=dict)
    unnamed: dict[str, dict[str, None]] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether there is anything to look after."""
        return bool(self.units or self.lines)

    def of(self, key: Key) -> Units:
        """The home's units, made on first sight."""
        units = self.units.get(key)
        if units is None:
            units = self.units[key] = Units()
        return units

    def counts(self, leases: Leases, portfolio_id: str, person_key: str, now: float) -> bool:
        """Whether the person counts already, and for long enough to be written to without a unit."""
        since = self.counted.get(portfolio_id, {}).get(person_key)
        if since is not None and now < since + FREE_PASS_SECONDS:
            return True
        return now < leases.known.get(portfolio_id, {}).get(person_key, 0.0)

    def note(self, entry: Entry, data: dict[str, Any]) -> None:
        """A journaled spending."""
        _, portfolio_id, home = entry.key.split("/", 2)
        units = self.of((portfolio_id, home))
        units.spent = max(units.spent, data["sequence"])
        if "returned" not in data:  # what was of no use for a while is not to be asked for again at once
            units.used_at = entry.at
        counted = self.counted.setdefault(portfolio_id, {})
        for person in (*data.get("persons", ()), *data.get("again", ())):
            counted.pop(person, None)
            counted[person] = entry.at
        while counted and counted[oldest := next(iter(counted))] + FREE_PASS_SECONDS <= entry.at:
            del counted[oldest]

    def enlist(self, message: Message) -> None:
        """It is held for a place: last in its home's line, or where it stands."""
        line = self.lines.setdefault(message.home, {})
        if message.message_id not in line:
            line[message.message_id] = message
            self.unnamed.setdefault(message.home, {})[message.person_key] = None
        if message.priority in PREFERRED:
            self.preferred.setdefault((message.home, message.priority), {})[message.message_id] = message
        self.let.pop(message.message_id, None)
        if message.reason == NO_ANSWER:
            self.unanswered[message.message_id] = message
        else:
            self.unanswered.pop(message.message_id, None)

    def first(self, home: str, live: Mapping[str, Message]) -> Message | None:
        """The first of the home's line; those who have left it are taken out on the way."""
        line = self.lines.get(home, {})
        for priority in PREFERRED:
            preferred = self.preferred.get((home, priority), {})
            while preferred:
                message = next(iter(preferred.values()))
                here = message.message_id in line and message.priority == priority
                if here and live.get(message.message_id) is message and is_held(message):
                    return message
                del preferred[message.message_id]
            self.preferred.pop((home, priority), None)
        while line:
            message = next(iter(line.values()))
            if live.get(message.message_id) is message and is_held(message):
                return message
            del line[message.message_id]
        self.lines.pop(home, None)
        self.unnamed.pop(home, None)
        return None

    def before(self, message: Message) -> int:
        """How many of its home's line go before one that enters it now, about."""
        if message.priority not in PREFERRED:
            return len(self.lines.get(message.home, ()))
        ahead = [priority for priority in PREFERRED if priority >= message.priority]
        return sum(len(self.preferred.get((message.home, priority), ())) for priority in ahead)

    def name(self, home: str, most: int) -> list[str]:
        """Up to `most` people of the home's line whom the ledger was not asked about; from now on it was."""
        unnamed = self.unnamed.get(home, {})
        found = [*islice(unnamed, most)]
        for person in found:
            del unnamed[person]
        if not unnamed:
            self.unnamed.pop(home, None)
        return found


def is_held(message: Message) -> bool:
    """Whether the message waits for a place."""
    return message.status == "held" and message.reason in HELD_FOR_A_PLACE


class NoPlace(NamedTuple):
    """Why a message may not go outside a service window now, and until when at least (Unix seconds). `by`: what
    decided it."""

    reason: str
    until: float | None
    by: Cause


def no_place(places: Places, leases: Leases, portfolio_id: str, message: Message, now: float) -> NoPlace | None:
    """Whether the message must wait for a place of this portfolio, or may stand in a queue: its person counts already,
    there is a unit, or one may come at once."""
    if places.counts(leases, portfolio_id, message.person_key, now):
        return None
    key = (portfolio_id, message.home)
    units, lease = places.units.get(key), leases.account(key)
    first = message.message_id in places.let or message.home not in places.lines
    in_hand = None if units is None else units.in_hand(lease)
    hopeful = first and units is not None and units.in_hand(lease) <= 0 and units.hopeful(lease, now)
    answered = units is None or units.answered(lease)
    reason = without_place(first=first, in_hand=in_hand, hopeful=hopeful, answered=answered)
    if reason is None:
        return None
    nobody_knows = reason == NO_ANSWER or (units is None and not first and not is_held(message))
    told = _UNTOLD if nobody_knows else _told(places, leases, portfolio_id, message, now)
    facts: dict[str, Any] = {"first": first, "in_hand": in_hand, "hopeful": hopeful, "answered": answered}
    for name, at in (("free_at", told.until), ("expires_at", message.expires_at if told.known else None)):
        facts[name] = None if at is None else instant(at).isoformat()
    reason = place_in_time(reason, told.until, message.expires_at if told.known else None)
    by = partial(causes.place, portfolio_id, leases.by_portfolio.get(portfolio_id), facts)
    return NoPlace(reason, told.until, by)


class _Told(NamedTuple):
    """When to look again (Unix seconds), and whether that is when the ledger knows a place to be free."""

    until: float | None
    known: bool


_UNTOLD = _Told(None, known=False)


def _told(places: Places, leases: Leases, portfolio_id: str, message: Message, now: float) -> _Told:
    """When there is a place as far as is known; what was told stands until then."""
    again = message.status == "held" and message.reason in (NO_PLACE, TOO_LATE) and message.until is not None
    if again and message.until is not None and message.until > now:
        return _Told(message.until, known=message.reason == TOO_LATE or message.until < message.expires_at)
    free_at = leases.free_at(portfolio_id, 1 if again else places.before(message) + 1, now)
    if free_at is None or (again and free_at < now + RETOLD_SECONDS):
        return _Told(now + (RETOLD_SECONDS if again else UNTOLD_SECONDS), known=False)
    return _Told(free_at, known=True)
