"""The lane's own record: what it took in, what it was about to do, what came of it. Only the dispatcher reads it."""

from __future__ import annotations

from typing import Any, ClassVar

from harkara.contracts.event import Event, Home, Instant


class JournalRecord(Event):
    """One step of a lane. `kind` and `data` are the dispatcher's own; `seq` grows within the lane."""

    ce_type: ClassVar[str] = "harkara.journal.v1"
    home: Home
    seq: int
    kind: str
    at: Instant
    data: dict[str, Any]
