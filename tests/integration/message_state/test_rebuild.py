"""message-state rebuilt from the first record of its source gives the same bytes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harkara.contracts.topics import MESSAGE_LIFECYCLE, MESSAGE_STATE
from harkara.message_state.settings import Settings
from harkara.runtime.clock import SystemClock
from harkara.runtime.kafka import start_producer
from tests.integration.message_state.test_message_state import feed, life_of, projecting, states
from tests.support.kafka import read_all
from tests.support.services import isolated
from tests.support.wait import eventually

MESSAGES, SEED = 60, 20261121


async def copy_lifecycle(source: Settings, to: Settings) -> None:
    """The same records in the same partitions, with their timestamps and headers: what a rebuild reads."""
    producer = await start_producer(to)
    for record in await read_all(source.kafka.bootstrap, source.kafka.topic(MESSAGE_LIFECYCLE)):
        await producer.send(
            to.kafka.topic(MESSAGE_LIFECYCLE), record.value, record.key, record.partition, record.timestamp,
            list(record.headers),
        )  # fmt: skip
    await producer.stop()


async def rows(settings: Settings) -> dict[bytes, bytes]:
    """The newest bytes of each key of the published topic."""
    found = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_STATE)):
        found[record.key] = record.value
    return found


async def all_read(settings: Settings) -> bool:
    found = await states(settings)
    return len(found) == MESSAGES and all(len(state.first_seen) == 9 for state in found.values())


@pytest.mark.req("WHK-9")
async def test_a_rebuild_gives_the_same_bytes(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    first = await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path / "first")
    second = await isolated(Settings, kafka_bootstrap, f"{topic_prefix}again.", tmp_path / "second")
    events = [each for message in range(MESSAGES) for each in life_of(message)] * 2
    random.Random(SEED).shuffle(events)
    half = len(events) // 2
    await feed(first, events[:half])
    async with projecting(first, SystemClock()):  # stopped and started in between

        async def many() -> bool:
            return len(await states(first)) >= MESSAGES - 5

        await eventually(many, timeout_seconds=60, every=0.2)
    await feed(first, events[half:])
    async with projecting(first, SystemClock()):
        await eventually(lambda: all_read(first), timeout_seconds=60, every=0.2)
    await copy_lifecycle(first, second)
    async with projecting(second, SystemClock()):
        await eventually(lambda: all_read(second), timeout_seconds=60, every=0.2)
    assert await rows(second) == await rows(first), f"seed {SEED}"
