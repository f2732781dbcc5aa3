"""The normaliser killed at random under load, seed after seed: what is on its topics is what the pure functions say."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from random import Random

from tests.chaos.ground import Ground
from tests.chaos.verdict import Verdict
from tests.integration.ingestion.deaths import Deaths, killed_under_load

SEEDS = 20
MOST_DEATHS = 3  # of one seed; each costs a consumer session until the next process has the partitions


@dataclass
class Killed:
    """The runs, one per seed."""

    runs: list[Deaths] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Nothing lost, nothing invented, the same states, with every seed."""
        return all(run.holds for run in self.runs)

    @property
    def verdict(self) -> Verdict:
        """Statuses count as messages; a seed that does not hold as lost."""
        lost = [f"seed {run.seed}" for run in self.runs if not run.holds]
        return Verdict(messages=sum(run.statuses for run in self.runs), lost=lost)

    def __str__(self) -> str:
        deaths, repeated = sum(run.deaths for run in self.runs), sum(run.repeated for run in self.runs)
        statuses = sum(run.statuses for run in self.runs)
        figures = f"{len(self.runs)} seeds, {deaths} deaths, {statuses} statuses, {repeated} records repeated"
        return "; ".join([figures, *(str(run) for run in self.runs if not run.holds)])


async def normaliser_deaths(on: Ground, seed: int, seeds: int = SEEDS) -> Killed:
    """As many runs as `seeds`, each with its own order of Meta's samples and one to three deaths."""
    killed = Killed()
    for number in range(seeds):
        chance = Random(f"{seed} normaliser {number}")
        folder = on.folder / f"normaliser-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        deaths, prefix = chance.randint(1, MOST_DEATHS), f"n{uuid.uuid4().hex[:8]}."
        killed.runs.append(
            await killed_under_load(on.bootstrap, prefix, folder, seed=chance.randrange(10**6), deaths=deaths)
        )
    return killed
