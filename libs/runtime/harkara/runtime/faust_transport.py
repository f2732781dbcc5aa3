"""Faust's clients, with what Faust leaves out: no event is lost inside the process, no thread outlives its app.

Faust loses events inside the process: when recovery ends it clears the streams' queues although records may have been
fetched into them already, does not seek back a partition without a committed offset, and its commit steps over a single
missing offset. Seen here in one of ten starts with a backlog and a changelog to recover. So nothing is fetched while
recovery ends (`faust_table.GatedRecovery`), every partition is sought explicitly, and a commit never passes an offset
that was not processed; where one stays missing, the process ends and reads it again.

What Kafka itself deleted before it was read (retention goes by the record's own timestamp, so an old one may live for
seconds) cannot be read again: then the position goes to the first record that is left, and that is said aloud. Silent,
it looks like a projection that stands still: ready, at its end, and nothing folded.

Its consumer runs in a thread of its own, which Faust leaves behind where the app crashes or is cancelled: stopping it
then fails, or waits for an answer that no longer comes. Here the thread is always asked to end, and waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from faust.transport.drivers import aiokafka as driver
from mode.services import WaitResults
from mode.threads import WorkerThread
from prometheus_client import Counter

if TYPE_CHECKING:
    from harkara.runtime.faust_app import ProjectionApp

MISSING_SECONDS = 30.0  # an event that nobody holds for so long is lost: between fetch and stream it takes milliseconds
UNDER_WAY_SECONDS = 600.0  # one that is held waits for Kafka to take what was written before it: an outage, not a loss
LEAVE_SECONDS = 6.0  # for the thread to leave its group; a rebalance under way may keep it longer
END_SECONDS = 2.0  # beyond that, for the thread to end once nothing else holds it

EXPIRED = Counter(
    "harkara_projection_expired_total",
    "Events that Kafka deleted before they were folded, found when reading begins. More than 0: state is missing them.",
    ["projection"],
)

log = structlog.get_logger()


class ProjectionProducer(driver.Producer):
    """Faust's producer, which takes whole batches too."""

    app: ProjectionApp

    async def flush(self) -> None:
        """Faust's seam, before partitions are given away and before rows are read back: those that wait for their batch
        are written too, or a new owner reads past them and they come behind its own."""
        await self.app.confirmed()
        await super().flush()

    def new_batch(self) -> Any:
        """An empty batch to be filled, of aiokafka's."""
        return self._ensure_producer().create_batch()

    async def send_batch(self, batch: Any, topic: str, partition: int) -> Awaitable[Any]:
        """Put the batch in line; what is returned is its acknowledgement."""
        acknowledgement: Awaitable[Any] = await self._ensure_producer().send_batch(batch, topic, partition=partition)
        return acknowledgement


