"""A lane without a shell: the core driven by hand, its journal a list, its calls answered by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from harkara.contracts.commands import SendCommand
from harkara.contracts.lifecycle import MessageLifecycle, State, advance
from harkara.contracts.numbers import NumberState, Verdict
from harkara.dispatcher.commands import take_command
from harkara.dispatcher.core import (
    number_changed,
    place_waiting,
    recover,
    start_calls,
    take_order,
    tick,
)
from harkara.dispatcher.evidence import take_echo
from harkara.dispatcher.glance import glanced
from harkara.dispatcher.holds import hold_barred
from harkara.dispatcher.journal import Entry, encoded, to_the_microsecond
from harkara.dispatcher.plan import DispatchPolicy, NumberFacts, Surroundings
from harkara.dispatcher.projection import Emission, implied
from harkara.dispatcher.replay import replay
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.settle import settle
from harkara.dispatcher.state import LaneState, Message
from harkara.graph_api.errors import policy_for
from harkara.graph_api.outcome import Accepted, GraphError, InDoubt, NotSent, Outcome, Refused
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.explained import assert_explained

START = 1_800_000_000.0
ONE, TWO, THREE = "100000000000011", "100000000000012", "100000000000013"
HOME = "pool-a"
ACCEPTED = Accepted("wamid.A")
TIMEOUT = InDoubt("timeout")
LEASE = NotSent("lease")


def refused(code: int, status: int = 400) -> Refused:
    """Meta's refusal with that code."""
    return Refused(GraphError(status, code), policy_for(code))


def iso(at: float) -> str:
    """Unix seconds as the wire has them."""
    return datetime.fromtimestamp(at, UTC).isoformat()


def order(message_id: str = "message-1", numbers: Iterable[str] = (ONE,), **more: Any) -> dict[str, Any]:
    """A DispatchOrder's JSON. `form`, `valid_until`, `life` and `at` shape the plan and the times."""
    at, form = more.pop("at", START), more.pop("form", "template")
    valid_until = more.pop("valid_until", None)
    candidate = {"form": form} | ({} if valid_until is None else {"valid_until": iso(valid_until)})
    template = {"type": "template", "name": "daily_update", "language": "en", "body": ["Asha"]}
    values = {
        "message_id": message_id,
        "home": HOME,
        "intent_hash": f"hash of {message_id}",
        "to": "+919999950050",
        "person_key": f"person of {message_id}",
        "category": "utility",
        "priority": 1,
        "producer": "tests",
        "plan": [{"phone_number_id": number, **candidate} for number in numbers],
        "session": {"type": "text", "body": "Good morning"} if form == "session" else None,
        "template": template,
        "expires_at": iso(at + more.pop("life", 86_400.0)),
        "received_at": iso(at),
        "policy_version": "tests",
    }
    return {name: value for name, value in (values | more).items() if value is not None}


def policy(**more: Any) -> DispatchPolicy:
    """The dispatch defaults of governance.yaml."""
    waits = {"authentication": 20.0, "utility": 900.0, "marketing": 86_400.0, "service": 60.0}
    return DispatchPolicy(**({"in_doubt_timeout_seconds": waits, "version": "0123456789ab"} | more))


