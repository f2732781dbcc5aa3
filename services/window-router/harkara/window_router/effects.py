"""The router's job on records, and what it remembers of numbers and persons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harkara.contracts.event import Event, epoch_ms
from harkara.contracts.intents import ClearedIntent
from harkara.contracts.numbers import NumberState, QueueState
from harkara.contracts.topics import NUMBER_STATE, QUEUE_STATE, SERVICE_WINDOWS, Topic
from harkara.contracts.webhooks import ServiceWindow
from harkara.policy.governance import Governance
from harkara.policy.routing import WINDOW, Planned, Surroundings, plan
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output
from harkara.runtime.loop import Incoming, Refused
from harkara.window_router import core
from harkara.window_router.metrics import DECISIONS, WINDOWS

FEWEST_BEFORE_SWEEP = 10_000  # below this many windows looking for closed ones is not worth it


class Known:
    """Open windows, the states of numbers and of their queues, fed by the replica. Closed windows are dropped now and
    then, so that memory follows the persons of the last day, not of all time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inbound_ms: dict[str, int] = {}
        self._sweep_at = FEWEST_BEFORE_SWEEP
        self._states: dict[str, NumberState] = {}
        self._queues: dict[str, QueueState] = {}

    def open_windows(self) -> int:
        """How many are held; some may have closed since the last sweep."""
        return len(self._inbound_ms)

    def around(self, person_key: str, phone_number_ids: Iterable[str]) -> Surroundings:
        """What is known of these numbers and the person."""
        pnids = list(phone_number_ids)
        inbound = {pnid: self._inbound_ms.get(_key(pnid, person_key)) for pnid in pnids}
        return Surroundings(
            last_inbound_at={pnid: _instant(at) for pnid, at in inbound.items() if at is not None},
            states={pnid: self._states[pnid] for pnid in pnids if pnid in self._states},
            queues={pnid: self._queues[pnid] for pnid in pnids if pnid in self._queues},
        )

    def apply(self, topic: Topic, key: str, event: Event | None) -> None:
        """Take one record. Windows only move forward and states by their version, whatever order they come in."""
        match event:
            case ServiceWindow():
                self._open(_key(event.phone_number_id, event.person_key), epoch_ms(event.last_inbound_at))
            case NumberState():
                held = self._states.get(event.phone_number_id)
                if held is None or held.version <= event.version:
                    self._states[event.phone_number_id] = event
            case QueueState():
                held_queue = self._queues.get(event.phone_number_id)
                if held_queue is None or held_queue.updated_at <= event.updated_at:
                    self._queues[event.phone_number_id] = event
            case _:
                self._forget(topic, key)

    def _forget(self, topic: Topic, key: str) -> None:
        """A tombstone. Numbers have the same key on two topics, and the one says nothing about the other."""
        held: dict[str, dict[str, Any]] = {
            SERVICE_WINDOWS.name: self._inbound_ms,
            NUMBER_STATE.name: self._states,
            QUEUE_STATE.name: self._queues,
        }
        held[topic.name].pop(key, None)

    def _open(self, key: str, at_ms: int) -> None:
        closed_before = epoch_ms(self._clock.now() - WINDOW)
        if at_ms > max(closed_before, self._inbound_ms.get(key, 0)):
            self._inbound_ms[key] = at_ms
        if len(self._inbound_ms) > self._sweep_at:
            self._inbound_ms = {each: at for each, at in self._inbound_ms.items() if at > closed_before}
            self._sweep_at = max(FEWEST_BEFORE_SWEEP, 2 * len(self._inbound_ms))


class Router:
    """Plans cleared intents."""

    def __init__(self, governance: Governance, known: Known, clock: Clock) -> None:
        self._governance = governance
        self._known = known
        self._clock = clock
        WINDOWS.set_function(known.open_windows)

    def follow(self, governance: Governance) -> None:
        """Decide by this policy from the next intent on."""
        self._governance = governance

    def route(self, incoming: Incoming) -> Iterable[Output]:
        """The events that a cleared intent leads to."""
        cleared = incoming.envelope.event
        if not isinstance(cleared, ClearedIntent):
            raise Refused("the record is no ClearedIntent")
        now = self._clock.now()
        numbers = (number.phone_number_id for number in self._governance.numbers_of(cleared.home))
        around = answering(cleared, self._known.around(cleared.person_key, numbers))
        decision = plan(cleared, self._governance, around, now)
        outcome = decision.plan[0].form if isinstance(decision, Planned) else decision.reason.code
        DECISIONS.labels(outcome).inc()
        return core.outputs(cleared, decision, self._governance.version, now)


def answering(cleared: ClearedIntent, around: Surroundings) -> Surroundings:
    """What a confirmation answers has opened the window to its sender, whether that has been read here yet or not."""
    if cleared.answers is None:
        return around
    sender, known = cleared.intent.sender, around.last_inbound_at
    return replace(around, last_inbound_at={**known, sender: max(cleared.answers, known.get(sender, cleared.answers))})


def gate_on(fresh: Callable[[], bool]) -> Callable[[], str | None]:
    """Without knowing the windows and the numbers as of at most 2 s ago no form and no number can be chosen."""
    return lambda: None if fresh() else "windows and number states are not known up to now, so nothing is routed"


def _key(phone_number_id: str, person_key: str) -> str:
    return f"{phone_number_id}:{person_key}"


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
