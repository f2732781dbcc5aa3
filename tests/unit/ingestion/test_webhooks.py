"""The webhook's edge, as Meta meets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from harkara.contracts.topics import WEBHOOK_EVENTS, WEBHOOK_EVENTS_URGENT
from harkara.contracts.webhooks import WebhookChange
from harkara.graph_api.signature import HEADER, sign
from harkara.ingestion.app import normalising
from harkara.ingestion.core import NotAWebhook, split
from harkara.ingestion.edge import BODY_LIMITS
from harkara.ingestion.effects import TooLarge, Unavailable
from harkara.ingestion.settings import Settings
from harkara.policy.governance import Governance
from harkara.runtime.kafka import Output
from tests.unit.ingestion.conftest import (
    FIRST,
    LONE,
    NOW,
    SECRET,
    VERIFY_TOKEN,
    WEBHOOK_FILES,
    Running,
    bodies,
    payload,
)  # fmt: skip

LIMIT = BODY_LIMITS["/webhooks/meta"]


@pytest.mark.req("WHK-3", "WHK-7")
@pytest.mark.parametrize("name", WEBHOOK_FILES)
async def test_every_sample_is_appended_change_by_change(running: Running, name: str) -> None:
    for body in bodies(name):
        running.log.written.clear()
        answer = await running.webhook(orjson.dumps(body))
        assert answer.status_code == 200
        changes = [(entry, change) for entry in body["entry"] for change in entry["changes"]]
        for topic, urgent in ((WEBHOOK_EVENTS, False), (WEBHOOK_EVENTS_URGENT, True)):
            assert [(each.entry_id, each.field, each.value) for each in running.log.on(topic.name)] == [
                (entry["id"], change["field"], change["value"])
                for entry, change in changes
                if is_urgent(change) is urgent
            ]
        assert running.log.raw() == []


def is_urgent(change: dict[str, Any]) -> bool:
    """What a person wrote or prefers: it may be a STOP, and must not wait behind a campaign's statuses."""
    return "messages" in change["value"] or change["field"] == "user_preferences"


def test_what_people_wrote_is_read_before_statuses(governance: Governance) -> None:
    loop = normalising(Settings(), lambda: governance, b"0" * 32)
    assert list(loop._topics.values()) == [WEBHOOK_EVENTS_URGENT, WEBHOOK_EVENTS]  # a loop reads in this order


async def test_a_change_is_keyed_by_its_number_else_by_its_account(running: Running) -> None:
    await running.webhook(orjson.dumps(payload("webhook_status_batch_many.json")))
    await running.webhook(orjson.dumps(payload("webhook_account_update_deleted.json")))
    keys = {each.key for each in running.log.written if isinstance(each, Output)}
    assert keys == {LONE, FIRST, "112233445566778"} or keys > {LONE, "112233445566778"}
    assert all(isinstance(each, Output) and each.partition_key == each.key for each in running.log.written)


async def test_the_same_body_gives_the_same_ids(running: Running) -> None:
    raw = orjson.dumps(payload("webhook_status_batch_many.json"))
    await running.webhook(raw)
    first = [each.id for each in running.log.written if isinstance(each, Output)]
    running.log.written.clear()
    await running.webhook(raw)
    assert [each.id for each in running.log.written if isinstance(each, Output)] == first
    assert len(set(first)) == len(first)


async def test_metas_own_vector_is_accepted_over_the_raw_bytes(running: Running) -> None:
    vector = payload("signature_example.json")
    raw = vector["raw_body"].encode()
    await running.webhook(raw)
    assert running.log.on(WEBHOOK_EVENTS_URGENT.name)[0].value["messages"][0]["text"]["body"].startswith("बंद करो")
    forged = await running.http.post(
        "/webhooks/meta", content=orjson.dumps(orjson.loads(raw)), headers={HEADER: sign(SECRET, raw)}
    )
    assert forged.status_code == 401


