"""When the messages of a dry run would have been called: the schedule of each number, with what really waits there.

Nothing of a dry run enters a queue or a pace: it takes no turn, no part of a limit and no time of what is really sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from harkara.dispatcher.queue import NumberLane
from harkara.policy.schedule import Schedule, pace_shown

ONE_AFTER_THE_OTHER_SECONDS = 10.0
"""Messages of dry runs that come this close together are taken as one queue; after a longer pause a new one begins."""


@dataclass(slots=True)
class Rehearsal:
    """The dry-run queue of one number: `taken` calls of its schedule are given away, the last at `used_at`."""

    schedule: Schedule
    taken: int
    used_at: float

    def next_at(self, now: float) -> float | None:
        """When one more would be called (Unix seconds); None: nobody knows when the number goes on."""
        self.taken += 1
        self.used_at = now
        return self.schedule.at(self.taken)


def rehearsal_of(
    known: Rehearsal | None, lane: NumberLane, held_until: float | None, priority: int, now: float
) -> Rehearsal:
    """The number's dry-run queue as it goes on, or a new one behind what really waits there with at least that
    priority. `held_until` as in `pace_shown`."""
    if known is not None and 0 <= now - known.used_at <= ONE_AFTER_THE_OTHER_SECONDS:
        return known
    ahead = sum(count for each, count in lane.standing.items() if each >= priority)
    return Rehearsal(Schedule(pace_shown(lane.pace, now, held_until), now), ahead, now)
