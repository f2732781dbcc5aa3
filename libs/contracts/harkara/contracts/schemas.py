"""JSON Schema of every event, made from the events themselves, for producers and readers in other languages.

A schema says what `envelope.decode` accepts, as far as JSON Schema can: rules over several fields (a picture has an id
or a link, a lane's status has its rank) stand in the descriptions. A field that may be null is never required: who
writes an event leaves out what is None.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harkara.contracts.event import Event
from harkara.contracts.topics import STREAMS

DIALECT = "https://json-schema.org/draft/2020-12/schema"

EVENTS: dict[str, type[Event]] = {
    event.ce_type: event for event in sorted({e for topic in STREAMS for e in topic.events}, key=lambda e: e.ce_type)
}
"""Every event that is on a topic, by its CloudEvents type."""


def schema_of(event_type: type[Event]) -> dict[str, Any]:
    """The event's schema (draft 2020-12); `$id` and `title` are its `ce_type`."""
    made = event_type.model_json_schema()
    plain: dict[str, Any] = _plain(made)
    return plain | {"$schema": DIALECT, "$id": event_type.ce_type, "title": event_type.ce_type}


def text_of(schema: dict[str, Any]) -> str:
    """The schema as its file has it: sorted, so that a change shows as what it is."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_all(folder: Path) -> list[Path]:
    """Write `<ce_type>.json` per event into `folder` and remove the schemas of events that are no more; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.json" for name in EVENTS]
    for path, event_type in zip(written, EVENTS.values(), strict=True):
        path.write_text(text_of(schema_of(event_type)), encoding="utf-8")
    for stale in set(folder.glob("*.json")) - set(written):
        stale.unlink()
    return written


def _plain(node: Any) -> Any:
    """Without the titles that repeat the names, without `default: null`; what may be null is not required."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _plain(value) for key, value in node.items() if not _says_nothing(key, value)}
    properties = node.get("properties")
    if isinstance(properties, dict):
        kept["properties"] = {name: _plain(each) for name, each in properties.items()}
        required = [name for name in node.get("required", []) if not may_be_null(properties[name])]
        kept.pop("required", None)
        if required:
            kept["required"] = sorted(required)
    if "discriminator" in node:  # pydantic tells the alternatives apart by this field alone, so it must be there
        tag = node["discriminator"]["propertyName"]
        kept["oneOf"] = [each | {"required": [tag]} for each in kept["oneOf"]]
    return kept


def _says_nothing(key: str, value: Any) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)


def may_be_null(node: dict[str, Any]) -> bool:
    """Whether a field's schema takes null."""
    return any(each.get("type") == "null" for each in [node, *node.get("anyOf", [])])
