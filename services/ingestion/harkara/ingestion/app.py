"""Wires ingestion: the HTTP port, the normaliser behind the webhook, the emitter behind the runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harkara.contracts.runs import AudienceRow
from harkara.contracts.topics import (
    NUMBER_STATE,
    QUEUE_STATE,
    RUN_AUDIENCE,
    SEND_RUNS,
    WEBHOOK_EVENTS,
    WEBHOOK_EVENTS_URGENT,
)
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.acceptance import RunAcceptance
from harkara.ingestion.addressing import Addresses
from harkara.ingestion.audience_facts import AudienceFacts
from harkara.ingestion.consent import ConsentDesk, consent_router
from harkara.ingestion.consent_history import ConsentHistory
from harkara.ingestion.core import Emission, emitted
from harkara.ingestion.effects import KafkaAppender, outputs_of
from harkara.ingestion.known import Known
from harkara.ingestion.metrics import CHANGES, NORMALISED, UNKNOWN
from harkara.ingestion.normalise import FIELDS, normalise
from harkara.ingestion.people import Told
from harkara.ingestion.portfolios import Ledgers
from harkara.ingestion.records import RecordMaker
from harkara.ingestion.resolution import Resolver
from harkara.ingestion.revived import Revived
from harkara.ingestion.routes import Api, build_app
from harkara.ingestion.settings import Settings
from harkara.ingestion.standing import Standings
from harkara.ingestion.webhook_log import WebhookLog
from harkara.ingestion.webhooks import Webhooks
from harkara.policy.governance import Governance, load
from harkara.policy.known import Known as Around
from harkara.policy.reload import needs_restart
from harkara.policy.standings import Standings as Consents
from harkara.runtime.api_keys import ApiKeys
from harkara.runtime.clock import SystemClock
from harkara.runtime.kafka import Output
from harkara.runtime.loop import RECORDS, Decide, Incoming, Loop, Refused
from harkara.runtime.policy_watch import PolicyFile, PolicyWatch
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.service import Component, Service

NORMALISER = "ingestion-normaliser"
EMITTER = "ingestion-emitter"
BATCH = 50  # records; a batch is decided without a pause, and Meta's webhooks wait in the same event loop


def create(settings: Settings) -> Service:
    """The service. Raises ValueError with one sentence where a setting or a file is missing or wrong."""
    governance = load(settings.governance_file)
    pepper = settings.pepper_bytes()
    clock, known = SystemClock(), Known()
    appender = KafkaAppender(settings)
    maker = RecordMaker(Addresses(governance), settings.partitions)
    log = WebhookLog(settings, appender, maker, clock)
    webhooks = Webhooks(settings.webhook_secrets(), settings.webhook_verify_token(), log, maker, clock)
    standings = Standings(governance, known, settings.queue_full_above)
    consents, around, ledgers = Consents(), Around(clock.now), Ledgers()
    facts = AudienceFacts(settings, consents, around, ledgers)
    resolver = Resolver(governance, pepper, consents, around, facts.fresh, ledgers)
    acceptance = RunAcceptance(appender, known, clock, resolver)
    api = Api(governance, pepper, appender, known, clock, acceptance, standings)
    topics = [QUEUE_STATE, NUMBER_STATE, SEND_RUNS]
    policy = PolicyFile(settings.governance_file, governance, load, needs_restart)
    components: list[Component] = [
        PolicyWatch(settings, policy, [resolver.follow, maker.follow, api.follow]),
        appender,
        log,
        Revived(lambda: ReplicaTable(settings, "ingestion", topics, known.apply)),
        Revived(lambda: facts),
        Revived(lambda: normalising(settings, lambda: policy.applied, pepper)),
        Revived(lambda: Loop(settings, name=EMITTER, topics=[RUN_AUDIENCE], decide=emit, batch_records=BATCH)),
    ]
    web = build_app(api, webhooks, ApiKeys.from_file(settings.api_keys_file))
    desk = ConsentDesk(pepper, appender, ConsentHistory(settings), clock, consents.aliases.names)
    web.include_router(consent_router(desk))
    return Service(settings, components, web)


def normalising(settings: Settings, policy: Callable[[], Governance], pepper: bytes) -> Loop:
    """The normaliser's loop. What it remembers of links that were written is its own: one that ends before they were
    acknowledged leaves its successor to write them."""
    decide = following(policy, pepper, Told())
    topics = [WEBHOOK_EVENTS_URGENT, WEBHOOK_EVENTS]
    return Loop(settings, name=NORMALISER, topics=topics, decide=decide, batch_records=BATCH)


def following(policy: Callable[[], Governance], pepper: bytes, told: Told) -> Decide:
    """The normaliser's decision by the policy in force: what says which display number and account are which number."""

    def decide(incoming: Incoming) -> Iterable[Output]:
        return normaliser(policy(), pepper, told)(incoming)

    return decide


def normaliser(governance: Governance, pepper: bytes, told: Told | None = None) -> Decide:
    """The decision of the normaliser's loop: what cannot be applied is quarantined, alone where the rest can. With
    `told`, a link between two names of a person is written once, not with every status."""

    def decide(incoming: Incoming) -> Iterable[Output]:
        change, identity = incoming.envelope.event, incoming.envelope.id
        assert isinstance(change, WebhookChange)
        found = normalise(change, identity, governance, pepper)
        field = change.field if change.field in FIELDS else "unknown"
        CHANGES.labels(field, found.outcome).inc()
        for what in found.unknown:
            UNKNOWN.labels(what).inc()
        if found.whole:
            raise Refused("; ".join(reason for reason, _ in found.left))
        emissions = found.emissions if told is None else told.news(found.emissions)
        for emission in emissions:
            NORMALISED.labels(emission.topic.name).inc()
        return outputs_of(emissions, incoming.timestamp) + _quarantined(found.left, incoming, identity)

    return decide


def _quarantined(left: list[tuple[str, WebhookChange]], incoming: Incoming, identity: str) -> list[Output]:
    source = f"{incoming.topic.name}-{incoming.partition}-{incoming.offset}".encode()
    outputs: list[Output] = []
    for number, (reason, part) in enumerate(left):
        key = (incoming.key or b"").decode()
        emission = Emission(incoming.topic.dlq, key, key, part, f"{identity}-{number}")
        about = [("dlq-reason", reason.encode()), ("dlq-loop", NORMALISER.encode()), ("dlq-source", source)]
        outputs += outputs_of([emission], incoming.timestamp, headers=about)
    RECORDS.labels(NORMALISER, incoming.topic.name, "quarantined").inc(len(left))  # as a whole record is counted
    return outputs


def emit(incoming: Incoming) -> Iterable[Output]:
    """The decision of the emitter's loop: a run's row becomes its intent, scheduled where its slot is to come.

    The record's time is the row's, so repeating the row after a kill repeats the intent with the same default life.
    """
    row = incoming.envelope.event
    assert isinstance(row, AudienceRow)
    return outputs_of([emitted(row)], incoming.timestamp)
