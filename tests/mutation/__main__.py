"""`make mutation`: is every small mistake in libs/policy noticed by a unit test?

    python -m tests.mutation [module ...] [--sample 40 | --full] [--seed 1] [--workers 1] [--least 90]

Prints, per module, mutants tried, killed (a test noticed), survived, and each survivor with its place; ends with 1
where a module has fewer than `--least` percent killed. Which mutants are tried is a function of the seed and the code.
A mutant that changes nothing anybody could see is named in equivalent.txt, with the reason; it is not counted.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutation.campaign import quickly, thoroughly
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.selection import modules, path_of
from tests.mutation.trial import warm_up

EQUIVALENT = Path(__file__).parent / "equivalent.txt"
SEPARATOR = " ⟂ "  # stands in no code
Key = tuple[str, str, str, str]


@dataclass(slots=True)
class Result:
    """How the mutants of one module fared. `problem`: why they could not be tried."""

    module: str
    tried: int = 0
    all_there_are: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    problem: str | None = None

    @property
    def percent(self) -> float:
        """Of the mutants that were tried, those that a test noticed."""
        return 100.0 * (self.tried - len(self.survivors)) / self.tried if self.tried else 100.0


def excused(path: Path = EQUIVALENT) -> dict[Key, str]:
    """The mutants that change nothing, with the reasons. Raises ValueError for a line without one."""
    found: dict[Key, str] = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            module, function, source, change, reason = line.split(SEPARATOR)
            if not reason.strip():
                raise ValueError(f"no reason is given: {line}")
            found[module, function, source, change] = reason.strip()
    return found


def stale(excuses: dict[Key, str], mutants: Sequence[Mutant], module: str) -> list[Key]:
    """The excuses of a module that no mutant has any more."""
    return sorted({key for key in excuses if key[0] == module} - {mutant.key for mutant in mutants})


def picked(mutants: list[Mutant], module: str, sample: int | None, seed: int) -> list[Mutant]:
    """Which are tried; None: all of them."""
    if sample is None or len(mutants) <= sample:
        return mutants
    return random.Random(f"{seed}:{module}").sample(mutants, sample)


def chosen(module: str, options: argparse.Namespace, excuses: dict[Key, str]) -> tuple[Result, list[Mutant]]:
    """What is tried of one module."""
    path = path_of(module)
    every = mutants_of(module, path.read_text(), str(path))
    counted = [mutant for mutant in every if mutant.key not in excuses]
    mutants = picked(counted, module, None if options.full else options.sample, options.seed)
    result = Result(module, len(mutants), len(counted))
    if unknown := stale(excuses, every, module):
        result.problem = f"equivalent.txt names what is no mutant any more: {SEPARATOR.join(unknown[0])}"
    return result, mutants


def show(result: Result, least: float) -> bool:
    """Print it; whether it is good enough."""
    killed, good = result.tried - len(result.survivors), result.percent >= least and result.problem is None
    print(
        f"{result.module:16} {result.tried:5} of {result.all_there_are:5} mutants, {killed:5} killed, "
        f"{len(result.survivors):4} survived, {result.percent:6.1f} %{'' if result.percent >= least else '  TOO FEW'}"
    )
    for mutant in result.survivors:
        print(f"    {mutant.module}.py:{mutant.line} in {mutant.function}: {mutant.change}")
    if result.problem is not None:
        print(f"    {result.problem}")
    sys.stdout.flush()
    return good


def main() -> int:
    """0: in every module enough mutants were noticed."""
    options = _parser().parse_args()
    begun = time.monotonic()
    warm_up()
    excuses = excused()
    picks = {module: chosen(module, options, excuses) for module in options.modules or modules()}
    passed = quickly({module: mutants for module, (_, mutants) in picks.items()}, options.workers)
    if not passed:
        print("the unit tests do not pass as they are: nothing can be said")
        return 1
    good = True
    for each in passed:
        result = picks[each.module][0]
        result.survivors = thoroughly(each, options.workers)
        good &= show(result, options.least)
    total = sum(result.tried for result, _ in picks.values())
    survived = sum(len(result.survivors) for result, _ in picks.values())
    print(
        f"{len(picks)} modules, {total} mutants, {total - survived} killed: {100 * (total - survived) / total:.1f} % "
        f"(seed {options.seed}, {time.monotonic() - begun:.0f} s)"
    )
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="module", help="of libs/policy; none named: all")
    parser.add_argument("--sample", type=int, default=40, help="mutants of each module (default 40)")
    parser.add_argument("--full", action="store_true", help="all mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="trials at once")
    parser.add_argument("--least", type=float, default=90.0, help="percent that must be killed in each module")
    return parser


if __name__ == "__main__":
    sys.exit(main())
