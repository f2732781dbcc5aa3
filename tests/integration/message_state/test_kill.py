"""message-state killed in the middle of its work: its next process leaves every message in its one true state."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harkara.message_state.settings import Settings
from harkara.runtime.settings import KafkaSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.message_state.test_message_state import feed, life_of, states
from tests.support.wait import eventually

MESSAGES = 300


@asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = os.environ | {
        "HARKARA_KAFKA_BOOTSTRAP": settings.kafka.bootstrap,
        "HARKARA_KAFKA_TOPIC_PREFIX": settings.kafka.topic_prefix,
        "HARKARA_PARTITIONS": str(settings.partitions),
        "HARKARA_REPLICATION_FACTOR": "1",
        "HARKARA_DATA_DIR": str(settings.data_dir),
        "HARKARA_BROKER_SESSION_TIMEOUT_SECONDS": "6",
        "HARKARA_HTTP_HOST": "127.0.0.1",
        "HARKARA_HTTP_PORT": "0",
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harkara.runtime.serve", "message-state", env=environment
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            assert await asyncio.wait_for(started.wait(), 30) == 0


@pytest.mark.req("WHK-6")
async def test_killed_while_folding_and_started_again(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    settings = Settings(
        kafka=KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix),
        partitions=2,
        replication_factor=1,
        data_dir=tmp_path,
    )
    await ensure_topics(settings)
    seed = 7
    events = [each for message in range(MESSAGES) for each in life_of(message)]
    random.Random(seed).shuffle(events)
    await feed(settings, events[: len(events) // 2])
    async with process(settings) as first:

        async def under_way() -> bool:
            return len(await states(settings)) > 50

        await eventually(under_way, timeout_seconds=60)
        first.kill()
        assert await first.wait() == -9
    await feed(settings, events[len(events) // 2 :])
    async with process(settings):

        async def all_read() -> bool:
            found = await states(settings)
            return len(found) == MESSAGES and all(len(state.first_seen) == 9 for state in found.values())

        await eventually(all_read, timeout_seconds=90, every=1.0)
    assert {state.status for state in (await states(settings)).values()} == {"read"}, f"seed {seed}"