class ProjectionConsumer(driver.Consumer):
    """Faust's consumer, which commits nothing that is not confirmed and never past an event that was not processed.

    The topics that Faust reads hold no transactions and are not compacted, so their offsets have no gaps: a missing
    offset is an event that Faust has lost on the way. Its thread has the same kind of event loop.
    """

    app: ProjectionApp
    missing_seconds = MISSING_SECONDS
    under_way_seconds = UNDER_WAY_SECONDS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle = asyncio.Event()
        self._idle.set()
        self._missing_since: dict[Any, tuple[int, float, float]] = {}
        self._committing: dict[Any, int] = {}
        self._told_until: dict[Any, int] = {}

    async def idle(self) -> None:
        """Wait for the fetch under way, at most a second; with the flow stopped no other begins."""
        await self._idle.wait()

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:
        """Faust's seam, which hands over each record: it makes four tasks of what is nearly always done at once."""
        first, *others = coros
        if timeout is not None or not others or not all(map(asyncio.iscoroutine, coros)):
            return await super().wait_first(*coros, timeout=timeout)
        begun: Begun | None = None
        try:
            begun = Begun(first)
        finally:
            if begun is None or begun.done:
                for other in others:
                    other.close()
        if begun.done:
            return WaitResults([first], [begun.result], False)
        return await super().wait_first(begun, *others)

    async def perform_seek(self) -> None:
        """Go back to the committed offsets; to the first record where nothing is committed, or it has expired."""
        await super().perform_seek()
        streams = [tp for tp in self.assignment() if not self._is_changelog_tp(tp)]
        first = await self.earliest_offsets(*streams) if streams else {}
        for tp in streams:
            committed = self._committed_offset[tp] or 0
            floor = max(committed, first[tp])
            if floor > committed:
                self._tell_expired(tp, committed, floor)
            if not committed or floor > committed:
                await self.seek_wait({tp: floor})
            self._committed_offset[tp] = floor

    def _tell_expired(self, tp: Any, committed: int, first: int) -> None:
        """Once, though each rebalance comes here: the committed offset stays where it is until an event is folded.

        Nothing committed: those before may have been folded long ago, or never; then none is counted.
        """
        unread, self._told_until[tp] = first - max(committed, self._told_until.get(tp, 0)), first
        if unread <= 0:
            return
        where = {"projection": self.app.projection, "topic": tp.topic, "partition": tp.partition, "first": first}
        if not committed:
            log.warning("reading_begins_after_expired_events", **where)
            return
        EXPIRED.labels(self.app.projection).inc(unread)
        log.error("events_expired_unread", **where, committed=committed, events=unread)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        self._idle.clear()
        try:  # a copy: Faust adds partitions to its set while a fetch is under way, which then takes their records too
            return await super()._getmany(set(active_partitions) if active_partitions is not None else None, timeout)
        finally:
            self._idle.set()

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Faust would count the missing offsets as processed."""

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Faust's seam, called once every commit interval: also where nothing was processed, and something should."""
        for tp in self.assignment():
            if not self._acked[tp] and not self._is_changelog_tp(tp):
                self._look_for_swallowed(tp)
        committed: bool = await super().commit(topics, start_new_transaction)
        return committed

    def _look_for_swallowed(self, tp: Any) -> None:
        """Faust drops what it has fetched when its flow is suspended in the middle of a batch, and counts it as read. A
        later event would show the gap; where a whole batch went, none may come for long. (A seek sets both offsets to
        the same figure, so one swallowed event alone is seen with the next.)"""
        read, committed = self._read_offset.get(tp), self._committed_offset.get(tp)
        if read is not None and committed is not None and read > committed:
            self._report_missing(tp, committed)
        else:
            self._missing_since.pop(tp, None)

    def _new_offset(self, tp: Any) -> int | None:
        acked, committed = self._acked[tp], self._committed_offset[tp]
        if acked and committed is not None and min(acked) > committed:
            self._report_missing(tp, committed)
            return None
        self._missing_since.pop(tp, None)
        offset: int | None = super()._new_offset(tp)
        return offset

    def _report_missing(self, tp: Any, offset: int) -> None:
        now = self.loop.time()
        missing, first, since = self._missing_since.setdefault(tp, (offset, now, now))
        if missing != offset:
            self._missing_since[tp] = (offset, now, now)
        elif now - since >= self.missing_seconds:
            if now - first < self.under_way_seconds and self._is_under_way(tp, offset):
                self._missing_since[tp] = (offset, first, now)
                return
            self.app.fail(
                RuntimeError(f"Faust has lost the event {tp.topic}-{tp.partition}-{offset}; reading it again")
            )

    def _is_under_way(self, tp: Any, offset: int) -> bool:
        """Whether it is folded and its commit waits for the acknowledgement of its rows, or it is in a stream's hands,
        where a fold waits for room: Kafka is slow then, and nothing is lost."""
        if offset < self._committing.get(tp, 0):
            return True
        return any(each.offset == offset and each.tp == tp for each in list(self._unacked_messages))

    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, thread_loop=_loop_like_this_one(), beacon=self.beacon)

    async def threadsafe_partitions_revoked(self, receiver_loop: Any, revoked: Any) -> None:
        """Faust's seam, called in the thread: it waits for the app, but not for one that has ended."""
        await self._thread.wait(super().threadsafe_partitions_revoked(receiver_loop, revoked))

    async def threadsafe_partitions_assigned(self, receiver_loop: Any, assigned: Any, generation_id: int = 0) -> None:
        """Faust's seam, called in the thread: it waits for the app, but not for one that has ended."""
        await self._thread.wait(super().threadsafe_partitions_assigned(receiver_loop, assigned, generation_id))

    async def end_thread(self) -> None:
        """Wait until the thread has ended, whatever state it is in."""
        await self._thread.stop()

    async def _commit_offsets(self, offsets: Any, start_new_transaction: bool = True) -> bool:
        self._committing = dict(offsets)
        try:
            if self.app.crashed or not await self.app.confirmed():
                return False  # after a crash the thread may answer no more
            committed: bool = await super()._commit_offsets(offsets, start_new_transaction)
            return committed
        finally:
            self._committing = {}


