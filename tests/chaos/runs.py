"""Runs are paused, resumed and cancelled at random moments, and now and then their dispatcher is killed (B15).

Runs over all senders: one that is only sent, one that is told to pause and resume again and again, and ones that are
cancelled on their way. The ledger tells who was called, how often, and when: each recipient exactly once, those of a
cancelled run at most once, and nobody while the run was paused.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from harkara.contracts.commands import RunWord, run_commands
from harkara.contracts.topics import SEND_COMMANDS
from tests.chaos.freezes import FAST
from tests.chaos.ground import SENDERS, Ground, Round
from tests.chaos.verdict import Verdict, message_of
from tests.integration.dispatcher.stack import NUMBERS, Process, order
from tests.support.wait import eventually

RATE = 25  # a second and number: what waits is never used up before the next word
MOST_AT_ONCE = 8  # orders that arrive at a moment
LONGEST_BETWEEN_SECONDS = 0.15
KILLED_AT = 0.03  # of the moments: each costs a start and a reading of the journals
CANCELLED_AT, CANCEL_SIZE = 0.05, 6
LONG_PAUSE_AT, LONG_PAUSE_SECONDS = 0.06, 1.6
OBEYED_SECONDS = (
    1.2  # from the word's acknowledgement until no call of its run reaches the simulator, on a busy machine
)
RECIPIENTS = 20_000  # invented numbers end in five digits; those of other parts begin further up
HOMES = sorted(set(NUMBERS.values()))


@dataclass
class Told:
    """What came of one campaign of words. `late`: calls of a paused run that came longer than OBEYED_SECONDS after the
    word; `resumed`: messages of the paused run that were sent in the end."""

    moments: int
    words: int
    kills: int
    cancelled_runs: int
    late: int
    pauses_watched: int
    verdict: Verdict

    @property
    def holds(self) -> bool:
        """Each recipient once, and a pause means it."""
        return self.verdict.holds and not self.late

    def __str__(self) -> str:
        return (
            f"{self.moments} moments: {self.words} words, {self.kills} kills, {self.cancelled_runs} runs cancelled; "
            f"{self.late} calls in {self.pauses_watched} watched pauses; {self.verdict}"
        )


@dataclass
class Campaign:
    """One of them under way."""

    on: Ground
    running: Round
    random: Random
    process: Process
    words: int = 0
    kills: int = 0
    cancels: int = 0
    paused: bool = False
    sent: int = 0
    of_run: dict[str, str] = field(default_factory=dict)
    quiet: list[tuple[float, float]] = field(default_factory=list)

    async def moment(self, tell: Callable[[str], None]) -> None:
        """Orders arrive, then one thing happens."""
        await self.send("told", self.random.randrange(MOST_AT_ONCE))
        await self.send("plain", self.random.randrange(3))
        chance = self.random.random()
        if chance < KILLED_AT:
            await self.kill(tell)
        elif chance < KILLED_AT + CANCELLED_AT:
            await self.cancel_one()
        elif chance < KILLED_AT + CANCELLED_AT + LONG_PAUSE_AT:
            await self.watch_a_pause()
        else:
            self.paused = not self.paused
            await self.word("pause_run" if self.paused else "resume_run", "told")
        await asyncio.sleep(self.random.uniform(0, LONGEST_BETWEEN_SECONDS))

    async def send(self, run_id: str, count: int) -> list[str]:
        """So many orders of a run, each to a recipient of its own."""
        orders = []
        for _ in range(count):
            self.sent += 1
            senders, to = SENDERS[self.sent % len(SENDERS)], f"+9199999{self.sent % RECIPIENTS + 20_000:05}"
            made = order(f"{run_id}-{self.sent:05}", senders, to=to, run_id=run_id)
            orders.append(made)
            self.running.homes[made.message_id] = made.home
            self.of_run[made.message_id] = run_id
        await self.running.stack.send(orders)
        return [each.message_id for each in orders]

    async def word(self, kind: RunWord, run_id: str) -> None:
        """To every lane of the run, acknowledged."""
        now = datetime.now(UTC)
        told = run_commands(kind, run_id, HOMES, accepted_at=now, actor="chaos", note="", now=now)
        await self.running.stack.write(SEND_COMMANDS, [(each.home, each.home, each, None) for each in told])
        self.words += 1

    async def cancel_one(self) -> None:
        """A run of its own, cancelled while some of it may be on its way."""
        self.cancels += 1
        run_id = f"cancelled-{self.cancels}"
        self.running.cancelled.update(await self.send(run_id, CANCEL_SIZE))
        await asyncio.sleep(self.random.uniform(0, LONGEST_BETWEEN_SECONDS))
        await self.word("cancel_run", run_id)

    async def watch_a_pause(self) -> None:
        """One that lasts so long that its silence can be heard."""
        await self.word("pause_run", "told")
        since = time.time()
        await asyncio.sleep(LONG_PAUSE_SECONDS)
        self.quiet.append((since + OBEYED_SECONDS, time.time()))
        self.paused = True

    async def kill(self, tell: Callable[[str], None]) -> None:
        """SIGKILL, and another process of the same name."""
        self.process.signal(signal.SIGKILL)
        await self.process.ended()
        self.process = await self.on.start(self.running, **FAST)
        await eventually(self.process.ready, 60)
        self.kills += 1
        tell(f"kill {self.kills}: {self.sent} messages so far")

    async def late_calls(self) -> int:
        """Calls of the paused run in the silences."""
        times = [
            entry["accepted_at_ms"] / 1000
            for entry in await self.running.stack.ledger()
            if self.of_run.get(message_of(entry)) == "told"
        ]
        return sum(since < at < until for at in times for since, until in self.quiet)


async def told_runs(on: Ground, moments: int, random: Random, tell: Callable[[str], None]) -> Told:
    """So many moments; then everything goes on, and the ledger judges."""
    async with on.round() as running:
        running.governed(per_second=RATE)
        process = await on.start(running, **FAST)
        await eventually(process.ready, 60)
        campaign = Campaign(on, running, random, process)
        for _ in range(moments):
            await campaign.moment(tell)
        await campaign.word("resume_run", "told")
        verdict = await running.concluded()
        return Told(
            moments, campaign.words, campaign.kills, campaign.cancels, await campaign.late_calls(),
            len(campaign.quiet), verdict,
        )  # fmt: skip
