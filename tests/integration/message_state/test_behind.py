"""message-state finds an hour's backlog: each message ends in its one state, at the times when things happened."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.lifecycle import MessageState, advance
from harkara.message_state.settings import Settings
from harkara.runtime.clock import ManualClock
from tests.integration.message_state.test_message_state import AT, feed, life_of, projecting, states
from tests.support.backlog import HOUR, SEED, twice_and_mixed
from tests.support.services import isolated
from tests.support.wait import eventually

MESSAGES = 250


def true_state(message: int) -> dict[str, Any]:
    """What the join of the message's events gives, statuses without an id included."""
    state: dict[str, Any] | None = None
    for each in life_of(message):
        state = advance(state, each.model_copy(update={"message_id": f"m-{message:08d}"}))
    assert state is not None
    return state


@pytest.mark.req("WHK-5", "WHK-6")
async def test_an_hours_backlog(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    settings = await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path)
    await feed(settings, twice_and_mixed(each for message in range(MESSAGES) for each in life_of(message)))
    async with projecting(settings, ManualClock(AT + HOUR)):

        async def all_read() -> bool:
            found = await states(settings)
            return len(found) == MESSAGES and all(len(state.first_seen) == 9 for state in found.values())

        await eventually(all_read, timeout_seconds=60, every=0.5)
    found = await states(settings)
    for message in range(MESSAGES):
        state = found[f"m-{message:08d}"]
        wanted = MessageState.model_validate(true_state(message) | {"version": state.version})
        assert state == wanted, f"seed {SEED}"
        assert state.first_seen["read"] == AT + timedelta(seconds=8)
