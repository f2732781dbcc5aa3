"""message-state killed in the middle of its work: its next process leaves every message in its one true state."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harkara.message_state.settings import Settings
from tests.integration.message_state.test_message_state import feed, life_of, states
from tests.support.services import isolated, service_process
from tests.support.wait import eventually

MESSAGES = 300


@pytest.mark.req("WHK-6")
async def test_killed_while_folding_and_started_again(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    settings = await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path)
    log_file = tmp_path / "message-state.log"
    seed = 7
    events = [each for message in range(MESSAGES) for each in life_of(message)]
    random.Random(seed).shuffle(events)
    await feed(settings, events[: len(events) // 2])
    async with service_process("message-state", settings, {}, log_file) as first:

        async def under_way() -> bool:
            return len(await states(settings)) > 50

        await eventually(under_way, timeout_seconds=60)
        first.kill()
        assert await first.wait() == -9
    await feed(settings, events[len(events) // 2 :])
    async with service_process("message-state", settings, {}, log_file):

        async def all_read() -> bool:
            found = await states(settings)
            return len(found) == MESSAGES and all(len(state.first_seen) == 9 for state in found.values())

        await eventually(all_read, timeout_seconds=90, every=1.0)
    assert {state.status for state in (await states(settings)).values()} == {"read"}, f"seed {seed}"
