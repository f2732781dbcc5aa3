"""compliance-guard: no message that must not go, and a reason for every refusal."""

from __future__ import annotations

from harkara.compliance_guard.carrying import Carrier
from harkara.compliance_guard.core import policy_record
from harkara.compliance_guard.effects import Answerer, Judge, Listener, Recorder, consent_projection, gate_on
from harkara.compliance_guard.progress import Progress
from harkara.compliance_guard.settings import Settings
from harkara.contracts.topics import (
    CONSENT_EVENTS,
    CONSENT_REQUESTS,
    CONSENT_STATE,
    INBOUND_MESSAGES,
    PERSON_IDENTITIES,
    SEND_INTENTS,
    SEND_INTENTS_URGENT,
)
from harkara.policy.governance import load
from harkara.policy.reload import needs_restart
from harkara.policy.standings import Standings
from harkara.runtime.clock import SystemClock
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.loop import Loop
from harkara.runtime.policy_watch import PolicyFile, PolicyWatch
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.service import Service

LISTENER = "compliance-guard-listener"
PROJECTION = "compliance-guard-consent"


def create(settings: Settings) -> Service:
    """The service. Raises ValueError where governance.yaml or the pepper cannot be used."""
    governance = load(settings.governance_file)
    standings = Standings(with_owners=True)
    replica = ReplicaTable(
        settings, "consent", [CONSENT_STATE, PERSON_IDENTITIES], standings.apply, take=standings.take
    )
    clock = SystemClock()
    pepper = settings.pepper_bytes()
    judge = Judge(governance, pepper, standings, clock)
    listener, answerer = Listener(governance, standings.aliases), Answerer(governance, pepper, standings, clock)
    recorder = Recorder(settings.pepper_bytes(), clock)
    progress = Progress(settings, {LISTENER: INBOUND_MESSAGES, PROJECTION: CONSENT_EVENTS}, replica.staleness_seconds)
    gate = gate_on(replica.fresh, progress.fresh)
    listening = Loop(settings, name=LISTENER, topics=[INBOUND_MESSAGES], decide=listener.hear)
    answering = Loop(
        settings, name="compliance-guard-answers", topics=[INBOUND_MESSAGES], decide=answerer.answer, gate=gate
    )
    recording = Loop(
        settings, name="compliance-guard-consent-requests", topics=[CONSENT_REQUESTS], decide=recorder.record
    )
    carrying = Loop(
        settings,
        name="compliance-guard-identities",
        topics=[PERSON_IDENTITIES],
        decide=Carrier(standings).carry,
        gate=gate_on(replica.fresh),
    )
    judging = Loop(
        settings, name="compliance-guard", topics=[SEND_INTENTS_URGENT, SEND_INTENTS], decide=judge.judge, gate=gate
    )
    projection = FaustComponent(settings, PROJECTION, consent_projection)
    policy = PolicyWatch(
        settings,
        PolicyFile(settings.governance_file, governance, load, needs_restart),
        [judge.follow, listener.follow, answerer.follow],
        lambda newest: [policy_record(newest, settings.service, clock.now())],
    )
    return Service(
        settings, [replica, progress, projection, listening, recording, answering, carrying, judging, policy]
    )
