"""Which test files are to notice a change of a module: its own."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "harkara.policy"
FOLDER = ROOT / "libs" / "policy" / "harkara" / "policy"
OWN_TESTS = ROOT / "tests" / "unit" / "policy"
UNIT_TESTS = ROOT / "tests" / "unit"
REFUSALS = OWN_TESTS / "test_negative.py"


def modules() -> list[str]:
    """Every module of libs/policy with code in it, by its short name."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def path_of(module: str) -> Path:
    """The file of a module."""
    return FOLDER / f"{module}.py"


def dependents_of(module: str) -> list[str]:
    """The modules of libs/policy which have to be loaded anew with this one: itself, and who imports it by any way."""
    return [each for each in modules() if module == each or module in _reached(path_of(each))]


def tests_of(module: str) -> list[Path]:
    """The package's tests that import the module or are called after it, and the table of refusals where it reaches it;
    where there are none, the other unit tests that import it, or else the package's that reach it."""
    own, others = sorted(OWN_TESTS.glob("test_*.py")), sorted(UNIT_TESTS.glob("*/test_*.py"))
    reaching = [path for path in own if module in _reached(path)]
    found = [path for path in own if module in _named(path) or path.stem == f"test_{module}"]
    found = found or [path for path in others if module in _named(path)] or reaching
    return found + [path for path in reaching if path == REFUSALS and path not in found]


@cache
def _reached(path: Path) -> frozenset[str]:
    """Modules of libs/policy that a file imports, and those that they import."""
    found: set[str] = set()
    waiting = set(_named(path))
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting |= _named(path_of(module))
    return frozenset(found)


@cache
def _named(path: Path) -> frozenset[str]:
    """Modules of libs/policy that a file names in an import."""
    source = path.read_text()
    if PACKAGE not in source:
        return frozenset()
    imported = {name for node in ast.walk(ast.parse(source)) for name in _imports(node)}
    short = {name.removeprefix(f"{PACKAGE}.").partition(".")[0] for name in imported if name.startswith(f"{PACKAGE}.")}
    return frozenset(short.intersection(modules()))


def _imports(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
