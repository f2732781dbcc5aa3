"""What Meta took and refused a moment later, by a status: whom that holds (cloud-api 8.14 and 8.20).

The same codes come both ways, and mean the same for everything but the message: an account that cannot pay fails a
queue of thousands just so, one status after another. So the same policy holds the same numbers, pairs and templates.
The message itself has ended: Meta had accepted it, and it is sent again only as a template or as its fallback content.

A status may be late, or be read again, so what counts is its own time. An operator's resume after it, an approval of
the template after it, or the end of the time for which it holds make it history; so does a day. And it must be one of
an attempt that this lane remembers: a lane that begins without a journal reads a week of them.
"""

from __future__ import annotations

from typing import NamedTuple

from harkara.dispatcher.holds import Refusal, hold_refused
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import LaneState
from harkara.dispatcher.throttle import too_fast
from harkara.graph_api.errors import Action, ErrorPolicy, Scope, policy_for, retry_delay_seconds

BELIEVED_SECONDS = 86_400.0
"""A halt has no end of its own. What it is for was mended a day ago, or newer statuses say it again; webhooks that come
after an outage of a night still count, so that a queue does not burn while they are worked off."""


class FailedLater(NamedTuple):
    """A status `failed` of an attempt by this number: Meta's `code` (not 0), and its time (Unix seconds)."""

    message_id: str
    attempt: int
    number: str
    code: int
    at: float
    person_key: str | None = None


class Sent(NamedTuple):
    """What a lane remembers of an attempt: its person and its template ("": not known)."""

    line: str = ""
    template: str = ""


def sent(state: LaneState, message_id: str, attempt: int) -> Sent | None:
    """What the lane remembers of this attempt, or None: it never made it, or a week ago."""
    message = state.messages.get(message_id)
    if message is not None:
        if not 1 <= attempt <= message.attempt:
            return None
        newest = attempt == message.attempt and message.form == "template"
        return Sent(message.line, (message.template_used or "") if newest else "")
    ended = state.horizon.find(message_id)
    if ended is None or not 1 <= attempt <= ended.attempt:
        return None
    return Sent("", ended.template if attempt == ended.attempt else "")


def hold_failed(scribe: Scribe, around: Surroundings, failed: FailedLater) -> None:
    """Hold whom the policy names, as for an answer with that code; a rate error of the number's pace is a cut
    (`throttle.slow_down_told`)."""
    policy, facts = policy_for(failed.code), around.fleet.get(failed.number)
    said = min(failed.at, scribe.now)
    if facts is None or not _holds(policy) or scribe.now - said > BELIEVED_SECONDS:
        return
    found = sent(scribe.state, failed.message_id, failed.attempt)
    if found is None or (policy.action is Action.PAUSE_TEMPLATE and not found.template):
        return
    delay = retry_delay_seconds(policy, 1)
    refusal = Refusal(
        failed.number,
        facts.home,
        policy,
        failed.code,
        line=found.line or failed.person_key or "",
        template=found.template,
        since=said,
    )
    hold_refused(scribe, around, refusal, None if delay is None else said + delay)


def _holds(policy: ErrorPolicy) -> bool:
    """Whether the policy holds anybody, whatever becomes of the message."""
    paused = policy.action is Action.RETRY and policy.scope in (Scope.NUMBER, Scope.PAIR) and not too_fast(policy)
    return policy.keeps_message or policy.spares_recipient or paused
