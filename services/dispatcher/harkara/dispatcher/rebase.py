"""What a lane remembers by the clock, after the clock was set: it keeps its distance from now.

The times of a lane are the wall's, for people's hours and Meta's windows are. A host's clock may be set by hours (NTP
after a start, a virtual machine that wakes). The shell notices a step by the monotonic clock (`lane_clock.py`) and the
lane writes it down; of one that nobody could notice, between two owners, the journal shows at least a part: its newest
entry lies ahead of the next one. A step forward between two owners cannot be told from time that passed.

What is moved: paces, pairs, holds and what others were told of them, calls that are under way or in doubt, delays
before a next call, and since when a message is followed that Meta took; to the microsecond, what a decision is
explained by. What stays is what somebody else said in wall time: deadlines, hours, windows, schedules, commands, and
for how long Meta keeps marketing from a person.
"""

from __future__ import annotations

from dataclasses import replace

from harkara.dispatcher.journal import to_the_microsecond
from harkara.dispatcher.state import DOUBTFUL, LaneState

SET_BACK_SECONDS = 1.0
"""Two owners' clocks may differ by so much, and what waits for a time is not looked at again for less: a step of some
milliseconds, as clocks are kept by, would otherwise cost an entry and an event for each message that is held."""


def rebase(state: LaneState, step: float, at: float) -> None:
    """The clock was set by `step` seconds (negative: back), after everything in the state; `at`: when that was noticed,
    by the clock as it is now (Unix seconds). Compaction takes entries away but never the one that says so: what is made
    of `at` is the same however much of the journal is left."""
    state.latest += step
    state.unread_until += step
    for number, lane in state.numbers.items():
        lane.rebase(step)
        state.look_again(number)
    for key, hold in state.holds.items():
        # By whose clock it was said is not known: an older resume must not end it.
        said_at = min(max(hold.at, to_the_microsecond(hold.at + step)), at)
        told = {number: _moved(until, step) for number, until in hold.told.items()}
        state.holds[key] = replace(hold, until=_moved(hold.until, step), at=said_at, told=told)
    for channel in state.channels.values():
        channel.read_at += step
    for message_id, text in state.fallbacks.items():
        state.fallbacks[message_id] = text._replace(at=text.at + step)
    state.watches.rebase(step)
    for message in state.messages.values():
        doubtful = message.status == "attempting" or message.status in DOUBTFUL
        if doubtful:
            message.course = message.course._replace(called_at=message.course.called_at + step)
        if message.until is not None and (doubtful or message.status == "retrying"):
            message.until = to_the_microsecond(message.until + step)
            state.index(message)


def _moved(until: float | None, step: float) -> float | None:
    return None if until is None else to_the_microsecond(until + step)
