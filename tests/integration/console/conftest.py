"""The console on a real broker and a real database: its components in this process, its HTTP app without a socket."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from harkara.console.app import create
from harkara.console.settings import Settings
from harkara.runtime.kafka import Output, Writer, start_producer
from harkara.runtime.service import Service
from harkara.runtime.settings import KafkaSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.support.wait import eventually

KEY = "ops.this-is-a-test-key"
BOUND_KEY = "shop.this-is-another-test-key"
PEPPER = "a-pepper-for-tests-only"
GOVERNANCE = Path(__file__).parents[3] / "examples" / "governance.yaml"


@pytest.fixture
def settings(postgres_database: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Settings:
    """Settings of one console, alone on its topics."""
    keys = tmp_path / "keys.yaml"
    rows = [("ops", KEY, ""), ("shop", BOUND_KEY, ', sender: "100000000000001"')]
    lines = [f"  - {{id: {i}, name: {i}, sha256: {hashlib.sha256(k.encode()).hexdigest()}{s}}}" for i, k, s in rows]
    keys.write_text("keys:\n" + "\n".join(lines))
    return Settings(
        kafka=KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix),
        partitions=2,
        replication_factor=1,
        data_dir=tmp_path,
        postgres_dsn=postgres_database,
        api_keys_file=keys,
        governance_file=GOVERNANCE,
        pepper=PEPPER,
        live_interval_seconds=0.1,
    )


@dataclass
class Console:
    """A running console and what a test does with it."""

    settings: Settings
    service: Service
    http: httpx.AsyncClient
    writer: Writer
    tasks: list[asyncio.Task[None]]

    async def write(self, outputs: Sequence[Output]) -> None:
        """Write events as the other services do."""
        await self.writer.write(outputs)

    async def until(self, path: str, condition: Callable[[Any], bool]) -> Any:
        """Ask until GET path answers 200 with a body of which the condition holds; the body."""
        found: list[Any] = []

        async def holds() -> bool:
            for task in self.tasks:
                assert not task.done(), f"a component ended: {task.exception()!r}"
            answer = await self.http.get(path)
            found[:] = [answer.json()]
            return answer.status_code == 200 and condition(found[0])

        await eventually(holds)
        return found[0]


@pytest.fixture
async def console(settings: Settings) -> AsyncIterator[Console]:
    """The console, ready."""
    await ensure_topics(settings)
    async with running(settings) as started:
        yield started


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Console]:
    """The console's components, ready, until the block ends."""
    service = create(settings)
    producer = await start_producer(settings)
    writer = Writer(producer, settings.kafka, settings.partitions, "test")
    transport = httpx.ASGITransport(service.http_app)
    http = httpx.AsyncClient(transport=transport, base_url="http://console.test", headers={"X-API-Key": KEY})
    tasks = [asyncio.create_task(component.run()) for component in service.components]
    try:
        await eventually(lambda: not service.not_ready() or any(task.done() for task in tasks))
        for task in tasks:
            if task.done():
                task.result()
        yield Console(settings, service, http, writer, tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await http.aclose()
        await producer.stop()
