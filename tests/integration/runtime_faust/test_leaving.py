"""However a projection ends, its thread, its event loop and its connections end with it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from mode.threads import WorkerThread

from harkara.contracts.topics import SEND_COMMANDS
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.settings import ServiceSettings
from tests.integration.runtime_faust import folds
from tests.support.wait import eventually


class Watched:
    """A component whose apps can be looked at."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.apps: list[ProjectionApp] = []
        self.component = FaustComponent(settings, folds.GROUP, self._define)

    def _define(self, app: ProjectionApp) -> None:
        folds.keep_and_count(app)
        self.apps.append(app)

    def nothing_is_left(self) -> bool:
        """No thread, and no open loop of one."""
        threads = [each for each in threading.enumerate() if isinstance(each, WorkerThread)]
        return not threads and all(each is None or each.thread_loop.is_closed() for each in map(thread_of, self.apps))


def thread_of(app: ProjectionApp) -> Any:
    """The app's consumer thread, once there is one."""
    consumer: Any = app._consumer
    return None if consumer is None else consumer._thread


async def end(task: asyncio.Task[None]) -> float:
    """Cancel it; the seconds until it has ended."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    return loop.time() - since


STEPS = ("topics_known", "start", "consumer", "thread", "connected", "settled")


@pytest.mark.parametrize("step", STEPS)
async def test_cancelled_at_any_step_of_its_start(on_topics: ServiceSettings, step: str) -> None:
    watched = Watched(on_topics)
    task = asyncio.create_task(watched.component.run())

    def reached() -> bool:
        if not watched.apps:
            return False
        app = watched.apps[0]
        thread = thread_of(app)
        return {
            "topics_known": True,
            "start": app.started,
            "consumer": thread is not None,
            "thread": thread is not None and thread._thread is not None,
            "connected": thread is not None and thread._consumer is not None,
            "settled": app.settled,
        }[step]

    await eventually(reached, timeout_seconds=60, every=0.001)
    assert await end(task) < 10
    assert watched.nothing_is_left()


@pytest.mark.parametrize("where", ["app", "consumer", "thread"])
async def test_crashed(on_topics: ServiceSettings, where: str) -> None:
    watched = Watched(on_topics)
    task = asyncio.create_task(watched.component.run())
    await eventually(lambda: watched.component.ready() is None, timeout_seconds=60)
    app = watched.apps[0]
    broken: dict[str, Any] = {"app": app, "consumer": app._consumer, "thread": thread_of(app)}
    await broken[where].crash(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(15):
            await task
    assert watched.nothing_is_left()


async def test_cancelled_while_its_group_changes_hands(on_topics: ServiceSettings) -> None:
    first, second = Watched(on_topics), Watched(on_topics.model_copy(update={"instance": "test-1"}))
    one = asyncio.create_task(first.component.run())
    await eventually(lambda: first.component.ready() is None, timeout_seconds=60)
    two = asyncio.create_task(second.component.run())
    await eventually(lambda: bool(first.apps[0].rebalancing), timeout_seconds=60, every=0.001)
    assert await end(one) < 15
    assert await end(two) < 15
    assert first.nothing_is_left() and second.nothing_is_left()


async def test_told_to_end_it_commits_what_it_has_folded_and_leaves_whatever_number_of_topics_it_folds(
    on_topics: ServiceSettings,
) -> None:
    await folds.create(on_topics, [SEND_COMMANDS])

    def define(app: ProjectionApp) -> None:
        folds.keep_and_count(app)
        app.fold(SEND_COMMANDS, lambda incoming: None)

    task = asyncio.create_task(FaustComponent(on_topics, folds.GROUP, define).run())
    await folds.feed(on_topics, [folds.record(n) for n in range(6)])
    await eventually(folds.expect_published(on_topics, {f"s{n}" for n in range(6)}, task), timeout_seconds=60)
    assert await end(task) < 5
    assert await folds.committed(on_topics) == 6
