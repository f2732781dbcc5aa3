"""The process's place in the group `dispatcher`: one consumer in a thread of its own, which feeds the lanes.

Assignor `range`: the four inputs have equal partition counts, so a member has the same partitions of each, and they
meet in one lane. A partition is fetched only once its lane has been taken, from the offsets that the lane names.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter, defaultdict
from collections.abc import Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Any, Protocol, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as Record

from harkara.contracts.topics import LARGEST_RECORD_BYTES
from harkara.dispatcher.inbox import HEARD, INPUTS
from harkara.dispatcher.leaving import LEAVE_SECONDS
from harkara.dispatcher.settings import Settings
from harkara.policy.sections import LONGEST_REQUEST_SECONDS

POLL_SECONDS = 0.1  # how soon a lane that has become ready is fetched
MOST_PER_POLL = 1000
REVOKE_SECONDS = LONGEST_REQUEST_SECONDS + LEAVE_SECONDS + 4.0  # the lanes' own limit comes first; the group's is 300

Answer = TypeVar("Answer")

log = structlog.get_logger()


class Owner(Protocol):
    """Who is told of lanes. All of these run in the event loop."""

    async def assigned(self, partitions: set[int]) -> None:
        """These are all the lanes of this process now."""
        ...

    async def revoked(self) -> None:
        """Leave every lane in order; return when all is committed."""
        ...

    async def lost(self) -> None:
        """The lanes have gone to others already."""
        ...

    def deliver(self, partition: int, records: list[Record]) -> set[str]:
        """Records of a lane; returns the topics whose fetching must wait."""
        ...


class NoLongerMember(Exception):
    """Another process uses this instance's name, or the client cannot go on."""


