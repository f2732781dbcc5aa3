"""A campaign's memory: what was planned for a seed, what came of each part, and the summary of it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.chaos.kills import Death, Failpoint, Moment, Nth, Point, Syscall, table
from tests.chaos.verdict import Verdict

FOLDER = Path(".harkara/chaos")
FEWEST_BROKER_POINTS = 50
"""Fewer deaths than this at the broker's sockets have not shown what a death does to a transaction."""


@dataclass
class Result:
    """What one part came to: its line, whether everything held, and its deaths where it had any."""

    line: str
    holds: bool
    verdict: Verdict = field(default_factory=Verdict)
    deaths: list[Death] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Campaign:
    """The plan and the results of one seed, kept in a file."""

    seed: int
    plan: list[Point] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where evidence of failures is left."""
        return FOLDER / str(self.seed)

    @classmethod
    def of(cls, seed: int) -> Campaign:
        """As an earlier process left it, or new."""
        made = cls(seed)
        if not made._file.exists():
            return made
        kept = orjson.loads(made._file.read_bytes())
        made.plan = [_point(each) for each in kept["plan"]]
        for key, each in kept["results"].items():
            deaths = [Death(**death) for death in each["deaths"]]
            made.results[key] = Result(**each | {"verdict": Verdict(**each["verdict"]), "deaths": deaths})
        return made

    def keep(self, key: str, result: Result) -> None:
        """Remember a part's result; one that failed is tried again by the next process."""
        self.results[key] = result
        self.save()

    def save(self) -> None:
        """Into the file, at once or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        passed = {key: asdict(each) for key, each in self.results.items() if each.holds}
        unfinished = self._file.with_suffix(".new")
        unfinished.write_bytes(orjson.dumps({"plan": [asdict(each) for each in self.plan], "results": passed}))
        unfinished.replace(self._file)

    def summary(self, kinds: Sequence[str]) -> list[str]:
        """The figures of the parts that were asked for."""
        total, deaths = Verdict(), list[Death]()
        for result in self.results.values():
            total.add(result.verdict)
            deaths += result.deaths
        lines = [f"seed {self.seed}: {len(deaths)} kills", *table(deaths), str(total)]
        failed = [key for key, result in self.results.items() if not result.holds]
        if failed:
            lines.append(f"DID NOT HOLD: {', '.join(failed)}; evidence in {self.folder}")
        if "kills" in kinds and self.broker_deaths < FEWEST_BROKER_POINTS:
            lines.append(f"TOO FEW: {self.broker_deaths} deaths at broker sockets, {FEWEST_BROKER_POINTS} are needed")
        return lines

    @property
    def broker_deaths(self) -> int:
        """Deaths before a call on a socket to the broker."""
        return sum(death.where == "broker" for result in self.results.values() for death in result.deaths)

    def holds(self, kinds: Sequence[str]) -> bool:
        """Whether everything that was asked for held."""
        enough = "kills" not in kinds or self.broker_deaths >= FEWEST_BROKER_POINTS
        return enough and all(result.holds for result in self.results.values())

    @property
    def _file(self) -> Path:
        return self.folder / "campaign.json"


def _point(kept: dict[str, Any]) -> Point:
    if "milliseconds" in kept:
        return Moment(**kept)
    if "overall" in kept:
        return Nth(**kept)
    return Syscall(**kept) if "call" in kept else Failpoint(**kept)
