"""Notices silence: marks messages of which nothing is heard, once each, and shows which numbers are silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from aiokafka.errors import KafkaError

from harkara.contracts.event import Event
from harkara.contracts.lifecycle import MarkStatus
from harkara.contracts.numbers import NumberState
from harkara.contracts.topics import MESSAGE_LIFECYCLE, Topic
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
    since the marks that were written before are folded too."""

    name = "reconciler"

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        group: str,
        numbers: Numbers,
        replica: ReplicaTable,
        states: Callable[[], States | None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._group = group
        self._numbers = numbers
        self._replica = replica
        self._states = states
        self._ends: Offsets | None = None

    def ready(self) -> str | None:
        """Ready with the projection, which says so itself."""
        return None

    async def run(self) -> None:
        """Look until cancelled; an error of writing ends the process."""
        settings = self._settings
        async with (
            open_writer(settings) as writer,
            GroupProgress.of(settings, {self._group: MESSAGE_LIFECYCLE}) as group,
        ):
            while True:
                await asyncio.sleep(settings.look_seconds)
                await self._look(writer, group)

    async def _look(self, writer: Writer, group: GroupProgress) -> None:
        states = self._states()
        if states is None or not states.owned or not self._replica.fresh():
            self._ends = None
            return
        silent = self._show(states.watch)
        if not states.watch.due(self._clock.now()):
            self._ends = None
            return
        if not await self._all_folded(group, states.owned):
            return
        marks = self._marks(states, silent)
        await writer.write([_output(each) for each in marks])
        self._ends = None
        for each in marks:
            _count(each)

    async def _all_folded(self, group: GroupProgress, owned: frozenset[int]) -> bool:
        """Whether what had happened when something was first due is in the table: a status that only waits to be read
        is no silence, and a mark that was written already need not be written again."""
        try:
            if self._ends is None:
                ends = await group.ends()
                self._ends = {each: end for each, end in ends.items() if each.partition in owned}
            return await group.has_read(self._ends)
        except KafkaError as error:
            log.warning("progress_cannot_be_asked", error=type(error).__name__)
            return False

    def _marks(self, states: States, silent: frozenset[str]) -> list[Mark]:
        now, owned = self._clock.now(), states.owned
        waiting = frozenset(states.watch.numbers(now))
        found: list[Mark] = []
        for (partition, message_id), status in states.watch.due(now)[:MARKS_AT_ONCE]:
            if partition in owned:
                found += self._mark(states, (partition, message_id), status, silent, waiting)
        return found

    def _mark(
        self, states: States, key: Key, status: MarkStatus, silent: frozenset[str], waiting: frozenset[str]
    ) -> list[Mark]:
        state = states.state(*key)
        each = watched(state, states.watch.rules) if state is not None else None
        if state is None or each is None or status not in each.due or each.due[status] > self._clock.now():
            return []
        number = each.phone_number_id
        halted = self._numbers.halted(number)
        code = "ttl_passed" if status == DROPPED else explanation(number, silent, waiting, halted)
        return [mark(state, each, status, code)]

    def _show(self, watch: Watch) -> frozenset[str]:
        """The silent numbers, which are on the metrics too."""
        seconds = watch.numbers(self._clock.now())
        silent = frozenset(n for n, each in seconds.items() if each >= 60 * watch.rules.number_minutes)
        metrics.NUMBER_SILENCE.clear()
        metrics.NUMBER_SILENT.clear()
        for number, each in seconds.items():
            metrics.NUMBER_SILENCE.labels(number).set(each)
            metrics.NUMBER_SILENT.labels(number).set(number in silent)
        return silent


def _count(made: Mark) -> None:
    code = made.event.reason.code if made.event.reason is not None else ""
    metrics.MARKS.labels(made.event.status, code).inc()
    log.info("nothing_heard", mark=made.event.status, cause=code, message_id=made.event.message_id)


def _output(made: Mark) -> Output:
    event = made.event
    return Output(MESSAGE_LIFECYCLE, event.home, event.home, event, made.id, event.at, subject=event.message_id)
