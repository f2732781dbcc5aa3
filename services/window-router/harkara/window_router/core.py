"""What the router writes for one cleared intent. No clock, no broker."""

from __future__ import annotations

from datetime import datetime

from harkara.contracts.event import event_id
from harkara.contracts.intents import ClearedIntent, DispatchOrder
from harkara.contracts.lifecycle import MessageLifecycle, PolicyStatus
from harkara.contracts.topics import DISPATCH_ORDERS, DISPATCH_ORDERS_URGENT, MESSAGE_LIFECYCLE
from harkara.policy.routing import NoRoute, Planned
from harkara.runtime.kafka import Output

URGENT = 3


def outputs(cleared: ClearedIntent, decision: Planned | NoRoute, policy_version: str, now: datetime) -> list[Output]:
    """The order for the lane and that the message was routed; or that it was rejected, and why.

    Ids are functions of the message, its intent and the step. A repeated decision may plan otherwise (a window has
    closed meanwhile); the lane keeps the order that it saw first.
    """
    if isinstance(decision, NoRoute):
        return [_step(cleared, "rejected", now, decision)]
    return [_step(cleared, "routed", now), _order(cleared, decision, policy_version, now)]


def _order(cleared: ClearedIntent, planned: Planned, policy_version: str, now: datetime) -> Output:
    intent = cleared.intent
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
        not_before=intent.not_before,
        expires_at=cleared.expires_at,
        received_at=cleared.received_at,
        duplicate_ok=intent.duplicate_ok,
        policy_version=policy_version,
    )
    topic = DISPATCH_ORDERS_URGENT if intent.priority == URGENT else DISPATCH_ORDERS
    step = event_id(intent.message_id, cleared.intent_hash, "order")
    return Output(topic, cleared.home, cleared.home, order, step, now, subject=intent.message_id)


def _step(cleared: ClearedIntent, status: PolicyStatus, now: datetime, refused: NoRoute | None = None) -> Output:
    intent = cleared.intent
    event = MessageLifecycle(
        message_id=intent.message_id,
        home=cleared.home,
        status=status,
        at=now,
        reason=refused.reason if refused else None,
        run_id=intent.run_id,
        producer=intent.producer,
        person_key=cleared.person_key,
        category=intent.category,
        received_at=cleared.received_at,
    )
    step = event_id(intent.message_id, cleared.intent_hash, status)
    return Output(MESSAGE_LIFECYCLE, cleared.home, cleared.home, event, step, now, subject=intent.message_id)
