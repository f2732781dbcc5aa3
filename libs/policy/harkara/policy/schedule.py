"""When a message that waits will be called: the schedule of a number's queue, worked out from its pace (ING-11, B24).

The lane says in `queue-state` how its pace stands (`pace_shown`), and whoever reads that works out any position
(`Schedule`), without the dispatcher and without its attempts one by one. Pure; times are Unix seconds.
"""

from __future__ import annotations

import heapq
import math
import zlib
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

from harkara.contracts.numbers import QueueFlow, QueuePace, QueueWindow
from harkara.policy.pacing import Pace, next_fraction
from harkara.policy.tally import MINUTE_SECONDS
from harkara.policy.throttle import Cut, rate_at

MOST_OPENINGS = 24  # of a window that are told, evenly chosen; between two of them the time is taken as even too
MIX_SECONDS = 600.0
"""Random order: everything of a run is mixed, and what came ten minutes later overtakes nobody."""
MOST_SIMULATED = 5_000  # calls worked out one by one (2 ms); beyond them the pace in the long run is taken


def pace_shown(pace: Pace, now: float, held_until: float | None = 0.0) -> QueuePace:
    """What a lane tells of a number's pace. `held_until`: nothing is called before (None: nobody knows until when)."""
    limits = pace.limits
    chance, longest = pace.rests
    windows = []
    if limits.per_minute:
        times = ((at + MINUTE_SECONDS, 1) for at in pace.minute if at > now - MINUTE_SECONDS)
        windows.append(_window(limits.per_minute, MINUTE_SECONDS, times))
    for calls, seconds in ((limits.per_hour, 3600.0), (limits.per_day, 86_400.0)):
        if calls:
            windows.append(_window(calls, seconds, pace.day.leaving(now, seconds)))
    return QueuePace(
        next_at=None if held_until is None else _instant(max(pace.next_at(), held_until, now)),
        gap_seconds=limits.base_delay_seconds + limits.max_jitter_seconds / 2 + chance * longest / 2,
        per_second=limits.per_second,
        slowed_to=None if pace.cut is None else pace.cut.rate,
        slowed_until=None if pace.cut is None else _instant(pace.cut.until),
        windows=tuple(windows),
    )


def _window(calls: int, seconds: float, leaving: Iterable[tuple[float, int]]) -> QueueWindow:
    """`leaving`: (when, how many) of the calls already made leave the window, oldest first."""
    steps = list(leaving)
    used = sum(count for _, count in steps)
    opens, number = [], calls - used
    for at, count in steps:
        first, number = number + 1, number + count
        if number > 0:
            opens += [(each, at) for each in sorted({max(first, 1), number})]
    if len(opens) > MOST_OPENINGS:
        last = len(opens) - 1
        opens = [opens[round(each * last / (MOST_OPENINGS - 1))] for each in range(MOST_OPENINGS)]
    return QueueWindow(
        calls=calls, seconds=seconds, used=used, opens=tuple((number, _instant(at)) for number, at in opens)
    )


class Schedule:
    """The calls of one number from now on, if nothing happens but what is known; worked out as far as it is asked.
    `long_run`: the mean seconds from call to call, in the end."""

    def __init__(self, pace: QueuePace, now: float) -> None:
        self._full = pace.per_second or math.inf
        slowed = pace.slowed_to is not None and pace.slowed_until is not None
        self._cut = Cut(pace.slowed_to or 0.0, pace.slowed_until.timestamp()) if slowed and pace.slowed_until else None
        self._gap = pace.gap_seconds
        self._windows = [_Window(each) for each in pace.windows]
        self._times: list[float] = []
        self._never = pace.next_at is None
        self._next = max(now, now if pace.next_at is None else pace.next_at.timestamp())
        self.long_run = max([1e-6, self._gap, 1 / self._full, *(each.seconds / each.calls for each in self._windows)])

    def at(self, number: int) -> float | None:
        """When the `number`-th call from now (1: the next) goes; None: nobody knows when the number goes on."""
        if self._never:
            return None
        while len(self._times) < min(number, MOST_SIMULATED):
            self._times.append(self._call(len(self._times) + 1))
        beyond = number - len(self._times)
        return self._times[number - 1] if beyond <= 0 else self._times[-1] + beyond * self.long_run

    def _call(self, number: int) -> float:
        at = max([self._next, *(window.free_at(number, self._times) for window in self._windows)])
        self._next = at + max(self._gap, 1 / rate_at(self._cut, self._full, at))
        return at


