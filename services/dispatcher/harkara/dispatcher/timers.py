"""When which message must be looked at again: one due time per message, found without a scan."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Generic, Protocol, TypeVar

TICKS_PER_SECOND = 20  # 50 ms: finer than any delay that is waited for, coarse enough that runs share a bucket


class Dated(Protocol):
    """What can be due: `due` in Unix seconds, None: nothing is waited for. Only the timers set it."""

    due: float | None


T = TypeVar("T", bound=Dated)


@dataclass(slots=True)
class _Bucket(Generic[T]):
    """What is due in one tick, and `live`: how many of these have not been moved away since."""

    items: list[T] = field(default_factory=list)
    live: int = 0


class Timers(Generic[T]):
    """Messages by due time. Moving one is O(1): what was moved away stays in its old bucket until it is most of it, so
    a waiting message costs 9 bytes and those that have ended leave no more behind than there are others."""

    def __init__(self) -> None:
        self._buckets: dict[int, _Bucket[T]] = {}
        self._order: list[int] = []
        self._ripe: list[T] = []  # of the tick whose time has come, the last one first
        self._ripe_tick = 0

    def move(self, item: T, due: float | None) -> None:
        """From now on it is due then; None: not any more."""
        before, item.due = item.due, due
        if before is not None:
            self._left(_tick(before))
        if due is not None:
            tick = _tick(due)
            bucket = self._buckets.get(tick)
            if bucket is None:
                bucket = self._buckets[tick] = _Bucket()
                heapq.heappush(self._order, tick)
            bucket.items.append(item)
            bucket.live += 1

    def next_due(self) -> float | None:
        """The earliest time at which something is due, never early, or None."""
        if self._ripe:
            return self._ripe_tick / TICKS_PER_SECOND
        tick = self._first()
        return None if tick is None else tick / TICKS_PER_SECOND

    def take_due(self, now: float, limit: int) -> Iterator[T]:
        """Up to `limit` of those whose time has come, in the order in which they were moved to it; not due any more."""
        taken = 0
        while taken < limit:
            if not self._ripe:
                tick = self._first()
                if tick is None or tick / TICKS_PER_SECOND > now:
                    return
                self._ripe, self._ripe_tick = self._buckets.pop(heapq.heappop(self._order)).items, tick
                self._ripe.reverse()
            item = self._ripe.pop()
            if item.due is not None and _tick(item.due) == self._ripe_tick:
                item.due = None
                taken += 1
                yield item

    def _left(self, tick: int) -> None:
        bucket = self._buckets.get(tick)
        if bucket is None:
            return  # its time has come: it is passed over when it is met
        bucket.live -= 1
        if len(bucket.items) > 2 * bucket.live:
            here = {id(each): each for each in bucket.items if each.due is not None and _tick(each.due) == tick}
            bucket.items, bucket.live = list(here.values()), len(here)

    def _first(self) -> int | None:
        while self._order and not self._buckets[self._order[0]].live:
            del self._buckets[heapq.heappop(self._order)]
        return self._order[0] if self._order else None


def _tick(due: float) -> int:
    """Rounded up: a look comes at or after its time."""
    return ceil(due * TICKS_PER_SECOND)
