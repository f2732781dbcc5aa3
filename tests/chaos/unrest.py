"""Processes come and go every five seconds under load, and the broker dies under them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from harkara.devstack.kafka_server import EmbeddedKafka
from tests.chaos.freezes import FAST
from tests.chaos.ground import Ground, Round
from tests.chaos.verdict import Verdict
from tests.integration.dispatcher.stack import Process
from tests.support.wait import eventually

BOOT_SECONDS = 30.0  # beside a whole test run
LATENCY_MS = 200  # calls are under way at every moment
STEP_SECONDS = 5.0
STEPS = ("+1", "+2", "-2", "-1")  # 1, 2, 3, 2, 1 processes
WAVE_SECONDS, WAVE = 0.5, 15  # 30 messages a second while processes come and go
OUTAGE_LOAD, OUTAGE_RATE = 600, 5  # 600 messages of three homes, four numbers at 5/s: half a minute of work
OUTAGE_SECONDS = 3.0
SILENCE_SECONDS = 16.0  # session, transaction and commit end after 6, 5 and 10 s
RUSH, RUSH_AT_ONCE = 9000, 1000  # a third for each of three lanes, which have room for 2,000
ENDS = ("lived on", "ended by itself")
TERMINATION_GRACE_SECONDS = 60.0  # Kubernetes kills after it


@dataclass(frozen=True, slots=True)
class Unrest:
    """What came of one kind of unrest."""

    kind: str
    told: str
    verdict: Verdict

    @property
    def holds(self) -> bool:
        """As the verdict."""
        return self.verdict.holds

    def __str__(self) -> str:
        return f"{self.kind}: {self.told}; {self.verdict}"


async def rebalances(on: Ground, cycles: int, tell: Callable[[str], None]) -> Unrest:
    """One process, then two, three, two, one, a step every five seconds; every other one that goes is killed."""
    async with on.round(latency_ms=LATENCY_MS) as running:
        await running.stack.dispatcher("dispatcher-0", **FAST)
        stopping = asyncio.Event()
        load = asyncio.create_task(_load(running, stopping))
        others: dict[str, Process] = {}
        try:
            for turn in range(cycles * len(STEPS)):
                tell(f"rebalances: {STEPS[turn % len(STEPS)]} process, {len(running.homes)} messages so far")
                await _step(on, running, STEPS[turn % len(STEPS)], others, kill=turn % 8 in (2, 7))
                await asyncio.wait([load], timeout=STEP_SECONDS)
        finally:
            stopping.set()
            await load
        return Unrest("rebalances", f"{cycles * len(STEPS)} steps", await running.concluded())


async def _step(on: Ground, running: Round, step: str, others: dict[str, Process], *, kill: bool) -> None:
    name = f"dispatcher-{step[1]}"
    if step[0] == "+":
        others[name] = await on.start(running, name, **FAST)
        return
    leaving = others.pop(name)
    await eventually(lambda: _is_up(leaving), BOOT_SECONDS)  # until then SIGTERM ends it as it ends any process
    leaving.signal(signal.SIGKILL if kill else signal.SIGTERM)
    code = await leaving.ended()
    assert code == (-signal.SIGKILL if kill else 0), leaving.log.read_text()[-4000:]
    running.stack.processes.remove(leaving)


async def _is_up(process: Process) -> bool:
    try:
        return await process.metric("harkara_dispatcher_lanes") >= 0
    except httpx.TransportError:
        return False


async def _load(running: Round, stopping: asyncio.Event) -> None:
    wave = 0
    while not stopping.is_set():
        await running.send(f"wave-{wave:03}", WAVE)
        wave += 1
        try:
            await asyncio.wait_for(stopping.wait(), WAVE_SECONDS)
        except TimeoutError:
            continue


async def outages(on: Ground, times: int, tell: Callable[[str], None]) -> Unrest:
    """The broker is killed under load and comes back a little later; a dispatcher that ended is started again, as
    Kubernetes does."""
    assert on.broker is not None, "somebody else's broker is not killed"
    async with on.round(latency_ms=LATENCY_MS) as running:
        running.governed(per_second=OUTAGE_RATE)
        process, ends = await running.stack.dispatcher("dispatcher-0", **FAST), 0
        await running.send("load", OUTAGE_LOAD)
        for turn in range(times):
            progress = len(await running.stack.ledger())
            await eventually(lambda before=progress: _has_gone_on(running, before), 90)
            process, ended, accepted = await _outage(on.broker, running, process)
            tell(f"outages: broker killed for the {turn + 1}. time, {accepted} accepted")
            ends += ended
        verdict = await running.concluded()
        return Unrest("outages", f"broker killed {times} times, {ends} dispatchers ended by themselves", verdict)


async def _outage(broker: EmbeddedKafka, running: Round, process: Process) -> tuple[Process, bool, int]:
    """The broker dies and comes back a little later: the dispatcher, whether it is another one, and how many calls were
    accepted when the broker had died."""
    broker.kill()
    accepted = len(await running.stack.ledger())
    await asyncio.wait([asyncio.create_task(process.process.wait())], timeout=OUTAGE_SECONDS)
    broker.spawn()
    await asyncio.to_thread(broker.wait_ready)
    if process.process.returncode is None:
        return process, False, accepted
    return await running.stack.dispatcher("dispatcher-0", **FAST), True, accepted


async def rush(on: Ground) -> Unrest:
    """More orders wait than the lanes take at once when the broker dies; then a second process comes."""
    assert on.broker is not None, "somebody else's broker is not killed"
    async with on.round() as running:
        for part in range(RUSH // RUSH_AT_ONCE):
            await running.send(f"rush-{part:02}", RUSH_AT_ONCE)
        process = await running.stack.dispatcher("dispatcher-0", **FAST)
        await eventually(running.has_begun, 30, every=0.01)
        _, ended, accepted = await _outage(on.broker, running, process)
        await eventually(lambda: _has_gone_on(running, accepted), 90)
        await running.stack.dispatcher("dispatcher-1", **FAST)
        told = f"{RUSH} messages, {accepted} accepted when the broker died, the dispatcher {ENDS[ended]}"
        return Unrest("rush", told, await running.concluded())


async def frozen_broker(on: Ground) -> Unrest:
    """The broker falls silent, as behind a broken network, for longer than a session and a commit last."""
    assert on.broker is not None and on.broker.pid is not None, "somebody else's broker is not frozen"
    async with on.round(latency_ms=LATENCY_MS) as running:
        running.governed(per_second=OUTAGE_RATE)
        process = await running.stack.dispatcher("dispatcher-0", **FAST)
        await running.send("load", OUTAGE_LOAD)
        await eventually(lambda: _has_gone_on(running, 0), 90)
        os.kill(on.broker.pid, signal.SIGSTOP)
        try:
            await asyncio.wait([asyncio.create_task(process.process.wait())], timeout=SILENCE_SECONDS)
            accepted = len(await running.stack.ledger())
        finally:
            os.kill(on.broker.pid, signal.SIGCONT)
        ended = 0

        async def goes_on() -> bool:
            """Started again where it ended, as its supervisor would: maybe only once the broker answers again, and says
            that the member of before is fenced."""
            nonlocal process, ended
            if process.process.returncode is not None:
                ended += 1
                process = await running.stack.dispatcher("dispatcher-0", **FAST)
            return await _has_gone_on(running, accepted)

        await eventually(goes_on, 90)
        assert ended <= 1, "one that was started again lives on"
        return Unrest("frozen broker", f"the dispatcher {ENDS[ended > 0]}", await running.concluded())


async def stop_in_an_outage(on: Ground) -> Unrest:
    """Told to stop while the broker is dead: it ends in time all the same, and its successor goes on."""
    assert on.broker is not None, "somebody else's broker is not killed"
    async with on.round(latency_ms=LATENCY_MS) as running:
        running.governed(per_second=OUTAGE_RATE)
        process = await running.stack.dispatcher("dispatcher-0", **FAST)
        await running.send("load", OUTAGE_LOAD)
        await eventually(lambda: _has_gone_on(running, 0), 90)
        on.broker.kill()
        asked = time.monotonic()
        process.signal(signal.SIGTERM)
        code = await process.ended(TERMINATION_GRACE_SECONDS)
        seconds = time.monotonic() - asked
        on.broker.spawn()
        await asyncio.to_thread(on.broker.wait_ready)
        running.stack.processes.remove(process)
        await running.stack.dispatcher("dispatcher-0", **FAST)
        verdict = await running.concluded()
        return Unrest("stop in an outage", f"exit {code} {seconds:.1f} s after SIGTERM", verdict)


async def _has_gone_on(running: Round, before: int) -> bool:
    return len(await running.stack.ledger()) >= before + OUTAGE_LOAD // 10
