"""The calls of a number's last second: when each was to start, and when it did."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Second:
    """The newest `size` starts (Unix seconds), in their order. A call is noted before it starts, and known by the time
    that it was noted for; one that starts late moves to its place among the others, and moves none of them.
    """

    __slots__ = ("_noted", "_starts")

    def __init__(self, size: int, times: Iterable[float] = ()) -> None:
        self._starts = deque(times, size)
        self._noted = deque(self._starts, size)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def starts(self) -> list[float]:
        """All of them, the oldest first."""
        return list(self._starts)

    @property
    def first(self) -> float:
        """The oldest. Raises IndexError where there is none."""
        return self._starts[0]

    def add(self, at: float) -> None:
        """One more, to start at `at`; of more than `size` the oldest is forgotten."""
        if len(self._starts) == self._starts.maxlen and self._starts and at < self._starts[0]:
            return  # it is the oldest itself
        self._starts.append(at)
        self._noted.append(at)
        place = len(self._starts) - 1
        while place > 0 and self._starts[place - 1] > at:
            self._swap(place - 1)
            place -= 1

    def began(self, noted: float, at: float) -> None:
        """The call that was noted for `noted` starts at `at`."""
        for place in range(len(self._starts) - 1, -1, -1):
            if self._noted[place] == noted and self._starts[place] == noted:
                break
            if self._starts[place] < noted:
                return
        else:
            return
        self._starts[place] = at
        while place + 1 < len(self._starts) and self._starts[place + 1] < at:
            self._swap(place)
            place += 1

    def forget(self, noted: float) -> None:
        """The call that was noted for `noted` never left."""
        if noted in self._noted:
            place = self._noted.index(noted)
            del self._noted[place], self._starts[place]

    def copy(self) -> Second:
        """One that goes its own way."""
        other = Second(self._starts.maxlen or 0)
        other._starts, other._noted = self._starts.copy(), self._noted.copy()
        return other

    def _swap(self, place: int) -> None:
        starts, noted = self._starts, self._noted
        starts[place], starts[place + 1] = starts[place + 1], starts[place]
        noted[place], noted[place + 1] = noted[place + 1], noted[place]
