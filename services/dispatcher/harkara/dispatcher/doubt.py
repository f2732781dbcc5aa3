"""A message of which Meta may have an attempt: what puts it in doubt, and what a time or an operator makes of it.

Evidence, a status of Meta that names the attempt, settles it at any time: `evidence.py`. Without any, the category's
policy decides at the end of its time: sent once more, or `unknown` for an operator. Nothing else repeats a call of
which Meta may have the message.
"""

from __future__ import annotations

from typing import Any

from harkara.contracts.commands import SendCommand
from harkara.dispatcher.evidence import settle_by_evidence
from harkara.dispatcher.fallback import end_accepted
from harkara.dispatcher.plan import Surroundings, is_cancelled
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import Message

RESEND_MARGIN_SECONDS = 2.0  # beyond lease and request timeout: a call of an older owner has surely ended
CHANNEL_FRESH_SECONDS = 60.0  # a status processed this recently shows that echoes would reach us
RECOVERY_GRACE_SECONDS = 10.0  # echoes that came while nobody owned the lane are read within this time


def doubt(scribe: Scribe, around: Surroundings, message: Message, reason: str, **facts: Any) -> None:
    """Meta may have the attempt: nothing more of this message until an echo, the category's time or an operator.

    Where an older attempt is known to be with Meta, that settles the message, and this one is not waited for."""
    if message.seen is not None:
        settle_by_evidence(scribe, message, message.seen)
        return
    longest = around.policy.in_doubt_timeout_seconds.get(message.category, 60.0)
    until = max(message.called_at + longest, scribe.now + min(longest, RECOVERY_GRACE_SECONDS))
    spent = message.spent + 1
    scribe.step(message, "in_doubt", until=until, reason=reason, spent=spent, **facts)


def doubt_is_over(scribe: Scribe, around: Surroundings, message: Message) -> None:
    """No echo came in time: the category's policy. Marketing and service are never sent again by the clock."""
    may = message.category in around.policy.resent_categories
    wanted = message.category == "authentication" or message.duplicate_ok
    life = scribe.now < message.expires_at and message.spent < around.policy.max_attempts
    quiet = scribe.now >= message.called_at + quarantine_seconds(around)
    sure = may and wanted and life and quiet and not message.resent and not is_cancelled(scribe.state, message)
    if sure and _channel_healthy(scribe, message):
        scribe.step(message, "queued", resent=True, reason="resend_granted")
    else:
        scribe.step(message, "unknown", reason="no_echo")


def resolve(scribe: Scribe, around: Surroundings, message: Message, command: SendCommand) -> None:
    """An operator's word on a message in doubt: `sent`, `resend` or `drop`. One that was sent is followed like any that
    Meta took: whether it was delivered is not known. A resend is a new attempt with a number of its own, and begins
    only when the older call has surely ended."""
    if command.resolution == "sent":
        end_accepted(scribe, message, wamid=command.wamid, reason="resolved_by_operator")
    elif command.resolution == "drop":
        scribe.end(message, "unknown", message.attempt, reason="dropped_by_operator")
    else:
        again_at = message.called_at + quarantine_seconds(around)
        if again_at > scribe.now:
            scribe.step(message, "retrying", resent=True, until=again_at, reason="resend_granted")
        else:
            scribe.step(message, "queued", resent=True, reason="resend_granted")


def quarantine_seconds(around: Surroundings) -> float:
    """After a call was committed, how long it may still begin or be under way somewhere."""
    return around.policy.lease_seconds + around.policy.request_timeout_seconds + RESEND_MARGIN_SECONDS


def _channel_healthy(scribe: Scribe, message: Message) -> bool:
    """A status of the same account, newer than the attempt, was processed a short time ago: an echo would have come."""
    channel = scribe.state.channel(message.number or "")
    return channel.status_at > message.called_at and channel.read_at >= scribe.now - CHANNEL_FRESH_SECONDS
