"""A broker that does not answer costs the dispatcher no processor time; nothing that waited is lost or out of order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.topics import MESSAGE_LIFECYCLE
from harkara.devstack.kafka_server import EmbeddedKafka
from harkara.devstack.ports import free_ports
from harkara.dispatcher.journal import Entry, step_key
from harkara.dispatcher.projection import Emission, implied
from harkara.dispatcher.settings import Settings
from harkara.runtime.settings import KafkaSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.dispatcher.emitting import emitting, records, subject_of

STANDS_STILL_SECONDS = 3.0
MOST_BUSY_SECONDS = 1.0  # of two threads; a thread that spins takes all of the three


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedKafka]:
    server = EmbeddedKafka(tmp_path / "kafka", *free_ports(2), heap_megabytes=256)
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


def events(first: int, count: int) -> list[Emission]:
    return [emission for seq in range(first, first + count) for emission in implied(_step(seq))]


def _step(seq: int) -> Entry:
    data: dict[str, Any] = {"status": "held", "attempt": 0, "reason": "run_paused"}
    return Entry(step_key(f"message-{seq}"), seq, "step", time.time(), "pool-a", data)


async def test_a_broker_that_stands_still_costs_no_processor_time(broker: EmbeddedKafka, topic_prefix: str) -> None:
    kafka = KafkaSettings(bootstrap=broker.address, topic_prefix=topic_prefix)
    settings = Settings(kafka=kafka, partitions=1, replication_factor=1, instance="dispatcher-0")
    await ensure_topics(settings)
    assert broker.pid is not None
    async with emitting(settings) as emitter:
        await emitter.write(events(0, 50))
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            waiting = [emitter.write(events(50, 50))]
            await asyncio.sleep(0.2)  # the first of them are under way: what comes now waits behind them
            waiting.append(emitter.write(events(100, 50)))
            before = time.process_time()
            await asyncio.sleep(STANDS_STILL_SECONDS)
            busy = time.process_time() - before
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        await asyncio.wait_for(asyncio.gather(*waiting), 30)
        subjects = [subject_of(record) for record in records(settings, MESSAGE_LIFECYCLE)]
    assert busy < MOST_BUSY_SECONDS
    assert list(dict.fromkeys(subjects)) == [f"message-{seq}" for seq in range(150)], "a repeat may come twice"