class _Thread(WorkerThread):
    """A thread that the interpreter does not wait for: one that could not be ended has nothing left to save."""

    def __init__(self, service: Any, **options: Any) -> None:
        super().__init__(service, **options)
        self.daemon = True


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread of Faust's consumer, which ends with the app however that ends, and closes what it opened."""

    Worker = _Thread
    app: ProjectionApp

    async def on_start(self) -> None:
        """In the thread: connect, unless told to stop meanwhile."""
        await self.wait(super().on_start())

    async def on_thread_stop(self) -> None:
        """In the thread: leave the group and close the connections, the latter in any case."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await super().on_thread_stop()
        except TimeoutError:
            log.warning("group_not_left", projection=self.app.projection, seconds=LEAVE_SECONDS)
            if self._consumer is not None:
                await self._consumer._client.close()

    async def stop(self) -> None:
        """Ask the thread to end and wait for it. May be called at any time, and again."""
        thread = self._thread
        if thread is None:
            self.thread_loop.close()  # made for a thread that was never started
            return
        with contextlib.suppress(RuntimeError):  # its loop is closed: it is about to end
            self._stopped_set()
        await asyncio.to_thread(thread.join, LEAVE_SECONDS + END_SECONDS)
        if thread.is_alive():
            log.error("consumer_thread_did_not_end", projection=self.app.projection)

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """In the thread: Faust would print to stderr."""
        log.exception("consumer_thread_crashed", projection=self.app.projection)

    def _start_thread(self) -> None:
        """The thread's whole life."""
        asyncio.set_event_loop(self.thread_loop)
        try:
            self.thread_loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001  whatever it was ends the process; here it would only reach stderr
            self._tell(error)
        finally:
            self.thread_loop.run_until_complete(_last_callbacks())
            self.thread_loop.close()

    def _tell(self, error: Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the app's loop is closed: it waited for us, and gave up
            self.parent_loop.call_soon_threadsafe(self.app.fail, error)
            self.set_shutdown()


async def _last_callbacks() -> None:
    """Let transports that were closed in the last step close their sockets: that takes each another step or two."""
    for _ in range(3):
        await asyncio.sleep(0)


class Begun:
    """A coroutine that has been run to where it first waits, if it does; awaited, it goes on from there."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._waits_for: Any = None
        self.result: Any = None
        self.done = False
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration as end:
            self.result, self.done = end.value, True

    def __await__(self) -> Generator[Any, Any, Any]:
        waits_for = self._waits_for
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001  a cancellation too is the coroutine's
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, sent)
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value


class ProjectionTransport(driver.Transport):
    Consumer = ProjectionConsumer
    Producer = ProjectionProducer


def _loop_like_this_one() -> asyncio.AbstractEventLoop:
    """A new event loop of the running one's kind: uvloop in production, asyncio's in most tests."""
    loop: asyncio.AbstractEventLoop = type(asyncio.get_running_loop())()
    return loop
