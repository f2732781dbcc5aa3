"""The messages of which more is expected, in the order in which they become due; and which numbers are silent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from harkara.contracts.lifecycle import MarkStatus, MessageLifecycle, State
from harkara.message_state.silence import DROPPED, SILENT, TOLD_BY_META, Watched, silent_for, watched
from harkara.policy.sections import Silence

LOOKED_AT = 10_000  # of the messages without a status, the oldest: each silent number has some among them

Key = tuple[int, str]
"""Partition and message id."""


class Watch:
    """An index over the table of states; rebuilt from it, never kept.

    A queue per mark and time to live holds its messages in the order of their intake, which is about that of their due
    times; only the first 10,000 are looked at (2 ms), and what stands behind them comes when they have gone.
    """

    def __init__(self, rules: Silence) -> None:
        self.rules = rules
        self._queues: dict[str, dict[Key, float]] = {SILENT: {}}
        self._since: dict[Key, tuple[str, datetime]] = {}
        self._heard: dict[str, float] = {}

    def hear(self, event: MessageLifecycle, arrived: datetime) -> None:
        """An event came; a status of Meta's says that its number is heard of."""
        if event.phone_number_id is not None and event.status in TOLD_BY_META:
            at = arrived.timestamp()
            if at > self._heard.get(event.phone_number_id, 0.0):
                self._heard[event.phone_number_id] = at

    def note(self, partition: int, before: State | None, state: State) -> None:
        """A message's state is this now."""
        if state["status"] not in ("submitted", "sent") and (before is None or before["status"] not in _OPEN):
            return  # by far most events
        self._drop((partition, state["message_id"]))
        found = watched(state, self.rules)
        if found is not None:
            self._enter((partition, state["message_id"]), found, state)

    def forget(self, partition: int, message_id: str) -> None:
        """The message is in the table no more."""
        self._drop((partition, message_id))

    def rebuild(self, rows: Iterator[tuple[int, State]]) -> None:
        """From the whole table: who is due first, and when each number was last heard of, by Meta's own times."""
        self._queues = {SILENT: {}}
        self._since.clear()
        open_states = ((partition, state, watched(state, self.rules)) for partition, state in self._reading(rows))
        found = [(min(each.due.values()), partition, state, each) for partition, state, each in open_states if each]
        for _, partition, state, each in sorted(found, key=lambda row: row[0]):
            self._enter((partition, state["message_id"]), each, state)

    def _reading(self, rows: Iterator[tuple[int, State]]) -> Iterator[tuple[int, State]]:
        for partition, state in rows:
            for entry in state["attempts"].values():
                number, told = entry.get("phone_number_id"), TOLD_BY_META & entry["seen"].keys()
                if number is not None and told:
                    newest = max(datetime.fromisoformat(entry["seen"][each]).timestamp() for each in told)
                    self._heard[number] = max(newest, self._heard.get(number, 0.0))
            if state["status"] in _OPEN:
                yield partition, state

    def due(self, now: datetime) -> list[tuple[Key, MarkStatus]]:
        """Whose time has come, at most 10,000 of each queue; the caller looks at the state again before it says so."""
        at, found = now.timestamp(), list[tuple[Key, MarkStatus]]()
        for name, queue in self._queues.items():
            mark = SILENT if name == SILENT else DROPPED
            found += [(key, mark) for key, due in _first(queue) if due <= at]
        return found

    def numbers(self, now: datetime) -> dict[str, float]:
        """Seconds of silence of each number of which some message waits for its first status."""
        oldest: dict[str, datetime] = {}
        for key, _ in _first(self._queues[SILENT]):
            number, since = self._since[key]
            oldest.setdefault(number, since)
        return {number: silent_for(since, self._heard_at(number), now) for number, since in oldest.items()}

    def _heard_at(self, number: str) -> datetime | None:
        at = self._heard.get(number)
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def _enter(self, key: Key, found: Watched, state: State) -> None:
        for status, at in found.due.items():
            name = status if status == SILENT else f"{status} {state['facts'].get('category')}"
            self._queues.setdefault(name, {})[key] = at.timestamp()
        if SILENT in found.due:
            self._since[key] = (found.phone_number_id, found.since)

    def _drop(self, key: Key) -> None:
        self._since.pop(key, None)
        for queue in self._queues.values():
            queue.pop(key, None)


_OPEN = ("submitted", "sent")


def _first(queue: dict[Key, float]) -> Iterator[tuple[Key, float]]:
    for number, item in enumerate(queue.items()):
        if number >= LOOKED_AT:
            return
        yield item
