"""Every Graph call but sends, with its time and how it ended; sends are in the ledger."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MAX_CALLS = 10_000
"""Older ones are forgotten: this log is for looking, the ledger is the witness."""


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call. `at_ms`: milliseconds since 1970; `code`: Meta's of a refusal, None where it was accepted."""

    seq: int
    at_ms: int
    method: str
    path: str
    code: int | None


class CallLog:
    """The newest calls."""

    def __init__(self) -> None:
        self._calls: deque[LoggedCall] = deque(maxlen=MAX_CALLS)
        self._seq = 0

    def add(self, now: float, method: str, path: str, code: int | None) -> None:
        """Writes a call down; `path` without its query, which may hold a token."""
        self._seq += 1
        self._calls.append(LoggedCall(self._seq, int(now * 1000), method, path[:500], code))

    def page(self, after: int, limit: int) -> list[LoggedCall]:
        """At most `limit` calls with a `seq` above `after`, in order."""
        return [call for call in self._calls if call.seq > after][:limit]
