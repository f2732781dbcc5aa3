"""When an account's list is read: at intervals, soon after a notice, and within Meta's budget of calls.

Meta lets 5,000 management calls an hour through for an account with a number, and 200 without (cloud-api 2.2), for
everybody who works with the account: ours are at most 600.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SECONDS_PER_CALL = 6.0  # 600 calls an hour
FEWEST_SECONDS_BETWEEN = 10.0
AFTER_NOTICE_SECONDS = 5.0  # notices come in bursts, and the list follows them by a moment
AFTER_PAUSE_SECONDS = 5.0
FIRST_FAILURE_SECONDS = 30.0
LONGEST_FAILURE_SECONDS = 3600.0
FIRST_WITHIN_SECONDS = 5.0  # after taking over an account


@dataclass(slots=True)
class Timetable:
    """One account's. Times are monotonic seconds."""

    due: float
    not_before: float = 0.0
    failures: int = 0

    @classmethod
    def first(cls, now: float, fraction: float) -> Timetable:
        """Of an account that was just taken over; `fraction` (0 to 1) keeps several apart."""
        return cls(now + FIRST_WITHIN_SECONDS * fraction)

    def soon(self, now: float) -> None:
        """Something was told of the account."""
        self.by(now + AFTER_NOTICE_SECONDS)

    def by(self, at: float) -> None:
        """A reading at that time is wanted; not before the budget allows it."""
        self.due = max(min(self.due, at), self.not_before)

    def begin(self) -> None:
        """The list is being read: what is told from now on asks for another reading."""
        self.due = math.inf

    def read(self, now: float, calls: int, interval_seconds: float) -> None:
        """The list was read whole, by so many calls."""
        self.failures = 0
        self.not_before = now + max(FEWEST_SECONDS_BETWEEN, SECONDS_PER_CALL * calls)
        self.by(now + interval_seconds)

    def failed(self, now: float, retry_after_seconds: float | None) -> float:
        """It could not be read; returns how long it now waits: twice as long each time, at most an hour."""
        wait = min(FIRST_FAILURE_SECONDS * 2.0 ** min(self.failures, 10), LONGEST_FAILURE_SECONDS)
        wait = max(wait, retry_after_seconds or 0.0)
        self.failures += 1
        self.due = self.not_before = now + wait
        return wait