class Membership:
    """The group consumer and its thread."""

    def __init__(self, settings: Settings, owner: Owner) -> None:
        self._settings = settings
        self._owner = owner
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._wanted: dict[int, dict[str, int]] = {}  # lane -> the offsets to read from
        self._taken_anew: set[int] = set()
        self._takes = Counter[int]()  # of each lane, how often it was asked for
        self._reads: dict[int, int] = {}  # what is fetched now belongs to which of these; the polling thread's alone
        self._changed = False
        self._resumes: list[TopicPartition] = []
        self._paused: set[tuple[str, int]] = set()  # the polling thread's alone, as `_positions`
        self._positions: dict[tuple[str, int], int] = {}
        self._rebalances = 0  # seen so far, of any kind
        self.consumer = Consumer(self._options())
        self.offsets = Consumer(self._reader_options())  # asked of the member itself after `assign`, it never answers
        self.member: object = None  # what the group knows us by; only the polling thread may ask for it
        self.joined = False

    async def run(self) -> None:
        """Poll until `stop`. Raises NoLongerMember."""
        self._loop = asyncio.get_running_loop()
        context = contextvars.copy_context()  # the log lines of the lanes name their service as all others do
        await self._loop.run_in_executor(None, context.run, self._poll_until_stopped)

    def stop(self) -> None:
        """Leave: lanes are revoked in order, then `run` returns."""
        self._stopping.set()

    def fetch(self, partition: int, offsets: dict[str, int]) -> None:
        """The lane is ready: read its inputs from these offsets. Any thread."""
        with self._lock:
            self._wanted[partition] = offsets
            self._taken_anew.add(partition)
            self._takes[partition] += 1
            self._changed = True

    def forget(self, partition: int) -> None:
        """The lane is not to be read any more. Any thread."""
        with self._lock:
            if self._wanted.pop(partition, None) is not None:
                self._changed = True

    def resume(self, topic: str, partition: int) -> None:
        """The lane has room again. Any thread."""
        with self._lock:
            self._resumes.append(TopicPartition(topic, partition))

    def _poll_until_stopped(self) -> None:
        topics = [self._settings.kafka.topic(topic) for topic in (*INPUTS, *HEARD)]
        self.consumer.subscribe(topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        try:
            while not self._stopping.is_set():
                self._follow_wishes()
                self._deliver(self._polled())
        finally:
            self.consumer.close()
            self.offsets.close()

    def _polled(self) -> list[Record]:
        """What has arrived. Errors alone where the group was rebalanced meanwhile: lanes have left, or are taken anew
        and name the offsets to read from, and what was fetched before would pass for read."""
        rebalances = self._rebalances
        first = self.consumer.poll(POLL_SECONDS)
        found = [] if first is None else [first, *self.consumer.consume(MOST_PER_POLL, timeout=0)]
        return found if rebalances == self._rebalances else [each for each in found if each.error() is not None]

    def _deliver(self, records: list[Record]) -> None:
        lanes: dict[int, list[Record]] = defaultdict(list)
        for record in records:
            error, partition = record.error(), record.partition()
            if error is not None:
                self._judge(error)
            elif partition is not None:
                self._positions[(record.topic() or "", partition)] = (record.offset() or 0) + 1
                lanes[partition].append(record)
        for partition, found in lanes.items():
            assert self._loop is not None
            full = Future[set[str]]()
            self._loop.call_soon_threadsafe(self._hand_over, full, partition, self._reads.get(partition, 0), found)
            for topic in self._answer(full):
                self.consumer.pause([TopicPartition(topic, partition)])
                self._paused.add((topic, partition))

    def _hand_over(self, full: Future[set[str]], partition: int, take: int, records: list[Record]) -> None:
        """In the event loop; without a task, for under load there are a hundred in a second. What was fetched for an
        earlier `take` of the lane comes again from where the new one reads: heard now, it would pass for all before."""
        if not full.set_running_or_notify_cancel():
            return  # nobody waits any more: the thread has ended for it
        try:
            full.set_result(self._owner.deliver(partition, records) if take == self._takes[partition] else set())
        except BaseException as error:
            full.set_exception(error)  # as if the thread had done it itself
            raise

    def _judge(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID):
            raise NoLongerMember(error.name())
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise NoLongerMember("the committed offsets are no longer in the log: records were deleted unread")
        log.warning("consumer_error", error=error.name())

    def _follow_wishes(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, False
            wanted = dict(self._wanted)
            resumes, self._resumes = self._resumes, []
            anew, self._taken_anew = self._taken_anew, set()
            takes = {partition: self._takes[partition] for partition in wanted}
        if changed:
            self._reads = takes
            self._assign(wanted, anew)
        self._resume({(each.topic, each.partition) for each in resumes if each.partition in wanted})

    def _assign(self, wanted: dict[int, dict[str, int]], anew: set[int]) -> None:
        """All lanes that are ready; those that were being read go on where they are, those that were taken `anew` - it
        may be before it was seen that they had been left - where they say."""
        known = {(topic, lane) for lane, offsets in wanted.items() if lane not in anew for topic in offsets}
        self._resume(self._paused - known)
        self._positions = {key: offset for key, offset in self._positions.items() if key in known}
        assignment = []
        for partition, offsets in wanted.items():
            for topic, offset in offsets.items():
                at = self._positions.setdefault((topic, partition), offset)
                assignment.append(TopicPartition(topic, partition, at))
        self.consumer.assign(assignment)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1
        topics_of = Counter(each.partition for each in partitions)
        # while topics are being created an assignment can be partial: a lane is ours when all of its inputs are
        lanes = {partition for partition, topics in topics_of.items() if topics == len(INPUTS) + len(HEARD)}
        with self._lock:
            self._wanted.clear()
            self._resumes.clear()
        self._positions.clear()
        self._resume(self._paused)
        consumer.assign([])  # nothing is fetched before its lane is taken
        # Asked from another thread while this one polls, it never answers: it waits with the interpreter's lock held.
        self.member = consumer.consumer_group_metadata()
        self.joined = True
        self._call(self._owner.assigned(lanes))

    def _on_revoke(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        self._call(self._owner.revoked())
        self._unassign(consumer)

    def _on_lost(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        self._call(self._owner.lost())
        self._unassign(consumer)

    def _unassign(self, consumer: Consumer) -> None:
        self._rebalances += 1
        with self._lock:
            self._wanted.clear()
            self._changed = False
        self._positions.clear()
        self._resume(self._paused)
        consumer.unassign()

    def _resume(self, partitions: set[tuple[str, int]]) -> None:
        """Also those that are to be read no more, before they go: librdkafka keeps a pause beyond every assignment, and
        a lane that is taken again has room and asks for nothing."""
        self.consumer.resume([TopicPartition(topic, partition) for topic, partition in partitions])
        self._paused -= partitions

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run in the event loop and wait, in the polling thread."""
        assert self._loop is not None
        return self._answer(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _answer(self, future: Future[Answer]) -> Answer:
        try:
            return future.result(REVOKE_SECONDS)
        except NotInTime:
            future.cancel()
            raise NoLongerMember("the event loop did not answer the group in time") from None

    def _options(self) -> dict[str, object]:
        settings = self._settings
        session_ms = int(settings.group_session_timeout_seconds * 1000)
        return self._reader_options() | {
            "group.instance.id": settings.instance,
            "partition.assignment.strategy": "range",
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": session_ms // 4,
            "auto.offset.reset": "error",  # lanes name their offsets; one that is gone must be seen, not skipped
            "enable.auto.offset.store": False,
            "fetch.message.max.bytes": LARGEST_RECORD_BYTES,
            "topic.metadata.refresh.interval.ms": 5_000,  # topics created a moment ago are found soon
            "queued.max.messages.kbytes": 16_384,
        }

    def _reader_options(self) -> dict[str, object]:
        """Stable offsets only: a commit that is under way is waited for (KIP-447)."""
        settings = self._settings
        return settings.kafka.librdkafka_options() | {
            "group.id": settings.kafka.group("dispatcher"),
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "client.id": f"dispatcher-{settings.instance}",
            "log_level": 3,
        }