@dataclass
class HandDriven:
    """A lane whose rounds, calls and crashes the test commands. `attempts` are the calls that it wanted, in order."""

    limits: Limits = field(default_factory=Limits)
    now: float = START
    policy: DispatchPolicy = field(default_factory=policy)
    journal: list[Entry] = field(default_factory=list)
    attempts: list[tuple[str, int, str, str]] = field(default_factory=list)
    under_way: list[tuple[str, int]] = field(default_factory=list)
    states: dict[str, NumberState] = field(default_factory=dict)
    denials: dict[str, Any] = field(default_factory=dict)
    capacity: int = 20

    def __post_init__(self) -> None:
        tokens = {ONE: "a", TWO: "a", THREE: "b"}
        self.fleet = {
            number: NumberFacts(number, HOME, "waba-1", self.limits, self.capacity, tokens[number])
            for number in (ONE, TWO, THREE)
        }
        self.around = Surroundings(self.fleet, self.policy, self.states, self.denials)
        self.crash()

    def crash(self, committed: int | None = None) -> None:
        """A new owner reads the journal (its first `committed` entries) through the bytes that Kafka would hold."""
        self.journal = self.journal if committed is None else self.journal[:committed]
        self.state = LaneState(limits={number: self.limits for number in self.fleet})
        replay(self.state, self.read_back(), after=0, most_aside=3)
        self.under_way.clear()
        self.write(lambda scribe: recover(scribe, self.around))

    def read_back(self) -> Iterator[Entry]:
        """The journal as it comes back from its bytes."""
        for entry in self.journal:
            yield glanced(entry.key.encode(), encoded(entry))

    def write(self, decide: Callable[[Scribe], object]) -> list[Entry]:
        """One decision, committed."""
        scribe = Scribe(self.state, self.now)
        decide(scribe)
        for entry in scribe.entries:
            assert_explained(entry, self.around.policy)
        self.journal += scribe.entries
        return scribe.entries

    def take(self, *orders: dict[str, Any], start: bool = True) -> None:
        """Orders arrive; a round follows."""
        for each in orders:
            self.write(lambda scribe, each=each: take_order(scribe, each, None))  # type: ignore[misc]
        if start:
            self.round()

    def round(self, seconds: float = 0.0) -> list[Message]:
        """Time passes, then a round: what is due, what waits, what may be called."""
        self.now = to_the_microsecond(self.now + seconds)  # as a lane's clock
        self.write(lambda scribe: tick(scribe, self.around))
        while self.state.unplaced:
            self.write(lambda scribe: place_waiting(scribe, self.around))
        started: list[Message] = []
        self.write(lambda scribe: started.extend(start_calls(scribe, self.around)))
        for message in started:
            assert message.number is not None and message.form is not None
            self.attempts.append((message.message_id, message.attempt, message.number, message.form))
            self.under_way.append((message.message_id, message.attempt))
        return started

    def answer(self, outcome: Outcome, message_id: str = "message-1", attempt: int | None = None) -> None:
        """The outcome of the message's newest call; a round follows."""
        number = attempt or max(n for m, n, _, _ in self.attempts if m == message_id)
        if (message_id, number) in self.under_way:
            self.under_way.remove((message_id, number))
        self.write(lambda scribe: settle(scribe, self.around, message_id, number, outcome))
        if isinstance(outcome, Refused) and outcome.policy.stops_numbers:  # as the shell does, whoever still waited
            by = next(sender for m, n, sender, _ in self.attempts if (m, n) == (message_id, number))
            self.write(lambda scribe: hold_barred(scribe, self.around, by, outcome, own=True))
        self.round()

    def echo(self, message_id: str = "message-1", attempt: int = 1, number: str | None = ONE) -> None:
        """A status of Meta."""
        self.write(lambda scribe: take_echo(scribe, self.around, message_id, attempt, "wamid.E", number, self.now))
        self.round()

    def failed(
        self,
        code: int,
        message_id: str = "message-1",
        attempt: int = 1,
        at: float | None = None,
        number: str = ONE,
        person_key: str | None = None,
    ) -> None:
        """A status of Meta, of now or of `at`, says that it did not deliver what it had accepted; a round follows."""
        said = self.now if at is None else at
        facts = (message_id, attempt, f"wamid.{message_id}", number, said, code)
        self.write(lambda scribe: take_echo(scribe, self.around, *facts, person_key=person_key))
        self.round()

    def command(self, kind: str, target: str, **more: Any) -> None:
        """An operator's or client's command."""
        values = {"command_id": f"{kind}-{self.now}", "home": HOME, "kind": kind, "target": target, "actor": "asha",
                  "at": iso(self.now)}  # fmt: skip
        command = SendCommand.model_validate(values | more)
        self.write(lambda scribe: take_command(scribe, self.around, command))
        self.round()

    def verdict(
        self,
        number: str,
        verdict: Verdict,
        version: int = 1,
        until: float | None = None,
        resumed_at: float | None = None,
    ) -> None:
        """The number's state on its topic changes; `resumed_at`: an operator's word on it."""
        self.states[number] = NumberState.model_validate(
            {"phone_number_id": number, "home": HOME, "version": version, "verdict": verdict,
             "until": None if until is None else iso(until), "updated_at": iso(self.now),
             "resumed_at": None if resumed_at is None else iso(resumed_at)}
        )  # fmt: skip
        self.write(lambda scribe: number_changed(scribe, self.around, number))
        self.round()

    def emissions(self) -> list[Emission]:
        """Every event that the journal implies."""
        return [emission for entry in self.journal for emission in implied(entry)]

    def shown(self) -> dict[str, State]:
        """Each message's state as message-state would show it."""
        states: dict[str, State] = {}
        for emission in self.emissions():
            if isinstance(emission.event, MessageLifecycle) and emission.event.message_id is not None:
                message_id = emission.event.message_id
                states[message_id] = advance(states.get(message_id), emission.event)
        return states

    def status(self, message_id: str = "message-1") -> str:
        """The message's status as operators see it."""
        return str(self.shown()[message_id]["status"])

    def steps(self, message_id: str = "message-1") -> list[str]:
        """The statuses written for the message, in order."""
        return [
            emission.event.status
            for emission in self.emissions()
            if isinstance(emission.event, MessageLifecycle) and emission.subject == message_id
        ]
