"""What arrives at a lane - answers, refusals that stop numbers, records - and is decided upon at once, also while a
commit is under way: it rides in the next one, so that a round is hardly longer than its commit.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from harkara.dispatcher.barred import Bar, Barred
from harkara.dispatcher.breath import Breath
from harkara.dispatcher.calls import Calls, Settled
from harkara.dispatcher.commands import take_command
from harkara.dispatcher.core import ROUND, take_order
from harkara.dispatcher.inbox import CommandArrived, EchoArrived, Inbox, OrderArrived
from harkara.dispatcher.kinship import lined
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.settle import settle
from harkara.dispatcher.statuses import Statuses

HEARD_EVERY_SECONDS = 0.004  # of a commit, which mostly takes 5 to 20 ms
MOST_BESIDE_COMMIT = ROUND  # entries: while a broker is slow no transaction may grow until it takes too long itself


class Batch(NamedTuple):
    """What one commit writes, and what of it comes only once: a record is read again where the commit fails."""

    scribe: Scribe
    answers: list[Settled]
    bars: list[tuple[str, Bar]]


class Hearing:
    """Of one lane. `batch`: what is decided and not yet given to a commit."""

    def __init__(self, calls: Calls, inbox: Inbox, barred: Barred, around: Surroundings, scribe: Scribe) -> None:
        self._calls, self._inbox, self._barred, self._around = calls, inbox, barred, around
        self._statuses = Statuses(calls.barred)
        self.start(scribe)

    def start(self, scribe: Scribe) -> None:
        """From here on, with nothing heard before: the lane's state is another one."""
        self.batch = Batch(scribe, [], [])

    def turn(self, now: float) -> Batch:
        """What a commit takes along; whatever is decided from now on (Unix seconds) is the next one's."""
        taken, self.batch = self.batch, Batch(Scribe(self.batch.scribe.state, now), [], [])
        return taken

    def undo(self, failed: Batch) -> None:
        """The commit of this one failed, and all that was decided is forgotten: what came only once is to be heard
        again, by the state that is read back. An answer that was written after all finds nobody waiting for it."""
        self._calls.settled.extendleft(reversed([*failed.answers, *self.batch.answers]))
        for number, bar in [*failed.bars, *self.batch.bars]:
            self._barred.add(number, bar)
        self.start(self.batch.scribe)

    async def hear(self, breath: Breath, commit: asyncio.Future[None] | None = None) -> None:
        """Decide on everything that has arrived; while a `commit` is under way only until it has ended or enough is
        decided. Calls may start meanwhile: they are journaled, and what was just decided stands at their gate."""
        (scribe, answers, bars), around = self.batch, self._around
        while self._calls.settled and not self._enough(commit):
            each = self._calls.settled.popleft()
            answers.append(each)
            settle(scribe, around, each.message_id, each.attempt, each.outcome)
            await breath.take()
        bars += self._barred.write(scribe, around)
        for arrival in () if self._enough(commit) else self._inbox.take():
            match arrival:
                case OrderArrived(order, trace):
                    take_order(scribe, lined(order, scribe.state, around), trace)
                case CommandArrived(command):
                    take_command(scribe, around, command)
                case EchoArrived():
                    self._statuses.take(scribe, around, arrival)
            await breath.take()
            if self._enough(commit):
                return

    def _enough(self, commit: asyncio.Future[None] | None) -> bool:
        return commit is not None and (commit.done() or len(self.batch.scribe.entries) >= MOST_BESIDE_COMMIT)
