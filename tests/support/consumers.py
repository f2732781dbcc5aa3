"""Every declared consumer of every topic, as something that examples can be replayed through without a broker.

`CONSUMERS` has a row per (topic, reader) of the table of topics. A row makes a fresh consumer: `take` one record as its
loop, fold, replica or lane would; `seen()` is everything that came of the records so far, to be compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any

from harkara.compliance_guard.carrying import Carrier
from harkara.compliance_guard.core import projected
from harkara.compliance_guard.effects import Answerer, Judge, Listener, Recorder
from harkara.console.core import Placed, Record, newest, place
from harkara.contracts import wamids
from harkara.contracts.consent import ConsentEvent, ConsentState
from harkara.contracts.event import Event
from harkara.contracts.lifecycle import MessageLifecycle, State, advance
from harkara.contracts.numbers import NumberCommand, NumberEvent
from harkara.contracts.outcomes import MessageOutcome
from harkara.contracts.persons import PersonAlias
from harkara.contracts.portfolios import PortfolioEvent, PortfolioLease
from harkara.contracts.runs import RunProgress, SendRun, SlaEvent
from harkara.contracts.template_state import TemplateState
from harkara.contracts.templates import TemplateEvent
from harkara.contracts.topics import BY_NAME, CONSENT_STATE, NUMBER_STATE, QUEUE_STATE, SERVICE_WINDOWS, TEMPLATE_STATE
from harkara.ingestion.app import emit, normaliser
from harkara.ingestion.known import Known
from harkara.ingestion.portfolios import Ledgers
from harkara.message_state.reconciler import Numbers
from harkara.outcome_notifier.core import body_of
from harkara.outcome_notifier.effects import Teller
from harkara.policy import portfolio
from harkara.policy.known import Known as RouterKnown
from harkara.policy.standings import Standings
from harkara.quality_monitor import core as quality
from harkara.quality_monitor.portfolios import Books
from harkara.runtime.clock import ManualClock
from harkara.sla_tracker import core as sla
from harkara.sla_tracker.effects import Runs
from harkara.template_manager import core as templates
from harkara.window_router.effects import Router
from tests.support.examples import PEPPER, WRITTEN_AT, Example, examples
from tests.support.lane_replay import (
    Hearing,
    Lane,
    Recovery,
    lane_denials,
    lane_leases,
    lane_links,
    lane_numbers,
    lane_templates,
    lane_with_orders,
)
from tests.support.replay import GOVERNANCE, NOW, PARTITIONS, Consumer, Fold, Hop, check_written, incoming, replica

# --- guard and router --------------------------------------------------------------------------------------------


def guard_clears() -> Consumer:
    """Intents, knowing every consent of the examples."""
    standings = Standings()
    for example in examples(CONSENT_STATE.name):
        standings.apply(CONSENT_STATE, example.key, example.decoded().event)
    return Hop(Judge(GOVERNANCE, PEPPER, standings, ManualClock(NOW)).judge)


def guard_listens() -> Consumer:
    """What people wrote, heard and answered."""
    listener = Listener(GOVERNANCE)
    answerer = Answerer(GOVERNANCE, PEPPER, Standings(), ManualClock(NOW))
    return Hop(lambda incoming: [*listener.hear(incoming), *answerer.answer(incoming)])


def guard_projects() -> Consumer:
    """Changes of consent, into the rows of its table."""
    rows: dict[str, dict[str, Any]] = {}

    def apply(_: Example, event: Event) -> None:
        assert isinstance(event, ConsentEvent)
        row = projected(rows.get(event.person_key), event)
        if row is not None:
            ConsentState.model_validate_json(json.dumps(row))
            rows[event.person_key] = row

    return Fold(apply, lambda: dict(rows))


def guard_links() -> Consumer:
    """The links between names: who is whose, and what is carried over where every consent of the examples is known."""
    standings = Standings(with_owners=True)
    for example in examples(CONSENT_STATE.name):
        standings.apply(CONSENT_STATE, example.key, example.decoded().event)
    carrier, carried = Carrier(standings), dict[str, object]()
    names: set[str] = set()

    def apply(example: Example, event: Event) -> None:
        assert isinstance(event, PersonAlias)
        standings.apply(example.topic, example.key, event)
        names.update((event.person_key, event.alias_key))
        carried[example.name] = list(carrier.carry(incoming(example)))

    return Fold(apply, lambda: (carried, {n: (standings.aliases.names(n), standings.aliases.owners(n)) for n in names}))


def guard_remembers_links() -> Consumer:
    """Who is whose, for whoever asks about a person."""
    standings, names = Standings(), set[str]()

    def apply(example: Example, event: Event) -> None:
        assert isinstance(event, PersonAlias)
        standings.apply(example.topic, example.key, event)
        names.update((event.person_key, event.alias_key))

    return Fold(apply, lambda: {name: standings.aliases.names(name) for name in names})


def guard_remembers() -> Consumer:
    """Everyone's consent; and the raw rows are what its projection goes on from after a restart."""
    standings, rows = Standings(), dict[str, object]()

    def apply(example: Example, event: Event) -> None:
        standings.apply(CONSENT_STATE, example.key, event)
        word = ConsentEvent(
            event_id="later", person_key=example.key, standing="paused", source="operator", at=NOW + timedelta(days=1)
        )
        rows[example.name] = projected(example.value, word), standings.word(example.key, "marketing")

    return Fold(apply, lambda: dict(rows))