@pytest.mark.req("WHK-1")
@pytest.mark.parametrize("header", [None, "", "sha256=", "sha256=" + "0" * 64, "md5=x", "sha256=" + "é" * 64])
async def test_what_is_not_signed_by_meta_is_refused_and_nothing_written(running: Running, header: str | None) -> None:
    raw = orjson.dumps(payload("webhook_status_sent.json"))
    headers = {} if header is None else {HEADER.encode(): header.encode()}
    answer = await running.http.post("/webhooks/meta", content=raw, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert running.log.written == []


async def test_both_secrets_hold_during_a_rotation(running: Running) -> None:
    raw = orjson.dumps(payload("webhook_status_sent.json"))
    assert (await running.webhook(raw, signed_by="another")).status_code == 200
    assert (await running.webhook(raw, signed_by="a third")).status_code == 401


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe", b"[]", b'"text"', b"{}", b'{"object":"page","entry":[]}', b'{"entry":{}}', b"[" * 5000],
)
async def test_a_signed_body_that_is_no_webhook_is_kept_raw_and_answered_200(running: Running, raw: bytes) -> None:
    answer = await running.webhook(raw)
    assert answer.status_code == 200
    (kept,) = running.log.raw()
    assert kept.topic.name == "webhook-events-dlq"
    assert kept.value == raw
    assert dict(kept.headers)["dlq-reason"]
    assert len(running.log.written) == 1


async def test_what_is_right_in_a_half_wrong_body_is_applied(running: Running) -> None:
    body = payload("webhook_status_sent.json")
    body["entry"] += [{"id": "1"}, "text", {"id": "2", "changes": [{"field": "x"}, {"field": "y", "value": []}, 7]}]
    raw = orjson.dumps(body)
    assert (await running.webhook(raw)).status_code == 200
    assert len(running.log.on(WEBHOOK_EVENTS.name)) == 1
    assert [(orjson.loads(each.value or b""), dict(each.headers)["dlq-reason"]) for each in running.log.raw()] == [
        ({"id": "1"}, b"entry[1] has no list of changes"),
        ("text", b"entry[2] has no list of changes"),
        ({"id": "2", "changes": [{"field": "x"}]}, b"entry[3].changes[0] has no field or no value"),
        ({"id": "2", "changes": [{"field": "y", "value": []}]}, b"entry[3].changes[1] has no field or no value"),
        ({"id": "2", "changes": [7]}, b"entry[3].changes[2] has no field or no value"),
    ]


@pytest.mark.req("B5")
async def test_of_a_thousand_updates_three_malformed_leave_997(running: Running) -> None:
    """Meta's greatest batch, over 12 numbers: what is no change goes to the DLQ alone, with its reason."""
    numbers = [LONE, FIRST, *(f"10000000000{n:04}" for n in range(10))]
    status = {"status": "sent", "timestamp": "1795156202"}
    changes: list[object] = [
        {
            "field": "messages",
            "value": {
                "metadata": {"phone_number_id": numbers[n % 12]},
                "statuses": [status | {"id": f"wamid.{n}"}],
            },
        }
        for n in range(1000)
    ]
    changes[10], changes[500], changes[999] = "text", {"field": "messages", "value": None}, {"value": {}}
    entries = [{"id": f"{n}", "changes": changes[n * 100 : n * 100 + 100]} for n in range(10)]
    answer = await running.webhook(orjson.dumps({"entry": entries, "object": "whatsapp_business_account"}))
    assert answer.status_code == 200
    events = running.log.on(WEBHOOK_EVENTS.name)
    assert [each.value["statuses"][0]["id"] for each in events] == [
        f"wamid.{n}" for n in range(1000) if n not in (10, 500, 999)
    ]
    kept = [each for each in running.log.written if isinstance(each, Output)]
    assert {each.key for each in kept} == set(numbers)
    assert len({each.id for each in kept}) == 997
    assert [dict(each.headers)["dlq-reason"] for each in running.log.raw()] == [
        b"entry[0].changes[10] has no field or no value",
        b"entry[5].changes[0] has no field or no value",
        b"entry[9].changes[99] has no field or no value",
    ]


@pytest.mark.req("B5")
async def test_half_an_emoji_in_one_name_does_not_cost_the_batch(running: Running) -> None:
    body = payload("webhook_status_sent.json")
    raw = orjson.dumps(body).replace(b"Asha Patil", rb"Asha \ud83d")
    assert (await running.webhook(raw)).status_code == 200
    (event,) = running.log.on(WEBHOOK_EVENTS.name)
    assert event.value["contacts"][0]["profile"]["name"] == "Asha ?"
    assert event.value["statuses"] == body["entry"][0]["changes"][0]["value"]["statuses"]
    assert running.log.raw() == []


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON;charset=UTF-8", 200),
        ("application/vnd.meta+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
        ("", 415),
    ],
)
async def test_a_webhook_is_json_by_its_own_word(running: Running, said: str, status: int) -> None:
    raw = orjson.dumps(payload("webhook_status_sent.json"))
    headers = {HEADER: sign(SECRET, raw), "content-type": said}
    answer = await running.http.post("/webhooks/meta", content=raw, headers=headers)
    assert answer.status_code == status
    assert len(running.log.written) == (status == 200)


