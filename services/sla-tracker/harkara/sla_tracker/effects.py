"""Folds lifecycle events per message, counts per run, publishes the counts, and says when a run ended or is late."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog
from aiokafka.errors import KafkaError

from harkara.contracts.event import Event, event_id
from harkara.contracts.lifecycle import MessageLifecycle, State
from harkara.contracts.partition import partition_for
from harkara.contracts.runs import RunProgress, SendRun, SlaEvent
from harkara.contracts.topics import MESSAGE_LIFECYCLE, RUN_PROGRESS, SEND_RUNS, SLA_EVENTS, Topic
from harkara.contracts.wamids import Changed, Dropped
from harkara.runtime.clock import Clock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_table import ProjectionTable
from harkara.runtime.faust_wamids import Round, WamidJoin
from harkara.runtime.group_progress import GroupProgress, Offsets
from harkara.runtime.kafka import Output, Writer, open_writer
from harkara.runtime.loop import Incoming
from harkara.runtime.replica import ReplicaTable
from harkara.sla_tracker import metrics
from harkara.sla_tracker.core import Share, Tally, due, is_finished, run_of, share_of, tally, totals_of
from harkara.sla_tracker.settings import Settings

SWEEP_SECONDS = 5.0
UNATTRIBUTED_AT_ONCE = 5_000  # removing them takes about 20 ms, so events wait no longer
UNATTRIBUTED_SECONDS = 3600.0  # a hop that was down writes its events long before; then the message has no run
RUNS_IN_METRICS = 50
UNHEARD_SECONDS = 5.0  # counts that were written are read again within one; later they are written anew
RUNS_WATCHED_FOR = timedelta(days=25)  # sla-events keeps 30 days: what was said is known for longer than we ask

log = structlog.get_logger()


class Runs:
    """What is known of all runs, from their compacted topics: accepted, counted, spoken of."""

    TOPICS = (SEND_RUNS, RUN_PROGRESS, SLA_EVENTS)

    def __init__(self) -> None:
        self.runs: dict[str, SendRun] = {}
        self.said: dict[str, frozenset[str]] = {}
        self._parts: dict[str, dict[int, RunProgress]] = {}
        self._last: dict[tuple[str, int], int] = {}

    def apply(self, topic: Topic, key: str, event: Event | None) -> None:
        """The replica's seam; records without value (nobody writes any) change nothing."""
        if isinstance(event, SendRun):
            self.runs[event.run_id] = event
        elif isinstance(event, SlaEvent):
            self.said[event.run_id] = self.said.get(event.run_id, frozenset()) | {event.kind}
        elif isinstance(event, RunProgress):
            self._last[event.run_id, event.partition] = event.version
            parts = self._parts.setdefault(event.run_id, {})
            if event.partition not in parts or parts[event.partition].version < event.version:
                parts[event.partition] = event

    def deadline(self, run_id: str) -> datetime | None:
        """The run's deadline, as far as it is known."""
        run = self.runs.get(run_id)
        return run.deadline if run else None

    def last_version(self, run_id: str, partition: int) -> int:
        """The version of the newest record of that part, which a frozen instance may have written late."""
        return self._last.get((run_id, partition), 0)

    def parts(self, run_id: str) -> list[RunProgress]:
        """The newest counts per partition."""
        return list(self._parts.get(run_id, {}).values())


