"""How a lane decides: each decision is an entry for the journal, applied to the state at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harkara.dispatcher import journal
from harkara.dispatcher.counted import after_end, after_step, of_order
from harkara.dispatcher.evolve import evolve
from harkara.dispatcher.heard import Indicator
from harkara.dispatcher.journal import Data, Entry, to_the_microsecond
from harkara.dispatcher.places import Draft, Key
from harkara.dispatcher.state import Candidate, LaneState, Message


@dataclass(slots=True)
class Scribe:
    """Writes entries: numbers them, applies them, keeps them for the commit; `indicators`: to be shown after it;
    `drafts`: whom the round writes to on whose places. `now` is to the microsecond, as the times are that are kept of
    a decision: one that is made again must not find another order of them."""

    state: LaneState
    now: float
    entries: list[Entry] = field(default_factory=list)
    indicators: list[Indicator] = field(default_factory=list)
    drafts: dict[Key, Draft] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.now = to_the_microsecond(self.now)

    def write(self, key: str, kind: str, home: str, data: Data) -> None:
        """One entry with the lane's next sequence."""
        if kind == "order" and "again" in data:
            data = data | {"contact": of_order(self.state.recent, data["order"])}
        entry = Entry(key, self.state.seq + 1, kind, self.now, home, data)
        evolve(self.state, entry)
        self.entries.append(entry)

    def erase(self, key: str) -> None:
        """A tombstone."""
        entry = Entry(key, -1, "tombstone", self.now, "", None)
        evolve(self.state, entry)
        self.entries.append(entry)

    def clock_set(self, step: float) -> None:
        """The machine's clock was set by `step` seconds (negative: back), after everything that is written so far."""
        self.write(journal.clock_key(self.state.seq + 1), "clock", "lane", {"step": step})

    def step(self, message: Message, status: str, **changes: Any) -> None:
        """The message's next status, with everything else of it that changes or lasts."""
        spent, number, form, called_at, _, template_only, resent, swapped, refused = message.course
        data = {
            "status": status,
            "attempt": message.attempt,
            "spent": spent,
            "number": number,
            "form": form,
            "called_at": called_at,
            "template_only": template_only,
            "resent": resent,
            "swapped": swapped,
            "refused": refused,
            "run_id": message.traits.run_id,
            "trace": message.trace,
            "contact": after_step(self.state.recent, message, status, changes),
        }
        data.update(changes)
        kept = {name: value for name, value in data.items() if value or name == "attempt"}
        self.write(journal.step_key(message.message_id), "step", message.traits.home, kept)

    def attempt(self, message: Message, way: Candidate, called_at: float, template: str | None) -> None:
        """The message's next attempt, by this way and this template, to start at `called_at` (Unix seconds). The entry
        is what `step` would write, to the byte: every message has one, and written out it costs half."""
        course, traits, trace = message.course, message.traits, message.trace
        kept: Data = {"status": "attempting", "attempt": message.attempt + 1}
        if course.spent:
            kept["spent"] = course.spent
        kept["number"], kept["form"], kept["called_at"] = way.number, way.form, called_at
        if course.template_only:
            kept["template_only"] = True
        if course.resent:
            kept["resent"] = True
        if template and template != traits.template_key:
            kept["swapped"] = template
        if course.refused:
            kept["refused"] = course.refused
        if traits.run_id:
            kept["run_id"] = traits.run_id
        if trace:
            kept["trace"] = trace
        contact = after_step(self.state.recent, message, "attempting", kept)
        if contact:
            kept["contact"] = contact
        if template:
            kept["template"] = template
        self.write(journal.step_key(message.message_id), "step", traits.home, kept)

    def end(self, message: Message, status: str, event_attempt: int, **facts: Any) -> None:
        """The message's end in this lane; the order's content leaves the journal with it (compaction)."""
        course, traits = message.course, message.traits
        data = {
            "status": status,
            "attempt": message.attempt,
            "event_attempt": event_attempt,
            "hash": message.intent_hash,
            "number": course.number,
            "form": course.form,
            "template": course.template or traits.template_key,
            "run_id": traits.run_id,
            "trace": message.trace,
            "resent": course.resent or None,
            "contact": after_end(self.state.recent, message, status, event_attempt, facts, self.now),
            "instead_of": traits.instead_of or None,
            "refused": course.refused or None,
        }
        data.update(facts)
        kept = {name: value for name, value in data.items() if value is not None}
        self.write(message.message_id, "end", traits.home, kept)