class _Window:
    """One window while its calls are worked out."""

    def __init__(self, told: QueueWindow) -> None:
        self.calls, self.seconds = told.calls, told.seconds
        self._opens = deque((number, at.timestamp()) for number, at in told.opens)
        self._passed: tuple[int, float] | None = None

    def free_at(self, number: int, times: list[float]) -> float:
        """When this window lets the `number`-th call go, which is asked for in order."""
        if number > self.calls:
            left = times[number - 1 - self.calls]
            whole = left if self.seconds <= MINUTE_SECONDS else (left // MINUTE_SECONDS + 1) * MINUTE_SECONDS
            return whole + self.seconds
        while self._opens and self._opens[0][0] < number:
            self._passed = self._opens.popleft()
        if not self._opens:
            return 0.0
        (upper, at), passed = self._opens[0], self._passed
        if upper == number:
            return at
        if passed is None:
            return 0.0
        return passed[1] + (at - passed[1]) * (number - passed[0]) / (upper - passed[0])


def mixed_place(phone_number_id: str, message_id: str, received_at: float) -> float:
    """Where a message goes in its flow on a number whose profile mixes the order: its intake and a share of ten minutes
    that is a function of number and message, so a new owner of the lane, and whoever estimates, finds the same."""
    seed = zlib.crc32(phone_number_id.encode()) << 32 | zlib.crc32(message_id.encode())
    return received_at + next_fraction(seed)[1] * MIX_SECONDS


def turns_before(
    flows: Iterable[QueueFlow],
    flow: str,
    priority: int,
    weight: float = 1.0,
    place: float | None = None,
    producer: str = "",
) -> int:
    """How many calls go before a message that now joins `flow`, of `producer` (a flow of single messages has its name)
    with that `weight`: everything of higher priorities, what is before it in its own flow (all of it, or where the flow
    is mixed what has an earlier place), of each other flow of its producer as much as its own, and of each other
    producer as much as its weight gives it meanwhile. What comes later is not known: in a mixed flow it may go before,
    for ten minutes.
    """
    own, before = 0, 0
    siblings: Counter[tuple[str, int]] = Counter()
    others: Counter[tuple[str, float]] = Counter()
    for each in flows:
        if each.priority > priority:
            before += each.queued
        elif each.priority < priority:
            continue
        elif (each.producer or each.flow) != (producer or flow):
            others[each.producer or each.flow, each.weight] += each.queued
        elif each.flow == flow:
            own += _earlier(each, place)
        else:
            siblings[each.flow, each.flows] += each.queued
    turns = own + sum(min(queued, (own + 1) * several) for (_, several), queued in siblings.items())
    share = (turns + 1) / weight
    return before + turns + sum(min(queued, round(share * each)) for (_, each), queued in others.items())


def _earlier(flow: QueueFlow, place: float | None) -> int:
    places = flow.places
    if place is None or len(places) < 2:
        return flow.queued
    upper = bisect_left(places, place)
    if upper in (0, len(places)):
        return flow.queued if upper else 0
    width = places[upper] - places[upper - 1]
    part = (place - places[upper - 1]) / width if width else 0.0
    return round(flow.queued * (upper - 1 + part) / (len(places) - 1))


def nth_call(schedules: Iterable[Schedule], number: int) -> float | None:
    """The `number`-th call of several numbers that send side by side; None where none of them may call."""
    open_ones = [schedule for schedule in schedules if schedule.at(1) is not None]
    if not open_ones:
        return None
    *_, last = islice(heapq.merge(*map(_calls, open_ones)), min(number, MOST_SIMULATED))
    together = sum(1 / schedule.long_run for schedule in open_ones)
    return last + max(0, number - MOST_SIMULATED) / together


def _calls(schedule: Schedule) -> Iterator[float]:
    number = 0
    while (at := schedule.at(number := number + 1)) is not None:
        yield at


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
