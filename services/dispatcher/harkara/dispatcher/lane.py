"""One lane at work: rounds of decide, commit, call, emit. The only place where the core meets Kafka and Meta.

A round decides on everything that has arrived, commits the entries in one transaction, now and then with the intake
offsets (ADR 22), and only then starts the calls and writes the events that the entries imply. What arrives during a
commit is decided upon meanwhile, and rides in the next one: so a round is hardly longer than its commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka import Message as Record

from harkara.contracts.topics import MESSAGE_LIFECYCLE, QUEUE_STATE
from harkara.dispatcher import metrics
from harkara.dispatcher.barred import Bar, Barred
from harkara.dispatcher.breath import Breath
from harkara.dispatcher.calls import Calls
from harkara.dispatcher.core import ROUND, place_waiting, recover, start_calls, tick
from harkara.dispatcher.doubt import reads_old
from harkara.dispatcher.garbage import RECOVERIES
from harkara.dispatcher.hearing import HEARD_EVERY_SECONDS, Hearing
from harkara.dispatcher.inbound import hear
from harkara.dispatcher.inbox import HEARD, INPUTS, Inbox
from harkara.dispatcher.journal import EMITTED
from harkara.dispatcher.lane_clock import LaneClock, set_time
from harkara.dispatcher.lane_log import Broken, Fenced, LaneLog
from harkara.dispatcher.leaving import LEAVE_MARGIN_SECONDS
from harkara.dispatcher.limits import repace
from harkara.dispatcher.observe import count_entries, queue_states, show_again, show_lines
from harkara.dispatcher.outbox import Outbox
from harkara.dispatcher.plan import Surroundings, last_gate, number_obstacle
from harkara.dispatcher.projection import Emission
from harkara.dispatcher.replay import replay
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.spending import asks_of
from harkara.dispatcher.state import LaneState, Message
from harkara.dispatcher.wakeup import next_wake
from harkara.dispatcher.workshop import Workshop

LAZY_COMMIT_SECONDS = 1.0  # offsets and emitted marks alone: a repeat of them is harmless, a transaction is not free
OFFSETS_RIDE_SECONDS = 0.25
"""Offsets wait that long before they ride with entries: they take a third of a commit, and what is read again after
a crash is known by its id (ADR 22)."""

log = structlog.get_logger()


class LaneRefused(Exception):
    """The lane has a journal and no committed offset: going on could send what was sent. An operator must look."""


class Lane:
    """One partition. `take` must come first; then `work` until it leaves, is fenced, or breaks."""

    def __init__(self, partition: int, shop: Workshop) -> None:
        self.partition = partition
        self._shop = shop
        self._clock, self._log = LaneClock(shop.clock), LaneLog(shop.settings, partition)
        self.inbox = Inbox(shop.settings.kafka, partition, shop.settings.partitions)
        self.state = LaneState()
        self._heard = {shop.settings.kafka.topic(topic) for topic in HEARD}
        self._revision = -1  # no limits of this state are known to be the newest
        self.calls = Calls(
            shop.senders, shop.clock, shop.failpoints, self._gate, self.wake, shop.token_lost, shop.barred, self._began
        )
        self._barred = Barred()
        self._hearing = Hearing(self.calls, self.inbox, self._barred, shop.around, Scribe(self.state, self._now()))
        self._changed: set[tuple[Callable[[Scribe, Surroundings, str], None], str]] = set()
        self._awake = asyncio.Event()
        self._leaving = self._abandoned = False
        self._breath = Breath(shop.clock)
        self._outbox = Outbox(shop.emitter, self._breath)
        self._lazy_since: float | None = None
        self._round_at = 0.0

    def wake(self) -> None:
        """Something has arrived: a round is wanted."""
        self._awake.set()

    def receive(self, records: list[Record]) -> set[str]:
        """Records of this lane, in the order of their offsets; the topics whose fetching must wait. What people wrote
        is counted at once and wakes nobody."""
        heard = [record for record in records if record.topic() in self._heard]
        hear(self.state, self._shop.around, heard, self._now())
        if len(heard) < len(records):
            self.inbox.put(record for record in records if record.topic() not in self._heard)
            self.wake()
        return self.inbox.fill()

    def changed(self, take: Callable[[Scribe, Surroundings, str], None], name: str) -> None:
        """The state or the token of a number, or what is known of a template, is another one; `take` is the core's."""
        self._changed.add((take, name))
        self.wake()

    def bar(self, number: str, bar: Bar) -> None:
        """Meta refused what this number shares, or the number itself: from now on it starts no call. The next round
        writes it down."""
        self._barred.add(number, bar)
        self.wake()

    def leave(self) -> None:
        """Start nothing more; `work` returns when the calls under way have ended and everything is committed."""
        self._leaving = True
        self.wake()

    @property
    def leaving(self) -> bool:
        """Whether it was told to leave, or is another's already."""
        return self._leaving

    async def take(self) -> dict[str, int]:
        """Become the owner; the offsets from which the inputs are to be read. Raises Broken, LaneRefused."""
        self._leaving = False
        self.inbox.clear()
        await self._outbox.stop()
        loop = asyncio.get_running_loop()
        began = self._shop.clock.monotonic()
        offsets, first, scribe = await loop.run_in_executor(self._shop.threads, self._take_over)
        self._hearing.start(scribe)
        if scribe.entries or first:
            self.inbox.next_offsets = {name: at for name, at in offsets.items() if name not in self._heard}
            await self._commit(self.inbox.offsets())
        await self._outbox.write_pending(scribe.entries)
        seconds = round(self._shop.clock.monotonic() - began, 3)
        live, seq = len(self.state.messages), self.state.seq
        log.info("lane_taken", partition=self.partition, messages=live, seq=seq, first=first, seconds=seconds)
        return offsets

    def _take_over(self) -> tuple[dict[str, int], bool, Scribe]:
        """Fence, read the journal, then the offsets: in this order. Whether it is the lane's first time, and what the
        recovery decides. In a thread: a million entries take seconds, in which other lanes go on."""
        if self._abandoned:
            raise Broken("abandoned")
        self._log.open()
        with RECOVERIES.one():
            self.state = self._rebuilt()
            self._clock.look()  # a step before now is not known from time that nobody owned the lane
            journaled, scribe = self.state.seq > 0, Scribe(self.state, self._now())
            recover(scribe, self._shop.around)
        return *self._start_offsets(journaled=journaled), scribe

    def _rebuilt(self) -> LaneState:
        """The state as the journal has it; sets what has not been emitted."""
        state = LaneState(limits={n: facts.limits for n, facts in self._shop.around.fleet.items()})
        mark = self._log.emitted()
        pending = replay(state, self._log.glances(), after=mark)
        self._outbox.take_over((entry for entry in pending if entry.seq > state.emitted), state.emitted)
        self._revision = -1
        return state

    def _start_offsets(self, *, journaled: bool) -> tuple[dict[str, int], bool]:
        consumer, kafka = self._shop.offsets, self._shop.settings.kafka
        inputs = [TopicPartition(kafka.topic(topic), self.partition) for topic in INPUTS]
        try:
            found = {each.topic: each.offset for each in consumer.committed(inputs, timeout=10.0)}
            marks = {each.topic: consumer.get_watermark_offsets(each, timeout=10.0) for each in inputs}
            heard = [TopicPartition(kafka.topic(topic), self.partition) for topic in HEARD]
            ends = {each.topic: consumer.get_watermark_offsets(each, timeout=10.0)[1] for each in heard}
        except KafkaException as error:
            raise Broken(f"the committed offsets cannot be had: {error.args[0].name()}") from error
        missing = [name for name, offset in found.items() if offset < 0]
        if missing and journaled:
            raise LaneRefused(f"the journal has entries but {', '.join(missing)} no committed offset")
        for name in missing:
            found[name] = marks[name][0]
        self.inbox.unread = marks[kafka.topic(MESSAGE_LIFECYCLE)][1]
        return found | ends, bool(missing)

    async def resume(self) -> dict[str, int]:
        """Given back by the very next assignment: nobody else can have had it, so the state stands; where it is not
        so, the first commit is fenced. Raises Broken where the state has what is in no journal."""
        if self._hearing.batch.scribe.entries:
            raise Broken("it was left with decisions that were not committed")
        self._leaving = False
        self.inbox.clear()
        loop = asyncio.get_running_loop()
        offsets, _ = await loop.run_in_executor(self._shop.threads, lambda: self._start_offsets(journaled=True))
        return offsets

    async def work(self) -> None:
        """Rounds until `leave`. Raises Fenced, Broken, NotWritten."""
        while not self._leaving:
            await self._pause()
            await self._round()
        await self._finish()

    async def _pause(self) -> None:
        """Until something arrives or is due; rounds are at least the commit interval apart. What arrived and is not
        taken yet wakes nobody again."""
        wait = 0.0
        if not (self._awake.is_set() or self._hearing.batch.scribe.entries or len(self.inbox)):
            until = next_wake(self.state, self._shop.around, self._now(), self._lazy_due())
            wait = 3600.0 if until is None else max(0.0, until - self._now())
        if wait > 0.0:
            try:
                async with asyncio.timeout(wait):
                    await self._awake.wait()
            except TimeoutError:
                pass
        since = self._shop.clock.monotonic() - self._round_at
        if since < self._shop.settings.commit_interval_seconds:
            await asyncio.sleep(self._shop.settings.commit_interval_seconds - since)
        self._awake.clear()

    async def _round(self) -> None:
        if self.calls.failure is not None:
            raise self.calls.failure
        self._round_at = self._breath.start()
        scribe = self._hearing.batch.scribe
        self._look(scribe)
        await self._decide(scribe)
        decided_at = self._look(scribe)  # what arrived may have taken long: calls are decided ahead of now, not of then
        started = start_calls(scribe, self._shop.around) if self._may_call() else []
        await self._ask_for_places()
        await self._write_quarantined()
        self._mark_emitted(scribe)
        if not scribe.entries and not self._lazy_is_due():
            return
        settled = bool(self._hearing.batch.answers)
        self._shop.failpoints.reach("before_outcome_commit", settled)
        lease_until = self._shop.clock.monotonic() + self._shop.around.policy.lease_seconds
        await self._commit(self._offsets_due())
        self._shop.failpoints.reach("after_outcome_commit", settled)
        self._shop.failpoints.reach("after_journal_commit", bool(started))
        committed_at = self._now()
        for message in started:
            self.calls.start(message, decided_at, lease_until, message.called_at - committed_at)
        for indicator in scribe.indicators:
            self.calls.show(indicator, self._may_show)
        await self._outbox.write(scribe.entries, self._told)

    def _look(self, scribe: Scribe) -> float:
        """Everything that is decided next is decided now: the monotonic time."""
        step = set_time(scribe, self._clock)
        if step:
            log.warning("clock_stepped", partition=self.partition, seconds=round(step, 3))
            self._lazy_since = None  # at the worst it waits a second more
        return self._shop.clock.monotonic()

    def _began(self, message: Message) -> None:
        if message.number is not None:
            self.state.number(message.number).pace.began(message.called_at, self._now())

    async def _decide(self, scribe: Scribe) -> None:
        """Everything that has arrived, and what is due."""
        around = self._shop.around
        if self._revision != around.revision:
            self._revision = around.revision
            repace(self.state, around)
        await self._hearing.hear(self._breath)
        if self.inbox.reads_old():
            reads_old(scribe)
        for topic in self.inbox.emptied():
            self._shop.room(topic, self.partition)
        if any(entry.kind == "order" for entry in scribe.entries):
            self._shop.failpoints.reach("after_intake")
        for _ in range(min(len(self._changed), ROUND)):
            take, name = self._changed.pop()
            take(scribe, around, name)
        tick(scribe, around)
        place_waiting(scribe, around)

    async def _commit(self, offsets: list[TopicPartition]) -> None:
        """One group commit of what is decided. Offsets by a membership that has gone since are refused by the broker.
        Raises Fenced, Broken."""
        batch = self._hearing.turn(self._now())
        log, member, loop = self._log, self._shop.member(), asyncio.get_running_loop()
        try:
            with metrics.TRANSACTION_SECONDS.time():
                commit = loop.run_in_executor(self._shop.threads, log.commit, batch.scribe.entries, offsets, member)
                await self._meanwhile(commit)
        except (Fenced, Broken):
            self._hearing.undo(batch)
            raise
        for each in offsets:
            if self.inbox.next_offsets.get(each.topic) == each.offset:
                del self.inbox.next_offsets[each.topic]
        if offsets or not self.inbox.next_offsets:
            self._lazy_since = None
        count_entries(batch.scribe.entries)

    async def _meanwhile(self, commit: asyncio.Future[None]) -> None:
        """Until the commit has ended: raises what it raises. A lane that is left decides on no more than it commits,
        for it may come back with the state that it has."""
        try:
            while not commit.done():
                await asyncio.wait([commit], timeout=HEARD_EVERY_SECONDS)
                if not (commit.done() or self._leaving):
                    self._hearing.batch.scribe.now = self._now()
                    await self._hearing.hear(self._breath, commit)
            commit.result()
        finally:
            commit.cancel()  # where this was cancelled: nobody waits for it

    def _told(self) -> None:
        if self._leaving:
            self.wake()

    async def _ask_for_places(self) -> None:
        """Asks are written with the events but move no mark: they are not journaled."""
        if not self.state.places.active:
            return
        asks = asks_of(self.state, self._shop.around, self._now())
        show_lines(self.state)
        if asks and not self._leaving:
            await self._outbox.write_unmarked(asks)

    def _mark_emitted(self, scribe: Scribe) -> None:
        """The mark rides with other entries, or goes alone once it is a second old. Raises NotWritten."""
        emitted = self._outbox.look()
        if emitted > self.state.emitted and (scribe.entries or self._lazy_is_due()):
            scribe.write(EMITTED, "emitted", f"lane-{self.partition}", {"seq": emitted})

    def _lazy_due(self) -> float | None:
        """When offsets or a mark must go alone (Unix seconds); None: nothing of the kind waits."""
        if not (self.inbox.next_offsets or self._outbox.waits or self._outbox.emitted > self.state.emitted):
            self._lazy_since = None
            return None
        if self._lazy_since is None:
            self._lazy_since = self._now()
        return self._lazy_since + LAZY_COMMIT_SECONDS

    def _offsets_due(self) -> list[TopicPartition]:
        """The offsets, where they have waited long enough to ride with entries, or nothing follows."""
        self._lazy_due()
        waited = self._lazy_since is not None and self._now() >= self._lazy_since + OFFSETS_RIDE_SECONDS
        return self.inbox.offsets() if waited or self._leaving else []

    def _lazy_is_due(self) -> bool:
        due = self._lazy_due()
        waits = bool(self.inbox.next_offsets) or self._outbox.emitted > self.state.emitted
        return due is not None and waits and (self._leaving or self._now() >= due)

    def _may_call(self) -> bool:
        """Not before every change is taken in: among them are cancels."""
        if self._changed:
            self.wake()
        return not (self._leaving or self._changed) and self._shop.fresh()

    def _gate(self, message: Message, attempt: int) -> str | None:
        """The last gate, in the instant before the first byte."""
        if self._leaving:
            return "leaving"
        if not self._shop.fresh():
            return "stale"
        if message.number in self._barred:
            return "barred"
        if self.state.messages.get(message.message_id) is not message:
            return "superseded"
        if message.status != "attempting" or message.attempt != attempt:
            return "superseded"
        return last_gate(self.state, self._shop.around, message, self._shop.clock.now().timestamp())

    def _may_show(self, number: str) -> bool:
        """Whether a typing indicator may leave: nothing keeps the number from calling."""
        barred = self._leaving or number in self._barred or not self._shop.fresh()
        return not barred and number_obstacle(self.state, self._shop.around, number, self._now()) is None

    async def _write_quarantined(self) -> None:
        if self.inbox.quarantined:
            await self._shop.emitter.write((), self.inbox.quarantined)
            for record in self.inbox.quarantined:
                log.error("record_quarantined", topic=record.topic.name, reason=record.reason)
            self.inbox.quarantined.clear()

    async def _finish(self) -> None:
        """Calls under way end by themselves (their time-out is a total); then everything is committed and emitted."""
        longest = self._shop.around.policy.request_timeout_seconds + LEAVE_MARGIN_SECONDS
        if self.calls.under_way:
            await asyncio.wait(self.calls.under_way, timeout=longest)
        await self._round()
        await self._outbox.settle(LEAVE_MARGIN_SECONDS)
        await self._round()
        await self._outbox.written()
        log.info("lane_left", partition=self.partition, calls_left=len(self.calls.under_way))

    def close(self) -> None:
        """Forget the producer; the lane may be taken anew."""
        self._log.close()

    def abandon(self) -> None:
        """The lane is another's: a take that waits for its thread must not fence the new owner any more."""
        self._abandoned = True
        self.leave()
        self._log.close()

    def queue_states(self, most: int) -> list[Emission]:
        """The queue states of up to `most` numbers: what changed since it was last shown, and now and then all."""
        show_again(self.state, self._shop.around, self.partition, self._now())
        return queue_states(self.state, self._shop.around, self._now(), QUEUE_STATE, most)

    def _now(self) -> float:
        return self._clock.now()
