"""The machine's clock is set while a dispatcher works, and once more while nobody does: it goes on at its pace."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from harkara.dispatcher.dispatcher import Dispatcher
from harkara.dispatcher.emitter import Emitter
from harkara.dispatcher.settings import Settings
from harkara.policy.governance import load
from harkara.runtime.clock import SystemClock
from harkara.runtime.service import Component
from tests.integration.dispatcher.sick_numbers import govern
from tests.integration.dispatcher.stack import NUMBERS, ONE, PARTITIONS, Stack, order, stack
from tests.support.wait import eventually

HOUR = 3600.0


@dataclass
class Settable(SystemClock):
    """The machine's clocks, of which somebody sets the wall's."""

    ahead: float = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


@asynccontextmanager
async def dispatching(made: Stack, clock: Settable) -> AsyncIterator[None]:
    """A dispatcher in this process, by that clock; stopped in order."""
    settings = Settings(
        kafka=made.settings.kafka,
        partitions=PARTITIONS,
        replication_factor=1,
        governance_file=made.folder / "governance.yaml",
        graph_base_url=f"http://127.0.0.1:{made.graph_port}",
        instance="dispatcher-0",
    )
    emitter = Emitter(settings, clock)
    dispatcher = Dispatcher(settings, load(settings.governance_file), emitter, clock)
    components: list[Component] = [dispatcher.denials.table, dispatcher.number_states.table, emitter, dispatcher]
    tasks = [asyncio.create_task(each.run()) for each in components]
    await eventually(lambda: not any(each.ready() for each in components), timeout_seconds=60)
    try:
        yield
    finally:
        for task in reversed(tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for lane in dispatcher._lanes.values():
            lane.abandon()  # its producer too: a process would end here


async def sent_in_time(made: Stack, names: list[str], within_seconds: float) -> float:
    """Each is sent; after how many seconds."""
    began = time.monotonic()
    life = 24 * HOUR  # deadlines are the wall's: an hour ahead, a short one is over
    await made.send([order(name, to=f"+9199999{67_000 + n}", life_seconds=life) for n, name in enumerate(names)])
    await eventually(lambda: made.all_are(names, "submitted"), timeout_seconds=within_seconds)
    return time.monotonic() - began


@pytest.mark.req("DSP-6")
async def test_a_clock_that_is_set_by_an_hour_neither_silences_a_number_nor_frees_its_windows(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in NUMBERS:
        monkeypatch.setenv(f"TOKEN_{number}", f"EAATEST-{number}")
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        govern(made, {ONE: "slow"})
        clock = Settable()
        async with dispatching(made, clock):
            await sent_in_time(made, ["message-before"], 20.0)
            for step in (-HOUR, 2 * HOUR, -HOUR):
                clock.ahead += step
                took = await sent_in_time(
                    made, [f"message-{clock.ahead:06.0f}-{step:.0f}-{n}" for n in range(10)], 20.0
                )
                print(f"after a step of {step:.0f} s: ten messages in {took:.1f} s")
        clock.ahead -= HOUR
        async with dispatching(made, clock):
            took = await sent_in_time(made, [f"message-restart-{n}" for n in range(10)], 20.0)
            print(f"after one that nobody saw: ten messages in {took:.1f} s")
        accepted = sorted(each["accepted_at_ms"] / 1000 for each in await made.ledger())
        assert len(accepted) == 41
        assert all(later - at > 0.9 for at, later in zip(accepted, accepted[10:], strict=False)), "ten a second"
