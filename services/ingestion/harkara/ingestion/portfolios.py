"""How long a portfolio's messaging limit would keep an audience waiting (B7): what preview and precheck say of it.

quality-monitor keeps the ledger and publishes how many people count and how many units are granted, not who counts,
nor who was written to again since. So there are three answers. `least` is certain: everybody of the audience who can
count does, or the places of the others come free at once; no run goes faster, for who was written to counts for a day.
`most`: nobody of the audience counts but those whom the ledger named, all who count were written to again this moment,
and the lanes' units are used for others. `told`: the same, but places come free as the ledger says. In the last two
who waits already goes first; what comes later is in none of them. Where nobody counts all three agree.
Times are Unix seconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Literal

from harkara.contracts.event import Event
from harkara.contracts.intents import SendIntent
from harkara.contracts.portfolios import UNLIMITED, PortfolioLease
from harkara.policy.governance import Governance
from harkara.policy.portfolio import COUNTS_SECONDS, FREE_PASS_SECONDS
from harkara.policy.resolve import Verdict

MOST_KNOWN = 20_000  # people of a portfolio whom the ledger named: 4 MB; beyond it the oldest answer is forgotten
STEP_SECONDS = 60  # slots and lives are told apart by the minute: a run over a day has 1,440 of them, not 100,000

Group = tuple[float, float]
"""From when, and before when, people want to be written to."""


@dataclass(slots=True)
class Ledgers:
    """What the ledger last said of each portfolio, and until when people whom it named need no unit."""

    by_portfolio: dict[str, PortfolioLease] = field(default_factory=dict)
    passes: dict[str, dict[str, float]] = field(default_factory=dict)

    def apply(self, event: Event | None) -> None:
        """Take a lease. An older one than is known, or the same again, says nothing."""
        if not isinstance(event, PortfolioLease):
            return
        known = self.by_portfolio.get(event.portfolio_id)
        if known is not None and known.version >= event.version:
            return
        self.by_portfolio[event.portfolio_id] = event
        passes = self.passes.setdefault(event.portfolio_id, {})
        for person, until in event.known.items():
            passes.pop(person, None)  # to the end: who was named again is the last to be forgotten
            passes[person] = until.timestamp() - COUNTS_SECONDS + FREE_PASS_SECONDS
        while len(passes) > MOST_KNOWN:
            del passes[next(iter(passes))]


@dataclass(frozen=True, slots=True)
class Wait:
    """Who waits for a place: `held` people, of whom `expired` have none within their message's life. `free_at`: when
    the first place comes free for them, in time or not; `last_at`: when the last one goes who goes; `over`: when all of
    them went or ended. None: nobody, or never."""

    held: int = 0
    expired: int = 0
    free_at: float | None = None
    last_at: float | None = None
    over: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one portfolio's limit means to an audience. `people` would be written to outside service windows by its
    numbers, of whom so many are known to count already (`counted`). `lease` is what was known, None: nothing, or no
    limit yet; then, and without a limit, nobody can be said to wait. The three answers: see above."""

    portfolio_id: str
    people: int
    counted: int = 0
    lease: PortfolioLease | None = None
    least: Wait = Wait()
    told: Wait = Wait()
    most: Wait = Wait()

    @property
    def state(self) -> Literal["limited", "unlimited", "unknown"]:
        """Whether it has a limit, as far as is known."""
        if self.lease is None:
            return "unknown"
        return "unlimited" if self.lease.limit == UNLIMITED else "limited"


class Wanted:
    """The places that an audience wants, counted row by row: a person has one row of a run."""

    def __init__(self, governance: Governance, ledgers: Ledgers, now: datetime) -> None:
        kept = {each.id for each in governance.portfolios}
        self._portfolios = {
            each.phone_number_id: each.portfolio_id for each in governance.numbers if each.portfolio_id in kept
        }
        self._ledgers = ledgers
        self._now = now
        self._at = now.timestamp()
        self._new: dict[str, Counter[Group]] = {each: Counter() for each in kept}
        self._counted: dict[str, Counter[Group]] = {each: Counter() for each in kept}

    def note(self, intent: SendIntent, person_key: str, verdict: Verdict) -> None:
        """One row. Who is refused, or written to inside a window, wants none."""
        portfolio_id = None if verdict.number is None else self._portfolios.get(verdict.number)
        if portfolio_id is None or verdict.form != "template":
            return
        now = self._now
        start, end = max(now, verdict.due or now, intent.not_before or now), intent.resolved_expiry(now)
        if start >= end:
            return  # it ends before it is due, whatever the limit
        group = (start.timestamp(), end.timestamp())
        if start > now:
            group = (_step(group[0]), _step(group[1]))
        passes = self._ledgers.passes.get(portfolio_id)
        known = passes is not None and passes.get(person_key, 0.0) > group[0]
        (self._counted if known else self._new)[portfolio_id][group] += 1

    def forecasts(self) -> tuple[Forecast, ...]:
        """Of each portfolio that the audience needs."""
        return tuple(
            forecast(each, self._ledgers.by_portfolio.get(each), self._new[each], self._counted[each], self._at)
            for each in sorted(self._new)
            if self._new[each] or self._counted[each]
        )


