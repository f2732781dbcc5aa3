"""docs/privacy.md says what is so: every topic that names persons and how long, and settings that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.retention import lasts
from harkara.contracts.topics import STREAMS, Topic
from harkara.message_state.settings import Settings as MessageStateSettings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/privacy.md").read_text()
NAMING = [topic for topic in STREAMS if topic.personal_data or topic.pseudonyms]
SECTORS = ("HIPAA", "PCI DSS", "privilege", "FERPA", "SEBI", "CCPA")


def row(topic: Topic) -> str:
    """What the document has to say of a topic."""
    longest = lasts(topic)
    ends = "see below" if topic.compacted else "never" if longest is None else f"{longest.days} days"
    return f"| `{topic.name}` | {'name and content' if topic.personal_data else 'pseudonym'} | {ends} |"


@pytest.mark.req("CMP-13")
def test_every_topic_that_names_persons_is_told_with_its_end_and_no_other() -> None:
    section = TEXT.partition("### Topic by topic")[2].partition("\n## ")[0]
    told = [line for line in section.splitlines() if line.startswith("| `")]
    assert told == [row(topic) for topic in NAMING]
    below = section.partition("Each DLQ of these")[2]
    assert all(f"`{topic.name}`" in below for topic in NAMING if topic.compacted)
    dlqs = [found for topic in NAMING if (found := lasts(topic.dlq)) is not None]
    assert f"for at most {max(dlqs).days} days" in below and len(dlqs) == len(NAMING)
    days = MessageStateSettings.model_fields["forget_after_days"].default
    assert f"taken out {days:g} days after its newest event (`forget_after_days`)" in below


@pytest.mark.req("CMP-13")
def test_where_data_is_and_what_a_person_may_ask_for_is_said() -> None:
    for heading in ("## Where it is", "## What a person may ask for", "## Sectors"):
        assert heading in TEXT
    for linked in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / linked).exists(), linked


@pytest.mark.req("CMP-14")
def test_every_sector_is_told_and_every_setting_that_is_named_exists() -> None:
    sectors = TEXT.partition("## Sectors")[2]
    assert [each for each in SECTORS if each not in sectors] == []
    schema = json.loads((ROOT / "docs/reference/governance.schema.json").read_text())
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", sectors)
    assert named and all(is_setting(schema, schema, name.split(".")) for name in named), named
    assert not is_setting(schema, schema, ["compliance", "no_such_setting"])


def is_setting(schema: dict[str, Any], node: dict[str, Any], path: list[str]) -> bool:
    """Whether the path leads to a property."""
    if not path:
        return True
    kinds = [node, *node.get("anyOf", []), *node.get("allOf", [])]
    parts = [schema["$defs"][kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind for kind in kinds]
    found = [part["properties"][path[0]] for part in parts if path[0] in part.get("properties", {})]
    return any(is_setting(schema, each, path[1:]) for each in found)
