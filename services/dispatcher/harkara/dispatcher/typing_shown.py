"""The typing indicator: before an answer the person sees for a moment that somebody types (requirement row DSP-9).

Meta shows it in answer to a message of theirs, marks that one as read, and takes the indicator away when the answer
comes or after 25 s. So it is shown only where the number's profile asks for it, inside the service window, and where
this process has heard what they wrote; never for urgent messages, which do not wait. Nothing depends on it: the message
waits its second or two as one between two attempts does, journaled, with its place in its recipient's order, and goes
whether the indicator could be shown or not.
"""

from __future__ import annotations

from harkara.dispatcher.heard import Indicator
from harkara.dispatcher.message import Candidate, Message
from harkara.dispatcher.queue import NumberLane
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import URGENT
from harkara.policy.pacing import next_fraction

REASON = "typing"


def types_first(scribe: Scribe, lane: NumberLane, message: Message, candidate: Candidate) -> bool:
    """Whether the message waits while the indicator is shown: then its wait is written, and the indicator an effect."""
    least, most = lane.pace.limits.typing_seconds
    wamid = lane.heard.newest.get(message.person_key)
    asked_for = most > 0 and candidate.form == "session" and message.priority != URGENT
    if wamid is None or not asked_for or message.attempt or message.reason == REASON:
        return False
    scribe.state.seed, fraction = next_fraction(scribe.state.seed)
    until = scribe.now + least + (most - least) * fraction
    # with its number, in whose order it keeps its place
    scribe.step(message, "retrying", until=until, number=lane.phone_number_id, reason=REASON)
    scribe.indicators.append(Indicator(lane.phone_number_id, wamid))
    return True
