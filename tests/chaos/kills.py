"""The dispatcher dies again and again: before the N-th network call of each kind, and at each named failpoint.

Kills come in chains: the process that recovers from one death is the one that dies next, in its recovery or in its
work, so a round of twenty deaths is also twenty recoveries from states that no clean run makes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from harkara.dispatcher.failpoints import POINTS
from tests.chaos.ground import Ground, Round
from tests.chaos.syscalls import CALLS, all_calls, begun, calls, front, kill_before, reached, slowed
from tests.chaos.verdict import Verdict
from tests.integration.dispatcher.stack import Process
from tests.support.wait import eventually

WAVE = 45  # messages that wait when a process starts: fifteen a number, a fifth of a second at 80/s
WORK_MILLISECONDS = 2_000  # a process boots in half a second and works its wave off in another
PASSES = 5  # each failpoint kills at its first to its fifth pass,
INTAKES = 3  # but each lane takes its part of a wave in one round
REACH_SECONDS = 25.0  # an idle process still makes a few network calls a second; later than this the point is given up
FATES = {"response_lost": 0.02, "cut_answer": 0.02, "hang_after": 0.01, "transient_131016_once": 0.03}
"""What the far side does meanwhile: answers that leave the attempt in doubt, and refusals that are tried again."""
CANCELS = 6  # of all messages so far, asked for before each start: most of them come too late
BROKER, AROUND, LATE = "broker", "around", "late"
ECHOED_SHARE = 0.3  # of what was accepted, told by a status between two deaths: echoes are recovered from as well


@dataclass(frozen=True, slots=True)
class Syscall:
    """Die before this call. `peer`: whom the plan's own run spoke to there, "broker" or "graph"."""

    call: str
    nth: int
    peer: str

    def __str__(self) -> str:
        return f"{self.call}:{self.nth}"


@dataclass(frozen=True, slots=True)
class Nth:
    """Die within a few milliseconds of this call to the broker, counted over all threads: what the front, the busiest
    thread, is not doing then. The calls are held for a moment, so most of these deaths are before the call."""

    call: str
    overall: int

    def __str__(self) -> str:
        return f"{self.call}:overall-{self.overall}"


@dataclass(frozen=True, slots=True)
class Failpoint:
    """Die at this pass of a named place in the code."""

    name: str
    nth: int

    def __str__(self) -> str:
        return f"{self.name}:{self.nth}"


@dataclass(frozen=True, slots=True)
class Moment:
    """Die so many milliseconds after the start, whatever each thread is doing."""

    milliseconds: int

    def __str__(self) -> str:
        return f"moment:{self.milliseconds}"


Point = Syscall | Nth | Failpoint | Moment


@dataclass(frozen=True, slots=True)
class Death:
    """How one process ended. `where`: before a call to the broker, to the graph, or elsewhere (a file, a pipe); around
    a call to the broker (within milliseconds of it); at a failpoint; anywhere (at a moment); late (the point was not
    reached: it was killed in its idleness)."""

    point: str
    where: str


def moments(count: int, random: Random) -> list[Point]:
    """Moments from the first line of the process to the last outcome of its wave."""
    return [Moment(random.randrange(WORK_MILLISECONDS)) for _ in range(count)]


def failpoints() -> list[Point]:
    """Every named place at its first passes."""
    return [Failpoint(name, nth) for name in POINTS for nth in range(1, passes_of(name) + 1)]


def passes_of(name: str) -> int:
    """How often a short run passes the failpoint for certain, within reason."""
    return INTAKES if name == "after_intake" else PASSES


@dataclass(frozen=True, slots=True)
class Census:
    """What a short run calls: the points of the front on sockets to the broker and to the far side, and how many calls
    to the broker all threads make, by name."""

    points: list[Syscall]
    to_broker: Counter[str]

    def overall(self, count: int, random: Random) -> list[Point]:
        """About so many calls to the broker, of any thread, as many of each name."""
        share = count // len(self.to_broker)
        chosen = [(name, random.sample(range(1, most), min(share, most - 1))) for name, most in self.to_broker.items()]
        return [Nth(name, nth) for name, several in chosen for nth in several]


async def census(on: Ground) -> Census:
    """Of a run of one wave."""
    async with on.round() as running:
        log = running.stack.folder / "census.strace"
        await running.send("census", WAVE)
        traced = await on.start(running, trace=("-o", str(log), *all_calls()))
        await eventually(running.settled, REACH_SECONDS)
        traced.signal(signal.SIGKILL)
        await on.ended(traced, REACH_SECONDS)
        peers, lines = _peers(on, running), log.read_text().splitlines()
    points = [Syscall(each.name, each.nth, peers[each.peer]) for each in front(lines) if each.peer in peers]
    return Census(points, Counter(name for _, name, peer in calls(lines) if peers.get(peer) == "broker"))


def _peers(on: Ground, running: Round) -> dict[int | None, str]:
    return {on.port: "broker", running.stack.graph_port: "graph"}


