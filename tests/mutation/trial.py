"""The tests against mutants, each in a process of its own that is forked from one which has all of it loaded.

Two ways. The quick one (`Quick`) forks after pytest has collected the tests, and gives the functions of the module the
mutant's code: good for what it notices, but what ran while modules and tests were loaded ran unchanged. So of what runs
then, whatever the quick way lets pass is tried the thorough way (`begin`): the module and all that imports it are
loaded anew, with the change, and pytest runs from its beginning.

A process is ended by the kernel when its time is over, or by an error when it asks for too much memory: both count as
noticed, as a build would not end either.
"""

from __future__ import annotations

import gc
import importlib
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import hypothesis
import pytest

from tests.mutation.mutants import fingerprint
from tests.mutation.selection import PACKAGE, ROOT, UNIT_TESTS, dependents_of, modules, path_of

MOST_MEMORY = 6 << 30  # bytes of address space; the tests take one, and an endless list reaches it in seconds
FEWEST_SECONDS = 5.0  # for a trial, however short its tests are: it loads modules
PATIENCE = 6  # times as long as the tests take unchanged, and then it is taken for an endless loop
MOST_WATCHED = 200  # calls of a function in one test
PYTEST = (
    "-x", "-q", "-s", "--confcutdir", str(UNIT_TESTS), "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"),
    "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",  # hypothesis is loaded before pytest is: that is meant
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reach:
    """What the tests run of a module, unchanged: the processor seconds of each (more than without being watched), and
    which lines of the module."""

    seconds: Mapping[str, float]
    lines: Mapping[str, frozenset[int]]

    def tests_at(self, line: int) -> list[str]:
        """The tests that run the line, the quickest first; none for a line that runs only when the module is loaded."""
        return self.quickest(test for test, ran in self.lines.items() if line in ran)

    def quickest(self, tests: Iterable[str]) -> list[str]:
        """These tests, the quickest first."""
        return sorted(tests, key=lambda test: self.seconds[test])

    def files(self) -> list[str]:
        """The tests' files, the quickest first."""
        seconds: dict[str, float] = {}
        for test in self.lines:
            seconds[file_of(test)] = seconds.get(file_of(test), 0.0) + self.seconds[test]
        return sorted(seconds, key=lambda file: seconds[file])

    def patience(self, tests: Iterable[str]) -> float:
        """Processor seconds after which tests are taken to be in an endless loop."""
        return FEWEST_SECONDS + PATIENCE * sum(self.seconds[test] for test in tests)


def file_of(test: str) -> str:
    """The file of a test, out of pytest's name for it."""
    return test.partition("::")[0]


def warm_up() -> None:
    """Load what every trial needs."""
    for module in modules():
        importlib.import_module(f"{PACKAGE}.{module}")
    without_shrinking = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        "mutation", derandomize=True, deadline=None, database=None, phases=without_shrinking
    )
    hypothesis.settings.load_profile("mutation")