async def test_a_body_above_the_limit_is_413_with_its_length_said(running: Running) -> None:
    answer = await running.webhook(b" " * (LIMIT + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert running.log.written == []


async def test_a_body_above_the_limit_is_413_without_its_length(running: Running) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 65536 + 2):
            yield b" " * 65536

    answer = await running.http.post("/webhooks/meta", content=chunks(), headers={HEADER: "sha256=" + "0" * 64})
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert running.log.written == []


async def test_a_body_at_the_limit_is_read(running: Running) -> None:
    raw = orjson.dumps(payload("webhook_status_sent.json"))
    assert (await running.webhook(raw + b" " * (LIMIT - len(raw)))).status_code == 200


async def test_without_kafka_meta_is_asked_to_repeat(running: Running) -> None:
    running.log.refuse = Unavailable("no answer")
    answer = await running.webhook(orjson.dumps(payload("webhook_status_sent.json")))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


async def test_a_record_that_kafka_never_takes_is_not_repeated_for_ever(running: Running) -> None:
    running.log.refuse = TooLarge("too large")
    assert (await running.webhook(orjson.dumps(payload("webhook_status_sent.json")))).status_code == 413


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN, "hub.challenge": "1158201444"}, 200),
        ({"hub.mode": "subscribe", "hub.verify_token": "wrong", "hub.challenge": "1158201444"}, 403),
        ({"hub.mode": "subscribe", "hub.verify_token": "wröng", "hub.challenge": "1"}, 403),
        ({"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN, "hub.challenge": "<script>"}, 403),
        ({"hub.mode": "unsubscribe", "hub.verify_token": VERIFY_TOKEN, "hub.challenge": "1"}, 403),
        ({}, 403),
    ],
)
async def test_the_handshake(running: Running, query: dict[str, str], status: int) -> None:
    answer = await running.http.get("/webhooks/meta", params=query)
    assert answer.status_code == status
    if status == 200:
        assert answer.text == query["hub.challenge"]
        assert answer.headers["content-type"].startswith("text/plain")


def test_a_change_too_large_for_a_record_is_cut_without_loss() -> None:
    body = payload("webhook_status_sent.json")
    status = body["entry"][0]["changes"][0]["value"]["statuses"][0]
    body["entry"][0]["changes"][0]["value"]["statuses"] = [status | {"id": f"wamid.{n}"} for n in range(5000)]
    raw = orjson.dumps(body)
    emissions, faults = split(body, "digest", len(raw), NOW)
    assert faults == []
    events = [each.event for each in emissions]
    assert len(events) > 3
    assert all(isinstance(each, WebhookChange) and len(each.model_dump_json()) < 900_000 for each in events)
    ids = [status["id"] for each in events if isinstance(each, WebhookChange) for status in each.value["statuses"]]
    assert ids == [f"wamid.{n}" for n in range(5000)]
    assert len({each.id for each in emissions}) == len(emissions)


def test_another_products_object_is_no_webhook_of_ours() -> None:
    with pytest.raises(NotAWebhook):
        split({"object": "instagram", "entry": []}, "digest", 10, NOW)


async def test_a_get_or_put_elsewhere_is_a_problem(running: Running) -> None:
    answer: httpx.Response = await running.http.put("/webhooks/meta")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
