"""Services in tests: settings alone on a broker, components run in this process, a whole service as a process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from harkara.runtime.kafka import Output, open_writer
from harkara.runtime.service import Component
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.support.wait import eventually

GOVERNANCE_FILE = Path(__file__).parents[2] / "examples" / "governance.yaml"
STOP_SECONDS = 30  # the service's own grace is 25 s

S = TypeVar("S", bound=ServiceSettings)


async def isolated(
    kind: type[S], bootstrap: str, topic_prefix: str, folder: Path, *, partitions: int = 2, **more: Any
) -> S:
    """Settings of a service that meets nobody else's topics, all of which are there; its data goes into `folder`."""
    settings = kind(
        kafka=KafkaSettings(bootstrap=bootstrap, topic_prefix=topic_prefix),
        partitions=partitions,
        replication_factor=1,
        data_dir=folder,
        broker_session_timeout_seconds=6.0,
        **more,
    )
    await ensure_topics(settings)
    return settings


async def write(settings: ServiceSettings, outputs: Iterable[Output]) -> None:
    """Events as another service would write them, each acknowledged."""
    async with open_writer(settings, "test") as writer:
        await writer.write(outputs)


@asynccontextmanager
async def running(components: Sequence[Component]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Runs them, a task each; at the end the last is stopped first, as a service does. Raises where one ended by
    itself."""
    tasks = [asyncio.create_task(component.run(), name=component.name) for component in components]
    try:
        yield tasks
    finally:
        ended = [task for task in tasks if task.done()]
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait([task])
        assert not ended, f"it ended by itself: {[task.exception() for task in ended]!r}"


async def ready(components: Sequence[Component], timeout_seconds: float = 60) -> None:
    """Wait until each says that it does its job."""
    await eventually(lambda: all(each.ready() is None for each in components), timeout_seconds)


@asynccontextmanager
async def service_process(
    name: str, settings: ServiceSettings, environment: Mapping[str, str], log_file: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service as a process of its own, on a port of its own choice unless `environment` names one.

    It is stopped by SIGTERM, and must then end well, unless it was killed.
    """
    own = {
        "HARKARA_KAFKA_BOOTSTRAP": settings.kafka.bootstrap,
        "HARKARA_KAFKA_TOPIC_PREFIX": settings.kafka.topic_prefix,
        "HARKARA_PARTITIONS": str(settings.partitions),
        "HARKARA_REPLICATION_FACTOR": str(settings.replication_factor),
        "HARKARA_DATA_DIR": str(settings.data_dir),
        "HARKARA_BROKER_SESSION_TIMEOUT_SECONDS": str(settings.broker_session_timeout_seconds),
        "HARKARA_HTTP_HOST": "127.0.0.1",
        "HARKARA_HTTP_PORT": "0",
    }
    with log_file.open("ab") as log:
        started = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "harkara.runtime.serve",
            name,
            env=os.environ | own | dict(environment),
            stdout=log,
            stderr=log,
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            assert await asyncio.wait_for(started.wait(), STOP_SECONDS) == 0, log_file.read_text()[-4000:]
