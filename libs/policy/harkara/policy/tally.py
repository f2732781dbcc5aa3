"""How many calls were made in each minute of the last hours: a day's limit in six kilobytes, however large it is."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

MINUTE_SECONDS = 60.0


class Tally:
    """Counts per minute (of Unix time). A call counts until its whole minute is over a window's length ago: so a window
    is never exceeded, and a place in it is used at most 60 s late. Where its calls were moved, its minutes begin at
    another second of Unix time's."""

    __slots__ = ("_counts", "_moved", "_newest", "total")

    def __init__(self, hours: int) -> None:
        self._counts = array("I", bytes(4 * (hours * 60 + 1)))  # one more than the window: the minute that has begun
        self._newest = 0
        self._moved = 0.0
        self.total = 0

    def add(self, at: float, change: int = 1) -> None:
        """Count a call made at `at`, or with -1 one that was not made after all. One from before the tally is over."""
        minute, counts = self._minute(at), self._counts
        if minute > self._newest:
            self.reach(at)
        elif minute <= self._newest - len(counts):
            return
        place = minute % len(counts)
        count = counts[place] + change
        if count >= 0:
            counts[place] = count
            self.total += change

    def reach(self, at: float) -> None:
        """Forget the minutes that are over at `at`; what is left is `total`."""
        minute, size = self._minute(at), len(self._counts)
        if not self.total:  # every minute is empty
            self._newest = max(self._newest, minute)
            return
        for each in range(max(self._newest, minute - size) + 1, minute + 1):
            self.total -= self._counts[each % size]
            self._counts[each % size] = 0
        self._newest = max(self._newest, minute)

    def free_at(self, calls: int, window_seconds: float) -> float:
        """When fewer than `calls` of those counted lie within `window_seconds` (Unix seconds); 0.0: it is so now."""
        if self.total < calls:
            return 0.0
        found, size = 0, len(self._counts)
        for minute in range(self._newest, max(self._newest - int(window_seconds // MINUTE_SECONDS), 0) - 1, -1):
            found += self._counts[minute % size]
            if found >= calls:
                return self._end(minute) + window_seconds
        return 0.0

    def move(self, step: float) -> None:
        """Every call that was counted lies `step` seconds later now (negative: earlier)."""
        self._moved += step

    def leaving(self, now: float, window_seconds: float) -> Iterator[tuple[float, int]]:
        """(Unix seconds, how many): when the calls counted now leave a window of that length, oldest first."""
        size = len(self._counts)
        first = max(self._minute(now) - int(window_seconds // MINUTE_SECONDS), self._newest - size + 1, 0)
        for minute in range(first, self._newest + 1):
            count = self._counts[minute % size]
            if count:
                yield self._end(minute) + window_seconds, count

    def copy(self) -> Tally:
        """One that goes its own way."""
        other = Tally.__new__(Tally)
        other._counts, other._newest, other.total = self._counts[:], self._newest, self.total
        other._moved = self._moved
        return other

    def _minute(self, at: float) -> int:
        return int((at - self._moved) // MINUTE_SECONDS)

    def _end(self, minute: int) -> float:
        return (minute + 1) * MINUTE_SECONDS + self._moved
