"""Offsets of the intake ride with a few commits: what is read again after a crash is known."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from harkara.contracts.partition import partition_for
from harkara.contracts.topics import DISPATCH_ORDERS
from harkara.dispatcher.lane import OFFSETS_RIDE_SECONDS
from harkara.dispatcher.lane_log import LaneLog
from harkara.dispatcher.settings import Settings
from harkara.runtime.settings import KafkaSettings
from tests.integration.dispatcher.stack import ONE, PARTITIONS, order, stack
from tests.integration.dispatcher.test_beside_a_commit import LANE, ground
from tests.support.wait import eventually

ORDERS = 60
APART_SECONDS = 0.025  # further than two commits are: each order has one of its own, where the machine lets it


def committed(settings: Settings, partition: int) -> int:
    """The offset of the orders from which the lane's next owner reads."""
    consumer = Consumer(settings.kafka.librdkafka_options() | {"group.id": settings.kafka.group("dispatcher")})
    found = consumer.committed([TopicPartition(settings.kafka.topic(DISPATCH_ORDERS), partition)], timeout=10.0)
    consumer.close()
    return int(found[0].offset)


async def test_offsets_ride_with_a_few_commits_and_go_alone_at_the_end(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with ground(KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix), tmp_path) as made:
        clock = asyncio.get_running_loop()
        began, before = clock.time(), len(made.threads.offsets)
        names = [f"message-{n}" for n in range(ORDERS)]
        for name in names:
            await made.send(name)
            await asyncio.sleep(APART_SECONDS)
        await eventually(lambda: made.knows(*names))
        rode = sum(bool(offsets) for offsets in made.threads.offsets[before:])
        seconds = clock.time() - began
        print(f"{len(made.threads.offsets) - before} commits in {seconds:.1f} s, {rode} with offsets")
        assert 1 <= rode <= seconds / OFFSETS_RIDE_SECONDS + 1
        await eventually(lambda: committed(made.settings, LANE) == ORDERS, timeout_seconds=10, every=0.5)


async def test_orders_that_are_read_again_are_sent_once(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        names, partition = [f"message-{n:02}" for n in range(15)], partition_for(ONE, PARTITIONS)
        settings = Settings(kafka=made.settings.kafka, partitions=PARTITIONS)
        dying = await made.start("dispatcher", "dispatcher-0", HARKARA_FAILPOINTS="after_journal_commit:1:kill")
        await eventually(dying.ready, timeout_seconds=60)
        await made.send([order(name, to=f"+9199999{65_000 + n}") for n, name in enumerate(names)])
        assert await dying.ended() == -signal.SIGKILL
        journaled = [entry.key for entry in LaneLog(settings, partition).read() if entry.kind == "order"]
        assert committed(settings, partition) < len(journaled), "these are read again"
        await made.dispatcher()
        await eventually(lambda: made.all_are(names, "submitted", "in_doubt"), timeout_seconds=30, every=0.5)
        await eventually(lambda: committed(settings, partition) == len(names), timeout_seconds=10, every=0.5)
        assert set((await made.accepted()).values()) == {1}
        orders = Counter(entry.key for entry in LaneLog(settings, partition).read() if entry.kind == "order")
        assert orders == Counter(names), "taken in once"
