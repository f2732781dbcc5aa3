"""Python's cycle collector, kept from looking through the queue again and again.

A lane holds millions of objects that live long and are in no cycle. CPython's defaults look at the young ones after
every 700 and took a tenth of a message's processor time; a whole look at a million queued messages stops everything for
half a second.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

THRESHOLDS = (50_000, 20, 50)
"""Objects, then rounds, between two looks: what is in cycles (a failed call's traceback, a closed connection) may pile
up to a few megabytes before it goes. The old ones are looked at when a quarter of them is new (CPython's own rule)."""


def calm() -> None:
    """For a process that works lanes: look seldom."""
    gc.set_threshold(*THRESHOLDS)


@dataclass
class Recoveries:
    """While lanes are being rebuilt nothing is looked at, and what was built is left out of later looks."""

    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around one lane's recovery, in any thread, several at once.

        What is in a cycle then stays for ever: connections and tasks alive at a rebalance, some kilobytes each time.
        """
        with self.lock:
            self.under_way += 1
            gc.disable()
        try:
            yield
        finally:
            with self.lock:
                self.under_way -= 1
                if not self.under_way:
                    gc.freeze()
                    gc.enable()


RECOVERIES = Recoveries()
"""The process's: there is one collector."""
