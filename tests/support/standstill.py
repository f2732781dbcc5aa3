"""For how long the machine stood still: what a test on a clock takes off what it measured of a service.

A thread that only sleeps wakes when its sleep is over; where it wakes late, nobody else had the machine's cores for
that long either, or they were all taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

SLEEP_SECONDS = 0.005
NOTICED_SECONDS = 0.025
"""A thread of a busy machine wakes some milliseconds late; only what is beyond counts as standing still."""


def stood_still(wakes: Sequence[float], since: float, until: float) -> float:
    """Seconds between the two moments that lie in gaps between one wake and the next; `wakes` ascend."""
    found = 0.0
    for before, after in pairwise(wakes):
        if after - before > NOTICED_SECONDS:
            found += max(0.0, min(after, until) - max(before, since))
    return found


@contextmanager
def watched() -> Iterator[list[float]]:
    """The moments (epoch seconds) at which the thread woke, up to now."""
    wakes: list[float] = []
    over = threading.Event()

    def sleep_on() -> None:
        while not over.is_set():
            wakes.append(time.time())
            time.sleep(SLEEP_SECONDS)

    thread = threading.Thread(target=sleep_on, name="standstill", daemon=True)
    thread.start()
    try:
        yield wakes
    finally:
        over.set()
        thread.join()
