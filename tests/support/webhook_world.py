"""Everything that follows from a pile of webhooks, worked out by the pure cores: split, normalise, join.

For tests that compare orders, repetitions and batches: `World.take` is one webhook, `World.ends` what came of all of
them, without what depends on how often something was written (versions, and since when a status waits).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from harkara.compliance_guard import core as guard
from harkara.contracts import wamids
from harkara.contracts.consent import ConsentEvent
from harkara.contracts.event import Event
from harkara.contracts.lifecycle import MessageLifecycle, State
from harkara.contracts.numbers import NumberEvent
from harkara.contracts.persons import PersonAlias
from harkara.contracts.templates import TemplateEvent
from harkara.contracts.topics import CONSENT_STATE, PERSON_IDENTITIES, SERVICE_WINDOWS
from harkara.contracts.webhooks import InboundMessage, ServiceWindow, WebhookChange
from harkara.ingestion.core import split
from harkara.ingestion.normalise import normalise
from harkara.policy.commands import Commands
from harkara.policy.governance import Governance
from harkara.policy.known import Known
from harkara.policy.standings import Standings
from harkara.quality_monitor import core as quality


def _is_account_error(event: Event) -> bool:
    """An error of the account has no time and no id: it is told apart by its webhook, which batching changes."""
    return isinstance(event, NumberEvent) and event.reason is not None and event.reason.code.startswith("meta_")


@dataclass
class World:
    """The state that follows from the webhooks taken so far."""

    governance: Governance
    pepper: bytes
    now: datetime
    states: dict[str, State] = field(default_factory=dict)
    rows: dict[str, wamids.Waiting] = field(default_factory=dict)
    owners: dict[str, wamids.Named] = field(default_factory=dict)
    consent: dict[str, dict[str, Any]] = field(default_factory=dict)
    windows: dict[str, datetime] = field(default_factory=dict)
    aliases: dict[str, PersonAlias] = field(default_factory=dict)
    inbound: dict[str, InboundMessage] = field(default_factory=dict)
    templates: set[str] = field(default_factory=set)
    numbers: dict[str, quality.Facts] = field(default_factory=dict)
    written: dict[str, set[str]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    taken: int = 0

    def __post_init__(self) -> None:
        self._commands = Commands(self.governance.compliance.opt_out_words)

    # what message-state's core asks of its tables

    def state(self, message_id: str) -> State | None:
        """The message's state."""
        return self.states.get(message_id)

    def named(self, wamid: str) -> wamids.Named | None:
        """Whose wamid it is."""
        return self.owners.get(wamid)

    def waiting(self, wamid: str) -> wamids.Waiting | None:
        """What waits under it."""
        return self.rows.get(wamid)

    def waiting_count(self) -> int:
        """How many wamids wait."""
        return len(self.rows)

    def take(self, body: dict[str, Any]) -> None:
        """One webhook, as the edge gets it."""
        raw = orjson.dumps(body)
        self.taken += 1
        changes, faults = split(
            body, hashlib.sha256(raw).hexdigest(), len(raw), self.now + timedelta(seconds=self.taken)
        )
        assert not faults, faults
        for change in changes:
            assert isinstance(change.event, WebhookChange)
            found = normalise(change.event, change.id, self.governance, self.pepper)
            self.left.update(reason for reason, _ in found.left)
            for each in found.emissions:
                if not _is_account_error(each.event):
                    self.written.setdefault(each.topic.name, set()).add(each.id)
                self.join(each.event)

    def join(self, event: Event) -> None:
        """One event into the states."""
        match event:
            case MessageLifecycle():
                self._step(event)
            case ConsentEvent():
                self._consent(event)
            case InboundMessage():
                self.inbound[event.wamid] = event.model_copy(update={"received_at": self.now})
                said = self._commands.read(event.text, event.button_payload)
                self._hear(guard.heard(event, said))
            case ServiceWindow():
                key = f"{event.phone_number_id}:{event.person_key}"
                self.windows[key] = max(event.last_inbound_at, self.windows.get(key, event.last_inbound_at))
            case PersonAlias():
                key = f"{event.person_key}:{event.alias_key}"
                known = self.aliases.get(key, event)
                self.aliases[key] = max(known, event, key=lambda each: each.at)
            case TemplateEvent():
                self.templates.add(event.model_dump_json())
            case NumberEvent():
                facts = self.numbers.get(event.phone_number_id, quality.Facts())
                self.numbers[event.phone_number_id] = quality.observe(facts, event)

    def _hear(self, outputs: Iterable[Any]) -> None:
        for output in outputs:
            self._consent(output.event.model_copy(update={"cancels_until": None}))  # that is when we got it

    def _step(self, event: MessageLifecycle) -> None:
        for change in wamids.decide(self, event, self.now):
            match change:
                case wamids.Changed(message_id, _, state, _):
                    self.states[message_id] = state
                    self.owners.update(wamids.names(state))
                case wamids.Waits(wamid, row):
                    self.rows[wamid] = row
                case wamids.Dropped(cause):
                    raise AssertionError(f"a status was dropped: {cause}")

    def _consent(self, event: ConsentEvent) -> None:
        row = guard.projected(self.consent.get(event.person_key), event)
        if row is not None:
            self.consent[event.person_key] = row

    def ends(self) -> dict[str, Any]:
        """What came of it."""
        states = {
            key: {name: v for name, v in state.items() if name != "version"} for key, state in self.states.items()
        }
        counters = Counter(state["status"] for state in states.values())
        billed = Counter(
            attempt["pricing"].get("category")
            for state in states.values()
            for attempt in state["attempts"].values()
            if "pricing" in attempt
        )
        waiting = {
            wamid: sorted(map(str, row["events"])) for wamid, row in self.rows.items() if wamid not in self.owners
        }
        return {
            "states": states,
            "counters": counters,
            "billed": billed,
            "waiting": waiting,
            "consent": {key: {n: v for n, v in row.items() if n != "version"} for key, row in self.consent.items()},
            "standing": self.standings(),
            "windows": self.windows,
            "aliases": self.aliases,
            "inbound": self.inbound,
            "templates": self.templates,
            "numbers": self.numbers,
            "written": self.written,
            "left": self.left,
        }

    def standings(self) -> dict[str, object]:
        """What the guard would say of each person, under every name."""
        found = self.standings_of()
        persons = {*self.consent, *(alias.person_key for alias in self.aliases.values())}
        return {person: found.said(person) for person in persons}

    def known_at(self, now: datetime) -> Known:
        """What the router knows then."""
        known = Known(lambda: now)
        for key, at in self.windows.items():
            pnid, _, person = key.partition(":")
            window = ServiceWindow(phone_number_id=pnid, person_key=person, last_inbound_at=at)
            known.apply(SERVICE_WINDOWS, key, window)
        for alias in self.aliases.values():
            known.apply(PERSON_IDENTITIES, "", alias)
        return known

    def standings_of(self) -> Standings:
        """What the guard knows."""
        found = Standings(with_owners=True)
        for key, row in self.consent.items():
            found.apply(CONSENT_STATE, key, CONSENT_STATE.events[0].model_validate(row))
        for alias in self.aliases.values():
            found.apply(PERSON_IDENTITIES, "", alias)
        return found
