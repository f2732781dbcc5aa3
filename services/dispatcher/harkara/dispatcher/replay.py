"""A lane's journal read back: the state that `evolve` makes entry by entry, for less work.

Most orders of a journal end a few hundred entries later, and what `evolve` made of them is thrown away. Here an order
and its steps lie aside as they were read until the order ends; a live message is made of them when MOST_ASIDE others
wait that came later, before anything that looks at messages, and at the journal's end. What an entry does to anything
but its own message (the number's pace, the pair, the contacts, what had ended) it does at once, in its turn.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any

from harkara.dispatcher.evolve import KINDS, SHALLOW, Change, change_course, evolve, go_on, note_call, take_in
from harkara.dispatcher.glance import GLANCED, whole
from harkara.dispatcher.journal import NOT_SENT, Entry, message_id_of
from harkara.dispatcher.message import line_in
from harkara.dispatcher.orders import has_media
from harkara.dispatcher.rebase import SET_BACK_SECONDS
from harkara.dispatcher.state import LaneState

MOST_ASIDE = 1000  # orders, 1 MB of bytes: a number at 1,000/s has some 300 between its orders and their ends
MOST_STEPS = 20  # of one message: most have two, one that is held again and again any number
_BESIDE = frozenset(
    {
        "emitted",
        "places",
        "throttle",
        "hold",
        "auth",
        "cancel",
        "pause",
        "watch",
        "conflict",
        "duplicate",
        "resolved",
        "spared",
    }
)
"""Kinds that look at no message and change none while a journal is read."""
_ERASED_BESIDE = frozenset({"", "s", "c", "w"})
"""What follows the message's id in the keys whose tombstones do not, either."""


def replay(state: LaneState, entries: Iterable[Entry], *, after: int, most_aside: int = MOST_ASIDE) -> deque[Entry]:
    """Apply a journal, orders as they were read or `glanced`; those of its entries with a later sequence than `after`.
    Raises UnknownKind, and ValueError as `decoded` does."""
    young, later = _Young(state, most_aside), deque[Entry]()
    kinds = young.kinds
    for entry in entries:
        _, seq, _, at, _, data = entry
        if at < state.latest - SET_BACK_SECONDS and _looks_around(entry):
            young.grow_up()
        evolve(state, entry, kinds)
        if seq > after and data is not None:
            later.append(whole(entry))
    young.grow_up()
    return later


def _looks_around(entry: Entry) -> bool:
    """Of one that is a tombstone (these have no time) or shows that the clock was set: whether it looks at messages."""
    return entry.data is not None or entry.key.partition("/")[2] not in _ERASED_BESIDE


class _Young:
    """The newest orders that have not ended, each with its steps since."""

    def __init__(self, state: LaneState, most: int) -> None:
        self._state, self._most = state, most
        self._young = OrderedDict[str, list[Entry]]()  # the oldest is found at once, however many have left
        own: dict[str, Change] = {GLANCED: self._order, "order": self._order, "step": self._step, "end": self._end}
        others = {kind: change if kind in _BESIDE else self._grown(change) for kind, change in KINDS.items()}
        self.kinds = others | own

    def grow_up(self) -> None:
        """All of them are live messages from now on."""
        packed = self._deep()
        young, self._young = self._young, OrderedDict()
        for entries in young.values():
            self._grow(entries, packed=packed)

    def _deep(self) -> bool:
        """Whether so many wait that an order which comes now is packed."""
        return len(self._state.messages) + len(self._young) > SHALLOW

    def _grow(self, entries: list[Entry], *, packed: bool) -> None:
        entries[0] = whole(entries[0])
        (first, order), *steps = [(entry, entry.data) for entry in entries if entry.data is not None]
        take_in(self._state, first, order, packed=packed)
        message = self._state.messages[first.key]
        for entry, data in steps:
            change_course(message, entry, data)

    def _order(self, state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
        if "again" in data:
            go_on(state, entry.key)
        self._young[entry.key] = [entry]
        if len(self._young) > self._most:
            packed = self._deep()
            self._grow(self._young.popitem(last=False)[1], packed=packed)

    def _step(self, state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
        entries = self._young.get(message_id_of(entry.key))
        if entries is None or data.get("reason", "").startswith(NOT_SENT):
            if entries is not None:  # it asks what was before; seldom
                self.grow_up()
            KINDS["step"](state, entry, data)
            return
        entries.append(entry)
        if data["status"] == "attempting":
            order, number = entries[0].data, data.get("number")
            if number is not None and order is not None:
                wanted = order["order"]
                note_call(state, number, line_in(wanted), data.get("called_at", 0.0), media=has_media(wanted))
        if len(entries) > MOST_STEPS:
            self.grow_up()

    def _end(self, state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
        self._young.pop(entry.key, None)
        KINDS["end"](state, entry, data)

    def _grown(self, change: Change) -> Change:
        def after_all(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
            self.grow_up()
            change(state, entry, data)

        return after_all
