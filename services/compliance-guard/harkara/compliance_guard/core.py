"""What the guard says: to an intent, to a text from a person, and to a change of consent. No clock, no broker."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from harkara.contracts.audit import AuditRecord, as_json, decision_hash
from harkara.contracts.consent import Change, ConsentEvent, ConsentState, advance_consent
from harkara.contracts.event import Decision, Instant, Reason, epoch_ms, event_id
from harkara.contracts.identity import is_user_id, step_key
from harkara.contracts.intents import ClearedIntent, ContentMarks, SendIntent, Text
from harkara.contracts.lifecycle import POLICY_RANK, MessageLifecycle, PolicyStatus
from harkara.contracts.topics import (
    AUDIT_LOG,
    CLEARED_INTENTS,
    CLEARED_INTENTS_URGENT,
    CONSENT_EVENTS,
    MESSAGE_LIFECYCLE,
)
from harkara.contracts.webhooks import InboundMessage
from harkara.policy.clearance import Cleared, Question, Rejected, inputs_of
from harkara.policy.commands import Command, Said
from harkara.policy.governance import Governance
from harkara.policy.reload import on_record
from harkara.runtime.kafka import Output

ACTOR = "compliance-guard"
URGENT = 3
CONFIRMATION_LIFE = timedelta(minutes=30)  # later, amid other things, it would puzzle more than it tells
CHANGES: dict[Command, Change] = {
    "stop": "opted_out",
    "start": "opted_in",
    "pause": "paused",
    "resume": "resumed",
}
Row = dict[str, Any]
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


def outputs(
    question: Question, decision: Cleared | Rejected, now: datetime, pepper: bytes, marks: ContentMarks | None = None
) -> list[Output]:
    """What is written for one intent: that it was received, and that it was cleared or why it was not. `marks`: of its
    content, where the lane is to know it again.

    Ids are functions of the message, its intent and the step, so a repeated decision writes the same events again; of
    the intent by way of the pepper, so that nobody tries out from them who it was for.
    """
    intent_hash = question.intent.hash()
    steps = step_key(pepper, intent_hash)

    def step(status: PolicyStatus, at: datetime, why: Decision | None = None, reason: Reason | None = None) -> Output:
        return _step(question, decision.home, steps, status, at, reason, why)

    received = step("received", question.recorded_at)
    if isinstance(decision, Rejected):
        why = inputs_of(decision, decision.reason.policy_version or "", now)
        refused = step("rejected", now, why, decision.reason)
        return [received, refused, _audit(question, decision, steps, why, now)]
    cleared = step("cleared", now, inputs_of(decision, decision.policy_version, now))
    return [received, cleared, _cleared(question, decision, intent_hash, steps, now, marks)]


def _step(
    question: Question,
    home: str,
    steps: str,
    status: PolicyStatus,
    at: datetime,
    reason: Reason | None,
    why: Decision | None,
) -> Output:
    intent = question.intent
    event = MessageLifecycle.built(
        message_id=intent.message_id,
        home=home,
        status=status,
        rank=POLICY_RANK[status],
        at=at,
        reason=reason,
        run_id=intent.run_id,
        producer=intent.producer,
        person_key=question.person_key,
        category=intent.category,
        received_at=question.recorded_at,
        decision=why,
    )
    step = event_id(intent.message_id, steps, status)
    return Output(MESSAGE_LIFECYCLE, home, home, event, step, at, subject=intent.message_id)


def _cleared(
    question: Question, decision: Cleared, intent_hash: str, steps: str, now: datetime, marks: ContentMarks | None
) -> Output:
    intent = question.intent
    event = ClearedIntent.built(
        intent=intent,
        intent_hash=intent_hash,
        home=decision.home,
        person_key=question.person_key,
        also_key=question.also_key,
        received_at=question.recorded_at,
        expires_at=decision.expires_at,
        policy_version=decision.policy_version,
        answers=question.answers,
        marks=marks,
        step_key=steps,
    )
    topic = CLEARED_INTENTS_URGENT if intent.priority == URGENT else CLEARED_INTENTS
    step = event_id(intent.message_id, steps, "cleared-intent")
    return Output(topic, decision.home, decision.home, event, step, now, subject=intent.message_id)


def _audit(question: Question, rejected: Rejected, steps: str, why: Decision | None, now: datetime) -> Output:
    """That the message is not sent; bound to its event's decision."""
    intent, reason = question.intent, rejected.reason
    record = event_id(intent.message_id, steps, "audit")
    details = {"code": reason.code, "rule": reason.rule or "", "policy_version": reason.policy_version or ""}
    step = event_id(intent.message_id, steps, "rejected")
    bound = {} if why is None else {"decision": decision_hash(ACTOR, step, intent.message_id, as_json(why))}
    event = AuditRecord(
        audit_id=record,
        actor=ACTOR,
        action="intent_rejected",
        subject=intent.message_id,
        at=now,
        details=details
        | {"home": rejected.home, "person_key": question.person_key, "producer": intent.producer}
        | bound,
    )
    return Output(AUDIT_LOG, rejected.home, intent.message_id, event, record, now, subject=intent.message_id)


