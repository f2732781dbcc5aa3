"""Reading a file: how large it may be, and in which line a mistake is said to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, model_validator

from harkara.policy.governance import load
from harkara.policy.governance_file import GovernanceError, Inconsistent, Location, read
from tests.unit.policy.test_governance import VALID


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "governance.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(GovernanceError) as caught:
        load(path)
    return caught.value.problems


def test_a_file_may_have_four_mebibytes_and_no_more(tmp_path: Path) -> None:
    most = "@".ljust(4_194_304, "x")  # no YAML from its first character on, which is told at once
    assert problems(tmp_path, most)[0].startswith("governance.yaml:1: found character '@'")
    assert problems(tmp_path, most + "x") == ["governance.yaml: is larger than 4194304 bytes"]


def test_a_character_that_no_text_has_is_told_in_one_line(tmp_path: Path) -> None:
    assert problems(tmp_path, VALID + "x: a\x07b\n") == [
        "governance.yaml:1: unacceptable character #x0007: special characters are not allowed"
    ]


def test_what_is_wrong_with_a_name_of_several_lines_is_told_in_one(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, VALID + '"a\\nb": 1\n"a\\nb": 2\n')
    assert "\n" not in problem and problem.startswith("governance.yaml:19: found duplicate key")


def test_a_name_of_digits_needs_no_quotes_and_its_line_is_found(tmp_path: Path) -> None:
    weights = "dispatch:\n  weights:\n    crm: 2\n    2026: {}\n"
    path = tmp_path / "governance.yaml"
    path.write_text(VALID + weights.format(3), encoding="utf-8")
    assert load(path).dispatch.weights == {"crm": 2.0, "2026": 3.0}
    (problem,) = problems(tmp_path, VALID + weights.format(0))
    assert problem.startswith("governance.yaml:21: dispatch.weights.2026: ")


FILE = "before: 1\nrows:\n  - a: 1\n    b: 2\n  - a: 3\n    b: 4\n"


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ((), 1),
        (("before",), 1),
        (("rows",), 2),
        (("rows", 0), 3),
        (("rows", 0, "b"), 4),
        (("rows", 1), 5),
        (("rows", 1, "b"), 6),
        (("rows", 1, "missing"), 5),
        (("rows", 1, "b", "deeper"), 6),
        (("rows", 2), 2),
        (("rows", "b"), 2),
        (("missing", "b"), 1),
    ],
)
def test_the_line_is_that_of_the_deepest_part_that_the_file_has(tmp_path: Path, where: Location, line: int) -> None:
    class Wrong(BaseModel):
        before: int
        rows: list[Any]

        @model_validator(mode="after")
        def refused(self) -> Wrong:
            raise Inconsistent([(where, "is wrong")])

    path = tmp_path / "rows.yaml"
    path.write_text(FILE, encoding="utf-8")
    with pytest.raises(GovernanceError) as caught:
        read(path, Wrong)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [f"rows.yaml:{line}"]