class Projection:
    """The messages of runs, in the table of one Faust app, and their counts per (run, partition)."""

    def __init__(self, app: ProjectionApp, settings: Settings, clock: Clock, runs: Runs) -> None:
        self._app = app
        self._clock = clock
        self._runs = runs
        self._keep = timedelta(days=settings.forget_after_days)
        self._messages: ProjectionTable = app.projection_table("run-messages")
        self._tallies: dict[tuple[str, int], Tally] = {}
        self._unattributed: dict[tuple[int, str], float] = {}
        self._join = WamidJoin(app, self._messages, app.projection_table("waiting-statuses"))
        self._to_sweep = Round(self._messages)
        self._messages.after_recovery(self._recount)
        app.fold(MESSAGE_LIFECYCLE, self.take)
        app.timer(SWEEP_SECONDS)(self.sweep)
        metrics.UNATTRIBUTED.set_function(lambda: len(self._unattributed))
        metrics.WAITING.set_function(lambda: self._join.waiting)

    @property
    def owned(self) -> frozenset[int]:
        """The partitions whose counts this instance publishes; none while they may move."""
        return self._messages.owned if self._app.settled else frozenset()

    def take(self, incoming: Incoming) -> None:
        """Fold one event."""
        event = incoming.envelope.event
        assert isinstance(event, MessageLifecycle)  # the topic has no other kind
        partition = incoming.partition
        if self._begins_without_run(partition, event):
            return
        for change in self._join.fold(partition, event, incoming.timestamp):
            match change:
                case Changed(message_id, before, state, joined):
                    self._count(partition, message_id, before, state)
                    metrics.JOINED_BY_WAMID.inc(joined)
                case Dropped(cause):
                    metrics.UNCOUNTED.labels(cause).inc()

    def _begins_without_run(self, partition: int, event: MessageLifecycle) -> bool:
        """Whether it is the first event of a message that belongs to no run."""
        if event.status != "received" or event.run_id is not None or event.message_id is None:
            return False
        return self._messages.read(partition, event.message_id) is None

    def _count(self, partition: int, key: str, before: State | None, state: State) -> None:
        run_id = run_of(state)
        if run_id is None:
            self._unattributed.setdefault((partition, key), self._clock.monotonic())
            return
        self._unattributed.pop((partition, key), None)
        counted = self._tally(run_id, partition)
        if before is not None and run_of(before) == run_id:
            counted.add(self._share(before, counted), -1)
        counted.add(self._share(state, counted))

    @staticmethod
    def _share(state: State, counted: Tally) -> Share:
        return share_of(state, counted.deadline)

    def _tally(self, run_id: str, partition: int) -> Tally:
        found = self._tallies.get((run_id, partition))
        if found is None:
            found = self._tallies[run_id, partition] = Tally(self._runs.deadline(run_id))
        return found

    def _recount(self, owned: frozenset[int]) -> None:
        """Every count anew from the recovered rows."""
        self._tallies.clear()
        self._unattributed.clear()
        for partition in owned:
            for key, state in self._messages.rows(partition).items():
                self._count(partition, key, None, state)

    def progress(self, now: datetime) -> list[RunProgress]:
        """The counts that are newer than what is published."""
        owned = self.owned
        found = []
        for (run_id, partition), counted in list(self._tallies.items()):
            if partition in owned:
                current = self._with_deadline(run_id, partition, counted)
                if current.version > self._runs.last_version(run_id, partition):
                    found.append(_progress(run_id, partition, current, now))
        return found

    def _with_deadline(self, run_id: str, partition: int, counted: Tally) -> Tally:
        """A run may become known after its first messages: then who was on time is counted again."""
        deadline = self._runs.deadline(run_id)
        if deadline == counted.deadline:
            return counted
        states = [state for state in self._messages.rows(partition).values() if run_of(state) == run_id]
        self._tallies[run_id, partition] = tally(states, deadline)
        return self._tallies[run_id, partition]

    async def sweep(self) -> None:
        """Look at the next rows and remove what is past, and what has turned out to belong to no run."""
        if not self._app.settled:
            return
        now, monotonic = self._clock.now(), self._clock.monotonic()
        expired = await self._join.sweep(now)
        if expired is None:
            return
        metrics.UNCOUNTED.labels("expired").inc(expired)
        for (partition, key), since in list(self._unattributed.items())[:UNATTRIBUTED_AT_ONCE]:
            if monotonic - since < UNATTRIBUTED_SECONDS:
                break  # they are in order of age
            self._forget(partition, key)
        for partition, key in self._to_sweep.next():
            state = self._messages.read(partition, key)
            if state is not None and _newest(state) < now - self._keep:
                self._forget(partition, key)

    def _forget(self, partition: int, key: str) -> None:
        """The published counts stay: a smaller version is never published."""
        self._unattributed.pop((partition, key), None)
        state = self._messages.read(partition, key)
        if state is not None:
            self._join.forget(partition, state)
            self._tallies.pop((run_of(state) or "", partition), None)


