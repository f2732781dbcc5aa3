"""What the platform does later by itself: reviews end, pauses end, upgrades are done. Times are the caller's."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

MAX_APPOINTMENTS = 100_000
"""Far above one review, one pause and one deletion of each of the 6,000 templates that an account may have."""


class Agenda:
    """Appointments in order of time; whoever has the clock calls `run_due` before anything that may depend on them."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._due)

    @property
    def next_at(self) -> float | None:
        """When the next appointment is; None where there is none."""
        return self._due[0][0] if self._due else None

    def add(self, at: float, work: Callable[[float], None]) -> None:
        """`work` is called with its own time. Raises OverflowError above MAX_APPOINTMENTS."""
        if len(self._due) >= MAX_APPOINTMENTS:
            raise OverflowError("the agenda is full")
        heapq.heappush(self._due, (at, next(self._order), work))

    def run_due(self, now: float) -> int:
        """Does what is due, in order; what that adds and is due too is done as well. How many were done."""
        done = 0
        while self._due and self._due[0][0] <= now:
            at, _, work = heapq.heappop(self._due)
            work(at)
            done += 1
        return done
