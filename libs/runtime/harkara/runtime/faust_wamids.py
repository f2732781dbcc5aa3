"""A table of messages' states that is joined by wamid too, and the table of what waits for its message."""

from __future__ import annotations

from collections import deque
from datetime import datetime

from harkara.contracts.lifecycle import MessageLifecycle, State
from harkara.contracts.wamids import (
    Change,
    Changed,
    Contested,
    Named,
    Waiting,
    Waits,
    decide,
    has_expired,
    names,
)
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_table import ProjectionTable

SWEEP_ROWS = 5_000  # looking at them takes about 20 ms, so events wait no longer; a million rows are seen in 17 minutes


class Round:
    """Goes over the rows of a table, some at a time; once round, it starts again with the rows there are then."""

    def __init__(self, table: ProjectionTable) -> None:
        self._table = table
        self._left: deque[tuple[int, str]] = deque()
        table.after_recovery(lambda owned: self._left.clear())

    def next(self) -> list[tuple[int, str]]:
        """Partition and key of the next 5,000 rows."""
        if not self._left:
            self._left.extend((p, key) for p in self._table.owned for key in self._table.rows(p))
        return [self._left.popleft() for _ in range(min(SWEEP_ROWS, len(self._left)))]


class WamidJoin:
    """Folds lifecycle events into the states, whichever of the two names its message: the message id or the wamid.

    Whose each wamid is, is an index over the states: rebuilt from them, never kept.
    """

    def __init__(self, app: ProjectionApp, states: ProjectionTable, waiting: ProjectionTable) -> None:
        self._app = app
        self._states = states
        self._waiting = waiting
        self._views: dict[int, _PartitionView] = {}
        self._to_sweep = Round(waiting)
        states.after_recovery(self._rebuild)

    @property
    def waiting(self) -> int:
        """How many wamids wait for their message."""
        return sum(len(self._waiting.rows(partition)) for partition in self._waiting.owned)

    def fold(self, partition: int, event: MessageLifecycle, written_at: datetime) -> list[Change]:
        """Write what the event changes, and say it. `written_at` is the record's time."""
        view = self._view(partition)
        changes = decide(view, event, written_at)
        for change in list(changes):
            if isinstance(change, Changed):
                self._states.write(partition, change.message_id, change.state)
                changes += view.name(change.state)
            elif isinstance(change, Waits):
                self._waiting.write(partition, change.wamid, change.row)
        return changes

    def forget(self, partition: int, state: State) -> None:
        """Remove the message, and its wamids with it."""
        self._states.remove(partition, state["message_id"])
        for wamid, _ in names(state):
            self._view(partition).index.pop(wamid, None)

    async def sweep(self, now: datetime) -> int | None:
        """Look at the next waiting rows: remove those that have joined their message, and those that can no longer.

        How many were given up; None where nothing may be removed, since partitions move or a write was refused. A
        joined row goes when the state that contains it is acknowledged.
        """
        seen = self._to_sweep.next()
        joined = {(partition, wamid) for partition, wamid in seen if wamid in self._view(partition).index}
        if not await self._app.confirmed() or not self._app.settled:
            return None
        expired = 0
        for partition, wamid in seen:
            row = self._waiting.read(partition, wamid)
            if row is not None and ((partition, wamid) in joined or has_expired(row, now)):
                self._waiting.remove(partition, wamid)
                expired += (partition, wamid) not in joined
        return expired

    def _view(self, partition: int) -> _PartitionView:
        view = self._views.get(partition)
        if view is None:
            view = self._views[partition] = _PartitionView(self._states, self._waiting, partition)
        return view

    def _rebuild(self, owned: frozenset[int]) -> None:
        self._views.clear()
        for partition in owned:
            for state in self._states.rows(partition).values():
                self._view(partition).index.update(names(state))


class _PartitionView:
    """The join's view of one partition."""

    def __init__(self, states: ProjectionTable, waiting: ProjectionTable, partition: int) -> None:
        self._states = states
        self._waiting = waiting
        self._partition = partition
        self.index: dict[str, Named] = {}

    def state(self, message_id: str) -> State | None:
        return self._states.read(self._partition, message_id)

    def named(self, wamid: str) -> Named | None:
        return self.index.get(wamid)

    def waiting(self, wamid: str) -> Waiting | None:
        return self._waiting.read(self._partition, wamid)

    def waiting_count(self) -> int:
        return len(self._waiting.rows(self._partition))

    def name(self, state: State) -> list[Change]:
        """A wamid belongs to one message: the first that named it keeps it (WHK-8)."""
        contested: list[Change] = []
        for number, attempt in state["attempts"].items():
            wamid = attempt.get("wamid")
            owner = self.index.get(wamid) if wamid is not None else None
            if wamid is not None and owner is None:
                self.index[wamid] = Named(state["message_id"], int(number))
            elif owner is not None and owner.message_id != state["message_id"]:
                contested.append(Contested(wamid))
        return contested
