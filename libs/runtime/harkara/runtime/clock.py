"""Time as a value that is handed in: the wall for what is recorded, the monotonic one for how long."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the shells know of time; cores get `now` as an argument."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


@dataclass
class ManualClock:
    """A clock that moves when told; for tests and for replays."""

    at: datetime
    seconds: float = field(default=0.0)

    def now(self) -> datetime:
        """The time it was moved to."""
        return self.at

    def monotonic(self) -> float:
        """Seconds it was moved by."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self.at += timedelta(seconds=seconds)
        self.seconds += seconds
