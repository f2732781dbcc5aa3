"""Whether everything that people have said has come into the consent replica, or since when that is not known.

The replica proves only that it has read what the projection has written. While a projection moves to another instance,
or its input waits to be heard, an opt-out may lie unread before it. So the ends of the input topics are compared with
what their groups have committed, which they do once what follows from it is written; and the replica must have been
read to its end after that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

import structlog
from aiokafka.errors import KafkaError

from harkara.compliance_guard.metrics import BEHIND
from harkara.contracts.topics import Topic
from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.group_progress import GroupProgress, Offsets
from harkara.runtime.settings import ServiceSettings

FRESH_SECONDS = 3.0
"""While people keep writing, what is known is up to 2.3 s old: the projection commits once a second, a look comes 0.2 s
later, and twice the replica's 0.5 s pass. Less than this would clear nothing for moments without any cause."""
LOOK_SECONDS = 0.2
LOOK_TIMEOUT_SECONDS = 1.5
MOST_ENDS = 100  # 20 s of looks; of what takes longer to be read, the newer looks tell

log = structlog.get_logger()


class Progress:
    """A component. `inputs` are the topics by the group that must have read them; `replica_age_seconds` is how long ago
    the replica was known to be complete."""

    name = "consent-progress"

    def __init__(
        self,
        settings: ServiceSettings,
        inputs: Mapping[str, Topic],
        replica_age_seconds: Callable[[], float],
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._inputs = inputs
        self._clock = clock or SystemClock()
        self._started_at = self._clock.monotonic()
        self._read_until: float | None = None
        self._ends: deque[tuple[float, Offsets]] = deque(maxlen=MOST_ENDS)
        self._reached: deque[tuple[float, float]] = deque(maxlen=MOST_ENDS)
        self._replica_age_seconds = replica_age_seconds
        BEHIND.set_function(self._behind_or_start)

    def fresh(self, within_seconds: float = FRESH_SECONDS) -> bool:
        """Whether everything said up to that many seconds ago is known to be in the replica."""
        return self.behind_seconds() <= within_seconds

    def behind_seconds(self) -> float:
        """How long ago everything said was last known to be in the replica; infinity before the first time."""
        now = self._clock.monotonic()
        complete_at = now - self._replica_age_seconds()
        while self._reached and self._reached[0][1] <= complete_at:
            self._read_until = self._reached.popleft()[0]
        return float("inf") if self._read_until is None else now - self._read_until

    def ready(self) -> str | None:
        """Ready while it is fresh, with some patience: a rebalance is no reason to be restarted."""
        if self.behind_seconds() == float("inf"):
            return "what people said has not been read up to now yet"
        return None if self.fresh(10.0) else f"what people said has not been read for {self.behind_seconds():.0f} s"

    async def run(self) -> None:
        """Look until cancelled."""
        async with GroupProgress.of(self._settings, self._inputs) as groups:
            while True:
                try:
                    async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                        asked_at = self._clock.monotonic()
                        self.note(asked_at, await groups.ends(), await groups.read())
                except (KafkaError, TimeoutError) as error:
                    log.warning("consent_progress_unknown", error=type(error).__name__)
                await asyncio.sleep(LOOK_SECONDS)

    def note(self, asked_at: float, ends: Offsets, committed: Offsets) -> None:
        """One look: where the topics ended at `asked_at`, and what their groups had committed a moment later."""
        self._ends.append((asked_at, ends))
        while self._ends and all(committed.get(each, 0) >= end for each, end in self._ends[0][1].items()):
            self._reached.append((self._ends.popleft()[0], self._clock.monotonic()))

    def _behind_or_start(self) -> float:
        return min(self.behind_seconds(), self._clock.monotonic() - self._started_at)
