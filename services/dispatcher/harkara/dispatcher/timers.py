"""When which message must be looked at again: one due time per message, found without a scan."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

TICKS_PER_SECOND = 20  # 50 ms: finer than any delay that is waited for, coarse enough that runs share a bucket


class Timers:
    """Message ids by due time (Unix seconds). Moving and removing are O(1), so ended messages leave nothing behind."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[str, None]] = {}
        self._order: list[int] = []

    def add(self, message_id: str, due: float) -> None:
        """Remember; a message has at most one due time, its owner removes the older one first."""
        tick = _tick(due)
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {message_id: None}
            heapq.heappush(self._order, tick)
        else:
            bucket[message_id] = None

    def discard(self, message_id: str, due: float) -> None:
        """Forget; nothing happens where it is not known."""
        bucket = self._buckets.get(_tick(due))
        if bucket is not None:
            bucket.pop(message_id, None)

    def next_due(self) -> float | None:
        """The earliest time at which something is due, never early, or None."""
        self._drop_empty()
        return (self._order[0]) / TICKS_PER_SECOND if self._order else None

    def take_due(self, now: float, limit: int) -> Iterator[str]:
        """Up to `limit` message ids whose time has come; they are forgotten here."""
        taken = 0
        while taken < limit:
            self._drop_empty()
            if not self._order or self._order[0] / TICKS_PER_SECOND > now:
                return
            bucket = self._buckets[self._order[0]]
            message_id = next(iter(bucket))
            del bucket[message_id]
            taken += 1
            yield message_id

    def _drop_empty(self) -> None:
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heapq.heappop(self._order)]


def _tick(due: float) -> int:
    """Rounded up: a look comes at or after its time."""
    return -int(-due * TICKS_PER_SECOND // 1)
