"""What the router writes for one cleared intent. No clock, no broker."""

from __future__ import annotations

from datetime import datetime

from harkara.contracts.audit import AuditRecord
from harkara.contracts.event import event_id
from harkara.contracts.intents import ClearedIntent, DispatchOrder
from harkara.contracts.lifecycle import MessageLifecycle, PolicyStatus
from harkara.contracts.topics import AUDIT_LOG, DISPATCH_ORDERS, DISPATCH_ORDERS_URGENT, MESSAGE_LIFECYCLE
from harkara.policy.governance import Governance
from harkara.policy.reload import on_record
from harkara.policy.routing import NoRoute, Planned, decision_of
from harkara.runtime.kafka import Output

ACTOR = "window-router"
URGENT = 3


def outputs(cleared: ClearedIntent, decision: Planned | NoRoute, policy_version: str, now: datetime) -> list[Output]:
    """The order for the lane and that the message was routed; or that it was rejected, and why. A message that goes in
    hours that are quiet for others, by its contract, leaves a record of it.

    Ids are functions of the message, its intent and the step. A repeated decision may plan otherwise (a window has
    closed meanwhile); the lane keeps the order that it saw first.
    """
    step = _step(cleared, decision, policy_version, now)
    if isinstance(decision, NoRoute):
        return [step]
    return [step, *_exception(cleared, decision, policy_version, now), _order(cleared, decision, policy_version, now)]


def policy_record(policy: Governance, service: str, now: datetime) -> Output:
    """That this policy is in force, for the audit log."""
    record = on_record(policy, service, now)
    return Output(AUDIT_LOG, service, policy.version, record, record.audit_id, now)


def _exception(cleared: ClearedIntent, planned: Planned, policy_version: str, now: datetime) -> list[Output]:
    opened, intent = planned.opening, cleared.intent
    if opened is None or opened.exception is None:
        return []
    record = AuditRecord(
        audit_id=event_id(intent.message_id, cleared.intent_hash, "quiet-hours-exception"),
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


def _order(cleared: ClearedIntent, planned: Planned, policy_version: str, now: datetime) -> Output:
    intent, opened = cleared.intent, planned.opening
    waits = opened is not None and opened.due > now
    order = DispatchOrder(
        message_id=intent.message_id,
        home=cleared.home,
        intent_hash=cleared.intent_hash,
        to=intent.to,
        person_key=cleared.person_key,
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
    )
    topic = DISPATCH_ORDERS_URGENT if intent.priority == URGENT else DISPATCH_ORDERS
    step = event_id(intent.message_id, cleared.intent_hash, "order")
    return Output(topic, cleared.home, cleared.home, order, step, now, subject=intent.message_id)


def _step(cleared: ClearedIntent, outcome: Planned | NoRoute, policy_version: str, now: datetime) -> Output:
    intent = cleared.intent
    status: PolicyStatus = "rejected" if isinstance(outcome, NoRoute) else "routed"
    event = MessageLifecycle(
        message_id=intent.message_id,
        home=cleared.home,
        status=status,
        at=now,
        reason=outcome.reason if isinstance(outcome, NoRoute) else None,
        run_id=intent.run_id,
        producer=intent.producer,
        person_key=cleared.person_key,
        category=intent.category,
        received_at=cleared.received_at,
        decision=decision_of(outcome, policy_version, now),
    )
    step = event_id(intent.message_id, cleared.intent_hash, status)
    return Output(MESSAGE_LIFECYCLE, cleared.home, cleared.home, event, step, now, subject=intent.message_id)
