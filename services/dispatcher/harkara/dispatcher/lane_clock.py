"""The wall clock as a lane reads it: set anew once a round, and steady in between."""

from __future__ import annotations

from harkara.dispatcher.journal import to_the_microsecond
from harkara.dispatcher.scribe import Scribe
from harkara.runtime.clock import Clock

STEP_SECONDS = 0.05
"""From here on it is a step. The system slews both of its clocks alike, so they part by steps alone."""
READING_SECONDS = 0.01  # a process that was put to sleep between the two clocks has read nothing
MOST_READINGS = 5


class LaneClock:
    """Between two looks it goes as the monotonic clock does, so that all times of a round are of one clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall, self._monotonic = clock.now().timestamp(), clock.monotonic()
        self.look()

    def now(self) -> float:
        """Unix seconds, as they are kept."""
        return to_the_microsecond(self._wall + self._clock.monotonic() - self._monotonic)

    def look(self) -> float:
        """Read the wall clock; by how many seconds it was set since the last look (negative: back), mostly 0.0."""
        for _ in range(MOST_READINGS):
            before = self._clock.monotonic()
            wall = self._clock.now().timestamp()
            if self._clock.monotonic() - before > READING_SECONDS:
                continue
            step = wall - (self._wall + before - self._monotonic)
            self._wall, self._monotonic = wall, before
            return step if abs(step) >= STEP_SECONDS else 0.0
        return 0.0  # the next look says it


def set_time(scribe: Scribe, clock: LaneClock) -> float:
    """For a round of decisions; a step of the clock since the last one is written down before any. The step."""
    step = clock.look()
    scribe.now = clock.now()
    if step:
        scribe.clock_set(step)
    return step
