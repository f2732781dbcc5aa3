"""A dispatcher is told to stop while calls are under way; its successor starts where it left."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass

import orjson

from harkara.contracts.partition import partition_for
from tests.chaos.freezes import FAST, SESSION_SECONDS
from tests.chaos.ground import Ground, Round
from tests.chaos.verdict import Verdict
from tests.integration.dispatcher.stack import NUMBERS, ONE, PARTITIONS, Process
from tests.support.wait import eventually

LATENCY_MS = 800  # a stop finds a good many calls under way
RATE, MESSAGES = 40, 600  # three homes, four numbers at 40/s: the stop comes in the middle of five seconds of work
LEAVES_WITHIN_SECONDS = 25.0  # a component's grace; Kubernetes grants 60
NOTICED_SECONDS = 0.5  # from the signal until no lane starts a call any more, on a busy machine
BOOT_SECONDS = 15.0  # a process that boots beside a test run, and its first commits


@dataclass(frozen=True, slots=True)
class Stop:
    """A graceful stop, in seconds. `begun`: calls by the numbers of the lanes that are left, begun after the signal had
    been noticed and before the exit, which until then nobody else may make; `doubted`: messages in
    doubt at the exit; `pause`: from the exit to the next call, by the heir; `within`: what that may take."""

    kind: str
    exit_code: int
    leaving: float
    begun: int
    doubted: int
    pause: float
    within: float
    verdict: Verdict

    @property
    def holds(self) -> bool:
        """In order, in time, nothing begun, nothing in doubt, nothing lost or doubled."""
        in_order = self.exit_code == 0 and not self.begun and not self.doubted
        return self.verdict.holds and in_order and self.leaving < LEAVES_WITHIN_SECONDS and self.pause < self.within

    def __str__(self) -> str:
        return (
            f"{self.kind}: exit {self.exit_code} {self.leaving:.1f} s after SIGTERM, {self.begun} calls begun and "
            f"{self.doubted} in doubt; the next call came {self.pause:.1f} s later; {self.verdict}"
        )


async def restart(on: Ground) -> Stop:
    """A process of the same name comes after it, as in a rolling update."""
    async with on.round(latency_ms=LATENCY_MS) as running:
        running.governed(per_second=RATE)
        leaving = await running.stack.dispatcher("dispatcher-0", **FAST)
        return await _stopped(running, leaving, None, set(NUMBERS), "restart in place", BOOT_SECONDS)


async def takeover(on: Ground) -> Stop:
    """Another process, there already, takes the lanes: a static member's are free when its session ends."""
    async with on.round(latency_ms=LATENCY_MS) as running:
        running.governed(per_second=RATE)
        first = await running.stack.dispatcher("dispatcher-0", **FAST)
        second = await running.stack.dispatcher("dispatcher-1", **FAST)
        await eventually(lambda: _are_shared(first, second), BOOT_SECONDS + SESSION_SECONDS)
        seconds = {number for number, home in NUMBERS.items() if partition_for(home, PARTITIONS) in _taken(second)}
        leaving, heir, own = (second, first, seconds) if ONE in seconds else (first, second, set(NUMBERS) - seconds)
        return await _stopped(running, leaving, heir, own, "takeover", SESSION_SECONDS + BOOT_SECONDS)


async def _are_shared(first: Process, second: Process) -> bool:
    lanes = [await each.metric("harkara_dispatcher_lanes") for each in (first, second)]
    return min(lanes) > 0 and sum(lanes) == PARTITIONS


def _taken(process: Process) -> set[int]:
    """The lanes that it ever took."""
    lines = [orjson.loads(line) for line in process.log.read_bytes().splitlines() if line.startswith(b"{")]
    return {line["partition"] for line in lines if line["event"] == "lane_taken"}


async def _stopped(
    running: Round, leaving: Process, heir: Process | None, numbers: set[str], kind: str, within: float
) -> Stop:
    """`numbers`: those of the lanes that are left."""
    await running.send("load", MESSAGES)
    await eventually(lambda: _accepted(running, MESSAGES // 6), 60)
    asked = time.time()
    leaving.signal(signal.SIGTERM)
    code = await leaving.ended()
    left = time.time()
    statuses = list((await running.stack.statuses()).values())
    before = [at for number, at in await _calls(running) if number in numbers]
    begun = sum(asked + NOTICED_SECONDS < at <= left for at in before)
    assert any(at <= asked for at in before), "the lanes that were left had sent nothing"
    if heir is None:
        await running.stack.dispatcher("dispatcher-0", **FAST)
    verdict = await running.concluded()
    pause = _longest_pause(await _calls(running), left)
    return Stop(kind, code, left - asked, begun, statuses.count("in_doubt"), pause, within, verdict)


async def _accepted(running: Round, count: int) -> bool:
    return len(await running.stack.ledger()) >= count


async def _calls(running: Round) -> list[tuple[str, float]]:
    """(number, Unix seconds) of every accepted call, in order."""
    return [(entry["phone_number_id"], entry["accepted_at_ms"] / 1000) for entry in await running.stack.ledger()]


def _longest_pause(calls: list[tuple[str, float]], since: float) -> float:
    """From then to the next call of each number that had more to send: the longest."""
    following: dict[str, float] = {}
    for number, at in calls:
        if at > since:
            following.setdefault(number, at - since)
    return max(following.values())
