"""The mutants are what they are said to be: a run that says 95 % would be worth nothing if they were not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import selection
from tests.mutation.__main__ import EQUIVALENT, SEPARATOR, excused, picked, stale
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.selection import dependents_of, modules, path_of


def changes(source: str) -> list[str]:
    return [mutant.change for mutant in mutants_of("example", source, "example.py")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["a < b  ->  a <= b"]),
        ("x = a >= b", ["a >= b  ->  a > b"]),
        ("x = a in b", ["a in b  ->  a not in b"]),
        ("x = a and b", ["a and b  ->  a or b"]),
        ("x = a - b", ["a - b  ->  a + b"]),
        ("x = not a", ["not a  ->  not not a"]),
        ("x = 7", ["7  ->  8", "7  ->  6"]),
        ("x = 0.5", ["0.5  ->  1.5"]),
        ("x = True", ["True  ->  False"]),
        ("x += y", ["x += y  ->  left out", "x += y  ->  x -= y"]),
        ("f(a)", ["f(a)  ->  left out"]),
        ("raise a", ["raise a  ->  left out"]),
        ("x.y = a", ["x.y = a  ->  left out"]),
        ("if a:\n    x = b", ["a  ->  always", "a  ->  never"]),
        ("x = [a for a in b if c]", ["c  ->  always", "c  ->  never"]),
        ("def f():\n    return a", ["return a  ->  return None"]),
        ("def f(a=False):\n    pass", ["False  ->  True"]),
        ("class A:\n    x: Annotated[int, Field(ge=1)]", ["1  ->  2", "1  ->  0"]),
    ],
)
def test_each_kind_of_mistake_is_made(source: str, expected: list[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "'''Says 7.'''",
        "import a",
        "assert a < b",
        "x: tuple[int, Literal[7]]",
        "@f(7)\ndef g(): pass",
        "x = zip(a, strict=True)",
    ],
)
def test_what_decides_nothing_is_left_alone(source: str) -> None:
    assert changes(source) == []


def test_a_mutant_runs_as_it_says() -> None:
    """Its code is the changed one, and the others' code is untouched by it."""
    mutants = mutants_of("example", "def f(a, b):\n    return a < b and a != 3\n", "example.py")
    found: dict[str, object] = {}
    for mutant in mutants:
        space: dict[str, object] = {}
        exec(mutant.code, space)
        f = space["f"]
        assert callable(f)
        found[mutant.change] = [f(2, 2), f(2, 3), f(3, 4), f(4, 5)]
    assert found == {
        "return a < b and a != 3  ->  return None": [None, None, None, None],
        "a < b and a != 3  ->  a < b or a != 3": [True, True, True, True],
        "a < b  ->  a <= b": [True, True, False, True],
        "a != 3  ->  a == 3": [False, False, True, False],
        "3  ->  4": [False, True, True, False],
        "3  ->  2": [False, False, True, True],
    }


def test_the_same_code_is_not_tried_twice() -> None:
    assert changes("while True:\n    a") == ["True  ->  never"]


def test_the_same_change_twice_in_a_line_has_two_names() -> None:
    assert changes("x = a(7, 7)")[1::2] == ["7  ->  6", "7  ->  6  (number 2 of the line)"]


def test_a_sample_is_the_seeds() -> None:
    mutants = mutants_of("example", "x = [" + ", ".join(map(str, range(100))) + "]", "example.py")
    assert picked(mutants, "example", 40, 1) == picked(mutants, "example", 40, 1) != picked(mutants, "example", 40, 2)
    assert len({mutant.change for mutant in picked(mutants, "example", 40, 1)}) == 40
    assert picked(mutants, "example", None, 1) == mutants


def test_an_excuse_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "equivalent.txt"
    path.write_text(SEPARATOR.join(("second", "f", "x = 7", "7  ->  8", " ")))
    with pytest.raises(ValueError, match="no reason"):
        excused(path)


def test_every_excuse_is_of_a_mutant_that_there_is() -> None:
    excuses = excused(EQUIVALENT)
    named = {key[0] for key in excuses}
    assert named <= {*modules()}
    for module in named:
        assert stale(excuses, _mutants(module), module) == []


@pytest.mark.parametrize("module", modules())
def test_every_module_has_tests_that_reach_it(module: str) -> None:
    assert selection.tests_of(module)
    assert module in dependents_of(module)


def _mutants(module: str) -> list[Mutant]:
    return mutants_of(module, path_of(module).read_text(), str(path_of(module)))
