"""message-state notices silence: each message of which nothing is heard is marked once, also over a SIGKILL."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import MESSAGE_LIFECYCLE
from harkara.message_state.settings import Settings
from tests.integration.message_state.test_message_state import feed, states
from tests.support.kafka import read_all
from tests.support.services import GOVERNANCE_FILE, isolated, service_process
from tests.support.wait import eventually

MESSAGES = 400
LOST = 20  # one in so many had all its webhooks dropped
ENVIRONMENT = {"HARKARA_GOVERNANCE_FILE": str(GOVERNANCE_FILE), "HARKARA_LOOK_SECONDS": "0.2"}


def lives(first: int, until: int, submitted: datetime) -> list[MessageLifecycle]:
    """Accepted then; of every twentieth nothing more is heard."""
    found = []
    for message in range(first, until):
        fields: dict[str, Any] = {"message_id": f"m-{message:08d}", "attempt": 1, "wamid": f"wamid.{message}"}
        fields |= {"home": "100000000000001", "phone_number_id": "100000000000001", "category": "utility"}
        statuses = ["submitted"] if message % LOST == 0 else ["submitted", "sent", "delivered"]
        for step, status in enumerate(statuses):
            at = submitted + timedelta(seconds=step)
            found.append(MessageLifecycle.model_validate(fields | {"status": status, "at": at}))
    return found


async def marks(settings: Settings) -> Counter[str]:
    found: Counter[str] = Counter()
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_LIFECYCLE)):
        event = MessageLifecycle.model_validate_json(record.value)
        if event.status == "silent":
            assert event.reason is not None and event.reason.code == "status_missing", event.reason
            assert event.message_id is not None
            found[event.message_id] += 1
    return found


def silent(first: int, until: int) -> set[str]:
    return {f"m-{message:08d}" for message in range(first, until, LOST)}


@pytest.mark.req("B23")
async def test_a_lost_status_is_noticed_once_and_over_a_kill(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    settings = await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path)
    log_file, long_ago = tmp_path / "message-state.log", datetime.now(UTC) - timedelta(minutes=16)
    await feed(settings, lives(0, MESSAGES, long_ago))
    await feed(settings, lives(MESSAGES, MESSAGES + LOST + 1, datetime.now(UTC)))
    async with service_process("message-state", settings, ENVIRONMENT, log_file) as first:

        async def some() -> bool:
            return len(await marks(settings)) > 0

        await eventually(some, timeout_seconds=60, every=0.05)
        first.kill()
        assert await first.wait() == -9
    await feed(settings, lives(10_000, 10_000 + MESSAGES, long_ago))
    async with service_process("message-state", settings, ENVIRONMENT, log_file):
        wanted = silent(0, MESSAGES) | silent(10_000, 10_000 + MESSAGES)

        async def all_marked() -> bool:
            found = await states(settings)
            return {name for name, state in found.items() if "silent" in state.first_seen} >= wanted

        await eventually(all_marked, timeout_seconds=60, every=0.3)
    assert await marks(settings) == Counter(wanted), "each once, and none before its time"
    found = await states(settings)
    assert {found[each].status for each in wanted} == {"submitted"}, "a mark is no status"
