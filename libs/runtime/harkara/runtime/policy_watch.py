"""The policy file while a service runs: read again when it changes, taken up as a whole or refused as a whole.

Mounted files are swapped, written over, gone for a moment: what counts is that a change is seen within seconds, that a
wrong file changes nothing, and that somebody is told. What is read, and what of it may change, is given from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog
from prometheus_client import Counter, Gauge

from harkara.runtime.kafka import Output, Writer, start_producer
from harkara.runtime.settings import ServiceSettings

LOOK_SECONDS = 2.0  # a policy is changed by people, who wait this long without asking; a look costs one `stat`

CHANGES = Counter(
    "harkara_policy_changes_total",
    "Changes of governance.yaml while running, by result (applied, refused). refused: the old policy stands; the log "
    "line `policy_refused` says why; mend the file (`harkara policy check`).",
    ["result"],
)
REFUSED = Gauge(
    "harkara_policy_refused",
    "1 while the file on disk is not the policy in force, because it was refused. Mend the file, or restart where the "
    "log line `policy_refused` says that a restart is needed.",
)

log = structlog.get_logger()


class Versioned(Protocol):
    """A policy: what it says has a version."""

    @property
    def version(self) -> str:
        """Names the content."""
        ...


P = TypeVar("P", bound=Versioned)


class PolicyRefused(Exception):
    """The changed file is not taken up. `str()` has one line per reason."""


class PolicyFile(Generic[P]):
    """The file, and the policy last taken up from it.

    `load` raises ValueError for a file that is wrong; `needs_restart` says what of a new policy cannot be taken up.
    """

    def __init__(
        self, path: Path, applied: P, load: Callable[[Path], P], needs_restart: Callable[[P, P], list[str]]
    ) -> None:
        self._path = path
        self._load = load
        self._needs_restart = needs_restart
        self._seen: tuple[int, int, int] | None = None
        self.applied = applied

    def look(self) -> P | None:
        """A newer policy that is now applied; None where the file says what it said. Reads files: for a thread.

        Raises PolicyRefused, once per change of the file.
        """
        signature = self._signature()
        if signature == self._seen:
            return None
        self._seen = signature
        try:
            newest = self._load(self._path)
        except ValueError as error:
            raise PolicyRefused(str(error)) from None
        if newest.version == self.applied.version:
            REFUSED.set(0)
            return None
        if reasons := self._needs_restart(self.applied, newest):
            raise PolicyRefused("\n".join(f"{reason}: needs a restart" for reason in reasons))
        self.applied = newest
        return newest

    def _signature(self) -> tuple[int, int, int] | None:
        """When, how long and which file: changes with any write, and when a mounted ConfigMap is swapped."""
        try:
            stat = self._path.stat()
        except OSError:
            return None  # gone for a moment while it is replaced; where it stays away, `load` says so
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


class PolicyWatch(Generic[P]):
    """A component: looks at the file, hands a changed policy to `apply`, and puts each policy in force on record.

    `record` gives what is written when a policy comes into force, the first one included; it is acknowledged before the
    service is ready, so that no decision names a policy that nobody can look up.
    """

    name = "policy"

    def __init__(
        self,
        settings: ServiceSettings,
        file: PolicyFile[P],
        apply: Sequence[Callable[[P], None]],
        record: Callable[[P], Sequence[Output]] = lambda _: (),
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._settings = settings
        self._file = file
        self._apply = apply
        self._record = record
        self._look_seconds = look_seconds
        self._recorded = False

    async def run(self) -> None:
        """Look until cancelled."""
        await self._put_on_record(self._file.applied)
        self._recorded = True
        while True:
            await asyncio.sleep(self._look_seconds)
            await self._look()

    def ready(self) -> str | None:
        """Ready once the policy in force is on record."""
        return None if self._recorded else "the policy in force is being put on record"

    async def _look(self) -> None:
        before = self._file.applied.version
        try:
            newest = await asyncio.to_thread(self._file.look)
        except PolicyRefused as error:
            CHANGES.labels("refused").inc()
            REFUSED.set(1)
            log.error("policy_refused", reason=str(error), standing=before)
            return
        if newest is None:
            return
        await self._put_on_record(newest)
        for each in self._apply:
            each(newest)
        CHANGES.labels("applied").inc()
        REFUSED.set(0)
        log.info("policy_applied", policy_version=newest.version, before=before)

    async def _put_on_record(self, policy: P) -> None:
        outputs = self._record(policy)
        if not outputs:
            return
        settings = self._settings
        producer = await start_producer(settings)
        try:
            await Writer(producer, settings.kafka, settings.partitions, settings.service).write(outputs)
        finally:
            await producer.stop()
