"""What a lane remembers by the clock, after the clock was set: it keeps its distance from now.

The times of a lane are the wall's, for people's hours and Meta's windows are. A host's clock may be set by hours (NTP
after a start, a virtual machine that wakes). The shell notices a step by the monotonic clock (`lane_clock.py`) and the
lane writes it down; of one that nobody could notice, between two owners, the journal shows at least a part: its newest
entry lies ahead of the next one. A step forward between two owners cannot be told from time that passed.

What is moved: paces, pairs, holds, calls that are under way or in doubt, and delays before a next call. What stays is
what somebody else said in wall time: deadlines, hours, windows, schedules, commands.
"""

from __future__ import annotations

from dataclasses import replace

from harkara.dispatcher.state import DOUBTFUL, LaneState

SET_BACK_SECONDS = 1.0  # between two owners' clocks; smaller differences cost less than they are worth


def rebase(state: LaneState, step: float) -> None:
    """The clock was set by `step` seconds (negative: back), after everything in the state."""
    state.latest += step
    for number, lane in state.numbers.items():
        lane.rebase(step)
        state.look_again(number)
    for key, hold in state.holds.items():
        until = None if hold.until is None else hold.until + step
        # By whose clock it was said is not known: an older resume must not end it.
        said_at = min(max(hold.at, hold.at + step), state.latest)
        state.holds[key] = replace(hold, until=until, at=said_at)
    for channel in state.channels.values():
        channel.read_at += step
    for message in state.messages.values():
        doubtful = message.status == "attempting" or message.status in DOUBTFUL
        if doubtful:
            message.course = message.course._replace(called_at=message.course.called_at + step)
        if message.until is not None and (doubtful or message.status == "retrying"):
            message.until += step
            state.index(message)
