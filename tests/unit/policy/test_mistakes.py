"""What `harkara policy check` says is true, in words, and once a mistake."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from harkara.policy.governance import load
from harkara.policy.governance_file import GovernanceError
from harkara.policy.mistakes import called, told
from tests.unit.policy.test_governance import VALID


def said(tmp_path: Path, text: str) -> list[str]:
    """The problems, without the file and the line."""
    path = tmp_path / "governance.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(GovernanceError) as caught:
        load(path)
    return [problem.split(": ", 1)[1] for problem in caught.value.problems]


@pytest.mark.req("OPS-8")
@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ('routing: {quiet_hours: {marketing: "23:00-7:00"}}',
         "routing.quiet_hours.marketing: must be hours of the day, such as 23:00-07:00, or must be 'none'"),
        ('routing: {send_windows: {x: {hours: "25:00-26:00"}}}',
         "routing.send_windows.x.hours: must be hours of the day, such as 23:00-07:00"),
        ('routing: {send_windows: {x: {hours: "09:00-10:00", contract: "no"}}}',
         "routing.send_windows.x.contract: must have 8 characters or more"),
        ("dispatch: {max_attempts: 9}", "dispatch.max_attempts: must be 3 or less"),
        ("dispatch: {max_attempts: some}", "dispatch.max_attempts: must be a whole number"),
        ("dispatch: {lease_seconds: soon}", "dispatch.lease_seconds: must be a number"),
        ("dispatch: [1]", "dispatch: must hold settings"),
        ("portfolios: {id: 1}", "portfolios: must be a list"),
        ("portfolios: [{id: x1, limit: 250}]", "portfolios[0].id: must be an id of Meta's, 5 to 20 digits in quotes"),
        ('portfolios: [{id: "300000000000001", limit: none}]',
         "portfolios[0].limit: must be a whole number, or must be 'unlimited'"),
        ('portfolios: [{id: "300000000000001", limit: 0}]',
         "portfolios[0].limit: must be 1 or more, or must be 'unlimited'"),
        ("templates: {unknown: maybe}", "templates.unknown: must be 'allow' or 'refuse'"),
        ("templates: {currency: rupee}", "templates.currency: must be a text like ^[A-Z]{3}$"),
        ("templates: {currency: 356}", "templates.currency: must be text: put it in quotes"),
        ("templates: {currency: [INR]}", "templates.currency: must be text"),
        ('routing: {quiet_hours: {marketing: 7}}',
         "routing.quiet_hours.marketing: must be text: put it in quotes, or must be 'none'"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_once_and_in_words(tmp_path: Path, section: str, problem: str) -> None:
    assert said(tmp_path, VALID + section + "\n") == [problem]


def test_a_phone_number_where_a_person_key_belongs_is_not_repeated(tmp_path: Path) -> None:
    text = VALID.replace("consent_mode: opt_out", 'consent_mode: opt_out\n  do_not_message: ["+919999900001"]')
    (problem,) = said(tmp_path, text)
    assert problem.startswith("compliance.do_not_message[0]: must be a person key") and "9999900001" not in problem


def test_a_list_is_not_called_too_short_for_what_is_wrong_inside(tmp_path: Path) -> None:
    compliance = "compliance: {consent_mode: opt_out}\n"
    assert said(tmp_path, f"numbers: []\n{compliance}") == ["numbers: must hold 1 or more"]
    found = said(tmp_path, f"numbers: [{{phone_number_id: 1}}]\n{compliance}")
    assert found and all(problem.startswith("numbers[0]") for problem in found), found


def test_a_file_that_is_not_there_and_one_that_is_no_text_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    for name, words in (("gone.yaml", "set HARKARA_GOVERNANCE_FILE to it"), ("binary.yaml", "it is not UTF-8")):
        with pytest.raises(GovernanceError) as caught:
            load(tmp_path / name)
        assert str(caught.value).endswith(words)


def test_one_mistake_that_several_kinds_see_alike_is_said_once() -> None:
    class Either(BaseModel):
        limit: Annotated[int, Field(ge=1)] | Annotated[float, Field(ge=1)]

    with pytest.raises(ValidationError) as caught:
        Either.model_validate({"limit": 0})
    assert len(caught.value.errors()) == 2
    assert told(caught.value.errors()) == [(("limit",), "must be 1 or more")]


def test_only_what_has_a_pattern_is_called_by_it() -> None:
    called(Annotated[str, StringConstraints(min_length=3), Field(title="x")], "never said")
    called(Annotated[str, Field(title="x"), StringConstraints(pattern="^[xyz]+$")], "some of x, y and z")

    class Letters(BaseModel):
        known: Annotated[str, StringConstraints(pattern="^[xyz]+$")]
        unknown: Annotated[str, StringConstraints(pattern="^[abc]+$")]
        day: date
        hour: time

    with pytest.raises(ValidationError) as caught:
        Letters.model_validate({"known": "q", "unknown": "q", "day": "2026-11-99", "hour": "25"})
    *words, as_pydantic_says = [what for _, what in told(caught.value.errors())]
    assert words == [
        "must be some of x, y and z", "must be a text like ^[abc]+$", "must be a day, such as 2026-11-01",
    ]  # fmt: skip
    assert as_pydantic_says.startswith("Input should be")