def run_pytest(tests: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """pytest in this process, without a word; its exit code."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(ROOT)
    return int(pytest.main([*PYTEST, *tests], plugins=list(plugins)))


def lines_loaded(files: Sequence[str]) -> dict[str, list[int]]:
    """By module, the lines that run when the modules and these test files are loaded. To be called in a process of its
    own."""
    watch = _Watch()
    forget(*modules())
    sys.settrace(watch.call)
    run_pytest(["--collect-only", *files])
    sys.settrace(None)
    return {module: sorted(ran) for module, ran in watch.by_module()}


def begin(module: str, code: CodeType, tests: Sequence[str], patience: float) -> int:
    """Start a thorough trial; its process id. `patience`: processor seconds after which it is ended."""
    if child := os.fork():
        return child
    outcome = 1
    try:
        _bound(patience)
        forget(module)
        sys.meta_path.insert(0, _Changed(f"{PACKAGE}.{module}", path_of(module), code))
        outcome = run_pytest(sorted({file_of(test) for test in tests}), [_Only(tests)])
    finally:
        os._exit(0 if outcome in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else 1)


def forget(*names: str) -> None:
    """Have the modules, and all that imports them, loaded anew."""
    for module in names:
        for each in dependents_of(module):
            sys.modules.pop(f"{PACKAGE}.{each}", None)


class Quick:
    """Trials in a process that has collected the tests."""

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        self._items = {item.nodeid: item for item in items}
        self._functions: dict[tuple[str, str, int], list[FunctionType]] = {}
        for each in gc.get_objects():
            if isinstance(each, FunctionType):
                self._functions.setdefault(_known_by(each.__code__), []).append(each)

    def measure(self) -> dict[str, Any] | None:
        """The processor seconds of each test, and by test and module its lines; None where a test does not pass. One
        that passes only where it is not watched is about time, and is left out. To be called in a process of its own.
        """
        seconds, lines = {}, {}
        for test in self._items:
            _forget_answers()
            watch, begun = _Watch(), time.process_time()
            sys.settrace(watch.call)
            passed = self._pass([test])
            sys.settrace(None)
            if passed:
                seconds[test] = time.process_time() - begun
                lines[test] = {module: sorted(ran) for module, ran in watch.by_module() if ran}
            elif not self._pass([test]):
                return None
        return {"seconds": seconds, "lines": lines}

    def begin(self, code: CodeType, tests: Sequence[str], patience: float) -> int:
        """Start a quick trial; its process id."""
        if child := os.fork():
            return child
        outcome = 1
        try:
            _bound(patience)
            self._change(code)
            _forget_answers()
            outcome = 0 if self._pass(tests) else 1
        finally:
            os._exit(outcome)

    def _change(self, code: CodeType) -> None:
        for each in _nested(code):
            for function in self._functions.get(_known_by(each), ()):
                if fingerprint(function.__code__) != fingerprint(each):
                    function.__code__ = each

    def _pass(self, tests: Sequence[str]) -> bool:
        items = [self._items[test] for test in tests]
        for item, following in zip(items, [*items[1:], None], strict=True):
            verdict = _Verdict()
            item.config.pluginmanager.register(verdict)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            item.config.pluginmanager.unregister(verdict)
            if verdict.failed:
                return False
        return True


class _Only:
    """A pytest plugin: of what is collected these tests alone, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._tests = tests

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        items[:] = [found[test] for test in self._tests if test in found]


class _Verdict:
    """A pytest plugin: whether a test failed."""

    def __init__(self) -> None:
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed


class _Watch:
    """Which lines of libs/policy are run. A function that is called very often counts as run from end to end: watching
    each of its lines would take longer than one test more for its mutants."""

    def __init__(self) -> None:
        self._ran: dict[str, set[int]] = {str(path_of(module)): set() for module in modules()}
        self._calls: Counter[CodeType] = Counter()

    def by_module(self) -> Iterator[tuple[str, set[int]]]:
        """What has been run, by module."""
        return ((Path(path).stem, ran) for path, ran in self._ran.items())

    def call(self, frame: FrameType, event: str, arg: object) -> Any:
        """For sys.settrace."""
        code = frame.f_code
        if code.co_filename not in self._ran:
            return None
        self._calls[code] += 1
        if self._calls[code] <= MOST_WATCHED:
            return self._line(frame, event, arg)
        if self._calls[code] == MOST_WATCHED + 1:
            self._ran[code.co_filename].update(line for _, _, line in code.co_lines() if line is not None)
        return None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        self._ran[frame.f_code.co_filename].add(frame.f_lineno)
        return self._line


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Loads one module from other code than its file's."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return self._code

    def get_source(self, fullname: str) -> str:
        return self._path.read_text()


def _bound(patience: float) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, patience)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _known_by(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _nested(each)


def _forget_answers() -> None:
    """Empty the caches, so that what a test runs does not depend on the tests before it."""
    for name in [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]:
        for value in list(vars(sys.modules[name]).values()):
            if hasattr(value, "cache_clear"):
                value.cache_clear()
