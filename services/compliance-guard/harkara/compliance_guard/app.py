"""compliance-guard: no message that must not go, and a reason for every refusal."""

from __future__ import annotations

from harkara.compliance_guard.effects import Judge, Listener, consent_projection, gate_on
from harkara.compliance_guard.settings import Settings
from harkara.compliance_guard.standings import Standings
from harkara.contracts.topics import CONSENT_STATE, INBOUND_MESSAGES, SEND_INTENTS, SEND_INTENTS_URGENT
from harkara.policy.governance import load
from harkara.runtime.clock import SystemClock
from harkara.runtime.faust_app import FaustComponent
from harkara.runtime.loop import Loop
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.service import Service


def create(settings: Settings) -> Service:
    """The service. Raises ValueError where governance.yaml or the pepper cannot be used."""
    governance = load(settings.governance_file)
    standings = Standings()
    replica = ReplicaTable(settings, "consent", [CONSENT_STATE], standings.apply)
    judge = Judge(governance, settings.pepper_bytes(), standings, SystemClock())
    listening = Loop(
        settings,
        name="compliance-guard-listener",
        topics=[INBOUND_MESSAGES],
        decide=Listener(governance).hear,
    )
    judging = Loop(
        settings,
        name="compliance-guard",
        topics=[SEND_INTENTS_URGENT, SEND_INTENTS],
        decide=judge.judge,
        gate=gate_on(replica.fresh),
    )
    projection = FaustComponent(settings, "compliance-guard-consent", consent_projection)
    return Service(settings, [replica, projection, listening, judging])
