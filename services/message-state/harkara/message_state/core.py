"""When a message is past: the join itself is `contracts.lifecycle.advance`, and `contracts.wamids` says where each
event belongs."""

from __future__ import annotations

from datetime import datetime

from harkara.contracts.lifecycle import MARK_RANK, State


def is_past(state: State, before: datetime) -> bool:
    """Whether the newest event of the message is older than `before`: it is at rest, whatever its status.

    Marks do not count: they say that nothing has happened.
    """
    seen = state["first_seen"]
    events = [at for status, at in seen.items() if status not in MARK_RANK] or list(seen.values())
    return datetime.fromisoformat(max(events)) < before  # one fixed width: the order of the texts is that of the times
