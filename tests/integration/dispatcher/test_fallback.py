"""Meta fails the first content, and the other goes: by real webhooks, and over a kill between the two calls."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.intents import Candidate, FallbackPlan, Text
from harkara.contracts.topics import MESSAGE_LIFECYCLE
from tests.integration.dispatcher.stack import ONE, TWO, Stack, free_port, order, stack
from tests.integration.dispatcher.webhooks import fate, ingestion, webhooks_to
from tests.support.wait import eventually

BETWEEN_CALLS_MS = 5000
"""So long the second call waits for its number's pace: long enough to be killed in."""


def slow_down(made: Stack) -> None:
    path = made.folder / "governance.yaml"
    text = path.read_text("utf-8").replace("    token_env:", "    profile: slow\n    token_env:")
    slow = f"{{per_second: 10, base_delay_ms: {BETWEEN_CALLS_MS}}}"
    path.write_text(f"{text}\nprofiles: {{slow: {slow}}}\n", "utf-8")


def by(number: str) -> dict[str, Any]:
    plan = (Candidate(phone_number_id=number, form="session"),)
    return {"fallback": FallbackPlan(plan=plan, session=Text(body="Your document is at our desk."))}


@pytest.mark.req("RTW-7", "FHL-9")
async def test_the_other_content_goes_once_over_a_kill_between_the_failure_and_its_call(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    port = free_port()
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **webhooks_to(port)) as made:
        slow_down(made)
        await ingestion(made, port)
        await fate(made, ONE, "failed_131053")
        dying = await made.dispatcher()
        await made.send([order("message-1", (ONE,), **by(ONE)), order("message-2", (TWO,), **by(TWO))])

        async def goes_on() -> bool:
            attempts = (await made.states()).get("message-1", {}).get("attempts", {})
            return "2" in attempts and attempts["1"]["status"] == "failed"

        await eventually(goes_on, timeout_seconds=20)
        await fate(made, ONE, "delivered_only")
        dying.signal(signal.SIGKILL)
        assert await dying.ended() == -signal.SIGKILL
        assert await made.accepted() == {"message-1": 1, "message-2": 1}
        await made.dispatcher()
        await eventually(lambda: made.all_are(["message-1", "message-2"], "delivered", "read"), timeout_seconds=40)
        state = (await made.states())["message-1"]
        reason = next(each.reason for each in await _told(made) if each.reason is not None)
        contents = [(entry["opaque"], entry["template"]) for entry in await made.ledger()]
        assert sorted(contents) == [
            ("message-1.1", "daily_update"), ("message-1.2", None), ("message-2.1", "daily_update"),
        ]  # fmt: skip
        assert (state["attempt"], state["duplicate"], state["attempts"]["1"]["error_code"]) == (2, False, 131053)
        assert (reason.code, reason.details["because"]) == ("fallback_content", "131053")


async def _told(made: Stack) -> list[Any]:
    """The lane's own words on the second attempt."""
    return [e for e in await made.events(MESSAGE_LIFECYCLE) if e.message_id == "message-1" and e.attempt == 2]