def router_plans() -> Consumer:
    """Cleared intents, knowing every window, number and queue of the examples."""
    known = RouterKnown(ManualClock(NOW).now)
    for topic in (SERVICE_WINDOWS, NUMBER_STATE, QUEUE_STATE):
        for example in examples(topic.name):
            known.apply(topic, example.key, example.decoded().event)
    return Hop(Router(GOVERNANCE, known, ManualClock(NOW)).route)


def router_knows() -> Consumer:
    """Its replica: asked about every person who has a window in the examples."""
    known = RouterKnown(ManualClock(NOW).now)
    persons = {example.value["person_key"] for example in examples(SERVICE_WINDOWS.name)}
    numbers = [number.phone_number_id for number in GOVERNANCE.numbers]
    return Fold(
        lambda example, event: known.apply(example.topic, example.key, event),
        lambda: {person: known.around(person, numbers) for person in persons},
    )


# --- ingestion, projections, console -----------------------------------------------------------------------------


def ingestion_knows() -> Consumer:
    """Its replica."""
    known = Known()
    return Fold(
        lambda example, event: known.apply(example.topic, example.key, event),
        lambda: (dict(known.queues), dict(known.numbers), dict(known.runs)),
    )


def ingestion_knows_ledgers() -> Consumer:
    """What a preview knows of the portfolios' limits."""
    ledgers = Ledgers()
    return replica(lambda key, event: ledgers.apply(event), lambda: (ledgers.by_portfolio, ledgers.passes))


@dataclass
class MessageStates:
    """message-state's table, its waiting statuses, and what was dropped."""

    states: dict[str, State] = field(default_factory=dict)
    rows: dict[str, wamids.Waiting] = field(default_factory=dict)

    def state(self, message_id: str) -> State | None:
        return self.states.get(message_id)

    def named(self, wamid: str) -> wamids.Named | None:
        names = (name for state in self.states.values() for name in wamids.names(state))
        return next((owner for each, owner in names if each == wamid), None)

    def waiting(self, wamid: str) -> wamids.Waiting | None:
        return self.rows.get(wamid)

    def waiting_count(self) -> int:
        return len(self.rows)

    def take(self, example: Example) -> None:
        event = example.decoded().event
        assert isinstance(event, MessageLifecycle)
        for change in wamids.decide(self, event, example.timestamp):
            match change:
                case wamids.Changed(message_id, _, state, _):
                    self.states[message_id] = state
                    check_state(state)
                case wamids.Waits(wamid, row):
                    self.rows[wamid] = row
                case wamids.Dropped(cause):
                    raise AssertionError(f"{example} was dropped: {cause}")

    def seen(self) -> object:
        return dict(self.states), dict(self.rows)


def check_state(state: State) -> None:
    """A row of the table is a MessageState, as readers of the topic see it."""
    kind = BY_NAME["message-state"].events[0]
    assert json.loads(kind.model_validate(state).model_dump_json(exclude_none=True)).keys() >= state.keys()


def reconciler_knows() -> Consumer:
    """Which numbers are halted, for saying why a message is silent."""
    numbers = Numbers()
    return Fold(
        lambda example, event: numbers.apply(example.topic, example.key, event),
        lambda: {number.phone_number_id: numbers.halted(number.phone_number_id) for number in GOVERNANCE.numbers},
    )


def notifier_tells() -> Consumer:
    """Every outcome by its id; a state that comes again tells nothing."""
    teller, told = Teller(ManualClock(NOW)), dict[str, Event]()

    def apply(example: Example, _: Event) -> None:
        for output in teller.tell(incoming(example)):
            check_written(output.topic, output.event, output.id, output.time)
            assert output.event is not None
            told[output.id] = output.event

    return Fold(apply, lambda: dict(told))


