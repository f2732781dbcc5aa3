"""Named places at which a test lets the process die: `HARKARA_FAILPOINTS="before_call:3:kill,after_answer:1:kill"`.

The third pass of `before_call` sends this process SIGKILL. Nothing happens, and nothing is counted, where the variable
is unset; an unknown point or action is refused at start.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

POINTS = (
    "after_intake",
    "after_journal_commit",
    "before_call",
    "during_call",
    "after_answer",
    "before_outcome_commit",
    "after_outcome_commit",
)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


ACTIONS: dict[str, Callable[[], None]] = {"kill": _kill, "stop": _stop}


@dataclass
class Failpoints:
    """The armed points: name -> (pass at which it acts, action)."""

    armed: dict[str, tuple[int, Callable[[], None]]] = field(default_factory=dict)
    passes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Failpoints:
        """`point:pass:action`, separated by commas; pass counts from 1. Raises ValueError."""
        points = cls()
        for part in filter(None, (each.strip() for each in text.split(","))):
            name, _, rest = part.partition(":")
            count, _, action = rest.partition(":")
            if name not in POINTS or action not in ACTIONS or not count.isdecimal() or int(count) < 1:
                raise ValueError(
                    f"HARKARA_FAILPOINTS: {part!r} is not POINT:PASS:ACTION with a point of {', '.join(POINTS)} "
                    f"and an action of {', '.join(ACTIONS)}"
                )
            points.armed[name] = (int(count), ACTIONS[action])
        return points

    def is_armed(self, name: str) -> bool:
        """Whether the point waits for its pass."""
        return name in self.armed

    def reach(self, name: str, passes: bool = True) -> None:
        """The process passes here, where `passes`."""
        if not passes or name not in self.armed:
            return
        self.passes[name] = self.passes.get(name, 0) + 1
        at, act = self.armed[name]
        if self.passes[name] == at:
            act()
