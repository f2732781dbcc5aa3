"""JSON Schema of governance.yaml, for editors: completion, and mistakes shown while typing.

It says what `harkara policy check` accepts as far as JSON Schema can; rules over several settings (a profile that is
named exists, a number is in one pool) are in the check alone.
"""

from __future__ import annotations

import json
from typing import Any

from harkara.policy.governance import Governance

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE_NAME = "governance.schema.json"


def governance_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of the whole file."""
    made: dict[str, Any] = _plain(Governance.model_json_schema())
    return made | {"$schema": DIALECT, "$id": FILE_NAME, "title": "governance.yaml"}


def schema_text() -> str:
    """The schema as its file under docs/reference has it."""
    return json.dumps(governance_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(node: Any) -> Any:
    """Without titles that repeat names; lines of docstrings joined; a name that no pattern allows is refused."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _plain(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].split())
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    return kept