def notifier_calls() -> Consumer:
    """The bodies of callbacks by their ids: one that comes again is the same."""
    bodies: dict[str, bytes] = {}

    def apply(example: Example, event: Event) -> None:
        assert isinstance(event, MessageOutcome)
        bodies[example.decoded().id] = body_of(event)

    return Fold(apply, lambda: dict(bodies))


def sla_folds() -> Consumer:
    """Messages of runs, counted."""
    states: dict[str, State] = {}

    def apply(_: Example, event: Event) -> None:
        assert isinstance(event, MessageLifecycle)
        if event.message_id is not None:
            states[event.message_id] = advance(states.get(event.message_id), event)
            sla.share_of(states[event.message_id], NOW)

    return Fold(apply, lambda: sla.tally((s for s in states.values() if sla.run_of(s)), NOW).counts())


def sla_knows() -> Consumer:
    """Accepted runs and their parts; and what would be said of each run."""
    runs, ids = Runs(), dict[str, None]()

    def apply(example: Example, event: Event) -> None:
        runs.apply(example.topic, example.key, event)
        assert isinstance(event, SendRun | RunProgress | SlaEvent)
        ids[event.run_id] = None

    def said() -> object:
        totals = {run_id: sla.totals_of(part.counts for part in runs.parts(run_id)) for run_id in ids}
        late = NOW + timedelta(days=1)
        events = [sla.due(run, totals[run_id], frozenset(), late, timedelta(0)) for run_id, run in runs.runs.items()]
        return totals, events

    return Fold(apply, said)


def quality_judges() -> Consumer:
    """What was seen and said of numbers, into the rows of its table."""
    rows: dict[str, quality.Row] = {}

    def apply(example: Example, event: Event) -> None:
        assert isinstance(event, NumberEvent | NumberCommand)
        row = rows.get(event.phone_number_id) or quality.first_row(event.phone_number_id, event.home, WRITTEN_AT)
        facts = quality.facts_of(row)
        facts = quality.observe(facts, event) if isinstance(event, NumberEvent) else quality.obey(facts, event)
        rows[event.phone_number_id] = quality.next_row(row, facts, NOW) or row
        NUMBER_STATE.events[0].model_validate_json(json.dumps(rows[event.phone_number_id]))

    return Fold(apply, lambda: dict(rows))


def quality_recovers() -> Consumer:
    """Its own rows, read back: it goes on from the raw JSON, not from the event."""
    rows: dict[str, quality.Row] = {}

    def apply(example: Example, _: Event) -> None:
        facts = quality.facts_of(example.value)
        rows[example.name] = quality.next_row(example.value, facts, NOW) or example.value

    return Fold(apply, lambda: dict(rows))


def ledger_books() -> Consumer:
    """What lanes spent and want, into the ledgers of a partition."""
    books = Books()

    def apply(example: Example, event: Event) -> None:
        assert isinstance(event, PortfolioEvent)
        books.take(event, example.offset, example.timestamp.timestamp())
        books.due([event.portfolio_id])

    return Fold(apply, lambda: {each.portfolio_id: portfolio.lease_of(each) for each in books.ledgers.values()})


def ledger_begins() -> Consumer:
    """A ledger as a new owner begins it."""
    begun: dict[str, object] = {}

    def apply(example: Example, event: Event) -> None:
        assert isinstance(event, PortfolioLease)
        begun[example.name] = portfolio.begun_with(event)

    return Fold(apply, lambda: dict(begun))


@dataclass
class Console:
    """Rows of the read side, each complete for its table."""

    placed: dict[int, Placed] = field(default_factory=dict)

    def take(self, example: Example) -> None:
        record = Record(
            topic=example.topic,
            partition=example.partition(PARTITIONS),
            offset=example.offset,
            key=example.key.encode(),
            value=example.raw,
            headers=example.headers,
            timestamp=example.timestamp.astimezone(UTC),
        )
        placed = place(record, PEPPER)
        assert placed is not None and not placed.unreadable
        assert set(placed.table.columns) <= placed.row.keys(), placed.table.name
        json.dumps(placed.row)
        self.placed[example.offset] = placed

    def seen(self) -> object:
        return newest(self.placed.values())


def templates_fold() -> Consumer:
    """What was seen of templates, into the rows of its table."""
    rows: dict[str, templates.Row] = {}

    def apply(example: Example, event: Event) -> None:
        assert isinstance(event, TemplateEvent)
        rows[example.key] = templates.next_row(rows.get(example.key), event, NOW) or rows[example.key]
        TEMPLATE_STATE.events[0].model_validate_json(json.dumps(rows[example.key]))

    return Fold(apply, lambda: dict(rows))


