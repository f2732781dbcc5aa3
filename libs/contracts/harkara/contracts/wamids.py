"""A status of Meta's that carries no callback data belongs to the message that its wamid names.

It waits under that wamid until an event of a message names it, and is joined then by `lifecycle.advance`: the order of
arrival makes no difference to the state. The waiting row is removed later, when the state that contains it is
acknowledged; until then a repeated event finds it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from harkara.contracts.lifecycle import MessageLifecycle, State, advance

WAITING_LIFE = timedelta(days=7)  # the lane remembers a message that long; nothing can name the wamid afterwards
WAITING_PER_PARTITION = 100_000  # about 60 MB; more means that these numbers are used by somebody else too
EVENTS_PER_WAMID = 16  # Meta has five statuses; the rest is room for what it may add

Waiting = dict[str, Any]
"""What waits under a wamid: {"since": when the first came, "events": [lifecycle events]}."""


@dataclass(frozen=True, slots=True)
class Named:
    """The message and the attempt that a wamid belongs to."""

    message_id: str
    attempt: int


class View(Protocol):
    """What is known in the event's partition."""

    def state(self, message_id: str) -> State | None:
        """The message's state."""
        ...

    def named(self, wamid: str) -> Named | None:
        """Whose wamid it is, where an event has said so."""
        ...

    def waiting(self, wamid: str) -> Waiting | None:
        """What waits under the wamid."""
        ...

    def waiting_count(self) -> int:
        """How many wamids wait."""
        ...


@dataclass(frozen=True, slots=True)
class Changed:
    """The message's state is this now; `joined` statuses were found by their wamid."""

    message_id: str
    before: State | None
    state: State
    joined: int = 0


@dataclass(frozen=True, slots=True)
class Waits:
    """The wamid's waiting events are these now."""

    wamid: str
    row: Waiting


@dataclass(frozen=True, slots=True)
class Dropped:
    """The event belongs nowhere: `unnamed` (no id at all) or `full` (too many wamids wait)."""

    cause: str


@dataclass(frozen=True, slots=True)
class Contested:
    """A message names this wamid, which is another's that named it before."""

    wamid: str


Change = Changed | Waits | Dropped | Contested


def decide(view: View, event: MessageLifecycle, now: datetime) -> list[Change]:
    """What the event changes; empty when it repeats what is known. `now` is when it was written."""
    if event.message_id is not None:
        return _joined(view, event.message_id, [event], wamid=event.wamid)
    if event.wamid is None:
        return [Dropped("unnamed")]
    owner = view.named(event.wamid)
    if owner is None:
        return _waits(view, event, event.wamid, now)
    return _joined(view, owner.message_id, [_given(event, owner)], wamid=None, found=1)


def _joined(
    view: View, message_id: str, events: list[MessageLifecycle], *, wamid: str | None, found: int = 0
) -> list[Change]:
    waiting = view.waiting(wamid) if wamid is not None and view.named(wamid) is None else None
    if waiting is not None:
        owner = Named(message_id, events[0].attempt)
        late = [_given(MessageLifecycle.model_validate(each), owner) for each in waiting["events"]]
        events, found = events + late, found + len(late)
    before = state = view.state(message_id)
    for event in events:
        state = advance(state, event)
    if state is None or state is before:
        return []
    return [Changed(message_id, before, state, found)]


def _given(event: MessageLifecycle, owner: Named) -> MessageLifecycle:
    return event.model_copy(update={"message_id": owner.message_id, "attempt": owner.attempt})


def _waits(view: View, event: MessageLifecycle, wamid: str, now: datetime) -> list[Change]:
    row = view.waiting(wamid)
    if row is None and view.waiting_count() >= WAITING_PER_PARTITION:
        return [Dropped("full")]
    known = row["events"] if row is not None else []
    data = event.model_dump(mode="json")
    if data in known or len(known) >= EVENTS_PER_WAMID:
        return []
    since = row["since"] if row is not None else now.astimezone(UTC).isoformat()
    return [Waits(wamid, {"since": since, "events": [*known, data]})]


def names(state: State) -> Iterator[tuple[str, Named]]:
    """Every wamid of the message and the attempt it belongs to."""
    for number, attempt in state["attempts"].items():
        if "wamid" in attempt:
            yield attempt["wamid"], Named(state["message_id"], int(number))


def has_expired(row: Waiting, now: datetime) -> bool:
    """Whether the waiting events can no longer find their message."""
    return datetime.fromisoformat(row["since"]) < now - WAITING_LIFE
