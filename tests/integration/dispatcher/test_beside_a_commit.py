"""What a lane does while its commit is under way: it decides, until it is told to leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from harkara.contracts.partition import partition_for
from harkara.contracts.topics import DISPATCH_ORDERS
from harkara.dispatcher.dispatcher import Dispatcher
from harkara.dispatcher.journal import EMITTED
from harkara.dispatcher.lane import Lane
from harkara.dispatcher.lane_log import Broken, LaneLog
from harkara.dispatcher.settings import Settings
from harkara.policy.governance import load
from harkara.runtime.kafka import Output, Writer, start_producer
from harkara.runtime.settings import KafkaSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.dispatcher.emitting import emitting
from tests.integration.dispatcher.stack import ONE, order
from tests.integration.dispatcher.test_lanes_lost import GOVERNANCE
from tests.support.wait import eventually

LANE = partition_for(ONE, 1)
A_WHILE = 0.2  # fifty looks at what has arrived


class Gated(ThreadPoolExecutor):
    """Begins a commit only while its gate is open; `offsets`: what each commit said of the intake."""

    def __init__(self) -> None:
        super().__init__(2)
        self.gate, self.offsets = Event(), list[list[TopicPartition]]()
        self.gate.set()

    def submit(self, work: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        if getattr(work, "__func__", None) is not LaneLog.commit:
            return super().submit(work, *args, **more)
        self.offsets.append(args[1])
        return super().submit(lambda: (self.gate.wait(30), work(*args, **more))[1])


class Ground:
    """A dispatcher in this process, with one lane, whose commits the test lets through."""

    def __init__(self, settings: Settings, made: Dispatcher, threads: Gated, writer: Writer) -> None:
        self.settings, self._made, self.threads, self._writer = settings, made, threads, writer

    @property
    def lane(self) -> Lane:
        return self._made._lanes[LANE]

    def knows(self, *message_ids: str) -> bool:
        return self.lane.state.messages.keys() >= set(message_ids)

    async def send(self, message_id: str) -> None:
        sent = order(message_id)
        output = Output(DISPATCH_ORDERS, ONE, ONE, sent, message_id, sent.received_at, message_id)
        await self._writer.write([output])

    async def hold_a_commit(self, message_id: str) -> None:
        """That takes this message in."""
        self.threads.gate.clear()
        before = len(self.threads.offsets)
        await self.send(message_id)
        await eventually(lambda: len(self.threads.offsets) > before)

    def journaled(self) -> set[str]:
        """The messages whose orders can be read back."""
        return {entry.key for entry in LaneLog(self.settings, LANE).read() if entry.kind == "order"}


@asynccontextmanager
async def ground(kafka: KafkaSettings, folder: Path) -> AsyncIterator[Ground]:
    (folder / "governance.yaml").write_text(GOVERNANCE, "utf-8")
    settings = Settings(
        kafka=kafka, partitions=1, replication_factor=1, instance="beside", governance_file=folder / "governance.yaml"
    )
    await ensure_topics(settings)
    producer, threads = await start_producer(settings), Gated()
    async with emitting(settings) as emitter:
        made = Dispatcher(settings, load(settings.governance_file), emitter)
        made._shop = replace(made._shop, threads=threads)
        running = asyncio.create_task(made.run())
        try:
            await eventually(lambda: made.ready() is None, timeout_seconds=30)
            yield Ground(settings, made, threads, Writer(producer, kafka, 1, "router"))
        finally:
            threads.gate.set()
            running.cancel()
            await asyncio.wait([running])
            await producer.stop()


async def test_what_arrives_during_a_commit_is_decided_upon_at_once_and_committed_with_the_next_one(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with ground(KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix), tmp_path) as made:
        await made.hold_a_commit("message-1")
        await made.send("message-2")
        await eventually(lambda: made.knows("message-1", "message-2"), timeout_seconds=5)
        assert made.journaled() == set(), "neither is committed"
        made.threads.gate.set()
        await eventually(lambda: made.journaled() == {"message-1", "message-2"}, timeout_seconds=10)


async def test_a_lane_that_is_left_during_a_commit_knows_nothing_that_its_journal_does_not(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with ground(KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix), tmp_path) as made:
        lane = made.lane
        await made.hold_a_commit("message-1")
        await made.send("message-2")
        await eventually(lambda: made.knows("message-2"), timeout_seconds=5)
        lane.leave()
        await made.send("message-3")
        await eventually(lambda: len(lane.inbox) == 1, timeout_seconds=5)
        await asyncio.sleep(A_WHILE)
        assert not made.knows("message-3"), "it waits for the last round"
        made.threads.gate.set()
        await eventually(lambda: made.journaled() == {"message-1", "message-2", "message-3"}, timeout_seconds=10)
        assert lane.state.messages.keys() == made.journaled()
        await lane.resume()
        lane._hearing.batch.scribe.write(EMITTED, "emitted", f"lane-{LANE}", {"seq": 0})
        with pytest.raises(Broken):
            await lane.resume()
