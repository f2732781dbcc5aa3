"""Runs one Faust app as a component of a service: its start, what ends it, and its leaving in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from harkara.runtime.faust_app import ProjectionApp, new_app
from harkara.runtime.settings import ServiceSettings

# With the transport's 8 s for a thread that does not end, all of a service's grace of 25 s but two.
START_SECONDS = 3.0  # a start under way takes well under one; cut off in its middle it leaves connections open
STOP_SECONDS = 12.0  # to commit and to leave the group: under one, where the broker answers

log = structlog.get_logger()


class FaustComponent:
    """Runs one Faust app as a component: `define(app)` declares its tables and folds, each time it is started."""

    def __init__(self, settings: ServiceSettings, app_id: str, define: Callable[[Any], None]) -> None:
        self.name = app_id
        self._settings = settings
        self._define = define
        self._app: ProjectionApp | None = None

    def ready(self) -> str | None:
        """Ready while its tables are recovered."""
        return None if self._app is not None and self._app.settled else "recovering its tables"

    async def run(self) -> None:
        """Run until cancelled, then commit and leave the group; raises what ended it otherwise."""
        app = new_app(self._settings, self.name)
        self._define(app)
        await app.topics_exist()
        self._app = app
        starting: asyncio.Task[Any] = asyncio.create_task(app.start(), name=f"{self.name}:start")
        failing: asyncio.Task[Any] = asyncio.create_task(app.failed(), name=f"{self.name}:failed")
        crashing: asyncio.Task[Any] = asyncio.create_task(app._crashed.wait(), name=f"{self.name}:crashed")
        try:
            await asyncio.wait({starting, failing, crashing}, return_when=asyncio.FIRST_COMPLETED)
            if not (failing.done() or crashing.done()):
                starting.result()
                await asyncio.wait({failing, crashing}, return_when=asyncio.FIRST_COMPLETED)
            _raise_first(app, failing)
        finally:
            self._app = None
            await asyncio.wait({starting}, timeout=START_SECONDS)
            await _cancelled(starting, failing, crashing)
            await self._leave(app)

    async def _leave(self, app: ProjectionApp) -> None:
        """Stop the app, and see to it that its thread and its connections end even where that fails."""
        stopping: asyncio.Task[Any] = asyncio.create_task(app.stop(), name=f"{self.name}:stop")
        done, _ = await asyncio.wait({stopping}, timeout=STOP_SECONDS)
        if not done:
            log.error("projection_did_not_stop", projection=self.name, seconds=STOP_SECONDS)
            await _cancelled(stopping)
        elif (error := stopping.exception()) is not None:
            log.error("projection_stopped_badly", projection=self.name, exc_info=error)
        await app.close()


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them, and let those that obey end: parts of Faust swallow a cancellation and go on."""
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=0.5)
    for task in done:
        if not task.cancelled():
            task.exception()  # told before, or no longer of interest


def _raise_first(app: ProjectionApp, failing: asyncio.Task[Any]) -> None:
    if failing.done():
        failing.result()
    raise app.crash_reason or RuntimeError("the Faust app crashed without a reason")
