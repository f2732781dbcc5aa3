"""Folds lifecycle events into the published states and forgets what is past; what happens on the way is counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from harkara.contracts.lifecycle import MessageLifecycle, State
from harkara.contracts.topics import MESSAGE_LIFECYCLE, MESSAGE_STATE
from harkara.contracts.wamids import Change, Changed, Contested, Dropped
from harkara.message_state import metrics
from harkara.message_state.core import is_past
from harkara.message_state.settings import Settings
from harkara.message_state.watch import Watch
from harkara.policy.sections import Silence
from harkara.runtime.clock import Clock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_wamids import Round, WamidJoin
from harkara.runtime.loop import Incoming

SWEEP_SECONDS = 5.0


class Projection:
    """Folds lifecycle events into the tables of one Faust app, and forgets what is past."""

    def __init__(self, app: ProjectionApp, settings: Settings, clock: Clock, rules: Silence | None = None) -> None:
        self._app = app
        self._clock = clock
        self._keep = timedelta(days=settings.forget_after_days)
        self._states = app.projection_table("message-state", MESSAGE_STATE)
        self._join = WamidJoin(app, self._states, app.projection_table("waiting-statuses"))
        self._to_sweep = Round(self._states)
        self.watch = Watch(rules or Silence())
        self._states.after_recovery(lambda owned: self.watch.rebuild(self._rows(owned)))
        app.fold(MESSAGE_LIFECYCLE, self.take)
        app.timer(SWEEP_SECONDS)(self.sweep)
        metrics.WAITING.set_function(lambda: self._join.waiting)

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
        for change in self._join.fold(incoming.partition, event, incoming.timestamp):
            self._note(incoming.partition, change)

    def _note(self, partition: int, change: Change) -> None:
        match change:
            case Changed(_, before, state, joined):
                self.watch.note(partition, before, state)
                metrics.JOINED_BY_WAMID.inc(joined)
                count_once(before, state)
            case Contested():
                metrics.ANOMALIES.labels("wamid_of_another_message").inc()
            case Dropped("full"):
                metrics.WAITING_DROPPED.labels("full").inc()
            case Dropped():
                metrics.UNNAMED.inc()

    async def sweep(self) -> None:
        """Look at the next rows: remove the states that are past, and what need not or can no longer wait."""
        if not self._app.settled:
            return
        now = self._clock.now()
        expired = await self._join.sweep(now)
        if expired is None:
            return
        metrics.WAITING_DROPPED.labels("expired").inc(expired)
        for partition, message_id in self._to_sweep.next():
            state = self._states.read(partition, message_id)
            if state is not None and is_past(state, now - self._keep):
                self._join.forget(partition, state)
                self.watch.forget(partition, message_id)
                metrics.FORGOTTEN.inc()

    def _rows(self, owned: frozenset[int]) -> Iterator[tuple[int, State]]:
        for partition in owned:
            for state in self._states.rows(partition).values():
                yield partition, state


def count_once(before: State | None, state: State) -> None:
    """Count what this change made of the state for the first time: a duplicate, what Meta charged, what is odd."""
    if state["duplicate"] and not (before and before["duplicate"]):
        metrics.DUPLICATES.inc()
    for wamid in state["billing"].keys() - (before or {}).get("billing", {}).keys():
        charge = state["billing"][wamid]
        metrics.BILLED.labels(charge.get("category") or "unstated", charge.get("type") or "unstated").inc()
    for kind in set(state["anomalies"]) - set(before["anomalies"] if before else ()):
        metrics.ANOMALIES.labels(kind).inc()
