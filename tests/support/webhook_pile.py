"""Every update of every sample of Meta's webhooks, as many times as wanted, and packed again as Meta might."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PAYLOADS = Path(__file__).parents[1] / "fixtures" / "meta" / "payloads"
BATCH = 1000  # updates in a webhook at most (Meta)
LISTS = ("statuses", "messages", "errors", "user_preferences")

Update = dict[str, Any]
"""A webhook with a single update in it."""


def payload(name: str) -> dict[str, Any]:
    """A sample's file."""
    found: dict[str, Any] = json.loads((PAYLOADS / name).read_text("utf-8"))
    return found


def bodies(name: str) -> list[dict[str, Any]]:
    """The POST bodies of a sample, be it one webhook or a sequence of them."""
    content = payload(name)
    return [each["body"] for each in content["deliveries"]] if "deliveries" in content else [content]


WEBHOOK_FILES = sorted(
    each["file"] for each in payload("_index.json")["files"] if each["kind"] in ("webhook_post", "webhook_sequence")
)


def alone(body: dict[str, Any]) -> Iterator[Update]:
    """Each update of a webhook as a webhook of its own."""
    for entry in body["entry"]:
        for change in entry["changes"]:
            value = change["value"]
            rest = {key: part for key, part in value.items() if key not in LISTS}
            items = [(key, item) for key in LISTS if key in value for item in value[key]]
            for single in [rest | {key: [item]} for key, item in items] or [value]:
                yield {"object": body["object"], "entry": [entry | {"changes": [change | {"value": single}]}]}


def updates(copies: int) -> list[Update]:
    """Every update of every sample, `copies` times, each time of messages and persons of its own."""
    found = [update for name in WEBHOOK_FILES for body in bodies(name) for update in alone(body)]
    made = []
    for number in range(copies):
        for update in found:
            text = json.dumps(update).replace("wamid.", f"wamid.{number}x")
            made.append(json.loads(text.replace("919999900", f"9199999{number % 100:02}")))
    return made


def packed(shuffled: Sequence[Update]) -> Iterator[dict[str, Any]]:
    """Webhooks with at most 1,000 updates. Neighbours of one number come as one change, the contacts together."""
    for start in range(0, len(shuffled), BATCH):
        entries: list[dict[str, Any]] = []
        for update in shuffled[start : start + BATCH]:
            _add(entries, copy.deepcopy(update["entry"][0]))
        yield {"object": "whatsapp_business_account", "entry": entries}


def _add(entries: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    change = entry["changes"][0]
    last = entries[-1]["changes"][-1] if entries else None
    same = last is not None and entries[-1]["id"] == entry["id"] and last["field"] == change["field"] == "messages"
    if last is None or not same or last["value"].get("metadata") != change["value"].get("metadata"):
        entries.append(entry)
        return
    for key in (*LISTS, "contacts"):
        last["value"].setdefault(key, []).extend(change["value"].get(key, []))
        if not last["value"][key]:
            del last["value"][key]
