"""Notices silence: marks messages of which nothing is heard, once each, and shows which numbers are silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiokafka.errors import KafkaError

from harkara.contracts.event import Event
from harkara.contracts.lifecycle import MarkStatus
from harkara.contracts.numbers import NumberState
from harkara.contracts.topics import MESSAGE_LIFECYCLE, WEBHOOK_EVENTS, Topic
from harkara.message_state import metrics
from harkara.message_state.settings import Settings
from harkara.message_state.silence import DROPPED, Mark, explanation, mark, watched
from harkara.message_state.watch import Key, Watch
from harkara.runtime.clock import Clock
from harkara.runtime.faust_table import Row
from harkara.runtime.group_progress import GroupProgress, Offsets
from harkara.runtime.kafka import Output, Writer, open_writer
from harkara.runtime.replica import ReplicaTable

MARKS_AT_ONCE = 5_000  # of a long silence: written in a second, the next ones at the next look
NORMALISER = "ingestion-normaliser"  # the group that makes statuses of webhooks
PATIENCE_SECONDS = 900.0  # for webhooks that wait to be read: as long again as a message is waited for by default

log = structlog.get_logger()


class Numbers:
    """Which numbers may not send now, from number-state."""

    def __init__(self) -> None:
        self._states: dict[str, NumberState] = {}

    def apply(self, topic: Topic, key: str, event: Event | None) -> None:
        """The replica's seam; a number's highest version counts."""
        if isinstance(event, NumberState):
            held = self._states.get(event.phone_number_id)
            if held is None or held.version <= event.version:
                self._states[event.phone_number_id] = event

    def halted(self, phone_number_id: str) -> bool:
        """Whether the number is halted or paused."""
        state = self._states.get(phone_number_id)
        return state is not None and state.verdict in ("halted", "paused")


class States(Protocol):
    """The table of states, as far as the reconciler asks it."""

    watch: Watch

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that this instance speaks for; none while they may move."""
        ...

    def state(self, partition: int, message_id: str) -> Row | None:
        """The message's state as it is now."""
        ...


