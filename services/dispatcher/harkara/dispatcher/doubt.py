"""A message of which Meta may have an attempt: what puts it in doubt, and what a time or an operator makes of it.

Evidence, a status of Meta that names the attempt, settles it at any time: `evidence.py`. Without any, the category's
policy decides at the end of its time: sent once more, or `unknown` for an operator. Nothing else repeats a call of
which Meta may have the message.
"""

from __future__ import annotations

from typing import Any

from harkara.contracts.commands import SendCommand
from harkara.dispatcher import causes
from harkara.dispatcher.evidence import settle_by_evidence
from harkara.dispatcher.fallback import end_accepted
from harkara.dispatcher.message import RESEND_LOST
from harkara.dispatcher.plan import Surroundings, cancel_of, lost_for_resend
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import Message
from harkara.policy.lane import Doubt, sent_again

RESEND_MARGIN_SECONDS = 2.0  # beyond lease and request timeout: a call of an older owner has surely ended
CHANNEL_FRESH_SECONDS = 60.0  # a status processed this recently shows that echoes would reach us
RECOVERY_GRACE_SECONDS = 10.0
"""How long an owner that has just come waits for echoes of before; and after the last of them was read where there are
so many (60,000 are read in ten seconds) that it takes longer."""
UNREAD_LOOK_SECONDS = 1.0  # how often what is in doubt is looked at while echoes of before are read


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


def reads_old(scribe: Scribe) -> None:
    """Statuses were read that lay there before this owner came, and more of those wait: the next may be the echo."""
    scribe.state.unread_until = scribe.now + RECOVERY_GRACE_SECONDS


def waits_for_old(scribe: Scribe, message: Message) -> bool:
    """Whether the message's time waits until the statuses of before this owner are read; then it is looked at again.
    Bounded by them: where none comes, no longer than for the last one."""
    if scribe.now >= scribe.state.unread_until:
        return False
    scribe.state.put_off(message, scribe.now + UNREAD_LOOK_SECONDS)
    return True


def doubt_is_over(scribe: Scribe, around: Surroundings, message: Message) -> None:
    """No echo came in time: the category's policy. Marketing and service are never sent again by the clock. A resend
    waits until the older call has surely ended, however short the category's time is."""
    quiet_at = message.called_at + quarantine_seconds(around)
    doubt = Doubt(
        category=message.category,
        duplicate_ok=message.duplicate_ok,
        lives=scribe.now < message.expires_at,
        quiet=scribe.now >= quiet_at,
        resent=message.resent,
        cancelled=cancel_of(scribe.state, message) is not None,
        spent=message.spent,
        heard=_channel_healthy(scribe, message),
    )
    policy = around.policy
    if sent_again(doubt, policy.resent_categories, policy.max_attempts):
        scribe.step(message, "queued", resent=True, reason="resend_granted")
    elif not doubt.quiet and sent_again(
        doubt.model_copy(update={"quiet": True, "heard": True}), policy.resent_categories, policy.max_attempts
    ):
        scribe.state.put_off(message, quiet_at)
    else:
        heard_at = scribe.state.channel(message.number or "").status_at
        why = causes.decided(policy.version, causes.echoless(doubt, heard_at, message))
        scribe.step(message, "unknown", reason="no_echo", **why)


def resolve(scribe: Scribe, around: Surroundings, message: Message, command: SendCommand) -> None:
    """An operator's word on a message in doubt: `sent`, `resend` or `drop`. One that was sent is followed like any that
    Meta took: whether it was delivered is not known. A resend is a new attempt with a number of its own, and begins
    only when the older call has surely ended. It goes by the phone number of the older one; where that is lost, the
    message is `unknown` once more, and whoever then says `resend` lets it go by any of its plan."""
    if command.resolution == "sent":
        end_accepted(scribe, message, wamid=command.wamid, reason="resolved_by_operator")
    elif command.resolution == "drop":
        why = causes.decided(around.policy.version, causes.resolved("drop", command.at.isoformat()))
        scribe.end(message, "unknown", message.open_attempt, reason="dropped_by_operator", **why)
    else:
        told = message.status == "unknown" and message.reason == RESEND_LOST
        lost = told and lost_for_resend(scribe.state, around, message, scribe.now) is not None
        number = None if lost else message.number  # who was told that its number is lost, and says so again, knows
        again_at = message.called_at + quarantine_seconds(around)
        if again_at > scribe.now:
            scribe.step(message, "retrying", resent=True, number=number, until=again_at, reason="resend_granted")
        else:
            scribe.step(message, "queued", resent=True, number=number, reason="resend_granted")


def quarantine_seconds(around: Surroundings) -> float:
    """After a call was committed, how long it may still begin or be under way somewhere."""
    return around.policy.lease_seconds + around.policy.request_timeout_seconds + RESEND_MARGIN_SECONDS


def _channel_healthy(scribe: Scribe, message: Message) -> bool:
    """A status of the same account, newer than the attempt, was processed a short time ago: an echo would have come."""
    channel = scribe.state.channel(message.number or "")
    return channel.status_at > message.called_at and channel.read_at >= scribe.now - CHANNEL_FRESH_SECONDS
