"""The longest call that the policy allows hangs while its dispatcher is stopped, or gives its lanes to another one:
both wait for it, nothing is in doubt that need not be, and no process is given up by its group or by itself."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from harkara.policy.sections import LONGEST_REQUEST_SECONDS
from harkara.runtime.service import GRACE_SECONDS
from tests.integration.dispatcher.sick_numbers import change, govern
from tests.integration.dispatcher.stack import ONE, TWO, Process, Stack, order, stack
from tests.support.wait import eventually

HANGS = "message-hangs"


async def with_a_hanging_call(made: Stack) -> Process:
    """A dispatcher whose call the far side has taken and never answers."""
    govern(made, {}, request_timeout_seconds=LONGEST_REQUEST_SECONDS)
    process = await made.dispatcher()
    await change(made, f"numbers/{ONE}", fate="hang_after")
    await made.send([order(HANGS)])

    async def it_is_there() -> bool:
        return HANGS in await made.accepted()

    await eventually(it_is_there, timeout_seconds=30)
    await change(made, f"numbers/{ONE}", fate="")
    return process


@pytest.mark.req("FHL-9")
async def test_a_stop_waits_for_it_and_ends_in_order(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        process, began = await with_a_hanging_call(made), time.monotonic()
        process.signal(signal.SIGTERM)
        assert await process.ended(GRACE_SECONDS + 15.0) == 0, process.log.read_text()[-3000:]
        took = time.monotonic() - began
        assert "component_did_not_stop" not in process.log.read_text()
        print(f"stopped {took:.1f} s after SIGTERM, with a call of {LONGEST_REQUEST_SECONDS:g} s under way")
        assert (await made.statuses())[HANGS] == "in_doubt", "its outcome was journaled by the one who made the call"


@pytest.mark.req("FHL-9")
async def test_a_rebalance_waits_for_it_and_ends_nobody(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        first = await with_a_hanging_call(made)
        second = await made.start("dispatcher", "dispatcher-1")
        await eventually(second.ready, timeout_seconds=90, every=0.5)
        await eventually(first.ready, timeout_seconds=30, every=0.5)
        assert first.process.returncode is None and second.process.returncode is None
        people = {ONE: "+919999950051", TWO: "+919999950052"}  # whose calls the simulator simply takes
        later = [order(f"message-later-{number}", (number,), to=to) for number, to in people.items()]
        await made.send(later)
        await eventually(lambda: made.all_are([each.message_id for each in later], "submitted"), timeout_seconds=60)
        assert (await made.statuses())[HANGS] == "in_doubt"
        assert max((await made.accepted()).values()) == 1
