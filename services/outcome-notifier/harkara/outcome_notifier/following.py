"""The callbacks file while the service runs: a changed one is taken up by endpoint, a wrong one changes nothing.

An endpoint that says the same goes on undisturbed. One that is others (another URL, other secrets) has its loop made
anew, which goes on from what is committed: what was under way is called again under the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from harkara.outcome_notifier import metrics
from harkara.outcome_notifier.endpoints import Endpoint, endpoints_from
from harkara.runtime.service import Component

LOOK_SECONDS = 2.0  # as for the policy: changed by people, who wait this long without asking; a look costs one `stat`

log = structlog.get_logger()


class CallbacksFile:
    """The file, and the endpoints last taken up from it. Raises ValueError where it is wrong at the start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._signature()
        self.endpoints = endpoints_from(path)

    def look(self) -> list[Endpoint] | None:
        """What a changed file says, which holds from now on; None where nothing was written. Reads files: for a thread.

        Raises ValueError, once per change of the file, with a sentence that holds no secret; then what held holds on.
        """
        signature = self._signature()
        if signature == self._seen:
            return None
        self._seen = signature
        self.endpoints = endpoints_from(self._path)
        return self.endpoints

    def _signature(self) -> tuple[int, int, int] | None:
        """Changes with any write, and when a mounted Secret is swapped."""
        try:
            stat = self._path.stat()
        except OSError:
            return None  # gone for a moment while it is replaced; where it stays away, reading says so
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


class CallbackLoops:
    """A component: one loop per endpoint of the file, made by `make`, at most as many as a file may have."""

    name = "callbacks"

    def __init__(
        self, file: CallbacksFile, make: Callable[[Endpoint], Component], look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._file = file
        self._make = make
        self._look_seconds = look_seconds
        self._loops: dict[str, tuple[Endpoint, Component, asyncio.Task[None]]] = {}

    def ready(self) -> str | None:
        """Ready when every loop is; an endpoint that is down is its producer's matter."""
        if len(self._loops) < len(self._file.endpoints):
            return "starting its loops"
        waiting = (loop.ready() for _, loop, _ in self._loops.values())
        return next((why for why in waiting if why is not None), None)

    async def run(self) -> None:
        """Until cancelled, or until a loop fails."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._follow(group)
                while True:
                    await asyncio.sleep(self._look_seconds)
                    if await self._changed():
                        await self._follow(group)
        finally:
            self._loops.clear()

    async def _changed(self) -> bool:
        before = self._file.endpoints
        try:
            found = await asyncio.to_thread(self._file.look)
        except ValueError as error:
            metrics.FILE_CHANGES.labels("refused").inc()
            metrics.FILE_REFUSED.set(1)
            log.error("callbacks_refused", reason=str(error))
            return False
        if found is None:
            return False
        metrics.FILE_REFUSED.set(0)
        if found == before:
            return False
        metrics.FILE_CHANGES.labels("applied").inc()
        log.info("callbacks_applied", producers=sorted(each.producer for each in found))
        return True

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Stop the loops whose endpoint is gone or another, then start those that are missing."""
        wanted = {each.producer: each for each in self._file.endpoints}
        ended = [name for name, (endpoint, _, _) in self._loops.items() if wanted.get(name) != endpoint]
        await self._stop(ended)
        for name in ended:
            if name not in wanted:
                metrics.forget(name)
        for name in wanted.keys() - self._loops.keys():
            loop = self._make(wanted[name])
            self._loops[name] = (wanted[name], loop, group.create_task(loop.run(), name=loop.name))

    async def _stop(self, names: list[str]) -> None:
        tasks = [self._loops.pop(name)[2] for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
