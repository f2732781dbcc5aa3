"""What people wrote last, as far as this process has heard it: for the typing indicator, which answers a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MOST_HEARD = 10_000  # persons of a number, 3 MB; whoever wrote longer ago is answered without an indicator


class Indicator(NamedTuple):
    """The typing indicator, to be shown by this number in answer to this message."""

    number: str
    wamid: str


@dataclass(slots=True)
class Heard:
    """The newest message of each person to one number."""

    newest: dict[str, str] = field(default_factory=dict)

    def note(self, person_key: str, wamid: str) -> None:
        """They wrote this."""
        self.newest.pop(person_key, None)
        self.newest[person_key] = wamid
        if len(self.newest) > MOST_HEARD:
            del self.newest[next(iter(self.newest))]
