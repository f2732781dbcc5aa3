"""Numbers of one lane that are stopped in this process before the lane's journal says so.

What Meta refused of one number stops those that share it at once, in whichever lane they are: their calls that have not
begun do not pass the gate, and the next round of their lane writes the holds.
"""

from __future__ import annotations

from typing import NamedTuple

from harkara.dispatcher.holds import hold_barred
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.graph_api.outcome import Refused


class Bar(NamedTuple):
    """What was refused: of the number itself (`own`) or of one that shares it. `since`: as in `holds.Refusal`."""

    outcome: Refused
    own: bool
    since: float | None


class Barred:
    """Of each number every refusal since the last round, at most one a call under way or status read: a narrow one must
    not hide a wide one."""

    def __init__(self) -> None:
        self._bars: dict[str, list[Bar]] = {}

    def __contains__(self, number: str | None) -> bool:
        return number in self._bars

    def add(self, number: str, bar: Bar) -> None:
        """From now on the number starts no call."""
        self._bars.setdefault(number, []).append(bar)

    def write(self, scribe: Scribe, around: Surroundings) -> list[tuple[str, Bar]]:
        """The holds; for whom and what."""
        written = [(number, bar) for number, bars in self._bars.items() for bar in bars]
        self._bars.clear()
        for number, bar in written:
            hold_barred(scribe, around, number, bar.outcome, own=bar.own, since=bar.since)
        return written
