"""How fast one number may call: sliding windows, a base delay with jitter, and even spacing inside the second.

Pure: the state is a function of the attempts noted, so a restart that replays the journal resets no limit. Times are
Unix seconds. Requirement rows DSP-3..DSP-6; the figures come from the number's pacing profile in governance.yaml.
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass, field

SPACING_BURST_SECONDS = 0.05  # calls start in group commits, on a busy machine 50 ms apart: one may be made up for
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """A pacing profile's figures; None or 0: no such limit. At most `per_x` calls in any x, not in any calendar x."""

    per_second: int | None = None
    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    base_delay_seconds: float = 0.0
    max_jitter_seconds: float = 0.0

    def windows(self) -> tuple[tuple[int, float], ...]:
        """(calls, seconds) of each limit that is set."""
        pairs = ((self.per_second, 1.0), (self.per_minute, 60.0), (self.per_hour, 3600.0), (self.per_day, 86_400.0))
        return tuple((calls, seconds) for calls, seconds in pairs if calls)


@dataclass(slots=True)
class Pace:
    """One number's pace. `times` holds as many attempts as the largest limit can look back at."""

    limits: Limits
    seed: int
    windows: tuple[tuple[int, float], ...] = ()
    times: deque[float] = field(default_factory=deque)
    not_before: float = 0.0
    slot: float = 0.0

    def note(self, at: float) -> None:
        """An attempt was made at `at`: it counts in every window and starts the delay before the next."""
        self.times.append(at)
        if self.limits.base_delay_seconds or self.limits.max_jitter_seconds:
            self.seed, fraction = next_fraction(self.seed)
            self.not_before = at + self.limits.base_delay_seconds + fraction * self.limits.max_jitter_seconds
        if self.limits.per_second:
            self.slot = max(self.slot, at - SPACING_BURST_SECONDS) + 1 / self.limits.per_second

    def next_at(self) -> float:
        """The earliest time at which the next call may start."""
        earliest = max(self.not_before, self.slot)
        count = len(self.times)
        for calls, seconds in self.windows:
            if count >= calls:
                earliest = max(earliest, self.times[-calls] + seconds)
        return earliest


def paced(phone_number_id: str, limits: Limits, before: Pace | None = None) -> Pace:
    """A number's pace under `limits`; a changed profile keeps the attempts that were made under the old one.

    The seed is the number's own, so equal profiles do not beat in time.
    """
    windows = limits.windows()
    longest = max((calls for calls, _ in windows), default=1)
    pace = Pace(limits, zlib.crc32(phone_number_id.encode()), windows, deque(maxlen=longest))
    if before is not None:
        pace.times.extend(before.times)
        pace.not_before, pace.slot, pace.seed = before.not_before, before.slot, before.seed
    return pace


def next_fraction(seed: int) -> tuple[int, float]:
    """splitmix64: the next seed and a number in [0, 1)."""
    seed = (seed + 0x9E3779B97F4A7C15) & _MASK
    mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return seed, ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)
