"""A round pauses after each millisecond of its work, and not more often."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from harkara.dispatcher.breath import LONGEST_SECONDS, Breath
from harkara.runtime.clock import ManualClock


async def test_what_is_ready_runs_once_a_millisecond_is_over_and_then_it_begins_anew() -> None:
    clock, ran = ManualClock(datetime(2027, 1, 15, tzinfo=UTC)), list[str]()
    breath = Breath(clock)
    clock.advance(1.0)
    assert breath.start() == clock.monotonic()
    asyncio.get_running_loop().call_soon(ran.append, "a call")
    clock.advance(LONGEST_SECONDS / 2)
    await breath.take()
    assert not ran, "too early, counted from the start of the round"
    clock.advance(LONGEST_SECONDS)
    await breath.take()
    assert ran == ["a call"]
    asyncio.get_running_loop().call_soon(ran.append, "the next")
    await breath.take()
    assert ran == ["a call"], "it paused just now"
