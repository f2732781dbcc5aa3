"""What the router writes for one cleared intent. No clock, no broker."""

from __future__ import annotations

from datetime import datetime

from harkara.contracts.audit import AuditRecord, as_json, decision_hash
from harkara.contracts.event import Decision, Reason, event_id
from harkara.contracts.intents import ClearedIntent, DispatchOrder, FallbackPlan
from harkara.contracts.lifecycle import POLICY_RANK, MessageLifecycle, PolicyStatus
from harkara.contracts.topics import AUDIT_LOG, DISPATCH_ORDERS, DISPATCH_ORDERS_URGENT, MESSAGE_LIFECYCLE
from harkara.policy.fallback import as_ordered, kept_with
from harkara.policy.governance import Governance
from harkara.policy.reload import on_record
from harkara.policy.routing import NoRoute, Planned, decision_of
from harkara.runtime.kafka import Output

ACTOR = "window-router"
URGENT = 3


def outputs(
    cleared: ClearedIntent,
    decision: Planned | NoRoute,
    policy_version: str,
    now: datetime,
    fallback: Planned | NoRoute | None = None,
) -> list[Output]:
    """The order for the lane and that the message was routed; or that it was rejected, and why. A refusal leaves a
    record in the audit, and so does a message that goes in hours that are quiet for others, by its contract.
    `fallback`: the decision on its fallback content; why it goes without it is told with its being routed.

    Ids are functions of the message, its intent and the step. A repeated decision may plan otherwise (a window has
    closed meanwhile); the lane keeps the order that it saw first.
    """
    kept = decision_of(decision, policy_version, now)
    if isinstance(decision, NoRoute):
        return [
            _step(cleared, "rejected", decision.reason, kept, now),
            _refusal(cleared, "rejected", decision.reason, kept, now),
        ]
    kept, ordered = kept_with(kept, fallback), as_ordered(fallback, cleared.intent)
    without = ordered if isinstance(ordered, Reason) else None
    refusal = [] if without is None else [_refusal(cleared, "routed", without, kept, now)]
    step = _step(cleared, "routed", without, kept, now)
    order = _order(cleared, decision, ordered if isinstance(ordered, FallbackPlan) else None, policy_version, now)
    return [step, *refusal, *_exception(cleared, decision, policy_version, now), order]


def policy_record(policy: Governance, service: str, now: datetime) -> Output:
    """That this policy is in force, for the audit log."""
    record = on_record(policy, service, now)
    return Output(AUDIT_LOG, service, policy.version, record, record.audit_id, now)


def _exception(cleared: ClearedIntent, planned: Planned, policy_version: str, now: datetime) -> list[Output]:
    opened, intent = planned.opening, cleared.intent
    if opened is None or opened.exception is None:
        return []
    record = AuditRecord(
        audit_id=event_id(intent.message_id, cleared.steps, "quiet-hours-exception"),
        actor=ACTOR,
        action="quiet_hours_exception",
        subject=intent.message_id,
        at=now,
        details={
            "send_window": opened.exception,
            "due": opened.due.isoformat(),
            "policy_version": policy_version,
            "person_key": cleared.person_key,
            "home": cleared.home,
            "producer": intent.producer,
        },
    )
    return [Output(AUDIT_LOG, cleared.home, intent.message_id, record, record.audit_id, now, subject=intent.message_id)]


def _refusal(
    cleared: ClearedIntent, status: PolicyStatus, reason: Reason, kept: Decision | None, now: datetime
) -> Output:
    """That the message is not sent, or goes without its fallback content (`routed`); bound to its event's decision."""
    intent, step = cleared.intent, _step_id(cleared, status)
    details = {"code": reason.code, "rule": reason.rule or "", "policy_version": reason.policy_version or ""}
    bound = {} if kept is None else {"decision": decision_hash(ACTOR, step, intent.message_id, as_json(kept))}
    record = AuditRecord(
        audit_id=event_id(intent.message_id, cleared.steps, "refusal", status),
        actor=ACTOR,
        action="intent_rejected" if status == "rejected" else "fallback_rejected",
        subject=intent.message_id,
        at=now,
        details=details | {"home": cleared.home, "person_key": cleared.person_key, "producer": intent.producer} | bound,
    )
    return Output(AUDIT_LOG, cleared.home, intent.message_id, record, record.audit_id, now, subject=intent.message_id)


def _order(
    cleared: ClearedIntent, planned: Planned, fallback: FallbackPlan | None, policy_version: str, now: datetime
) -> Output:
    intent, opened = cleared.intent, planned.opening
    waits = opened is not None and opened.due > now
    order = DispatchOrder.built(
        message_id=intent.message_id,
        home=cleared.home,
        intent_hash=cleared.intent_hash,
        to=intent.to,
        user_id=intent.user_id,
        person_key=cleared.person_key,
        also_key=cleared.also_key,
        category=intent.category,
        priority=intent.priority,
        producer=intent.producer,
        plan=planned.plan,
        session=planned.session,
        template=planned.template,
        run_id=intent.run_id,
        not_before=opened.due if opened is not None and waits else intent.not_before,
        hours=() if opened is None else opened.hours,
        expires_at=cleared.expires_at,
        received_at=cleared.received_at,
        duplicate_ok=intent.duplicate_ok,
        dry_run=intent.dry_run,
        policy_version=policy_version,
        answers=cleared.answers,
        marks=cleared.marks,
        fallback=fallback,
    )
    topic = DISPATCH_ORDERS_URGENT if intent.priority == URGENT else DISPATCH_ORDERS
    step = event_id(intent.message_id, cleared.steps, "order")
    return Output(topic, cleared.home, cleared.home, order, step, now, subject=intent.message_id)


def _step_id(cleared: ClearedIntent, status: PolicyStatus) -> str:
    return event_id(cleared.intent.message_id, cleared.steps, status)


def _step(
    cleared: ClearedIntent, status: PolicyStatus, reason: Reason | None, kept: Decision | None, now: datetime
) -> Output:
    intent = cleared.intent
    event = MessageLifecycle.built(
        message_id=intent.message_id,
        home=cleared.home,
        status=status,
        rank=POLICY_RANK[status],
        at=now,
        reason=reason,
        run_id=intent.run_id,
        producer=intent.producer,
        person_key=cleared.person_key,
        category=intent.category,
        received_at=cleared.received_at,
        decision=kept,
    )
    step = _step_id(cleared, status)
    return Output(MESSAGE_LIFECYCLE, cleared.home, cleared.home, event, step, now, subject=intent.message_id)
