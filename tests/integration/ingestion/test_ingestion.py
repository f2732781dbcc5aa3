"""Ingestion on a real broker: what is refused writes nothing, what is accepted is there, and a kill loses nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from harkara.contracts.envelope import header
from harkara.contracts.identity import message_traceparent
from harkara.contracts.partition import partition_for
from harkara.graph_api.signature import HEADER
from harkara.runtime.kafka import CAUSED_BY
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.ingestion.process import (
    API_KEY,
    LONE,
    PARTITIONS,
    Ingestion,
    ingestion,
    settings_for,
)  # fmt: skip
from tests.support.kafka import read_all
from tests.support.wait import eventually

PAYLOADS = Path(__file__).parents[2] / "fixtures" / "meta" / "payloads"
KEY = {"Authorization": f"Bearer {API_KEY}"}


def payload(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAYLOADS / name).read_text("utf-8"))
    return found


async def records(bootstrap: str, prefix: str, *topics: str) -> list[ConsumerRecord]:
    return [record for topic in topics for record in await read_all(bootstrap, prefix + topic)]


def a_change(*statuses: dict[str, Any], number: str = LONE, field: str = "messages") -> bytes:
    value = {"metadata": {"phone_number_id": number}, "statuses": list(statuses)}
    entry = {"id": "112233445566778", "changes": [{"field": field, "value": value}]}
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]})


@pytest.mark.req("WHK-1", "WHK-3", "WHK-7")
async def test_bad_webhooks_write_nothing_or_are_kept_and_good_ones_become_events(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    await ensure_topics(settings_for(kafka_bootstrap, topic_prefix))
    good = orjson.dumps(payload("webhook_mixed_messages_and_statuses.json"))
    async with ingestion(kafka_bootstrap, topic_prefix, tmp_path) as service:
        assert (await service.http.post("/webhooks/meta", content=good)).status_code == 401
        assert (await service.webhook(good, secret="forged")).status_code == 401
        huge = b" " * (4 * 1024 * 1024)
        assert (await service.webhook(huge)).status_code == 413
        assert (
            await service.http.post("/webhooks/meta", content=_chunks(huge), headers={HEADER: "x"})
        ).status_code == 413
        assert await records(kafka_bootstrap, topic_prefix, "webhook-events", "webhook-events-dlq") == []

        assert (await service.webhook(b'{"entry": [')).status_code == 200
        status = {"id": "wamid.1", "status": "sent", "timestamp": "1795156200"}
        ten = [status | {"id": f"wamid.{n}"} for n in range(9)] + [status | {"status": "levitated"}]
        assert (await service.webhook(a_change(*ten))).status_code == 200
        assert (await service.webhook(a_change(status, number="1"))).status_code == 200
        assert (await service.webhook(a_change(status, field="brand_new_field_2027"))).status_code == 200
        assert (
            await service.webhook(a_change(status | {"id": "wamid.old", "timestamp": "1504902988"}))
        ).status_code == 200
        future = status | {"id": "wamid.future", "timestamp": "4102444800"}
        assert (await service.webhook(a_change(future))).status_code == 200
        assert (await service.webhook(good)).status_code == 200

        async def all_there() -> bool:
            return len(await records(kafka_bootstrap, topic_prefix, "message-lifecycle")) >= 12

        await eventually(all_there)
        lifecycle = await records(kafka_bootstrap, topic_prefix, "message-lifecycle")
        assert len(lifecycle) == 12
        assert {record.partition for record in lifecycle} == {partition_for(LONE, PARTITIONS)}
        dlq = await records(kafka_bootstrap, topic_prefix, "webhook-events-dlq")
        assert sorted(header(record.headers, "dlq-reason") or "" for record in dlq) == [
            "the body is not valid JSON",
            "the field brand_new_field_2027 is not known",
            "the phone number id is not in the governance file",
            "the status levitated is not known",
        ]
        assert b'{"entry": [' in [record.value for record in dlq]
        assert len(await records(kafka_bootstrap, topic_prefix, "inbound-messages")) == 1
        assert len(await records(kafka_bootstrap, topic_prefix, "service-windows")) == 1
        metrics = (await service.http.get("/metrics")).text
        assert 'harkara_ingestion_unknown_total{what="status"} 1.0' in metrics
        assert 'harkara_ingestion_webhooks_total{outcome="unsigned"} 2.0' in metrics
    assert "99999000" not in service.log.read_text()


async def _chunks(raw: bytes) -> Any:
    for start in range(0, len(raw), 65536):
        yield raw[start : start + 65536]


@pytest.mark.req("ING-1", "ING-20")
async def test_a_message_is_on_its_topic_when_it_is_accepted(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    await ensure_topics(settings_for(kafka_bootstrap, topic_prefix))
    async with ingestion(kafka_bootstrap, topic_prefix, tmp_path) as service:
        body = {"to": "+919999900011", "message": "नमस्ते", "sessionId": "advisors"}
        headers = KEY | {"Idempotency-Key": "k1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        answers = [await service.http.post("/api/v1/send", json=body, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        first, second = await records(kafka_bootstrap, topic_prefix, "send-intents")
        assert (first.key, first.partition) == (b"advisors", partition_for("advisors", PARTITIONS))
        assert first.value == second.value
        assert header(first.headers, "ce_id") == header(second.headers, "ce_id")
        assert header(first.headers, "ce_subject") == answers[0].json()["messageId"] == answers[1].json()["messageId"]
        assert header(first.headers, "traceparent") == message_traceparent(str(header(first.headers, "ce_subject")))
        assert header(first.headers, CAUSED_BY) == headers["traceparent"]


async def test_an_emitter_that_is_killed_goes_on_where_it_was(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    count = 6_000
    await ensure_topics(settings_for(kafka_bootstrap, topic_prefix))
    run = {"name": "morning", "message": "x", "senders": [LONE, "advisors"], "priority": 1}
    audience = b"".join(orjson.dumps({"to": f"+9199999{n:05}"}) + b"\n" for n in range(count))
    async with ingestion(kafka_bootstrap, topic_prefix, tmp_path) as service:
        request = asyncio.create_task(_upload(service, run, audience))
        at_kill = await _first_intents(kafka_bootstrap, topic_prefix)
        await service.kill()
        await asyncio.wait([request])
        request.exception()  # the client may have lost its answer; it repeats the request below
    assert 0 < at_kill < count

    async with ingestion(kafka_bootstrap, topic_prefix, tmp_path) as service:
        answer = await _upload(service, run, audience)
        assert answer.status_code == 202, answer.text
        assert answer.json()["accepted"] == count

        async def all_emitted() -> bool:
            found = await records(kafka_bootstrap, topic_prefix, "send-intents")
            return len({header(record.headers, "ce_subject") for record in found}) >= count

        await eventually(all_emitted, timeout_seconds=60)
        repeated = await _upload(service, run, audience)
        assert repeated.json() == answer.json() | {"repeated": True}
    found = await records(kafka_bootstrap, topic_prefix, "send-intents")
    by_id: dict[str | None, set[bytes]] = {}
    for record in found:
        by_id.setdefault(header(record.headers, "ce_id"), set()).add(record.value)
    assert len(by_id) == count
    assert all(len(values) == 1 for values in by_id.values())
    people = {orjson.loads(value)["to"] for values in by_id.values() for value in values}
    assert people == {f"+9199999{n:05}" for n in range(count)}
    (sent_run,) = {record.key for record in await records(kafka_bootstrap, topic_prefix, "send-runs")}
    assert sent_run.decode() == answer.json()["runId"]


async def _upload(service: Ingestion, run: dict[str, Any], audience: bytes) -> httpx.Response:
    return await service.http.post(
        "/api/v1/runs",
        data={"run": json.dumps(run)},
        files={"audience": ("people.ndjson", audience)},
        headers=KEY | {"Idempotency-Key": "run-1"},
    )


async def _first_intents(bootstrap: str, prefix: str) -> int:
    """How many intents there are, as soon as there are some."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partitions = [TopicPartition(f"{prefix}send-intents", number) for number in range(PARTITIONS)]
        written = 0

        async def some() -> bool:
            nonlocal written
            written = sum((await consumer.end_offsets(partitions)).values())
            return written > 0

        await eventually(some, timeout_seconds=60, every=0.002)
        return written
    finally:
        await consumer.stop()
