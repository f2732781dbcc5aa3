"""All mutants of some modules: the quick way for every one, then the thorough way for those that it lets pass."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.selection import ROOT, tests_of
from tests.mutation.trial import Quick, Reach, begin, file_of, lines_loaded, run_pytest

Mutants = Mapping[str, Sequence[Mutant]]
"""What is to be tried, by module."""


@dataclass(frozen=True, slots=True)
class Passed:
    """Of one module: what its tests run of it, which of its lines run when it is loaded, and the mutants that the quick
    way did not notice."""

    module: str
    reach: Reach
    loaded: frozenset[int]
    mutants: list[Mutant]


def quickly(mutants: Mutants, workers: int) -> list[Passed]:
    """Every module's mutants the quick way, in one process that collects the tests once; empty where the tests do not
    pass without a mutant."""
    files = sorted({str(path.relative_to(ROOT)) for module in mutants for path in tests_of(module)})
    told = _told_by(lambda write: _run(files, _Campaign(mutants, workers, write)))
    loaded = _told_by(lambda write: write(lines_loaded(files)))
    if told is None or loaded is None:
        return []
    found = []
    for module, said in told["modules"].items():
        lines = {test: frozenset(ran) for test, ran in said["lines"].items()}
        passed = [mutants[module][each] for each in said["passed"]]
        found.append(Passed(module, Reach(told["seconds"], lines), frozenset(loaded[module]), passed))
    return found


def thoroughly(passed: Passed, workers: int) -> list[Mutant]:
    """The mutants that no test notices. What runs while modules and tests are loaded may be noticed by any test of the
    module: file by file, the quickest first, since most are noticed by the first."""
    reach = passed.reach
    early = {each.key for each in passed.mutants if each.line in passed.loaded}
    tests = {each.key: [] if each.key in early else reach.tests_at(each.line) for each in passed.mutants}
    doubtful = {each.key: each for each in passed.mutants if not tests[each.key]}
    for file in reach.files():
        chosen = [test for test in reach.lines if file_of(test) == file]
        asked = [*doubtful.values()]
        starts = [partial(_begin, each, reach.quickest(chosen), reach) for each in asked]
        doubtful = {asked[place].key: asked[place] for place in _unnoticed(starts, workers)}
    return [each for each in passed.mutants if each.key in doubtful or tests[each.key]]


def _begin(mutant: Mutant, tests: list[str], reach: Reach) -> int:
    return begin(mutant.module, mutant.code, tests, reach.patience(tests))


class _Campaign:
    """A pytest plugin: in place of running the collected tests once, it runs them against each mutant."""

    def __init__(self, mutants: Mutants, workers: int, write: Callable[[Any], None]) -> None:
        self._mutants, self._workers, self._write = mutants, workers, write

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        quick = Quick(session.items)
        told = _told_by(lambda write: write(quick.measure()))
        if told is not None:
            modules = {module: self._tried(quick, module, told) for module in self._mutants}
            self._write({"seconds": told["seconds"], "modules": modules})
        return True

    def _tried(self, quick: Quick, module: str, told: Any) -> dict[str, Any]:
        files = tuple(str(path.relative_to(ROOT)) for path in tests_of(module))
        lines = {test: told["lines"][test].get(module, []) for test in told["lines"] if test.startswith(files)}
        reach = Reach(told["seconds"], {test: frozenset(ran) for test, ran in lines.items()})
        return {"lines": lines, "passed": list(self._passed(quick, reach, self._mutants[module]))}

    def _passed(self, quick: Quick, reach: Reach, mutants: Sequence[Mutant]) -> Iterator[int]:
        tests = [reach.tests_at(mutant.line) for mutant in mutants]
        yield from (place for place, found in enumerate(tests) if not found)
        places = [place for place, found in enumerate(tests) if found]
        starts = [partial(quick.begin, mutants[at].code, tests[at], reach.patience(tests[at])) for at in places]
        yield from (places[each] for each in _unnoticed(starts, self._workers))


def _run(files: Sequence[str], campaign: _Campaign) -> None:
    run_pytest(files, [campaign])


def _unnoticed(starts: Sequence[Callable[[], int]], workers: int) -> list[int]:
    """The places of the trials that ended without a failed test; at most `workers` run at once."""
    running: dict[int, int] = {}
    found = []
    waiting = iter(enumerate(starts))
    while True:
        following = next(waiting, None) if len(running) < workers else None
        if following is not None:
            running[following[1]()] = following[0]
        elif running:
            child, status = os.wait()
            ended = running.pop(child)
            found += [] if status else [ended]
        else:
            return sorted(found)


def _told_by(work: Callable[[Callable[[Any], None]], None]) -> Any | None:
    """What a piece of work writes in a process of its own; None where it writes nothing."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        return json.loads(told) if told else None
    try:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            work(lambda said: _write(pipe, said))
    finally:
        os._exit(0)


def _write(pipe: Any, said: Any) -> None:
    if said is not None:
        pipe.write(json.dumps(said).encode())
        pipe.flush()
