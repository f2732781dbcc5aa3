"""The typing indicator: before an answer the person sees for a moment that somebody types (requirement row DSP-9).

Meta shows it in answer to a message of theirs, marks that one as read, and takes the indicator away when the answer
comes or after 25 s. So it is shown only where the number's profile asks for it, inside the service window, and where
this process has heard what they wrote; never for urgent messages, which do not wait. Nothing depends on it: the message
waits its second or two as one between two attempts does, journaled, with its place in its recipient's order, and goes
whether the indicator could be shown or not. One that its wait would bring too near its end goes without.
"""

from __future__ import annotations

import heapq

from harkara.dispatcher.heard import MOST_HEARD, Indicator
from harkara.dispatcher.message import Candidate, Message
from harkara.dispatcher.queue import NumberLane
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import URGENT
from harkara.policy.pacing import Limits, next_fraction

REASON = "typing"
SHOWN_SECONDS = 25.0  # then Meta takes the indicator away
SPARE_SECONDS = 5.0  # between the wait and the message's end: a commit, a place in the pace, a call


def types_first(scribe: Scribe, lane: NumberLane, message: Message, candidate: Candidate) -> bool | None:
    """True: the message waits while the indicator is shown; its wait is written, and the indicator an effect. False: it
    stays where it stands, for so many are announced that its own would be over before it goes. None: it goes now."""
    least, most = lane.pace.limits.typing_seconds
    wamid = lane.heard.newest.get(message.person_key) or lane.heard.newest.get(message.line)
    asked_for = most > 0 and candidate.form == "session" and message.priority != URGENT
    if wamid is None or not asked_for or message.attempt or message.reason == REASON:
        return None
    if scribe.now + most + SPARE_SECONDS > _end_of(message, candidate, scribe.now):
        return None
    while lane.typing and lane.typing[0] <= scribe.now:
        heapq.heappop(lane.typing)
    if len(lane.typing) >= most_at_once(lane.pace.limits):
        return False
    scribe.state.seed, fraction = next_fraction(scribe.state.seed)
    until = scribe.now + least + (most - least) * fraction
    heapq.heappush(lane.typing, until)
    # with its number, in whose order it keeps its place
    scribe.step(message, "retrying", until=until, number=lane.phone_number_id, reason=REASON)
    scribe.indicators.append(Indicator(lane.phone_number_id, wamid))
    return True


def most_at_once(limits: Limits) -> int:
    """How many of a number's messages may be announced at a time: as many as its pace lets go before the first ones'
    indicators are over. A thousand answers that waited for a paused number would else all be announced together."""
    short = [seconds / calls for calls, seconds in limits.windows() if seconds <= 60.0]
    gap = max([limits.base_delay_seconds + limits.max_jitter_seconds / 2, *short])
    left = SHOWN_SECONDS - limits.typing_seconds[1]
    return max(1, int(left / gap)) if gap else MOST_HEARD


def _end_of(message: Message, candidate: Candidate, now: float) -> float:
    """Until when it may go this way (Unix seconds)."""
    hours = [each.end for each in message.hours if each.start <= now < each.end]
    window = [] if candidate.valid_until is None else [candidate.valid_until]
    return min([message.expires_at, *window, *hours])
