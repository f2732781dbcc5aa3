"""window-router: by which number, and as session message or template."""

from __future__ import annotations

from harkara.contracts.topics import (
    CLEARED_INTENTS,
    CLEARED_INTENTS_URGENT,
    NUMBER_STATE,
    PERSON_IDENTITIES,
    QUEUE_STATE,
    SERVICE_WINDOWS,
    TEMPLATE_STATE,
)
from harkara.policy.governance import load
from harkara.policy.known import Known
from harkara.policy.reload import needs_restart
from harkara.runtime.clock import SystemClock
from harkara.runtime.loop import Loop
from harkara.runtime.policy_watch import PolicyFile, PolicyWatch
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.service import Service
from harkara.window_router.core import policy_record
from harkara.window_router.effects import Router, gate_on
from harkara.window_router.settings import Settings


def create(settings: Settings) -> Service:
    """The service. Raises ValueError where governance.yaml cannot be used."""
    governance = load(settings.governance_file)
    clock = SystemClock()
    known = Known(clock.now)
    read = [SERVICE_WINDOWS, NUMBER_STATE, QUEUE_STATE, TEMPLATE_STATE, PERSON_IDENTITIES]
    replica = ReplicaTable(settings, "windows-and-numbers", read, known.apply, take=known.take)
    router = Router(governance, known, clock)
    routing = Loop(
        settings,
        name="window-router",
        topics=[CLEARED_INTENTS_URGENT, CLEARED_INTENTS],
        decide=router.route,
        gate=gate_on(replica.fresh),
    )
    policy = PolicyWatch(
        settings,
        PolicyFile(settings.governance_file, governance, load, needs_restart),
        [router.follow],
        lambda newest: [policy_record(newest, settings.service, clock.now())],
    )
    return Service(settings, [replica, routing, policy])
