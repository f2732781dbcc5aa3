"""What is known of numbers and persons where a plan is made: by the router, and by whoever asks what it would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from harkara.contracts.event import Event, epoch_ms
from harkara.contracts.numbers import NumberState, QueueState
from harkara.contracts.persons import PersonAlias
from harkara.contracts.template_state import TemplateState
from harkara.contracts.topics import (
    NUMBER_STATE,
    PERSON_IDENTITIES,
    QUEUE_STATE,
    SERVICE_WINDOWS,
    TEMPLATE_STATE,
    Topic,
)
from harkara.contracts.webhooks import ServiceWindow
from harkara.policy.aliases import Aliases
from harkara.policy.routing import WINDOW, Surroundings
from harkara.policy.wordings import Wordings

FEWEST_BEFORE_SWEEP = 10_000  # below this many windows looking for closed ones is not worth it


class Known:
    """Open windows, the states of numbers and of their queues, fed by the replica. Closed windows are dropped now and
    then, so that memory follows the persons of the last day, not of all time. A window that a person opened under
    another name of theirs is open (B17)."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._inbound_ms: dict[str, int] = {}
        self._sweep_at = FEWEST_BEFORE_SWEEP
        self._states: dict[str, NumberState] = {}
        self._queues: dict[str, QueueState] = {}
        self._aliases = Aliases()
        self.templates: dict[str, TemplateState] = {}
        self._wordings = Wordings()

    def open_windows(self) -> int:
        """How many are held; some may have closed since the last sweep."""
        return len(self._inbound_ms)

    def around(self, person_key: str, phone_number_ids: Iterable[str]) -> Surroundings:
        """What is known of these numbers and the person: whoever is written to, under the names that are linked to
        theirs. A second name that only the intent gives opens nothing: it may be another person's, whose window would
        let a text through that Meta refuses."""
        pnids = list(phone_number_ids)
        inbound = {pnid: self._inbound_ms.get(_key(pnid, person_key)) for pnid in pnids}
        for name, until_ms in self._aliases.names(person_key).items():
            for pnid in pnids:
                at_ms = self._inbound_ms.get(_key(pnid, name.hex()))
                if at_ms is not None and at_ms <= until_ms:
                    inbound[pnid] = max(at_ms, inbound[pnid] or 0)
        return Surroundings(
            last_inbound_at={pnid: _instant(at) for pnid, at in inbound.items() if at is not None},
            states={pnid: self._states[pnid] for pnid in pnids if pnid in self._states},
            queues={pnid: self._queues[pnid] for pnid in pnids if pnid in self._queues},
            templates=self.templates,
            wordings=self._wordings,
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
            case TemplateState():
                template = self.templates.get(event.key)
                if template is None or template.version <= event.version:
                    self._wordings.put(event.key, event)
                    self.templates[event.key] = event.model_copy(update={"wording": None})  # which is held once
            case PersonAlias():
                self._aliases.apply(event)
            case _:
                self._forget(topic, key)

    def take(self, topic: Topic, _key: bytes, text: bytes) -> bool:
        """Take a record as its JSON: links alone, of which there may be millions. False: decode it, for `apply`."""
        return topic.name == PERSON_IDENTITIES.name and self._aliases.take(text)

    def _forget(self, topic: Topic, key: str) -> None:
        """A tombstone. Numbers have the same key on two topics, and the one says nothing about the other."""
        held: dict[str, dict[str, Any]] = {
            SERVICE_WINDOWS.name: self._inbound_ms,
            NUMBER_STATE.name: self._states,
            QUEUE_STATE.name: self._queues,
            TEMPLATE_STATE.name: self.templates,
        }
        held.get(topic.name, {}).pop(key, None)
        if topic.name == TEMPLATE_STATE.name:
            self._wordings.remove(key)

    def _open(self, key: str, at_ms: int) -> None:
        closed_before = epoch_ms(self._now() - WINDOW)
        if at_ms > max(closed_before, self._inbound_ms.get(key, 0)):
            self._inbound_ms[key] = at_ms
        if len(self._inbound_ms) > self._sweep_at:
            self._inbound_ms = {each: at for each, at in self._inbound_ms.items() if at > closed_before}
            self._sweep_at = max(FEWEST_BEFORE_SWEEP, 2 * len(self._inbound_ms))


def _key(phone_number_id: str, person_key: str) -> str:
    return f"{phone_number_id}:{person_key}"


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
