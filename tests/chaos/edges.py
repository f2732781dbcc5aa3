"""The webhook edge is killed under load, with Kafka there and away; and Kafka is away for a minute.

What was answered 200 must be there; the judge is `webhook-events` itself, read to its end when all has calmed down.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from harkara.devstack.ports import free_ports
from harkara.runtime.topic_admin import ensure_topics
from tests.chaos.ground import Ground
from tests.chaos.unrest import Unrest
from tests.chaos.verdict import Verdict
from tests.integration.ingestion.process import LONE, SECRET, Ingestion, ingestion, settings_for
from tests.support.wait import eventually
from tests.support.webhook_load import WebhookLoad, raw_changes

KILLS = 20
WITHOUT_KAFKA = range(7, 14)  # of the kills: what these find half written is in the spool
LONGEST_LIFE_SECONDS = 2.0  # of an edge, from when it takes webhooks: some of its waits and syncs
OUTAGE_SECONDS = 60.0
BACK_SECONDS = 120.0  # for the broker's start and the replay of a minute's webhooks


@dataclass
class Edge:
    """One set of topics with a load on a port; edges come and go there."""

    on: Ground
    prefix: str
    folder: Path
    port: int
    load: WebhookLoad

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Ingestion]:
        """An edge that takes webhooks, whatever Kafka does."""
        bootstrap = self.on.bootstrap
        async with ingestion(bootstrap, self.prefix, self.folder, port=self.port, needs_kafka=False) as service:
            yield service

    async def verdict(self) -> Verdict:
        """With Kafka there: once an edge is ready and its spool empty, everything is where it was promised to be."""
        async with self.up() as service:
            await eventually(service.ready, BACK_SECONDS)
            await eventually(lambda: spooled_nothing(service), BACK_SECONDS)
        records = await raw_changes(self.on.bootstrap, self.prefix)
        answered = sum(map(len, self.load.answered.values()))
        late = self.load.out_of_order(records)
        assert not late, f"{len(late)} came behind something that was answered later: {late[:5]}"
        wrong = self.load.refused.keys() - {503}
        assert not wrong, f"answers {dict(self.load.refused)}"
        return Verdict(messages=answered, lost=self.load.missing(records))


@asynccontextmanager
async def edge(on: Ground) -> AsyncIterator[Edge]:
    """Topics of its own, and the load until the end of the context."""
    prefix = f"e{uuid.uuid4().hex[:8]}."
    folder = on.folder / prefix
    folder.mkdir()
    await ensure_topics(settings_for(on.bootstrap, prefix))
    [port] = free_ports(1)
    load = WebhookLoad(f"http://127.0.0.1:{port}/webhooks/meta", SECRET, LONE)
    yield Edge(on, prefix, folder, port, load)


async def spooled_nothing(service: Ingestion) -> bool:
    """Whether the spool says so."""
    return "harkara_ingestion_spool_webhooks 0.0" in (await service.http.get("/metrics")).text.splitlines()


async def kills(on: Ground, seed: int, tell: Callable[[str], None]) -> Unrest:
    """The edge is killed twenty times at random moments, seven of them while Kafka is away."""
    assert on.broker is not None
    random = Random(f"edge {seed}")
    async with edge(on) as at:
        async with at.load.running():
            for turn in range(KILLS):
                if turn == WITHOUT_KAFKA.start:
                    on.broker.kill()
                if turn == WITHOUT_KAFKA.stop:
                    on.broker.spawn()
                    await asyncio.to_thread(on.broker.wait_ready)
                async with at.up() as service:
                    began, life = time.monotonic(), random.uniform(0, LONGEST_LIFE_SECONDS)
                    await eventually(partial(_is_over, began, life), every=0.003)
                    assert service.process.returncode is None, service.log.read_text()[-4000:]
                    await service.kill()
                tell(f"edge: killed {turn + 1} times, {at.load.count} webhooks answered 200")
        return Unrest("edge", f"killed {KILLS} times under load", await at.verdict())


def _is_over(began: float, seconds: float) -> bool:
    return time.monotonic() - began > seconds


async def outage(on: Ground, tell: Callable[[str], None]) -> Unrest:
    """Kafka is away for a minute; every webhook of it is answered, and is on its topic afterwards."""
    assert on.broker is not None
    async with edge(on) as at:
        async with at.load.running(), at.up() as service:
            await eventually(service.ready, BACK_SECONDS)
            await eventually(lambda: at.load.count >= 100)
            on.broker.kill()
            began, before = time.monotonic(), at.load.count
            await eventually(partial(_is_over, began, OUTAGE_SECONDS), 2 * OUTAGE_SECONDS)
            spooled = at.load.count - before
            on.broker.spawn()
            await asyncio.to_thread(on.broker.wait_ready)
            tell(f"edge: {spooled} webhooks answered 200 without Kafka")
            await eventually(service.ready, BACK_SECONDS)
        assert spooled > OUTAGE_SECONDS, "hardly a webhook was taken without Kafka"
        return Unrest("edge outage", f"{spooled} webhooks taken in {OUTAGE_SECONDS:.0f} s", await at.verdict())
