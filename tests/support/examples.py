"""The examples of every topic's events, as they lie in the contracts package: examples/<topic>/<name>.json.

Each file is {"note": why it exists, "key", "headers", "value"}: a record as a producer of any language would write it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from harkara.contracts.envelope import Envelope, Headers, decode, header
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import BY_NAME, Topic

FOLDER = Path(str(files("harkara.contracts"))) / "examples"
PEPPER = b"an invented pepper of the examples"
"""The pepper of the person keys in the examples."""
WRITTEN_AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
"""The timestamp of records that carry no `ce_time`."""


@dataclass(frozen=True)
class Example:
    """One record. `offset` numbers the examples of a topic."""

    topic: Topic
    name: str
    note: str
    key: str
    headers: Headers
    value: dict[str, Any]
    offset: int

    def __str__(self) -> str:
        return f"{self.topic.name}/{self.name}"

    @property
    def raw(self) -> bytes:
        """The value's bytes."""
        return json.dumps(self.value, ensure_ascii=False).encode()

    def decoded(self) -> Envelope:
        """As a reader gets it. Raises Undecodable."""
        return decode(self.topic.events, self.raw, self.headers, fallback_id=f"{self.topic.name}-0-{self.offset}")

    @property
    def timestamp(self) -> datetime:
        """The record's: its event's own time, as our writers set it."""
        at = header(self.headers, "ce_time")
        return WRITTEN_AT if at is None else datetime.fromisoformat(at)

    def partition(self, partitions: int) -> int:
        """Where a record of its home (or person, run ...) is written."""
        where = {"home": "home", "run": "run_id", "person": "person_key", "WABA id": "waba_id"}.get(
            self.topic.partitioned_by
        )
        return partition_for(str(self.value.get(where or "", self.key)), partitions)


@cache
def examples(topic: str) -> tuple[Example, ...]:
    """A topic's examples in the order in which they happened, then by name."""
    loaded = [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in (FOLDER / topic).glob("*.json")]
    loaded.sort(key=lambda pair: (str(pair[1]["value"].get("at", "")), pair[1]["value"].get("seq", 0), pair[0]))
    return tuple(
        Example(
            topic=BY_NAME[topic],
            name=name,
            note=file["note"],
            key=file["key"],
            headers=[(header_name, text.encode()) for header_name, text in file["headers"].items()],
            value=file["value"],
            offset=offset,
        )
        for offset, (name, file) in enumerate(loaded)
    )


def all_examples() -> list[Example]:
    """Every example of every topic that has some."""
    return [each for folder in sorted(FOLDER.iterdir()) if folder.is_dir() for each in examples(folder.name)]
