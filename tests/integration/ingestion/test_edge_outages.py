"""What the edge answered 200 is on the topic at the end, whoever dies meanwhile: the edge itself, Kafka, both."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import Random

import httpx
import pytest

from harkara.devstack.kafka_server import EmbeddedKafka
from harkara.devstack.ports import free_ports
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.ingestion.process import API_KEY, LONE, SECRET, ingestion, settings_for
from tests.support.wait import eventually
from tests.support.webhook_load import WebhookLoad, raw_changes

KEY = {"Authorization": f"Bearer {API_KEY}"}


@pytest.mark.req("B5")
async def test_an_edge_that_is_killed_under_load_has_promised_nothing_it_lost(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Killed at two moments; the twenty are the chaos campaign's."""
    await ensure_topics(settings_for(kafka_bootstrap, topic_prefix))
    [port] = free_ports(1)
    load = WebhookLoad(f"http://127.0.0.1:{port}/webhooks/meta", SECRET, LONE)
    async with load.running():
        for seed in (1, 2, None):
            async with ingestion(kafka_bootstrap, topic_prefix, tmp_path, port=port, needs_kafka=False) as service:
                enough = load.count + Random(seed).randrange(50, 400)
                await eventually(partial(_reached, load, enough), every=0.001)
                if seed is not None:
                    await service.kill()
    records = await raw_changes(kafka_bootstrap, topic_prefix)
    assert load.missing(records) == []
    assert load.out_of_order(records) == []
    assert not load.refused.keys() - {503}  # before the spool is open


def _reached(load: WebhookLoad, count: int) -> bool:
    return load.count >= count


@pytest.mark.req("WHK-10", "B5")
async def test_while_kafka_is_away_webhooks_are_spooled_and_nothing_else_is_promised(tmp_path: Path) -> None:
    """Kafka dies under load, for longer than the producer's patience; the edge dies too, and comes back before Kafka
    does. The 60 s of an outage are the chaos campaign's."""
    broker = EmbeddedKafka(tmp_path / "kafka", *free_ports(2))
    broker.start()
    [port] = free_ports(1)
    load = WebhookLoad(f"http://127.0.0.1:{port}/webhooks/meta", SECRET, LONE)
    try:
        await ensure_topics(settings_for(broker.address, "t."))
        async with load.running():
            async with ingestion(broker.address, "t.", tmp_path, port=port) as service:
                await eventually(lambda: load.count >= 50)
                broker.kill()
                before = load.count
                await eventually(lambda: load.count >= before + 200)
                await _only_webhooks(service.http)
                await service.kill()
            async with ingestion(broker.address, "t.", tmp_path, port=port, needs_kafka=False) as service:
                before = load.count
                await eventually(lambda: load.count >= before + 200)
                assert "the oldest for" in (await service.http.get("/readyz")).json()["waiting_for"]["webhook-spool"]
                broker.start()
                await eventually(service.ready, timeout_seconds=60)
                before = load.count
                await eventually(lambda: load.count >= before + 50)
                await eventually(lambda: _spooled_nothing(service.http), timeout_seconds=60)
        records = await raw_changes(broker.address, "t.")
        assert load.missing(records) == []
        assert load.out_of_order(records) == []
        assert not load.refused.keys() - {503}
    finally:
        broker.stop()


async def _only_webhooks(http: httpx.AsyncClient) -> None:
    body = {"to": "+919999900011", "message": "x", "sessionId": LONE}
    started = asyncio.get_running_loop().time()
    answer = await http.post("/api/v1/send", json=body, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
    assert asyncio.get_running_loop().time() - started < 5
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/readyz")).status_code == 503


async def _spooled_nothing(http: httpx.AsyncClient) -> bool:
    lines = (await http.get("/metrics")).text.splitlines()
    return "harkara_ingestion_spool_webhooks 0.0" in lines and "harkara_ingestion_spool_bytes 0.0" in lines