def policy_record(policy: Governance, service: str, now: datetime) -> Output:
    """That this policy is in force, for the audit log."""
    record = on_record(policy, service, now)
    return Output(AUDIT_LOG, service, policy.version, record, record.audit_id, now)


def heard(inbound: InboundMessage, said: Said | None, owners: Iterable[tuple[str, int]] = ()) -> list[Output]:
    """The change of every purpose that a person's command is; nothing where it is none, or asks for help only.

    An opt-out is the cancel of what was accepted until we heard it, as one event. `owners` are the person's other names
    that it counts for, each until when (ms): it is recorded under them too, where the lanes look (B17).
    """
    change = None if said is None else CHANGES.get(said.command)
    if said is None or change is None:
        return []
    at = min(inbound.sent_at, inbound.received_at)
    names = [inbound.person_key, *(name for name, until_ms in owners if epoch_ms(at) <= until_ms)]
    return [_said_by(name, inbound, said, change, at) for name in names]


def _said_by(person_key: str, inbound: InboundMessage, said: Said, change: Change, at: datetime) -> Output:
    own = person_key == inbound.person_key
    consent_id = event_id(inbound.wamid, "keyword", *(() if own else (person_key,)))
    event = ConsentEvent(
        event_id=consent_id,
        person_key=person_key,
        standing=change,
        source="keyword",
        at=at,
        until=None if said.days is None else at + timedelta(days=said.days),
        cancels_until=inbound.received_at if change == "opted_out" else None,
        proof=f"inbound message {inbound.wamid}",
        origin="whatsapp",
        language=said.tongue,
        actor=inbound.person_key,
    )
    return Output(CONSENT_EVENTS, person_key, person_key, event, consent_id, at)


def answer_to(inbound: InboundMessage, text: str, said: Said) -> SendIntent | None:
    """The confirmation of a command, by the number that it was written to, to the phone or else to the user id; None
    where the person has neither (what Meta named them by is no user id).

    Its id is a function of the inbound message's, so a message that comes again is confirmed once.
    """
    user_id = None if inbound.from_phone is not None else inbound.user_id
    if inbound.from_phone is None and not is_user_id(user_id):
        return None
    return SendIntent(
        message_id="c-" + event_id(inbound.wamid, "confirmation"),
        sender=inbound.phone_number_id,
        to=inbound.from_phone,
        user_id=user_id,
        category="service",
        content=Text(body=text),
        priority=URGENT,
        producer=ACTOR,
        expires_at=inbound.received_at + CONFIRMATION_LIFE,
        metadata={"confirms": said.command},
    )


def projected(row: Row | None, event: ConsentEvent) -> Row | None:
    """The person's row of `consent-state` after the event, or None where it changes nothing. `version` only grows."""
    current = None if row is None else ConsentState.model_validate(row)
    state = advance_consent(current, event)
    if state == current:
        return None
    version = 1 if row is None else row["version"] + 1
    return state.model_dump(mode="json", exclude_none=True) | {"version": version}


def question_of(intent: SendIntent, recorded_at: datetime, person_key: str, now: datetime) -> Question:
    """The question about an intent, without the person's word yet.

    A record from the future (its producer's clock is ahead) counts as written now: otherwise its life could end after
    the lane has forgotten its id. Raises pydantic's ValidationError where its time cannot be (`Instant`): what is built
    of it further on is not checked again.
    """
    _INSTANT.validate_python(recorded_at)
    return Question(intent=intent, recorded_at=min(recorded_at, now), person_key=person_key, word=None)