def templates_recover() -> Consumer:
    """Its rows, as it goes on from them after a restart."""
    rows: dict[str, object] = {}

    def apply(example: Example, event: Event) -> None:
        assert isinstance(event, TemplateState)
        gone = TemplateEvent(
            waba_id=event.waba_id, name=event.name, language=event.language, kind="missing", source="sync", at=NOW
        )
        rows[example.name] = templates.next_row(example.value, gone, NOW)

    return Fold(apply, lambda: dict(rows))


def router_knows_templates() -> Consumer:
    """Its replica of what is known of each template."""
    known = RouterKnown(lambda: NOW)
    return replica(lambda key, event: known.apply(TEMPLATE_STATE, key, event), lambda: dict(known.templates))


CONSUMERS: dict[tuple[str, str], Callable[[], Consumer]] = {
    ("send-intents", "compliance-guard"): guard_clears,
    ("send-intents-urgent", "compliance-guard"): guard_clears,
    ("run-audience", "ingestion"): lambda: Hop(emit),
    ("send-commands", "dispatcher"): lane_with_orders,
    ("cleared-intents", "window-router"): router_plans,
    ("cleared-intents-urgent", "window-router"): router_plans,
    ("dispatch-orders", "dispatcher"): Lane,
    ("dispatch-orders-urgent", "dispatcher"): Lane,
    ("dispatch-journal", "dispatcher"): Recovery,
    ("queue-state", "ingestion"): ingestion_knows,
    ("queue-state", "console"): Console,
    ("webhook-events", "ingestion"): lambda: Hop(normaliser(GOVERNANCE, PEPPER)),
    ("webhook-events-urgent", "ingestion"): lambda: Hop(normaliser(GOVERNANCE, PEPPER)),
    ("message-lifecycle", "message-state"): MessageStates,
    ("message-lifecycle", "dispatcher"): lane_with_orders,
    ("message-lifecycle", "sla-tracker"): sla_folds,
    ("message-lifecycle", "console"): Console,
    ("message-state", "console"): Console,
    ("message-state", "outcome-notifier"): notifier_tells,
    ("message-outcomes", "outcome-notifier"): notifier_calls,
    ("inbound-messages", "compliance-guard"): guard_listens,
    ("inbound-messages", "dispatcher"): Hearing,
    ("service-windows", "window-router"): router_knows,
    ("service-windows", "ingestion"): router_knows,
    ("consent-requests", "compliance-guard"): lambda: Hop(Recorder(PEPPER, ManualClock(NOW)).record),
    ("consent-events", "compliance-guard"): guard_projects,
    ("consent-events", "console"): Console,
    ("consent-state", "compliance-guard"): guard_remembers,
    ("consent-state", "dispatcher"): lane_denials,
    ("consent-state", "ingestion"): guard_remembers,
    ("person-identities", "compliance-guard"): guard_links,
    ("person-identities", "window-router"): router_knows,
    ("person-identities", "ingestion"): guard_remembers_links,
    ("person-identities", "dispatcher"): lane_links,
    ("person-identities", "console"): Console,
    ("number-events", "quality-monitor"): quality_judges,
    ("number-events", "console"): Console,
    ("number-commands", "quality-monitor"): quality_judges,
    ("number-state", "window-router"): router_knows,
    ("queue-state", "window-router"): router_knows,
    ("number-state", "dispatcher"): lane_numbers,
    ("number-state", "ingestion"): ingestion_knows,
    ("number-state", "console"): Console,
    ("number-state", "quality-monitor"): quality_recovers,
    ("number-state", "message-state"): reconciler_knows,
    ("template-events", "template-manager"): templates_fold,
    ("template-state", "template-manager"): templates_recover,
    ("template-state", "window-router"): router_knows_templates,
    ("template-state", "ingestion"): router_knows_templates,
    ("template-state", "dispatcher"): lane_templates,
    ("send-runs", "sla-tracker"): sla_knows,
    ("send-runs", "ingestion"): ingestion_knows,
    ("send-runs", "console"): Console,
    ("run-progress", "sla-tracker"): sla_knows,
    ("run-progress", "console"): Console,
    ("sla-events", "sla-tracker"): sla_knows,
    ("sla-events", "console"): Console,
    ("portfolio-events", "quality-monitor"): ledger_books,
    ("portfolio-leases", "quality-monitor"): ledger_begins,
    ("portfolio-leases", "dispatcher"): lane_leases,
    ("portfolio-leases", "ingestion"): ingestion_knows_ledgers,
    ("audit-log", "console"): Console,
}
"""(topic, reader) to a fresh consumer. A reader outside (upstream) has the schemas instead."""
