"""Pauses within a round, in which the calls whose time has come start.

A fast number's calls are decided before their time (ADR 14). What a round does in one go keeps them from starting at
it, and each that starts late pushes its place in every second that follows: at 1,000 calls/s the rounds of one lane
took 5 to 15 ms in one go, and half of the calls were late.
"""

from __future__ import annotations

import asyncio

from harkara.runtime.clock import Clock

LONGEST_SECONDS = 0.001  # of work in one go: far below what a start may be late (`TIMER_SECONDS`)


class Breath:
    """Of one lane; it knows when the last pause was."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._last = clock, clock.monotonic()

    def start(self) -> float:
        """A round begins: the monotonic time."""
        self._last = self._clock.monotonic()
        return self._last

    async def take(self) -> None:
        """Let everything run that is ready, where that has waited long enough."""
        if self._clock.monotonic() - self._last >= LONGEST_SECONDS:
            await asyncio.sleep(0)
            self._last = self._clock.monotonic()
