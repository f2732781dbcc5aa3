"""The calls of a number's last second: when each was to start, and when it did."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


class Second:
    """The newest `size` starts (Unix seconds), in their order. A call is noted before it starts, and known by the time
    that it was noted for; one that starts late moves to its place among the others, and moves none of them.

    Lists, not deques: a number at 1,000/s moves most of its calls by some places, and a list is searched and shifted
    in C. Taking the first of a thousand away costs 0.1 us.
    """

    __slots__ = ("_noted", "_size", "_starts")

    def __init__(self, size: int, times: Iterable[float] = ()) -> None:
        self._size = size
        self._starts = sorted(times)[-size:] if size else []
        self._noted = self._starts.copy()

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def starts(self) -> list[float]:
        """All of them, the oldest first."""
        return self._starts.copy()

    @property
    def first(self) -> float:
        """The oldest. Raises IndexError where there is none."""
        return self._starts[0]

    @property
    def oldest_if_full(self) -> float | None:
        """The oldest where there are as many as are kept, else None."""
        return self._starts[0] if len(self._starts) >= self._size > 0 else None

    def add(self, at: float) -> None:
        """One more, to start at `at`; of more than `size` the oldest is forgotten."""
        starts = self._starts
        if len(starts) >= self._size:
            if not starts or at < starts[0]:
                return  # it is the oldest itself
            del starts[0], self._noted[0]
        if not starts or at >= starts[-1]:  # mostly the newest
            starts.append(at)
            self._noted.append(at)
        else:
            self._put(bisect_right(starts, at), at, at)

    def began(self, noted: float, at: float) -> None:
        """The call that was noted for `noted` starts at `at`."""
        place = bisect_left(self._starts, noted)
        while place < len(self._starts) and self._starts[place] == noted:
            if self._noted[place] == noted:
                del self._starts[place], self._noted[place]
                self._put(bisect_left(self._starts, at), at, noted)
                return
            place += 1

    def forget(self, noted: float) -> None:
        """The call that was noted for `noted` never left."""
        if noted in self._noted:
            place = self._noted.index(noted)
            del self._noted[place], self._starts[place]

    def moved(self, step: float) -> Second:
        """One in which every call lies `step` seconds later (negative: earlier), and is known by that time."""
        other = Second(self._size)
        other._starts, other._noted = [at + step for at in self._starts], [at + step for at in self._noted]
        return other

    def copy(self) -> Second:
        """One that goes its own way."""
        other = Second(self._size)
        other._starts, other._noted = self._starts.copy(), self._noted.copy()
        return other

    def _put(self, place: int, start: float, noted: float) -> None:
        self._starts.insert(place, start)
        self._noted.insert(place, noted)
