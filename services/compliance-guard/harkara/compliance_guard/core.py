"""What the guard says: to an intent, to a text from a person, and to a change of consent. No clock, no broker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from harkara.contracts.audit import AuditRecord
from harkara.contracts.consent import PURPOSES, ConsentEvent, ConsentState, advance_consent
from harkara.contracts.event import Reason, event_id
from harkara.contracts.intents import ClearedIntent, SendIntent
from harkara.contracts.lifecycle import MessageLifecycle, PolicyStatus
from harkara.contracts.topics import (
    AUDIT_LOG,
    CLEARED_INTENTS,
    CLEARED_INTENTS_URGENT,
    CONSENT_EVENTS,
    MESSAGE_LIFECYCLE,
)
from harkara.contracts.webhooks import InboundMessage
from harkara.policy.clearance import Cleared, Question, Rejected
from harkara.policy.optout import Keywords
from harkara.runtime.kafka import Output

ACTOR = "compliance-guard"
URGENT = 3
Row = dict[str, Any]


def outputs(question: Question, decision: Cleared | Rejected, now: datetime) -> list[Output]:
    """What is written for one intent: that it was received, and that it was cleared or why it was not.

    Ids are functions of the message, its intent and the step, so a repeated decision writes the same events again.
    """
    intent_hash = question.intent.hash()

    def step(status: PolicyStatus, at: datetime, reason: Reason | None = None) -> Output:
        return _step(question, decision.home, intent_hash, status, at, reason)

    received = step("received", question.recorded_at)
    if isinstance(decision, Rejected):
        refused = step("rejected", now, decision.reason)
        return [received, refused, _audit(question, decision, intent_hash, now)]
    return [received, step("cleared", now), _cleared(question, decision, intent_hash, now)]


def _step(
    question: Question, home: str, intent_hash: str, status: PolicyStatus, at: datetime, reason: Reason | None
) -> Output:
    intent = question.intent
    event = MessageLifecycle(
        message_id=intent.message_id,
        home=home,
        status=status,
        at=at,
        reason=reason,
        run_id=intent.run_id,
        producer=intent.producer,
        person_key=question.person_key,
        category=intent.category,
        received_at=question.recorded_at,
    )
    step = event_id(intent.message_id, intent_hash, status)
    return Output(MESSAGE_LIFECYCLE, home, home, event, step, at, subject=intent.message_id)


def _cleared(question: Question, decision: Cleared, intent_hash: str, now: datetime) -> Output:
    intent = question.intent
    event = ClearedIntent(
        intent=intent,
        intent_hash=intent_hash,
        home=decision.home,
        person_key=question.person_key,
        received_at=question.recorded_at,
        expires_at=decision.expires_at,
        policy_version=decision.policy_version,
    )
    topic = CLEARED_INTENTS_URGENT if intent.priority == URGENT else CLEARED_INTENTS
    step = event_id(intent.message_id, intent_hash, "cleared-intent")
    return Output(topic, decision.home, decision.home, event, step, now, subject=intent.message_id)


def _audit(question: Question, rejected: Rejected, intent_hash: str, now: datetime) -> Output:
    intent, reason = question.intent, rejected.reason
    record = event_id(intent.message_id, intent_hash, "audit")
    details = {"code": reason.code, "rule": reason.rule or "", "policy_version": reason.policy_version or ""}
    event = AuditRecord(
        audit_id=record,
        actor=ACTOR,
        action="intent_rejected",
        subject=intent.message_id,
        at=now,
        details=details | {"home": rejected.home, "person_key": question.person_key, "producer": intent.producer},
    )
    return Output(AUDIT_LOG, rejected.home, intent.message_id, event, record, now, subject=intent.message_id)


def heard(inbound: InboundMessage, keywords: Keywords) -> list[Output]:
    """A word that opts the person out of, or into, every purpose; otherwise nothing. A button counts like a text."""
    words = {keywords.read(inbound.text), keywords.read(inbound.button_payload)}
    if not words & {"opt_out", "opt_in"}:
        return []
    consent_id = event_id(inbound.wamid, "keyword")
    event = ConsentEvent(
        event_id=consent_id,
        person_key=inbound.person_key,
        standing="opted_out" if "opt_out" in words else "opted_in",
        source="keyword",
        at=inbound.sent_at,
        proof=f"inbound message {inbound.wamid}",
        actor=inbound.person_key,
    )
    return [Output(CONSENT_EVENTS, inbound.person_key, inbound.person_key, event, consent_id, inbound.sent_at)]


def projected(row: Row | None, event: ConsentEvent) -> Row | None:
    """The person's row of `consent-state` after the event, or None where it changes nothing. `version` only grows.

    Whoever an operator has blocked is not unblocked by their own word.
    """
    current = None if row is None else ConsentState.model_validate(row)
    state = advance_consent(current, event)
    if current is not None and event.source == "keyword" and event.standing == "opted_in":
        state = state.model_copy(update=_blocked(current))
    if state == current:
        return None
    version = 1 if row is None else row["version"] + 1
    return state.model_dump(mode="json", exclude_none=True) | {"version": version}


def _blocked(state: ConsentState) -> dict[str, Any]:
    words = {purpose: getattr(state, purpose) for purpose in PURPOSES}
    return {purpose: word for purpose, word in words.items() if word is not None and word.standing == "blocked"}


def question_of(intent: SendIntent, recorded_at: datetime, person_key: str, now: datetime) -> Question:
    """The question about an intent, without the person's word yet.

    A record from the future (its producer's clock is ahead) counts as written now: otherwise its life could end after
    the lane has forgotten its id.
    """
    return Question(intent=intent, recorded_at=min(recorded_at, now), person_key=person_key, word=None)
