"""A number's pace after the machine's clock was set: what it remembers keeps its distance from now.

A clock that steps back by an hour would silence a number for an hour, for its calls seem to lie ahead; one that steps
forward would free its windows at once. So the times noted move by the step: then every window is what it would be, had
the clock been right before. Pure; seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from harkara.policy.pacing import Pace


def rebase(pace: Pace, step: float) -> None:
    """The clock was set by `step` (negative: back), after everything noted so far. What was noted is known by its new
    time from now on: noted time + `step`, in this very sum."""
    pace.minute = deque(at + step for at in pace.minute)
    pace.inbound = deque(at + step for at in pace.inbound)
    pace.second = pace.second.moved(step)
    pace.day.move(step)
    pace.media.move(step)
    pace.last = pace.last + step if pace.last else 0.0
    pace.not_before += step
    pace.slot += step
    if pace.cut is not None:
        pace.cut = replace(pace.cut, until=pace.cut.until + step)
    pace.look_far()
