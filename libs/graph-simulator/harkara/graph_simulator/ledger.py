"""The independent witness: every message that was accepted, in order, and how many calls were refused, by code."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted message. `accepted_at_ms`: milliseconds since 1970; `to`: the person's digits; `fate`: what became
    of it. `user_id`: the business-scoped user id, where it was written to that; one that is no simulated user's (see
    `bodies.user_id`) stands in `to` as well."""

    seq: int
    accepted_at_ms: int
    phone_number_id: str
    to: str
    wamid: str
    opaque: str | None
    type: str
    template: str | None
    category: str
    fate: str
    user_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry as the ledger endpoint and the file show it."""
        return asdict(self)


class Ledger:
    """Accepted entries, `seq` from 1 without gaps. With a file each entry is written to it before the call is answered.

    The file is written unbuffered, so it survives a kill of the process; it is read back at the next start.
    """

    def __init__(self, path: Path | None = None, limit: int = 1_000_000) -> None:
        self._entries: list[Entry] = []
        self._limit = limit
        self.refused: Counter[int] = Counter()
        self.accepted_by_number: Counter[str] = Counter()
        self._file: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._restore(path)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _restore(self, path: Path) -> None:
        """Reads the entries of an earlier process; a last line that a kill cut off is taken off the file."""
        if not path.exists():
            return
        raw = path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) != len(raw):
            os.truncate(path, len(whole))
        for line in whole.splitlines():
            self._remember(Entry(**orjson.loads(line)))

    def _remember(self, entry: Entry) -> None:
        self._entries.append(entry)
        self.accepted_by_number[entry.phone_number_id] += 1

    @property
    def full(self) -> bool:
        """Whether no further entry may be added: a ledger that forgot would be no witness."""
        return len(self._entries) >= self._limit

    @property
    def last_seq(self) -> int:
        """The `seq` of the newest entry; 0 where there is none."""
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        """Adds the entry, whose `seq` must be `last_seq` + 1."""
        assert entry.seq == self.last_seq + 1
        if self._file is not None:
            os.write(self._file, orjson.dumps(entry.as_json()) + b"\n")
        self._remember(entry)

    def page(self, after: int, limit: int) -> list[Entry]:
        """At most `limit` entries with a `seq` above `after`, in order."""
        return self._entries[max(after, 0) : max(after, 0) + limit]

    def find(self, after: int, limit: int, since_ms: int, until_ms: int, **wanted: str) -> list[Entry]:
        """As `page`, only entries accepted from `since_ms` up to `until_ms` whose fields are as `wanted`."""
        found: list[Entry] = []
        for entry in self._entries[max(after, 0) :]:
            if len(found) >= limit:
                break
            in_time = since_ms <= entry.accepted_at_ms < until_ms
            if in_time and all(getattr(entry, name) == value for name, value in wanted.items()):
                found.append(entry)
        return found

    def newest(self, count: int) -> list[Entry]:
        """The last `count` entries, oldest first."""
        return self._entries[-count:] if count > 0 else []

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
