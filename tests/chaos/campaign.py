"""A campaign's memory: what was planned for a seed, what came of each part, and the summary of it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.chaos.kills import BROKER, LATE, Death, Failpoint, Moment, Nth, Point, Syscall, table
from tests.chaos.verdict import Verdict

FOLDER = Path(".harkara/chaos")
FEWEST_BROKER_POINTS = 50
"""Fewer deaths than this before a system call on the broker's sockets have not shown what one does to a transaction."""
FEWEST_KILLS = 200
"""Of all kinds; a process that was killed because it did not reach its point is none of them."""


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
    failures: dict[str, list[Result]] = field(default_factory=dict)

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
        made.results = {key: _result(each) for key, each in kept["results"].items()}
        made.failures = {key: [_result(each) for each in several] for key, several in kept["failures"].items()}
        return made

    def keep(self, key: str, result: Result) -> None:
        """Remember a part's result; one that failed is tried again by the next process, and stays a failure."""
        if result.holds:
            self.results[key] = result
        else:
            self.failures.setdefault(key, []).append(result)
        self.save()

    def save(self) -> None:
        """Into the file, at once or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "plan": [asdict(each) for each in self.plan],
            "results": {key: asdict(each) for key, each in self.results.items()},
            "failures": {key: [asdict(each) for each in several] for key, several in self.failures.items()},
        }
        unfinished = self._file.with_suffix(".new")
        unfinished.write_bytes(orjson.dumps(content))
        unfinished.replace(self._file)

    def summary(self, kinds: Sequence[str]) -> list[str]:
        """The figures of the parts that were asked for."""
        total = Verdict()
        for result in self._every():
            total.add(result.verdict)
        lines = [f"seed {self.seed}: {self.kills} kills", *table(self._deaths()), str(total)]
        for key, failures in self.failures.items():
            lines += [f"{key} DID NOT HOLD: {each.line}; evidence in {self.folder}" for each in failures]
            lines += [f"{key} held when it was run again: {self.results[key].line}"] if key in self.results else []
        if "kills" in kinds and self.broker_deaths < FEWEST_BROKER_POINTS:
            lines.append(f"TOO FEW: {self.broker_deaths} deaths at broker sockets, {FEWEST_BROKER_POINTS} are needed")
        if "kills" in kinds and self.kills < FEWEST_KILLS:
            lines.append(f"TOO FEW: {self.kills} kills, {FEWEST_KILLS} are needed")
        return lines

    @property
    def kills(self) -> int:
        """Deaths where they were meant to be."""
        return sum(death.where != LATE for death in self._deaths())

    @property
    def broker_deaths(self) -> int:
        """Deaths before a call on a socket to the broker."""
        return sum(death.where == BROKER for death in self._deaths())

    def holds(self, kinds: Sequence[str]) -> bool:
        """Whether everything that was asked for held, at its first run already, and enough was tried."""
        enough = self.broker_deaths >= FEWEST_BROKER_POINTS and self.kills >= FEWEST_KILLS
        return not self.failures and (enough or "kills" not in kinds)

    def _every(self) -> list[Result]:
        return [*self.results.values(), *(each for several in self.failures.values() for each in several)]

    def _deaths(self) -> list[Death]:
        return [death for result in self._every() for death in result.deaths]

    @property
    def _file(self) -> Path:
        return self.folder / "campaign.json"


def _result(kept: dict[str, Any]) -> Result:
    deaths = [Death(**death) for death in kept["deaths"]]
    return Result(**kept | {"verdict": Verdict(**kept["verdict"]), "deaths": deaths})


def _point(kept: dict[str, Any]) -> Point:
    if "milliseconds" in kept:
        return Moment(**kept)
    if "overall" in kept:
        return Nth(**kept)
    return Syscall(**kept) if "call" in kept else Failpoint(**kept)
