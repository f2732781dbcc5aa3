"""Whether Meta's webhooks reach us, by account: a silence says something of a message only where they do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Channel:
    """One account's statuses, of whichever number and message. Times are Unix seconds; nothing is journaled: a new
    owner begins with a silence, in which nothing is sent again.

    `status_at`: the time of the newest status, as Meta says it; `read_at`: when one of that time was read last.
    """

    status_at: float = 0.0
    read_at: float = 0.0

    def note(self, at: float, now: float) -> None:
        """A status of `at` is read at `now`. Of a clock that is ahead no more is believed than that it is now."""
        at = min(at, now)
        if at >= self.status_at:
            self.status_at, self.read_at = at, now
