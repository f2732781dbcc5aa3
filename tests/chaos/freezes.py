"""A process is frozen past its session's end and wakes up: at every failpoint with an heir at work, and once alone."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

import httpx
from confluent_kafka.admin import AdminClient

from tests.chaos.ground import Ground, Round, is_stopped
from tests.chaos.verdict import Verdict
from tests.integration.dispatcher.stack import PARTITIONS, Process
from tests.support.wait import eventually

SESSION_SECONDS = 6.0  # the shortest that a broker grants by default
FAST = {"HARKARA_GROUP_SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS)}
BEFORE, AFTER = 90, 30  # messages: a good part of a second of work, and enough to see that every lane goes on
FROZEN_AT_PASS = 2
LEASE_SECONDS = 2.0
JOURNAL_TO_CALL = "harkara_dispatcher_journal_to_call_seconds"
TAKEOVER_SECONDS = 90.0  # session, transaction and fencing pauses are 6, 5 and 12 s


@dataclass(frozen=True, slots=True)
class Freeze:
    """What came of one. `overdue`: calls that began although their lease had run out. `late`: attempts of before the
    awakening that reached the far side after it: checked, frozen, and only then written to the socket."""

    point: str
    overdue: int
    late: int
    told: str
    verdict: Verdict

    @property
    def holds(self) -> bool:
        """A late call is what no lease can prevent; it is in doubt by name, and must not be a second one."""
        return self.verdict.holds and not self.overdue

    def __str__(self) -> str:
        return f"{self.point}: {self.overdue} overdue and {self.late} late calls, {self.told}; {self.verdict}"


async def freeze(on: Ground, point: str) -> Freeze:
    """Frozen at the point; another process takes its lanes and works; then it wakes up, and both go on."""
    async with on.round() as running:
        frozen = await _frozen_at(running, point)
        heir = await running.stack.dispatcher("dispatcher-1", **FAST)
        await eventually(lambda: _lanes_are(PARTITIONS, heir), TAKEOVER_SECONDS)
        await eventually(running.settled, TAKEOVER_SECONDS, every=0.5)
        known = await _attempts(running)
        frozen.signal(signal.SIGCONT)
        await eventually(lambda: _lanes_are(PARTITIONS, frozen, heir), TAKEOVER_SECONDS, every=0.5)
        await running.send("after", AFTER)
        verdict = await running.concluded()
        late = sum(attempt.startswith("before") for attempt in await _attempts(running) - known)
        return Freeze(point, await _overdue(frozen), late, _told(frozen), verdict)


async def freeze_alone(on: Ground, point: str) -> Freeze:
    """Nobody takes its lanes meanwhile: once awake it takes them again itself, and sends what it had not begun."""
    async with on.round() as running:
        frozen = await _frozen_at(running, point)
        group = running.stack.settings.kafka.group("dispatcher")
        admin = AdminClient(running.stack.settings.kafka.librdkafka_options() | {"log_level": 2})
        await eventually(lambda: _nobody_in(admin, group), TAKEOVER_SECONDS, every=0.5)
        frozen.signal(signal.SIGCONT)
        await eventually(lambda: _lanes_are(PARTITIONS, frozen), TAKEOVER_SECONDS, every=0.5)
        await running.send("after", AFTER)
        verdict = await running.concluded()
        return Freeze(f"{point}, alone", await _overdue(frozen), 0, _told(frozen), verdict)


async def _frozen_at(running: Round, point: str) -> Process:
    armed = f"{point}:{FROZEN_AT_PASS}:stop"
    frozen = await running.stack.dispatcher("dispatcher-0", HARKARA_FAILPOINTS=armed, **FAST)
    await running.send("before", BEFORE)
    await eventually(lambda: is_stopped(frozen), TAKEOVER_SECONDS)
    return frozen


async def _attempts(running: Round) -> set[str]:
    return {str(entry["opaque"]) for entry in await running.stack.ledger()}


async def _overdue(process: Process) -> int:
    """Lease checks that were passed later after their decision than the lease lasts; 0 where the process has ended."""
    if process.process.returncode is not None:
        return 0
    within = await process.metric(f'{JOURNAL_TO_CALL}_bucket{{le="{LEASE_SECONDS}"}}')
    return int(await process.metric(f"{JOURNAL_TO_CALL}_count") - within)


async def _lanes_are(wanted: int, *processes: Process) -> bool:
    """Whether these processes, as far as they live, have so many lanes together."""
    alive = [each for each in processes if each.process.returncode is None]
    try:
        return sum([await each.metric("harkara_dispatcher_lanes") for each in alive]) == wanted
    except httpx.TransportError:
        return False  # it ends, or is too busy to answer


async def _nobody_in(admin: AdminClient, group: str) -> bool:
    """Whether the group has dropped its last member."""
    future = admin.describe_consumer_groups([group])[group]
    found = await asyncio.to_thread(future.result, 10)
    return not found.members


def _told(process: Process) -> str:
    """What the awakened one said of itself."""
    log = process.log.read_text()
    words = [word for word in ("lane_fenced", "lanes_lost", "lane_broken") if word in log]
    return " and ".join(words) or "kept its lanes"
