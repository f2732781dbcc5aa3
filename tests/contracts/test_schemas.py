"""JSON Schema per event: generated, committed, and never narrowed without a new version of the event."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harkara.contracts.schemas import EVENTS, may_be_null, schema_of, text_of, write_all
from harkara.contracts.topics import STREAMS
from tests.support.compat import Schema, breaks, breaks_of_all

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = Path("docs/reference/schemas")
EARLIER = ("HEAD", "HEAD~1")
"""What is on record: the last commit while work goes on, the one before it when that work has been committed."""


def generated() -> dict[str, Schema]:
    return {name: schema_of(event) for name, event in EVENTS.items()}


def on_disk() -> dict[str, Schema]:
    return {path.stem: json.loads(path.read_text()) for path in (ROOT / COMMITTED).glob("*.json")}


def on_record(revision: str) -> dict[str, Schema]:
    """The schemas of a commit; {} outside a repository, or where the history does not go back that far."""
    listed = _git("ls-tree", "--name-only", revision, f"{COMMITTED}/")
    paths = [Path(line) for line in listed.splitlines() if line.endswith(".json")]
    return {path.stem: json.loads(_git("show", f"{revision}:{path}")) for path in paths}


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return found.stdout if found.returncode == 0 else ""


def test_the_committed_schemas_are_the_generated_ones() -> None:
    assert sorted(on_disk()) == sorted(EVENTS), "run `make docs`"
    for name, schema in generated().items():
        assert (ROOT / COMMITTED / f"{name}.json").read_text() == text_of(schema), f"{name}: run `make docs`"


def test_every_event_of_every_topic_has_a_schema() -> None:
    assert {event.ce_type for topic in STREAMS for event in topic.events} == set(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_a_schema_is_a_valid_schema_and_says_what_the_event_is(name: str) -> None:
    schema = schema_of(EVENTS[name])
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == name
    assert schema["description"] == (EVENTS[name].__doc__ or "").replace("\n    ", "\n").strip()


@pytest.mark.parametrize("name", EVENTS)
def test_what_may_be_none_is_never_required(name: str) -> None:
    """Writers leave out what is None (`envelope.encode`), so a reader that requires it could not read the event."""
    made = EVENTS[name].model_json_schema()
    wrong = [
        f"{part.get('title')}.{field}"
        for part in (made, *made.get("$defs", {}).values())
        for field in part.get("required", [])
        if may_be_null(part["properties"][field])
    ]
    assert not wrong, f"give these the default None: {', '.join(wrong)}"


def test_writing_again_changes_nothing_and_removes_what_is_no_event_any_more(tmp_path: Path) -> None:
    first = {path.name: path.read_text() for path in write_all(tmp_path)}
    (tmp_path / "harkara.gone.v1.json").write_text("{}")
    assert {path.name: path.read_text() for path in write_all(tmp_path)} == first
    assert {path.name for path in tmp_path.iterdir()} == set(first)


@pytest.mark.parametrize("revision", EARLIER)
def test_no_event_was_narrowed_without_a_new_version(revision: str) -> None:
    assert breaks_of_all(on_record(revision), generated()) == []


def test_no_event_was_narrowed_since_the_reference_was_written() -> None:
    assert breaks_of_all(on_disk(), generated()) == []


# --- the check itself, on invented pairs -------------------------------------------------------------------------

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
NONE = {"type": "null"}


def event(required: tuple[str, ...] = (), **fields: Any) -> Schema:
    return {"type": "object", "properties": fields, "required": list(required)}


HARMLESS: dict[str, tuple[Schema, Schema]] = {
    "nothing changed": (event(a=TEXT), event(a=TEXT)),
    "a new optional field": (event(a=TEXT), event(a=TEXT, b=NUMBER)),
    "a field is no longer required": (event(("a",), a=TEXT), event(a=TEXT)),
    "may be null now": (event(a=TEXT), event(a={"anyOf": [TEXT, NONE]})),
    "a list of types instead of anyOf": (event(a={"anyOf": [TEXT, NONE]}), event(a={"type": ["string", "null"]})),
    "an integer became a number": (event(a=NUMBER), event(a={"type": "number"})),
    "one more word": (event(a=TEXT | {"enum": ["x"]}), event(a=TEXT | {"enum": ["x", "y"]})),
    "a constant became words": (event(a=TEXT | {"const": "x"}), event(a=TEXT | {"enum": ["x", "y"]})),
    "any text now": (event(a=TEXT | {"enum": ["x"]}), event(a=TEXT)),
    "a wider bound": (event(a=NUMBER | {"maximum": 5, "minimum": 1}), event(a=NUMBER | {"maximum": 6, "minimum": 0})),
    "no pattern any more": (event(a=TEXT | {"pattern": "^x$"}), event(a=TEXT)),
    "other words in the docstring": (event() | {"description": "a"}, event() | {"description": "b"}),
    "other keys are taken now": (event() | {"additionalProperties": False}, event()),
    "moved into a definition": (
        event(a=event(b=TEXT)),
        event(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": event(b=TEXT)}},
    ),
    "one more alternative": (
        event(a={"oneOf": [event(("t",), t=TEXT | {"const": "x"})]}),
        event(a={"oneOf": [event(("t",), t=TEXT | {"const": "y"}), event(("t",), t=TEXT | {"const": "x"})]}),
    ),
}

BREAKS: dict[str, tuple[Schema, Schema, str]] = {
    "a field is gone": (event(a=TEXT, b=TEXT), event(a=TEXT), "b: is no more"),
    "a new required field": (event(), event(("a",), a=TEXT), "a: is required now"),
    "a field is required now": (event(a=TEXT), event(("a",), a=TEXT), "a: is required now"),
    "another type": (event(a=TEXT), event(a=NUMBER), "a: string is no longer taken"),
    "a number became an integer": (event(a={"type": "number"}), event(a=NUMBER), "a: number is no longer taken"),
    "no null any more": (event(a={"anyOf": [TEXT, NONE]}), event(a=TEXT), "a: null is no longer taken"),
    "anything became a text": (event(a={}), event(a=TEXT), "a: object is no longer taken"),
    "a word is gone": (event(a=TEXT | {"enum": ["x", "y"]}), event(a=TEXT | {"enum": ["x"]}), "'y' is no longer"),
    "only some words now": (event(a=TEXT), event(a=TEXT | {"enum": ["x"]}), "a: only x are taken now"),
    "one word now": (event(a=TEXT | {"enum": ["x", "y"]}), event(a=TEXT | {"const": "x"}), "'y' is no longer"),
    "shorter": (event(a=TEXT | {"maxLength": 5}), event(a=TEXT | {"maxLength": 4}), "maxLength is 4 now, was 5"),
    "a bound that was not": (event(a=NUMBER), event(a=NUMBER | {"minimum": 0}), "minimum is 0 now, was not set"),
    "another pattern": (event(a=TEXT | {"pattern": "^a"}), event(a=TEXT | {"pattern": "^b"}), "pattern"),
    "a format that was not": (event(a=TEXT), event(a=TEXT | {"format": "date-time"}), "format"),
    "other keys are refused now": (event(), event() | {"additionalProperties": False}, "other keys are refused"),
    "values of a mapping": (
        event(a={"type": "object", "additionalProperties": TEXT}),
        event(a={"type": "object", "additionalProperties": NUMBER}),
        "a.*: string is no longer taken",
    ),
    "items of a list": (
        event(a={"type": "array", "items": {"anyOf": [TEXT, NUMBER]}}),
        event(a={"type": "array", "items": TEXT}),
        "a[]: integer is no longer taken",
    ),
    "inside a definition": (
        event(a={"anyOf": [{"$ref": "#/$defs/A"}, NONE]}) | {"$defs": {"A": event(b=TEXT)}},
        event(a={"anyOf": [{"$ref": "#/$defs/A"}, NONE]}) | {"$defs": {"A": event(b=NUMBER)}},
        "a.b: string is no longer taken",
    ),
    "inside itself": (
        event(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": event(b=TEXT, a={"$ref": "#/$defs/A"})}},
        event(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": event(a={"$ref": "#/$defs/A"})}},
        "a.b: is no more",
    ),
    "an alternative is gone": (
        event(a={"oneOf": [event(("t",), t=TEXT | {"const": "x"}), event(("t",), t=TEXT | {"const": "y"})]}),
        event(a={"oneOf": [event(("t",), t=TEXT | {"const": "y"})]}),
        "a.t: 'x' is no longer taken",
    ),
    "a keyword that is not understood": (event(a=TEXT), event(a=TEXT | {"contains": {}}), "contains changed"),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_widens_or_adds_is_no_break(case: str) -> None:
    assert breaks(*HARMLESS[case]) == []


@pytest.mark.parametrize("case", BREAKS)
def test_what_narrows_or_removes_is_a_break_and_is_named(case: str) -> None:
    old, new, says = BREAKS[case]
    assert says in "\n".join(breaks(old, new))


def test_a_break_under_a_new_version_is_none_but_a_type_may_not_vanish() -> None:
    old = {"harkara.x.v1": event(a=TEXT), "harkara.y.v9": event(a=TEXT)}
    assert breaks_of_all(old, {"harkara.x.v2": event(b=NUMBER), "harkara.y.v10": event()}) == []
    assert breaks_of_all(old, {"harkara.x.v2": event(), "harkara.y.v8": event()}) == [
        "harkara.y.v9: is no more, and no later version takes its place"
    ]
    assert breaks_of_all(old, old | {"harkara.x.v1": event()}) == ["harkara.x.v1: a: is no more"]
