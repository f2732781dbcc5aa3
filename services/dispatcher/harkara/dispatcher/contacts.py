"""Frequency caps and the guard against duplicate content, asked in the moment in which an attempt would be journaled.

A decision sees every attempt that was journaled before it in this lane, so of whatever is queued no more goes than a
cap allows: exactly, within a home. A message counts by its attempts that had an effect or may have had one; one that
Meta surely does not have gives its place back (`counted.py`). Another attempt of the same message is no second contact.
"""

from __future__ import annotations

from harkara.dispatcher.counted import mark_of
from harkara.dispatcher.doubt import quarantine_seconds
from harkara.dispatcher.message import Message
from harkara.dispatcher.plan import Go, Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.policy.contacts import decision_of, refusal_of


def one_too_many(scribe: Scribe, around: Surroundings, message: Message, way: Go, at: float | None = None) -> bool:
    """Whether the message must not go by this way for what the person was sent before: then it has ended here. `at`: of
    a rehearsal, when it would go (Unix seconds)."""
    recent = scribe.state.recent
    rules, now = recent.rules, scribe.now if at is None else at
    if not rules.looks_at or message.answers or not rules.concern(message.category):
        return False
    mark, margin = mark_of(recent, message, way.candidate.form), quarantine_seconds(around)
    names = {name for known in message.names for name in (known, *around.links.kin(known))}
    others = recent.others(names, rules.counting(message.category), message.message_id, message.home)
    refusal = refusal_of(rules, message.category, mark, others, now, margin)
    if refusal is None:
        return False
    version = around.policy.version
    why = decision_of(refusal, message.category, message.person_key, mark, version, now, margin)
    scribe.end(
        message,
        "cancelled",
        message.attempt + 1,
        reason=refusal.reason.code,
        text=refusal.reason.text,
        rule=refusal.reason.rule,
        details=refusal.reason.details,
        policy_version=version,
        decision=why.model_dump(mode="json"),
    )
    return True
