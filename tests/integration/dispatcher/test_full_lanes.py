"""A lane that has no room for more: what waits on the topic is read on, also where it is taken anew or moved.

librdkafka keeps a pause beyond every assignment: a lane whose commit failed while thousands of orders waited read
nothing more.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as Record

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import DISPATCH_JOURNAL, DISPATCH_ORDERS, MESSAGE_LIFECYCLE, Topic
from harkara.dispatcher.inbox import HEARD, INPUTS, PAUSE_ABOVE
from harkara.dispatcher.lane_log import LaneLog
from harkara.dispatcher.membership import Membership
from harkara.dispatcher.settings import Settings
from tests.integration.dispatcher.stack import ONE, PARTITIONS, Stack, order, stack
from tests.support.wait import eventually

WAITING = 6 * PAUSE_ABOVE
BACKLOG, WITHOUT_REST_SECONDS = 30_000, 15.0
LANE = partition_for(ONE, PARTITIONS)


class Offsets:
    """What the broker says of the lane's topics."""

    def __init__(self, made: Stack, topic: Topic = DISPATCH_ORDERS) -> None:
        kafka = made.settings.kafka
        self._input = TopicPartition(kafka.topic(topic), LANE)
        self._journal = TopicPartition(kafka.topic(DISPATCH_JOURNAL), LANE)
        options = {"group.id": kafka.group("dispatcher"), "enable.auto.commit": False, "log_level": 3}
        self._consumer = Consumer(kafka.librdkafka_options() | options)

    def journal_has_begun(self) -> bool:
        """Whether the first orders are journaled: of so many, more than the lane has room for wait behind them."""
        return self._consumer.get_watermark_offsets(self._journal, timeout=10.0)[1] > 0

    def taken(self) -> int:
        """Records that the lane has taken in, by the group's offset."""
        found: int = self._consumer.committed([self._input], timeout=10.0)[0].offset
        return max(0, found)

    def all_taken(self) -> bool:
        """Whether none is left on the topic."""
        return self.taken() == WAITING

    def close(self) -> None:
        """Leave nothing open."""
        self._consumer.close()


async def orders_wait(made: Stack) -> None:
    """More than a lane takes at once, before anybody reads them."""
    for first in range(0, WAITING, 1000):
        await made.send([order(f"message-{n}", to=f"+9199999{10_000 + n:05}") for n in range(first, first + 1000)])


async def test_a_full_lane_that_was_fenced_reads_on_once_it_is_ours_again(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, HARKARA_SIM_MAGIC_SUFFIXES="false") as made:
        await orders_wait(made)
        offsets = Offsets(made)
        process = await made.dispatcher()
        await eventually(offsets.journal_has_begun, every=0.005)
        settings = Settings(kafka=made.settings.kafka, partitions=PARTITIONS, replication_factor=1, instance="another")
        usurper = LaneLog(settings, LANE)
        await asyncio.to_thread(usurper.open)
        journaled = sum(entry.kind == "order" for entry in usurper.read())
        usurper.close()
        assert 0 < journaled < WAITING - PAUSE_ABOVE, "so many still wait that the lane was full"
        await eventually(offsets.all_taken, timeout_seconds=60)
        assert await process.metric("harkara_dispatcher_fenced_total") == 1
        offsets.close()
        assert set((await made.accepted()).values()) == {1}


async def test_a_backlog_of_which_nothing_follows_is_read_without_a_rest(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Statuses that came while nobody owned the lane: what is in doubt waits for them, and not for ever. Where nothing
    was decided, the lane rested for a second between two looks: 20 s for these, on any machine; now 5."""
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        status = MessageLifecycle(
            message_id="of-nobody", home=ONE, status="delivered", attempt=1, wamid="wamid.1", at=datetime.now(UTC)
        )
        for _ in range(0, BACKLOG, 1000):
            await made.write(MESSAGE_LIFECYCLE, [(ONE, ONE, status, None)] * 1000)
        offsets = Offsets(made, MESSAGE_LIFECYCLE)
        await made.dispatcher()
        await eventually(lambda: offsets.taken() == BACKLOG, timeout_seconds=WITHOUT_REST_SECONDS, every=0.2)
        offsets.close()


class Full:
    """An owner whose lane has no room as soon as anything has come. `read`: the offsets of the orders, one list for
    each time that the lane was given."""

    def __init__(self, made: Stack, instance: str) -> None:
        kafka = made.settings.kafka
        self.read: list[list[int]] = []
        self._orders = kafka.topic(DISPATCH_ORDERS)
        self._offsets = {kafka.topic(topic): 0 for topic in (*INPUTS, *HEARD)}
        self.membership = Membership(Settings(kafka=kafka, partitions=PARTITIONS, instance=instance), self)

    async def assigned(self, partitions: set[int]) -> None:
        if LANE in partitions:
            self.read.append([])
            self.membership.fetch(LANE, self._offsets)

    async def revoked(self) -> None: ...
    async def lost(self) -> None: ...
    def deliver(self, _: int, records: list[Record]) -> set[str]:
        self.read[-1] += [each.offset() or 0 for each in records if each.topic() == self._orders]
        return {self._orders}

    def has_read(self, times: int) -> bool:
        """Whether the lane was given so often, and read each time."""
        return len(self.read) >= times and all(self.read)


async def test_a_full_lane_is_read_again_after_the_group_was_rebalanced(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await orders_wait(made)
        owner, other = (Full(made, f"dispatcher-{index}") for index in range(2))
        polling = [asyncio.create_task(owner.membership.run())]
        try:
            await eventually(lambda: owner.has_read(1))
            polling.append(asyncio.create_task(other.membership.run()))
            await eventually(lambda: len(owner.read) + len(other.read) > 1, timeout_seconds=30)
            other.membership.stop()
            await eventually(lambda: owner.has_read(2), timeout_seconds=40)
        finally:
            owner.membership.stop()
            other.membership.stop()
            await asyncio.gather(*polling)
        assert all(offsets[0] == 0 for offsets in owner.read), "from where the lane says"
