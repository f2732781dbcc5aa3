"""What this process has accepted for each number since its lane last reported: it waits, though no report says so.

Counted, not remembered one by one: by priority and flow in a total, and by the tenth of a second in buckets, which a
report takes off the total once it is younger than they are. While a lane is silent the oldest buckets become one, so a
number takes a hundred at most, each with a count for every API key that sent in it.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

BUCKET_SECONDS = 0.1  # a lane that sends reports about once a second; so much of it may be counted twice
MOST_BUCKETS = 100  # ten seconds one by one: no lane that works is silent for longer while it is sent something

Sharer = tuple[int, str]
"""(priority, flow)"""


@dataclass(slots=True)
class Bucket:
    """What was accepted from `since` to `until` (Unix seconds)."""

    since: float
    until: float
    counts: Counter[Sharer] = field(default_factory=Counter)


class Unreported:
    """By number."""

    def __init__(self) -> None:
        self._buckets: dict[str, deque[Bucket]] = {}
        self._totals: dict[str, Counter[Sharer]] = {}

    def add(self, phone_number_id: str, at: float, priority: int, flow: str) -> None:
        """One more, accepted then (Unix seconds)."""
        buckets = self._buckets.setdefault(phone_number_id, deque())
        if buckets and at < buckets[-1].until:  # the clock was set back: what came before came before now
            for each in buckets:
                each.since, each.until = min(each.since, at), min(each.until, at)
        if not buckets or at >= buckets[-1].since + BUCKET_SECONDS:
            buckets.append(Bucket(at, at))
        buckets[-1].until = at
        buckets[-1].counts[priority, flow] += 1
        self._totals.setdefault(phone_number_id, Counter())[priority, flow] += 1
        if len(buckets) > MOST_BUCKETS:
            oldest = buckets.popleft()
            buckets[0].since = oldest.since
            buckets[0].counts.update(oldest.counts)

    def reported(self, phone_number_id: str, until: float) -> None:
        """A report has everything that was accepted before then (Unix seconds)."""
        buckets = self._buckets.get(phone_number_id)
        while buckets and buckets[0].until < until:
            self._totals[phone_number_id] -= buckets.popleft().counts

    def counts(self, phone_number_id: str) -> Counter[Sharer]:
        """What is not reported."""
        return self._totals.get(phone_number_id, Counter())

    def size(self, phone_number_id: str) -> int:
        """How many buckets it takes."""
        return len(self._buckets.get(phone_number_id, ()))
