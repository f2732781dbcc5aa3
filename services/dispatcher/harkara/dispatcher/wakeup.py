"""When a lane must look again although nothing arrives. An idle lane sleeps until something does."""

from __future__ import annotations

from harkara.dispatcher.horizon import HORIZON_SECONDS
from harkara.dispatcher.plan import Surroundings, calls_allowed, number_obstacle
from harkara.dispatcher.probes import look_at
from harkara.dispatcher.spending import next_look
from harkara.dispatcher.state import LaneState

GATED_LOOK_SECONDS = 0.1  # a queue that waits for a stale replica or a full number is looked at this often


def next_wake(state: LaneState, around: Surroundings, now: float, lazy_due: float | None) -> float | None:
    """Unix seconds, possibly past, or None: only an arrival brings work."""
    if state.unplaced:
        return now
    times = [lazy_due, state.timers.next_due(), state.watches.timers.next_due(), state.horizon.next_forget()]
    times += [hold.until for key, hold in state.holds.items() if key not in state.half_open]
    times += [look_at(state, template, now) for template in state.probes]
    if state.papers:
        times.append(next(iter(state.papers.values())) + HORIZON_SECONDS)
    if state.places.active:
        times.append(next_look(state, around, now))
    times += [at if at > now else _next_call(state, around, number, now) for number, at in state.busy.items()]
    return min((time for time in times if time is not None), default=None)


def _next_call(state: LaneState, around: Surroundings, number: str, now: float) -> float | None:
    lane, facts = state.numbers[number], around.fleet.get(number)
    if facts is None or lane.idle or state.tally(number, "attempting") >= calls_allowed(state, facts):
        return None  # a call that ends wakes the lane
    obstacle = number_obstacle(state, around, number, now)
    if obstacle is not None:
        return obstacle.until
    at = lane.next_at()
    # one that could have started in the round just done was gated
    return at if at is None or at > now else now + GATED_LOOK_SECONDS