class Reconciler:
    """Says a mark when everything that had happened by then is folded: what is said is said once, also over a restart,
    since the marks that were written before are folded too. What Meta has told us and our normaliser has not read is no
    silence of Meta's: that is waited for, within a bound."""

    name = "reconciler"

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        group: str,
        numbers: Numbers,
        replica: ReplicaTable,
        states: Callable[[], States | None],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._group = group
        self._numbers = numbers
        self._replica = replica
        self._states = states
        self._patience_seconds = patience_seconds
        self._ends: Offsets | None = None
        self._came: Offsets | None = None
        self._came_when_due = False
        self._came_at = 0.0

    def ready(self) -> str | None:
        """Ready with the projection, which says so itself."""
        return None

    async def run(self) -> None:
        """Look until cancelled; an error of writing ends the process."""
        settings = self._settings
        async with (
            open_writer(settings) as writer,
            GroupProgress.of(settings, {self._group: MESSAGE_LIFECYCLE, NORMALISER: WEBHOOK_EVENTS}) as group,
        ):
            while True:
                await asyncio.sleep(settings.look_seconds)
                await self._look(writer, group)

    async def _look(self, writer: Writer, group: GroupProgress) -> None:
        states = self._states()
        if states is None or not states.owned or not self._replica.fresh():
            self._ends = self._came = None
            return
        silent, due = self._silent(states.watch), bool(states.watch.due(self._clock.now()))
        unread = bool(silent or due) and await self._unread(group, due)
        patient = unread and self._clock.monotonic() - self._came_at < self._patience_seconds
        _show(self._seconds(states.watch), frozenset() if patient else silent)
        if not due:
            self._ends = None
            self._came = self._came if silent else None
            self._came_when_due = False
            return
        if patient or not await self._all_folded(group, states.owned):
            return
        marks = self._marks(states, silent, unread)
        await writer.write([_output(each) for each in marks])
        self._ends = self._came = None
        for each in marks:
            _count(each)

    async def _all_folded(self, group: GroupProgress, owned: frozenset[int]) -> bool:
        """Whether what had happened when something was first due is in the table: a status that only waits to be read
        is no silence, and a mark that was written already need not be written again."""
        try:
            if self._ends is None:
                ends = await group.ends()
                ours = self._settings.kafka.topic(MESSAGE_LIFECYCLE)
                self._ends = {p: end for p, end in ends.items() if p.topic == ours and p.partition in owned}
            return await group.has_read(self._ends)
        except KafkaError as error:
            log.warning("progress_cannot_be_asked", error=type(error).__name__)
            return False

    async def _unread(self, group: GroupProgress, due: bool) -> bool:
        """Whether the normaliser has still to read what had come when silence was first seen, or when a mark was first
        due. Once it has, that holds until the marks are written: there is always something newer on its way."""
        try:
            if self._came is None or (due and not self._came_when_due):
                theirs = self._settings.kafka.topic(WEBHOOK_EVENTS)
                self._came = {p: end for p, end in (await group.ends()).items() if p.topic == theirs}
                self._came_when_due, self._came_at = due, self._clock.monotonic()
            if self._came and await group.has_read(self._came):
                self._came = {}
            return bool(self._came)
        except KafkaError as error:
            log.warning("progress_cannot_be_asked", error=type(error).__name__)
            if self._came is None:
                self._came_at = self._clock.monotonic()  # the patience begins with the first answer
            return True

    def _marks(self, states: States, silent: frozenset[str], unread: bool) -> list[Mark]:
        now, owned = self._clock.now(), states.owned
        waiting = frozenset(states.watch.numbers(now))
        found: list[Mark] = []
        for (partition, message_id), status in states.watch.due(now)[:MARKS_AT_ONCE]:
            if partition in owned:
                found += self._mark(states, (partition, message_id), status, _Around(silent, waiting, unread))
        return found

    def _mark(self, states: States, key: Key, status: MarkStatus, around: _Around) -> list[Mark]:
        state = states.state(*key)
        each = watched(state, states.watch.rules) if state is not None else None
        if state is None or each is None or status not in each.due or each.due[status] > self._clock.now():
            return []
        number = each.phone_number_id
        halted = self._numbers.halted(number)
        code = explanation(number, around.silent, around.waiting, halted, around.unread)
        return [mark(state, each, status, "ttl_passed" if status == DROPPED else code)]

    def _seconds(self, watch: Watch) -> dict[str, float]:
        return watch.numbers(self._clock.now())

    def _silent(self, watch: Watch) -> frozenset[str]:
        return frozenset(n for n, each in self._seconds(watch).items() if each >= 60 * watch.rules.number_minutes)


@dataclass(frozen=True, slots=True)
class _Around:
    """What explains a silence: the silent numbers, those that wait, and whether webhooks wait to be read."""

    silent: frozenset[str]
    waiting: frozenset[str]
    unread: bool


def _show(seconds: dict[str, float], silent: frozenset[str]) -> None:
    metrics.NUMBER_SILENCE.clear()
    metrics.NUMBER_SILENT.clear()
    for number, each in seconds.items():
        metrics.NUMBER_SILENCE.labels(number).set(each)
        metrics.NUMBER_SILENT.labels(number).set(number in silent)


def _count(made: Mark) -> None:
    code = made.event.reason.code if made.event.reason is not None else ""
    metrics.MARKS.labels(made.event.status, code).inc()
    log.info("nothing_heard", mark=made.event.status, cause=code, message_id=made.event.message_id)


def _output(made: Mark) -> Output:
    event = made.event
    return Output(MESSAGE_LIFECYCLE, event.home, event.home, event, made.id, event.at, subject=event.message_id)
