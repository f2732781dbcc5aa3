"""message-state killed at random under load, seed after seed: what it publishes is what the join gives."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from random import Random

from tests.chaos.ground import Ground
from tests.chaos.verdict import Verdict
from tests.integration.message_state.deaths import MESSAGES, Deaths, killed_while_folding

SEEDS = 20
MOST_DEATHS = 3  # of one seed; each costs a consumer session until the next process has the partitions


@dataclass
class KilledStates:
    """The runs, one per seed."""

    runs: list[Deaths] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """The same states, with every seed."""
        return all(run.holds for run in self.runs)

    @property
    def verdict(self) -> Verdict:
        """A message whose state is wrong counts as lost."""
        lost = [f"seed {run.seed} {name}" for run in self.runs for name in run.wrong]
        return Verdict(messages=MESSAGES * len(self.runs), lost=lost)

    def __str__(self) -> str:
        deaths, events = sum(run.deaths for run in self.runs), sum(run.events for run in self.runs)
        figures = f"{len(self.runs)} seeds, {deaths} deaths, {events} events"
        return "; ".join([figures, *(str(run) for run in self.runs if not run.holds)])


async def message_state_deaths(on: Ground, seed: int, seeds: int = SEEDS) -> KilledStates:
    """As many runs as `seeds`, each with its own order of events and one to three deaths."""
    killed = KilledStates()
    for number in range(seeds):
        chance = Random(f"{seed} message-state {number}")
        folder = on.folder / f"message-state-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        deaths, prefix = chance.randint(1, MOST_DEATHS), f"m{uuid.uuid4().hex[:8]}."
        killed.runs.append(
            await killed_while_folding(on.bootstrap, prefix, folder, seed=chance.randrange(10**6), deaths=deaths)
        )
    return killed