def spread(points: Sequence[Syscall], most: int, random: Random) -> list[Point]:
    """At most so many of the census, as evenly over calls and peers as there are points; in random order."""
    groups: dict[tuple[str, str], list[Syscall]] = {}
    for point in points:
        groups.setdefault((point.call, point.peer), []).append(point)
    for group in groups.values():
        random.shuffle(group)
    taken: list[Point] = []
    while len(taken) < most and any(groups.values()):
        taken += [group.pop() for group in groups.values() if group]
    del taken[most:]
    random.shuffle(taken)
    return taken


@dataclass(frozen=True, slots=True)
class Chain:
    """What one round of deaths came to."""

    deaths: list[Death]
    verdict: Verdict

    @property
    def holds(self) -> bool:
        """As the verdict."""
        return self.verdict.holds

    def __str__(self) -> str:
        return f"{len(self.deaths)} kills; {self.verdict}"


async def chain(on: Ground, name: str, points: Sequence[Point], random: Random, tell: Callable[[str], None]) -> Chain:
    """One round: a wave of messages and a death per point, then a process that may live, then the verdict."""
    async with on.round(fates=FATES) as running:
        deaths: list[Death] = []
        told = 0
        for index, point in enumerate(points):
            await running.cancel(random.sample(list(running.homes), CANCELS if running.homes else 0))
            await running.send(f"{name}-{index:02}", WAVE)
            deaths.append(await _die(on, running, point))
            told = await _tell_some(running, told, random)
            tell(f"{name} {index + 1}/{len(points)}: {point} died at {deaths[-1].where}")
        await on.start(running)
        return Chain(deaths, await running.concluded())


async def _die(on: Ground, running: Round, point: Point) -> Death:
    match point:
        case Syscall():
            code, where = await _die_before(on, running, point)
        case Nth():
            code, where = await _die_at_nth(on, running, point)
        case Failpoint():
            dying = await on.start(running, HARKARA_FAILPOINTS=f"{point.name}:{point.nth}:kill")
            code, where = await _end(on, running, dying, REACH_SECONDS, "failpoint", LATE)
        case Moment():
            dying = await on.start(running)
            code, where = await _end(on, running, dying, point.milliseconds / 1000, "anywhere", "anywhere")
    assert code == -signal.SIGKILL, f"{point}: the process ended by itself with {code}"
    return Death(str(point), where)


async def _die_before(on: Ground, running: Round, point: Syscall) -> tuple[int, str]:
    log = running.stack.folder / "point.strace"
    dying = await on.start(running, trace=("-o", str(log), *kill_before(point.call, point.nth)))
    code, where = await _end(on, running, dying, REACH_SECONDS, "", LATE)
    if not where:
        with log.open() as lines:
            call = reached(lines, point.call, point.nth)
        where = "elsewhere" if call is None else _peers(on, running).get(call.peer, "elsewhere")
    return code, where


async def _die_at_nth(on: Ground, running: Round, point: Nth) -> tuple[int, str]:
    dying = await on.start(running, trace=slowed(point.call))
    tracer = on.tracers[dying.process.pid]
    try:
        async with asyncio.timeout(REACH_SECONDS):
            where = AROUND if await begun(tracer, on.port, point.overall) else LATE
    except TimeoutError:
        where = LATE
    os.kill(dying.process.pid, signal.SIGKILL)  # at once: by way of the nursery it would be a millisecond later
    code, _ = await _end(on, running, dying, REACH_SECONDS, where, LATE)
    return code, where


async def _end(
    on: Ground, running: Round, dying: Process, seconds: float, where: str, otherwise: str
) -> tuple[int, str]:
    """Its exit code and `where`; after so many seconds it is killed, `otherwise`."""
    try:
        code = await on.ended(dying, seconds)
    except TimeoutError:
        dying.signal(signal.SIGKILL)
        code, where = await on.ended(dying, REACH_SECONDS), otherwise
    running.stack.processes.remove(dying)
    return code, where


async def _tell_some(running: Round, told: int, random: Random) -> int:
    """Statuses of Meta for some of what was accepted since the last time."""
    entries = await running.stack.ledger()
    for entry in entries[told:]:
        if random.random() < ECHOED_SHARE:
            message_id, _, attempt = str(entry["opaque"]).rpartition(".")
            await running.stack.echo(message_id, running.homes[message_id], int(attempt), entry["wamid"])
    return len(entries)


def table(deaths: Sequence[Death]) -> list[str]:
    """Deaths by call and place, one line each."""
    counted = Counter((death.point.partition(":")[0], death.where) for death in deaths)
    calls = [*CALLS, *POINTS, "moment"]
    rows = sorted(counted.items(), key=lambda row: (calls.index(row[0][0]), row[0][1]))
    return [f"  {call:<22} {where:<10} {count:>4}" for (call, where), count in rows]