def _step(at: float) -> float:
    return math.ceil(at / STEP_SECONDS) * STEP_SECONDS


def forecast(
    portfolio_id: str, lease: PortfolioLease | None, new: Counter[Group], counted: Counter[Group], now: float
) -> Forecast:
    """How long people wait: `new` ones, as far as is known, and those who count (`counted`)."""
    already = counted.total()
    people = new.total() + already
    if lease is None or lease.limit is None:
        return Forecast(portfolio_id, people, already)
    if lease.limit == UNLIMITED:
        return Forecast(portfolio_id, people, already, lease)
    before = sum(max(0, each.target - each.granted) for each in lease.homes.values())
    until = max((start for start, _ in counted), default=now) + COUNTS_SECONDS
    return Forecast(
        portfolio_id,
        people,
        already,
        lease,
        least=_wait(_some([(now, max(lease.limit, lease.used + lease.outstanding))]), new + counted),
        told=_wait(_left(_told(lease, lease.limit, already, now), before, now), new),
        most=_wait(_left(_worst(lease, lease.limit, (already, until), now), before, now), new),
    )


Places = list[tuple[float, int]]
"""(from when, how many) are free: a heap."""


def _worst(lease: PortfolioLease, limit: int, kept: tuple[int, float], now: float) -> Places:
    """All who count were written to this moment; so many of the audience (`kept`), who count, until then."""
    free = max(0, limit - lease.used - lease.outstanding)
    ours = min(kept[0], limit - free)
    return _some([(now, free), (now + COUNTS_SECONDS, limit - free - ours), (kept[1], ours)])


def _told(lease: PortfolioLease, limit: int, kept: int, now: float) -> Places:
    """As the lease says, of those who counted then; of the rest a day after now. `kept` keep their places."""
    busy = lease.used + lease.outstanding
    free = max(0, limit - busy)
    left = min(limit, max(0, lease.used - kept - max(0, busy - limit)))
    places, told = [(now, free)], 0
    for place, at in lease.frees:
        if (more := min(place - kept, left) - told) > 0:
            places.append((max(now, at.timestamp()), more))
            told += more
    places.append((max(now, lease.at.timestamp() + COUNTS_SECONDS), left - told))
    return _some([*places, (now + COUNTS_SECONDS, limit - free - left)])


def _left(places: Places, before: int, now: float) -> Places:
    """Once so many who wait already have had theirs."""
    _served(places, now, math.inf, before)
    return places


def _some(places: Places) -> Places:
    found = [each for each in places if each[1] > 0]
    heapify(found)
    return found


def _wait(places: Places, people: Mapping[Group, int]) -> Wait:
    """Everybody in their order, each with the first place that is free. Changes `places`."""
    held = expired = 0
    free_at, last_at, over = math.inf, -math.inf, -math.inf
    for (start, end), count in sorted(people.items()):
        for at, served in _served(places, start, end, count):
            count -= served
            if at > start:
                held += served
                free_at, last_at = min(free_at, at), max(last_at, at)
        if count:
            held += count
            expired += count
            free_at, over = min(free_at, places[0][0] if places else math.inf), max(over, end)
    return Wait(held, expired, _known(free_at), _known(last_at), _known(max(last_at, over)))


def _served(places: Places, start: float, end: float, count: int) -> list[tuple[float, int]]:
    """(when, how many) of so many people have places, as far as some are free between `start` and `end`. A place that
    was used is free again when its person's day is over."""
    found = []
    while count and places and places[0][0] < end:
        at, free = heappop(places)
        at, served = max(at, start), min(free, count)
        if served < free:
            heappush(places, (at, free - served))
        heappush(places, (at + COUNTS_SECONDS, served))
        found.append((at, served))
        count -= served
    return found


def _known(at: float) -> float | None:
    return at if math.isfinite(at) else None