class Reporter:
    """Publishes the counts, and speaks about the runs whose partition this instance owns."""

    name = "reporter"

    def __init__(self, settings: Settings, clock: Clock, runs: Runs, replica: ReplicaTable, group: str) -> None:
        self._settings = settings
        self._group = group
        self._clock = clock
        self._runs = runs
        self._replica = replica
        self._settle = timedelta(seconds=settings.settle_seconds)
        self._ends: Offsets | None = None  # of the lifecycle, when something was first due
        self._read_at: float | None = None
        self._unheard: dict[tuple[str, int], tuple[int, float]] = {}  # versions written, and when (monotonic)
        self.projection: Projection | None = None

    def ready(self) -> str | None:
        """Ready with the projection and the replica, which say so themselves."""
        return None

    async def run(self) -> None:
        """Report until cancelled; an error of writing ends the process."""
        settings = self._settings
        async with (
            open_writer(settings) as writer,
            GroupProgress.of(settings, {self._group: MESSAGE_LIFECYCLE}) as group,
        ):
            while True:
                await asyncio.sleep(settings.publish_seconds)
                await self._report(writer, group)

    async def _report(self, writer: Writer, group: GroupProgress) -> None:
        if self.projection is None or not self._replica.fresh():
            return  # what has been published and said is not known: wait
        now = self._clock.now()
        self._hear()
        progress = [each for each in self.projection.progress(now) if not self._is_unheard(each)]
        await writer.write([_progress_output(each) for each in progress])
        for each in progress:
            self._unheard[each.run_id, each.partition] = each.version, self._clock.monotonic()
        if not self._unheard:  # otherwise the sums are about to change: next time
            await self._speak(writer, group, now)
        self._show(now)

    def _hear(self) -> None:
        """Forget what the replica has read by now, or should have long ago: that is written again."""
        oldest = self._clock.monotonic() - UNHEARD_SECONDS
        for part, (version, written_at) in list(self._unheard.items()):
            if self._runs.last_version(*part) >= version or written_at < oldest:
                del self._unheard[part]

    def _is_unheard(self, progress: RunProgress) -> bool:
        """Whether just this was written, and is on its way back."""
        version, _ = self._unheard.get((progress.run_id, progress.partition), (0, 0.0))
        return version == progress.version

    async def _speak(self, writer: Writer, group: GroupProgress, now: datetime) -> None:
        owned = self.projection.owned if self.projection is not None else frozenset()
        if not self._due(owned, now):
            self._ends = None
            return
        if not await self._all_counted(group):
            return
        said = self._due(owned, now)
        await writer.write([_sla_output(each) for each in said])
        for event in said:
            self._runs.apply(SLA_EVENTS, event.run_id, event)
            metrics.EVENTS.labels(event.kind).inc()

    async def _all_counted(self, group: GroupProgress) -> bool:
        """Whether what had happened when something was first due is in the published counts, every instance's.

        An instance commits what it has folded and publishes it within `publish_seconds`; so twice that later it is
        known here too, unless the sums are on the move. What is said is said once, so it waits for who is behind.
        """
        monotonic = self._clock.monotonic()
        try:
            if self._ends is None:
                self._ends, self._read_at = await group.ends(), None
            if self._read_at is None and await group.has_read(self._ends):
                self._read_at = self._clock.monotonic()
        except KafkaError as error:
            log.warning("progress_cannot_be_asked", error=type(error).__name__)
            return False
        return self._read_at is not None and monotonic - self._read_at >= 2 * self._settings.publish_seconds

    def _due(self, owned: frozenset[int], now: datetime) -> list[SlaEvent]:
        found: list[SlaEvent] = []
        for run in list(self._runs.runs.values()):
            said = self._runs.said.get(run.run_id, frozenset())
            if is_finished(run, said) or max(run.created_at, run.deadline or run.created_at) < now - RUNS_WATCHED_FOR:
                continue
            if partition_for(run.run_id, self._settings.partitions) in owned:
                totals = totals_of(part.counts for part in self._runs.parts(run.run_id))
                found += due(run, totals, said, now, self._settle)
        return found

    def _show(self, now: datetime) -> None:
        newest = sorted(self._runs.runs.values(), key=lambda run: run.created_at)[-RUNS_IN_METRICS:]
        gauges = (
            metrics.EXPECTED, metrics.DELIVERED, metrics.ON_TIME, metrics.ENDED, metrics.ON_TIME_RATIO,
            metrics.LEFT_SECONDS,
        )  # fmt: skip
        for gauge in gauges:
            gauge.clear()
        for run in newest:
            totals = totals_of(part.counts for part in self._runs.parts(run.run_id))
            metrics.EXPECTED.labels(run.run_id).set(run.expected)
            metrics.DELIVERED.labels(run.run_id).set(totals.delivered)
            metrics.ON_TIME.labels(run.run_id).set(totals.on_time)
            metrics.ENDED.labels(run.run_id).set(totals.ended)
            metrics.ON_TIME_RATIO.labels(run.run_id).set(totals.percent_on_time(run.expected) / 100)
            if run.deadline is not None:
                metrics.LEFT_SECONDS.labels(run.run_id).set((run.deadline - now).total_seconds())


def _progress(run_id: str, partition: int, counted: Tally, now: datetime) -> RunProgress:
    return RunProgress(
        run_id=run_id, partition=partition, version=counted.version, counts=counted.counts(), updated_at=now
    )


def _progress_output(progress: RunProgress) -> Output:
    identity = event_id(progress.run_id, progress.partition, progress.version)
    key = f"{progress.run_id}|{progress.partition}"
    return Output(RUN_PROGRESS, progress.run_id, key, progress, identity, progress.updated_at)


def _sla_output(event: SlaEvent) -> Output:
    return Output(SLA_EVENTS, event.run_id, event.run_id, event, event_id(event.run_id, event.kind), event.at)


def _newest(state: State) -> datetime:
    return max(datetime.fromisoformat(at) for at in state["first_seen"].values())
