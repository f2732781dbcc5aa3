"""One lane of the dispatcher without Kafka and Meta: intake, decisions, journal, and what it remembers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from harkara.contracts.envelope import decode
from harkara.contracts.event import Event
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import (
    CONSENT_STATE,
    DISPATCH_JOURNAL,
    NUMBER_STATE,
    PERSON_IDENTITIES,
    PORTFOLIO_LEASES,
    TEMPLATE_STATE,
)
from harkara.dispatcher import journal
from harkara.dispatcher.commands import take_command
from harkara.dispatcher.core import place_waiting, recover, start_calls, take_order
from harkara.dispatcher.denials import Denials
from harkara.dispatcher.evolve import evolve
from harkara.dispatcher.inbound import hear
from harkara.dispatcher.inbox import CommandArrived, EchoArrived, Inbox, OrderArrived
from harkara.dispatcher.journal import Entry
from harkara.dispatcher.leases import LeaseReplica
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.projection import implied
from harkara.dispatcher.replicas import NumberStates
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.senders import facts_of, policy_of
from harkara.dispatcher.state import LaneState
from harkara.dispatcher.statuses import Statuses
from harkara.dispatcher.tokens import Tokens
from harkara.runtime.settings import KafkaSettings
from tests.support.examples import Example, examples
from tests.support.replay import GOVERNANCE, NOW, PARTITIONS, SETTINGS, Consumer, check_written, replica


@dataclass(frozen=True)
class Fetched:
    """An example as librdkafka hands it over."""

    example: Example

    def topic(self) -> str:
        return self.example.topic.name

    def partition(self) -> int:
        return self.example.partition(PARTITIONS)

    def offset(self) -> int:
        return self.example.offset

    def key(self) -> bytes:
        return self.example.key.encode()

    def value(self) -> bytes:
        return self.example.raw

    def headers(self) -> list[tuple[str, bytes]]:
        return self.example.headers


def around() -> Surroundings:
    """The numbers of the demo's policy, with tokens."""
    fleet = {number: replace(facts, usable=True) for number, facts in facts_of(GOVERNANCE, Tokens(), 1).items()}
    return Surroundings(fleet, policy_of(GOVERNANCE))


@dataclass
class Lane:
    """Intake, decisions and journal of one lane: everything but Kafka and Meta."""

    state: LaneState = field(default_factory=LaneState)
    arrived: dict[int, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inbox = Inbox(KafkaSettings(), 0, PARTITIONS)
        self.around = around()
        self.statuses = Statuses(lambda number, outcome, since=None: None)
        recover(Scribe(self.state, NOW.timestamp()), self.around)

    def take(self, example: Example) -> None:
        self.inbox.put([cast(Any, Fetched(example))])
        scribe = Scribe(self.state, NOW.timestamp())
        for arrival in self.inbox.take():
            self.arrived[example.offset] = arrival
            match arrival:
                case OrderArrived(order, trace):
                    take_order(scribe, order, trace)
                case CommandArrived(command):
                    take_command(scribe, self.around, command)
                case EchoArrived():
                    self.statuses.take(scribe, self.around, arrival)
        place_waiting(scribe, self.around)
        start_calls(scribe, self.around)
        assert not self.inbox.quarantined, self.inbox.quarantined[0].reason
        check_entries(scribe.entries)

    def seen(self) -> object:
        return dict(self.arrived), shown(self.state)


def check_entries(entries: Iterable[Entry]) -> None:
    """An entry comes back from its bytes, and the events it implies are events of their topics."""
    for entry in entries:
        value = journal.encoded(entry)
        if value is None:
            continue
        assert journal.decoded(entry.key.encode(), value).data == entry.data
        decode(DISPATCH_JOURNAL.events, value, [], fallback_id="none")
        for emission in implied(entry):
            check_written(emission.topic, emission.event, emission.id, journal.instant(emission.at))


def shown(state: LaneState) -> object:
    """What a lane knows, as one comparable value."""
    messages = {m.message_id: (m.status, m.attempt, m.number, m.form, m.until) for m in state.messages.values()}
    return state.seq, messages, dict(state.holds), dict(state.cancels), set(state.commands), len(state.horizon)


def lane_with_orders() -> Consumer:
    """A lane that has taken every order of the examples, for echoes and commands to mean something."""
    lane = Lane()
    for topic in ("dispatch-orders", "dispatch-orders-urgent"):
        for example in examples(topic):
            lane.take(example)
    lane.arrived.clear()
    return lane


@dataclass
class Recovery:
    """A lane that reads its journal: seen is the state after everything read so far."""

    entries: dict[tuple[str, int], Entry] = field(default_factory=dict)

    def take(self, example: Example) -> None:
        entry = journal.decoded(example.key.encode(), example.raw)
        check_entries([entry])
        self.entries[entry.key, entry.seq] = entry

    def seen(self) -> object:
        state = LaneState()
        for entry in sorted(self.entries.values(), key=lambda each: each.seq):
            evolve(state, entry)
        recover(Scribe(state, NOW.timestamp()), around())
        return shown(state), state.emitted


@dataclass
class Hearing:
    """A lane that counts what people write: seen are the numbers that have less room in their second for it."""

    state: LaneState = field(default_factory=lambda: LaneState(limits={n: f.limits for n, f in around().fleet.items()}))
    slowed: set[str] = field(default_factory=set)

    def take(self, example: Example) -> None:
        now = datetime.fromisoformat(example.value["sent_at"]).timestamp() + 1
        hear(self.state, around(), [cast(Any, Fetched(example))], now)
        self.slowed |= {number for number, lane in self.state.numbers.items() if lane.pace.next_at() > now - 0.05}

    def seen(self) -> object:
        return set(self.slowed)


def lane_denials() -> Consumer:
    """The persons who refuse something."""
    denials = Denials(SETTINGS)
    return replica(lambda key, event: denials._apply(CONSENT_STATE, key, event), lambda: dict(denials.by_person))


def lane_links() -> Consumer:
    """Whose name is whose, and who is denied by it where every consent of the examples is known."""
    denials, names = Denials(SETTINGS), set[str]()
    for example in examples(CONSENT_STATE.name):
        denials._apply(CONSENT_STATE, example.key, example.decoded().event)

    def apply(key: str, event: Event | None) -> None:
        assert isinstance(event, PersonAlias)
        denials._apply(PERSON_IDENTITIES, key, event)
        names.update((event.person_key, event.alias_key))

    return replica(apply, lambda: (dict(denials.by_person), {name: denials.links.names(name) for name in names}))


def lane_templates() -> Consumer:
    """What each template may do, and whose change was told."""
    changed: set[str] = set()
    states = NumberStates(SETTINGS, lambda _: None, changed.add)
    return replica(
        lambda key, event: states._apply(TEMPLATE_STATE, key, event), lambda: (dict(states.templates), set(changed))
    )


def lane_leases() -> Consumer:
    """The units of each home, and the people who need none."""
    told: set[tuple[str, str]] = set()
    replica_ = LeaseReplica(SETTINGS, told.add)
    leases = replica_.leases
    return replica(
        lambda key, event: replica_._apply(PORTFOLIO_LEASES, key, event),
        lambda: (dict(leases.by_portfolio), {key: dict(known) for key, known in leases.known.items()}, set(told)),
    )


def lane_numbers() -> Consumer:
    """What each number may do, and whose change was told."""
    changed: set[str] = set()
    states = NumberStates(SETTINGS, changed.add)
    return replica(
        lambda key, event: states._apply(NUMBER_STATE, key, event), lambda: (dict(states.by_number), set(changed))
    )
