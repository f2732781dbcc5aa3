"""A lane whose owner was away while many statuses came: what is in doubt waits until they are read."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import MESSAGE_LIFECYCLE
from tests.integration.dispatcher.stack import ONE, order, stack
from tests.support.wait import eventually

BEFORE = 25_000  # statuses of nobody: several seconds of reading, on any machine longer than DOUBT_SECONDS
DOUBT_SECONDS = 1


@pytest.mark.req("B1", "B4")
async def test_an_echo_behind_thousands_of_statuses_is_read_before_a_doubt_ends(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, HARKARA_SIM_LATENCY_MS="3000") as made:
        policy = tmp_path / "governance.yaml"
        policy.write_text(policy.read_text("utf-8").replace("utility: 12", f"utility: {DOUBT_SECONDS}"), "utf-8")
        owner = await made.dispatcher()
        await made.send([order("message-1")])

        async def called() -> bool:
            return bool(await made.ledger())

        await eventually(called)
        owner.signal(signal.SIGKILL)
        await owner.ended()
        status = MessageLifecycle(
            message_id="of-nobody", home=ONE, status="delivered", attempt=1, wamid="wamid.1", at=datetime.now(UTC)
        )
        for _ in range(0, BEFORE, 1000):
            await made.write(MESSAGE_LIFECYCLE, [(ONE, ONE, status, None)] * 1000)
        (entry,) = await made.ledger()
        await made.echo("message-1", ONE, 1, entry["wamid"])
        await made.dispatcher()

        async def told() -> list[str]:
            return [each.status for each in await made.events(MESSAGE_LIFECYCLE) if each.message_id == "message-1"]

        async def settled() -> bool:
            return "submitted" in await told()

        await eventually(settled, timeout_seconds=60, every=1.0)
        said = await told()
        assert "in_doubt" in said and "unknown" not in said
        assert await made.accepted() == {"message-1": 1}
