"""Performs the core's changes on the two tables: `message-state`, which is published, and what waits under a wamid."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import timedelta

from harkara.contracts.lifecycle import MessageLifecycle, State
from harkara.contracts.topics import MESSAGE_LIFECYCLE, MESSAGE_STATE
from harkara.message_state import metrics
from harkara.message_state.core import (
    Change,
    Changed,
    Dropped,
    Named,
    Waiting,
    Waits,
    decide,
    has_expired,
    is_past,
    names,
)
from harkara.message_state.settings import Settings
from harkara.message_state.watch import Watch
from harkara.policy.sections import Silence
from harkara.runtime.clock import Clock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_table import ProjectionTable
from harkara.runtime.loop import Incoming

SWEEP_SECONDS = 5.0
SWEEP_ROWS = 5_000  # a tick takes about 20 ms, so events wait no longer; a million rows are seen in 17 minutes


class Projection:
    """Folds lifecycle events into the tables of one Faust app, and forgets what is past."""

    def __init__(self, app: ProjectionApp, settings: Settings, clock: Clock, rules: Silence | None = None) -> None:
        self._app = app
        self._clock = clock
        self._keep = timedelta(days=settings.forget_after_days)
        self._states = app.projection_table("message-state", MESSAGE_STATE)
        self._waiting = app.projection_table("waiting-statuses")
        self._index: dict[int, dict[str, Named]] = {}
        self.watch = Watch(rules or Silence())
        self._states_to_sweep: deque[tuple[int, str]] = deque()
        self._waiting_to_sweep: deque[tuple[int, str]] = deque()
        self._states.after_recovery(self._rebuild_index)
        app.fold(MESSAGE_LIFECYCLE, self.take)
        app.timer(SWEEP_SECONDS)(self.sweep)
        metrics.WAITING.set_function(lambda: sum(len(self._waiting.rows(p)) for p in self._waiting.owned))

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that this instance speaks for; none while they may move."""
        return self._states.owned if self._app.settled else frozenset()

    def state(self, partition: int, message_id: str) -> State | None:
        """The message's state as it is now."""
        return self._states.read(partition, message_id)

    def find(self, message_id: str) -> State | None:
        """The state of a message whose partition is not known, where it is owned here."""
        found = (self._states.read(partition, message_id) for partition in self.owned)
        return next((state for state in found if state is not None), None)

    def take(self, incoming: Incoming) -> None:
        """Fold one event."""
        event = incoming.envelope.event
        assert isinstance(event, MessageLifecycle)  # the topic has no other kind
        self.watch.hear(event, incoming.timestamp)
        view = _PartitionView(self._states, self._waiting, self._index.setdefault(incoming.partition, {}), incoming)
        for change in decide(view, event, incoming.timestamp):
            self._perform(incoming.partition, change)

    def _perform(self, partition: int, change: Change) -> None:
        match change:
            case Changed(message_id, before, state, joined):
                self._states.write(partition, message_id, state)
                self._name(partition, state)
                self.watch.note(partition, before, state)
                metrics.JOINED_BY_WAMID.inc(joined)
                _count_oddities(before, state)
            case Waits(wamid, row):
                self._waiting.write(partition, wamid, row)
            case Dropped("full"):
                metrics.WAITING_DROPPED.labels("full").inc()
            case Dropped():
                metrics.UNNAMED.inc()

    def _name(self, partition: int, state: State) -> None:
        """A wamid belongs to one message: the first that named it keeps it (WHK-8)."""
        index = self._index.setdefault(partition, {})
        for number, attempt in state["attempts"].items():
            wamid = attempt.get("wamid")
            owner = index.get(wamid) if wamid is not None else None
            if wamid is not None and owner is None:
                index[wamid] = Named(state["message_id"], int(number))
            elif owner is not None and owner.message_id != state["message_id"]:
                metrics.ANOMALIES.labels("wamid_of_another_message").inc()

    async def sweep(self) -> None:
        """Look at the next rows: remove the states that are past, and what need not or can no longer wait."""
        if not self._app.settled:
            return
        seen = _next(self._waiting_to_sweep, self._waiting)
        joined = {(partition, wamid) for partition, wamid in seen if wamid in self._index.get(partition, {})}
        if not await self._app.confirmed() or not self._app.settled:
            return  # the states that contain what waited are not acknowledged, or the partitions are moving
        now = self._clock.now()
        for partition, wamid in seen:
            row = self._waiting.read(partition, wamid)
            if row is not None and ((partition, wamid) in joined or has_expired(row, now)):
                self._waiting.remove(partition, wamid)
                metrics.WAITING_DROPPED.labels("expired").inc((partition, wamid) not in joined)
        for partition, message_id in _next(self._states_to_sweep, self._states):
            state = self._states.read(partition, message_id)
            if state is not None and is_past(state, now - self._keep):
                self._forget(partition, message_id, state)

    def _forget(self, partition: int, message_id: str, state: State) -> None:
        self._states.remove(partition, message_id)
        self.watch.forget(partition, message_id)
        for wamid, _ in names(state):
            self._index.get(partition, {}).pop(wamid, None)
        metrics.FORGOTTEN.inc()

    def _rebuild_index(self, owned: frozenset[int]) -> None:
        self._states_to_sweep.clear()
        self._waiting_to_sweep.clear()
        self._index = {
            partition: {wamid: name for state in self._states.rows(partition).values() for wamid, name in names(state)}
            for partition in owned
        }
        self.watch.rebuild(self._rows(owned))

    def _rows(self, owned: frozenset[int]) -> Iterator[tuple[int, State]]:
        for partition in owned:
            for state in self._states.rows(partition).values():
                yield partition, state


def _next(cursor: deque[tuple[int, str]], table: ProjectionTable) -> list[tuple[int, str]]:
    """The next rows to look at; once round, the cursor starts again with the rows there are then."""
    if not cursor:
        cursor.extend((partition, key) for partition in table.owned for key in table.rows(partition))
    return [cursor.popleft() for _ in range(min(SWEEP_ROWS, len(cursor)))]


class _PartitionView:
    """The core's view of one event's partition."""

    def __init__(
        self, states: ProjectionTable, waiting: ProjectionTable, index: dict[str, Named], incoming: Incoming
    ) -> None:
        self._states = states
        self._waiting = waiting
        self._index = index
        self._partition = incoming.partition

    def state(self, message_id: str) -> State | None:
        return self._states.read(self._partition, message_id)

    def named(self, wamid: str) -> Named | None:
        return self._index.get(wamid)

    def waiting(self, wamid: str) -> Waiting | None:
        return self._waiting.read(self._partition, wamid)

    def waiting_count(self) -> int:
        return len(self._waiting.rows(self._partition))


def _count_oddities(before: State | None, state: State) -> None:
    if state["duplicate"] and not (before and before["duplicate"]):
        metrics.DUPLICATES.inc()
    for wamid in state["billing"].keys() - (before or {}).get("billing", {}).keys():
        charge = state["billing"][wamid]
        metrics.BILLED.labels(charge.get("category") or "unstated", charge.get("type") or "unstated").inc()
    for kind in set(state["anomalies"]) - set(before["anomalies"] if before else ()):
        metrics.ANOMALIES.labels(kind).inc()
