"""The schema that editors use: current, valid, and of one mind with the check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from harkara.cli import reference
from harkara.policy.schema import FILE_NAME, governance_schema, schema_text

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "governance.yaml"


def example() -> Any:
    return yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))


def mistakes(document: Any) -> list[str]:
    return [error.json_path for error in Draft202012Validator(governance_schema()).iter_errors(document)]


def test_the_committed_schema_is_the_generated_one() -> None:
    assert (ROOT / "docs/reference" / FILE_NAME).read_text() == schema_text(), "run `make docs`"


def test_make_docs_writes_it(tmp_path: Path) -> None:
    assert tmp_path / FILE_NAME in reference.write_all(tmp_path)
    assert (tmp_path / FILE_NAME).read_text() == schema_text()


def test_it_is_a_schema_and_the_examples_fit_it() -> None:
    Draft202012Validator.check_schema(governance_schema())
    assert mistakes(example()) == []
    for path in ROOT.glob("k8s/**/governance.yaml"):
        assert mistakes(yaml.safe_load(path.read_text(encoding="utf-8"))) == [], path


def test_the_example_names_its_schema_for_editors() -> None:
    first = EXAMPLE.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (EXAMPLE.parent / first.partition("$schema=")[2]).resolve() == ROOT / "docs/reference" / FILE_NAME


def test_the_example_shows_every_setting() -> None:
    """As a setting or in a comment that says how it is written."""
    text = EXAMPLE.read_text(encoding="utf-8")
    parts = governance_schema()["$defs"] | {"governance": governance_schema()}
    missing = [
        f"{name}.{key}" for name, part in parts.items() for key in part.get("properties", {}) if f"{key}:" not in text
    ]
    assert not missing, missing


@pytest.mark.parametrize(
    ("place", "value", "path"),
    [
        (("compliance", "consent_mode"), "none", "$.compliance.consent_mode"),
        (("compliance", "hard_block"), False, "$.compliance.hard_block"),
        (("compliance", "blocked"), [], "$.compliance"),
        (("routing", "window_hours"), 48, "$.routing.window_hours"),
        (("routing", "fallback_to_template"), False, "$.routing.fallback_to_template"),
        (("routing", "quiet_hours"), {"promotions": "none"}, "$.routing.quiet_hours"),
        (("routing", "quiet_hours"), {"utility": "night"}, "$.routing.quiet_hours.utility"),
        (("routing", "send_windows"), {"a b": {"hours": "09:00-18:00"}}, "$.routing.send_windows"),
        (("telemetry", "circuit_breaker"), {"retry_policy": "linear"}, "$.telemetry.circuit_breaker.retry_policy"),
        (("dispatch", "max_attempts"), 9, "$.dispatch.max_attempts"),
    ],
)
def test_it_shows_what_the_check_refuses(place: tuple[str, str], value: object, path: str) -> None:
    document = example()
    document[place[0]][place[1]] = value
    assert mistakes(document) == [path]


def test_it_is_written_the_same_each_time() -> None:
    assert json.loads(schema_text()) == governance_schema()
