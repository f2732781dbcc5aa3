"""The HTTP API over a log in memory: each shape, each refusal by its code, each promise."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.identity import derived_message_id, derived_run_id, person_key
from harkara.contracts.intents import Media, Template, Text
from harkara.contracts.topics import QUEUE_STATE
from harkara.ingestion.acceptance import MOST_FAULTS_SHOWN
from harkara.ingestion.edge import BODY_LIMITS
from harkara.ingestion.effects import Unavailable
from harkara.runtime.kafka import Output
from tests.unit.ingestion.conftest import FIRST, FIXED_KEY, LONE, NOW, PEPPER, POOL_KEY, SECOND, Running
from tests.unit.ingestion.test_standing import queue

TO = "+919999900011"
TEMPLATE = {"name": "order_update", "language": "en", "body": ["Asha", "12"]}


def phones(count: int) -> list[str]:
    return [f"+9199999{n:05}" for n in range(count)]


@pytest.mark.req("ING-1", "ING-15")
async def test_one_message_in_the_plain_shape(running: Running) -> None:
    answer = await running.post("/api/v1/send", {"to": "919999900011", "message": "hello", "sessionId": LONE})
    assert answer.status_code == 202
    (output,) = running.log.written
    assert isinstance(output, Output)
    (intent,) = running.log.on("send-intents")
    assert (intent.to, intent.content, intent.sender, intent.category) == (TO, Text(body="hello"), LONE, "service")
    assert intent.producer == "shop"
    assert answer.json()["messageId"] == intent.message_id == output.subject
    assert (output.key, output.partition_key, output.time) == (LONE, LONE, NOW)
    assert answer.json()["position"] is None
    assert answer.json()["estimatedDelivery"] is None


async def test_the_rich_shape(running: Running) -> None:
    body = {
        "to": TO, "template": TEMPLATE, "category": "utility", "sessionId": "advisors", "priority": 2,
        "not_before": "2026-11-21T06:00:00+05:30", "expiresAt": "2026-11-21T07:00:00+05:30", "metadata": {"a": "b"},
        "fallbackTemplate": {"name": "fallback", "language": "hi"}, "duplicateOk": True,
    }  # fmt: skip
    assert (await running.post("/api/v1/send", body)).status_code == 202
    (intent,) = running.log.on("send-intents")
    assert isinstance(intent.content, Template)
    assert intent.fallback_template == Template(name="fallback", language="hi")
    assert (intent.sender, intent.priority, intent.duplicate_ok) == ("advisors", 2, True)
    assert (intent.metadata, intent.not_before) == ({"a": "b"}, NOW)


async def test_media(running: Running) -> None:
    media = {"type": "image", "link": "https://example.test/a.png", "caption": "x"}
    await running.post("/api/v1/send", {"to": TO, "media": media, "sessionId": LONE})
    assert isinstance(running.log.on("send-intents")[0].content, Media)


@pytest.mark.req("ING-14")
async def test_urgent_messages_have_their_own_topic(running: Running) -> None:
    await running.post("/api/v1/send", {"to": TO, "message": "now", "sessionId": LONE, "priority": 3})
    assert len(running.log.on("send-intents-urgent")) == 1
    assert running.log.on("send-intents") == []


@pytest.mark.req("ING-10")
@pytest.mark.parametrize(
    ("key", "given", "sender", "home"),
    [
        ("shop.free-secret", {"sessionId": LONE}, LONE, LONE),
        ("shop.free-secret", {"sessionId": "advisors"}, "advisors", "advisors"),
        ("shop.free-secret", {"sessionId": SECOND}, SECOND, "advisors"),
        ("shop.free-secret", {"phone": "+91 99999 00002"}, FIRST, "advisors"),
        ("shop.free-secret", {"phone": "12025550143"}, LONE, LONE),
        (FIXED_KEY, {}, LONE, LONE),
        (FIXED_KEY, {"sessionId": LONE}, LONE, LONE),
        (POOL_KEY, {}, "advisors", "advisors"),
        (POOL_KEY, {"sessionId": FIRST}, FIRST, "advisors"),
    ],
)
async def test_who_sends(running: Running, key: str, given: dict[str, str], sender: str, home: str) -> None:
    answer = await running.post("/api/v1/send", {"to": TO, "message": "x"} | given, key=key)
    assert answer.json()["sender"] == sender
    (output,) = running.log.written
    assert isinstance(output, Output)
    assert (output.key, output.partition_key) == (sender, home)


@pytest.mark.parametrize(
    ("key", "given", "status", "code"),
    [
        ("shop.free-secret", {}, 422, "UNKNOWN_SENDER"),
        ("shop.free-secret", {"sessionId": "nobody"}, 422, "UNKNOWN_SENDER"),
        ("shop.free-secret", {"phone": "+919999999999"}, 422, "UNKNOWN_SENDER"),
        ("shop.free-secret", {"sessionId": LONE, "phone": "+12025550143"}, 422, "VALIDATION_FAILED"),
        (FIXED_KEY, {"sessionId": "advisors"}, 403, "SENDER_NOT_ALLOWED"),
        (POOL_KEY, {"sessionId": LONE}, 403, "SENDER_NOT_ALLOWED"),
    ],
)
async def test_who_may_not(running: Running, key: str, given: dict[str, str], status: int, code: str) -> None:
    answer = await running.post("/api/v1/send", {"to": TO, "message": "x"} | given, key=key)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert running.log.written == []


@pytest.mark.req("ING-8", "ING-9")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": "9999900011"}, "to"),
        ({"to": "+0999990001"}, "to"),
        ({"to": "+91abc"}, "to"),
        ({"to": "++919999900011"}, "to"),
        ({"to": 919999900011}, "to"),
        ({"to": "9" * 10_000}, "to"),
        ({"to": None}, "to"),
        ({"message": ""}, "message"),
        ({"message": "x" * 4097}, "message"),
        ({"priority": 4}, "priority"),
        ({"template": TEMPLATE}, "body"),
        ({"message": None}, "body"),
        ({"mesage": "x"}, "mesage"),
        ({"category": "spam"}, "category"),
        ({"expiresAt": "2026-11-22T00:00:00"}, "expiresAt"),
        ({"expiresAt": "2026-11-20T00:00:00Z"}, "notBefore"),
        ({"notBefore": "2026-12-20T00:00:00Z"}, "notBefore"),
    ],
)
async def test_what_is_wrong_is_named_and_not_repeated(running: Running, change: dict[str, Any], field: str) -> None:
    body = {"to": TO, "message": "hello", "sessionId": LONE} | change
    answer = await running.post("/api/v1/send", body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["code"] == "VALIDATION_FAILED"
    assert any(each["field"].startswith(field) for each in found["errors"]), found
    assert "9999900011" not in answer.text
    assert running.log.written == []


async def test_a_text_of_4096_characters_is_taken(running: Running) -> None:
    assert (await running.post("/api/v1/send", {"to": TO, "message": "न" * 4096}, key=FIXED_KEY)).status_code == 202


async def test_a_template_needs_its_category(running: Running) -> None:
    answer = await running.post("/api/v1/send", {"to": TO, "template": TEMPLATE, "sessionId": LONE})
    assert answer.status_code == 422


@pytest.mark.req("ING-7")
@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Bearer shop.wrong"}, {"Authorization": "Bearer nobody.x"}, {"X-API-Key": "shop"},
        {"Authorization": "Basic c2hvcC5mcmVlLXNlY3JldA=="}, {"X-API-Key": "x" * 5000},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/v1/send", "/api/v1/send/batch", "/api/v1/runs", "/api/v1/other"])
async def test_without_a_key_nothing_is_even_read(running: Running, headers: dict[str, str], path: str) -> None:
    answer = await running.http.post(path, content=b"{not json", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_may_come_in_its_own_header(running: Running) -> None:
    body = {"to": TO, "message": "x"}
    assert (await running.http.post("/api/v1/send", json=body, headers={"X-API-Key": FIXED_KEY})).status_code == 202


async def test_a_body_too_large(running: Running) -> None:
    answer = await running.post("/api/v1/send", {"to": TO, "message": "x" * BODY_LIMITS["/api/v1/send"]})
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("path", ["/api/v1/send", "/api/v1/send/batch", "/api/v1/runs"])
async def test_without_kafka_nothing_is_promised(running: Running, path: str) -> None:
    running.log.refuse = Unavailable("no answer")
    bodies: dict[str, dict[str, Any]] = {
        "/api/v1/send": {"to": TO, "message": "x"},
        "/api/v1/send/batch": {"messages": [{"to": TO, "text": "x"}]},
        "/api/v1/runs": {"name": "n", "message": "x", "audience": [{"to": TO}]},
    }
    answer = await running.post(path, bodies[path], key=FIXED_KEY, idem="k1")
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
    assert answer.headers["retry-after"]
    assert running.known.runs == {}


@pytest.mark.req("ING-20")
async def test_a_repeated_send_names_the_same_message_and_the_same_intent(running: Running) -> None:
    body = {"to": TO, "message": "x", "notBefore": "2026-11-21T06:00:00Z"}
    first = await running.post("/api/v1/send", body, key=FIXED_KEY, idem="order-17")
    running.clock.advance(90)
    second = await running.post("/api/v1/send", body, key=FIXED_KEY, idem="order-17")
    assert first.json()["messageId"] == second.json()["messageId"] == derived_message_id("desk", "order-17", 0)
    one, two = running.log.on("send-intents")
    assert one.hash() == two.hash()
    other = await running.post("/api/v1/send", body, key=POOL_KEY, idem="order-17")
    assert other.json()["messageId"] != first.json()["messageId"]


async def test_without_a_key_of_its_own_each_send_is_another_message(running: Running) -> None:
    body = {"to": TO, "message": "x"}
    answers = [(await running.post("/api/v1/send", body, key=FIXED_KEY)).json()["messageId"] for _ in range(3)]
    assert len(set(answers)) == 3


@pytest.mark.parametrize("path", ["/api/v1/send/batch", "/api/v1/runs"])
async def test_many_messages_need_an_idempotency_key(running: Running, path: str) -> None:
    body = {"messages": [{"to": TO, "text": "x"}]} if "batch" in path else {"name": "n", "audience": [{"to": TO}]}
    answer = await running.post(path, body, key=FIXED_KEY)
    assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")


async def test_an_idempotency_key_has_a_shape(running: Running) -> None:
    answer = await running.post("/api/v1/send", {"to": TO, "message": "x"}, key=FIXED_KEY, idem="x" * 201)
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")


# --- batches -----------------------------------------------------------------------------------------------------


@pytest.mark.req("ING-2")
async def test_a_batch_is_spread(running: Running) -> None:
    body = {"messages": [{"to": to, "text": "x"} for to in phones(6)], "spreadMinutes": 30, "sessionId": LONE}
    running.known.apply(QUEUE_STATE, LONE, queue())
    answer = await running.post("/api/v1/send/batch", body, idem="b1")
    assert answer.status_code == 202
    rows = running.log.on("run-audience")
    assert [row.emit_at for row in rows] == [NOW + timedelta(minutes=5 * n) for n in range(6)]
    found = answer.json()
    assert found["queued"] == 6
    assert found["messageIds"] == [row.intent.message_id for row in rows]
    assert found["batchId"] == derived_run_id("shop", "b1")
    assert datetime.fromisoformat(found["estimatedCompletion"]) == NOW + timedelta(minutes=25)


async def test_a_repeated_batch_writes_nothing_again_and_says_the_same(running: Running) -> None:
    messages = [{"to": to, "text": "x"} for to in phones(3)]
    body: dict[str, Any] = {"messages": messages, "spreadMinutes": 3, "sessionId": LONE}
    first = (await running.post("/api/v1/send/batch", body, idem="b1")).json()
    written = len(running.log.written)
    running.clock.advance(60)
    second = (await running.post("/api/v1/send/batch", body, idem="b1")).json()
    assert len(running.log.written) == written
    assert second.pop("repeated") is True
    assert first.pop("repeated") is False
    assert first == second
    body["messages"][0]["text"] = "y"
    conflict = await running.post("/api/v1/send/batch", body, idem="b1")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")


async def test_a_batch_with_one_wrong_message_is_refused_whole(running: Running) -> None:
    body = {"messages": [{"to": TO, "text": "x"}, {"to": "123", "text": "x"}], "sessionId": LONE}
    answer = await running.post("/api/v1/send/batch", body, idem="b1")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "messages.1.to"
    assert running.log.written == []


# --- runs --------------------------------------------------------------------------------------------------------

RUN: dict[str, Any] = {
    "name": "morning", "template": {"name": "market_note", "language": "en"}, "category": "utility",
    "senders": [LONE, "advisors"], "deadline": "2026-11-21T06:05:00+05:30",
}  # fmt: skip


async def test_a_run_freezes_every_row_with_its_home(running: Running) -> None:
    audience = [{"to": to, "params": ["Asha", str(n)]} for n, to in enumerate(phones(300))]
    answer = await running.post("/api/v1/runs", RUN | {"audience": audience}, idem="r1")
    assert answer.status_code == 202
    rows = running.log.on("run-audience")
    run_id = derived_run_id("shop", "r1")
    assert [(row.row, row.intent.to) for row in rows] == list(enumerate(phones(300), 1))
    assert {row.intent.message_id for row in rows} == {derived_message_id("shop", "r1", n) for n in range(1, 301)}
    assert all((row.run_id, row.intent.run_id, row.intent.row) == (run_id, run_id, row.row) for row in rows)
    assert rows[6].intent.content == Template(name="market_note", language="en", body=("Asha", "6"))
    assert all(row.intent.sender == row.home and row.emit_at is None for row in rows)
    (run,) = running.log.on("send-runs")
    assert (run.run_id, run.name, run.expected, run.producer) == (run_id, "morning", 300, "shop")
    assert run.homes == {home: sum(row.home == home for row in rows) for home in (LONE, "advisors")}
    assert min(run.homes.values()) > 100
    assert run.audience_hash == answer.json()["audienceHash"]
    assert [record.action for record in running.log.on("audit-log")] == ["run_accepted"]
    assert [each.topic.name for each in running.log.written if isinstance(each, Output)][-2:] == [
        "send-runs",
        "audit-log",
    ]


async def test_a_person_has_the_same_sender_in_every_run(running: Running) -> None:
    audience = [{"to": to} for to in phones(50)]
    await running.post("/api/v1/runs", RUN | {"audience": audience}, idem="r1")
    await running.post("/api/v1/runs", RUN | {"audience": audience[::-1]}, idem="r2")
    homes: dict[str, set[str]] = {}
    for row in running.log.on("run-audience"):
        homes.setdefault(row.intent.to, set()).add(row.home)
    assert all(len(found) == 1 for found in homes.values())


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
async def test_an_uploaded_audience_is_the_same_as_an_inline_one(running: Running, kind: str) -> None:
    people = [("+919999900001", "Asha", "en"), ("+919999900002", "सुनीता", "hi"), ("+919999900003", 'a, "b"', "mr")]
    inline = [{"to": to, "params": [name], "language": language} for to, name, language in people]
    answer = await running.post("/api/v1/runs", RUN | {"audience": inline}, idem="r1")
    if kind == "ndjson":
        text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in inline) + "\n"
    else:
        text = "to,param1,language\r\n" + "".join(
            f'{to},"{name.replace(chr(34), chr(34) * 2)}",{language}\r\n' for to, name, language in people
        )
    for bom in (b"", b"\xef\xbb\xbf"):
        uploaded = await running.http.post(
            "/api/v1/runs",
            data={"run": json.dumps(RUN)},
            files={"audience": (f"people.{kind}", bom + text.encode())},
            headers={"X-API-Key": "shop.free-secret", "Idempotency-Key": "r1"},
        )
        assert uploaded.status_code == 202, uploaded.text
        assert uploaded.json()["audienceHash"] == answer.json()["audienceHash"]
        assert uploaded.json()["repeated"] is True


async def test_every_bad_row_is_listed_and_nothing_accepted(running: Running) -> None:
    audience: list[Any] = [{"to": to, "params": ["x"]} for to in phones(MOST_FAULTS_SHOWN + 200)]
    for index in range(0, 1200, 1):
        audience[index]["to"] = "12"
    audience += [
        {"to": TO},
        {"to": TO},
        7,
        {"to": "+919999900012", "sender": "nobody"},
        {"to": "+919999900013", "x": 1},
    ]
    answer = await running.post("/api/v1/runs", RUN | {"audience": audience}, idem="r1")
    found = answer.json()
    assert (answer.status_code, found["code"]) == (422, "VALIDATION_FAILED")
    assert found["badRows"] == [*range(1, 1201), 1202, 1203, 1204, 1205]
    assert len(found["errors"]) == MOST_FAULTS_SHOWN
    assert found["errors_total"] == 1204
    assert found["errors"][0]["row"] == 1
    assert running.log.written == []


async def test_a_person_twice_in_an_audience_is_a_bad_row(running: Running) -> None:
    answer = await running.post("/api/v1/runs", RUN | {"audience": [{"to": TO}, {"to": TO[1:]}]}, idem="r1")
    assert answer.json()["badRows"] == [2]
    assert answer.json()["errors"][0]["message"] == "the same recipient as in row 1"


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.ndjson", b'{"to":"+919999900001"}\n{oops\n\xff\n[1]\n', [2, 3, 4]),
        ("a.csv", b"to,param1\n+919999900001,x,extra\n", [1]),
        ("a.csv", b"to,colour\n+919999900001,red\n", [1]),
        ("a.csv", b"to,param2\n+919999900001,x\n", [1]),
        ("a.csv", b"to\n+919999900001\n\xff\n", [2]),
        ("a.csv", b'to\n+919999900001\n"open\n', [2]),
        ("a.csv", b"to,priority\n+919999900001,9\n", [1]),
        ("a.csv", b"to\n", [0]),
        ("a.ndjson", b"\n\n", [0]),
    ],
)
async def test_bad_files(running: Running, name: str, content: bytes, rows: list[int]) -> None:
    answer = await running.http.post(
        "/api/v1/runs",
        data={"run": json.dumps(RUN)},
        files={"audience": (name, content)},
        headers={"X-API-Key": "shop.free-secret", "Idempotency-Key": "r1"},
    )
    assert (answer.status_code, answer.json().get("badRows")) == (422, rows), answer.text
    assert running.log.written == []


@pytest.mark.parametrize(
    ("data", "files", "code"),
    [
        ({"run": json.dumps(RUN)}, {"other": ("a.csv", b"to\n")}, "VALIDATION_FAILED"),
        ({"run": json.dumps(RUN)}, {"audience": ("a.xlsx", b"to\n")}, "VALIDATION_FAILED"),
        ({"run": "{"}, {"audience": ("a.csv", b"to\n")}, "VALIDATION_FAILED"),
        ({"run": "{}"}, {"audience": ("a.csv", b"to\n")}, "VALIDATION_FAILED"),
        ({"other": "1"}, {"audience": ("a.csv", b"to\n")}, "VALIDATION_FAILED"),
        ({"run": json.dumps(RUN | {"audience": []})}, {"audience": ("a.csv", b"to\n")}, "VALIDATION_FAILED"),
    ],
)
async def test_bad_forms(running: Running, data: dict[str, str], files: dict[str, Any], code: str) -> None:
    answer = await running.http.post(
        "/api/v1/runs", data=data, files=files, headers={"X-API-Key": "shop.free-secret", "Idempotency-Key": "r1"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


async def test_another_media_type(running: Running) -> None:
    headers = {"X-API-Key": "shop.free-secret", "Idempotency-Key": "r1", "Content-Type": "text/csv"}
    answer = await running.http.post("/api/v1/runs", content=b"to\n", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "change",
    [
        {"template": None},
        {"category": None},
        {"template": None, "message": "x", "category": None, "senders": []},
        {"deadline": "2026-11-20T00:00:00Z"},
        {"expiresAt": "2026-11-20T00:00:00Z"},
        {"startAt": "2026-12-20T00:00:00Z"},
        {"senders": ["nobody"]},
        {"sessionId": LONE},
        {"message": "x"},
        {"audience": None},
        {"spreadMinutes": 1441},
        {"name": ""},
    ],
)
async def test_a_run_that_cannot_be(running: Running, change: dict[str, Any]) -> None:
    answer = await running.post("/api/v1/runs", RUN | {"audience": [{"to": TO}]} | change, idem="r1")
    assert answer.status_code == 422, answer.text
    assert running.log.written == []


async def test_a_row_may_have_its_own_words(running: Running) -> None:
    own = {"name": "own", "language": "mr", "body": ["x"]}
    audience = [
        {"to": "+919999900001", "message": "text"},
        {"to": "+919999900002", "template": own, "category": "marketing", "priority": 3, "metadata": {"b": "2"}},
        {"to": "+919999900003", "template": "other", "sender": FIRST},
        {"to": "+919999900004", "named": {"who": "Asha"}, "language": "hi"},
    ]
    run = RUN | {"audience": audience, "metadata": {"a": "1"}, "priority": 2}
    assert (await running.post("/api/v1/runs", run, idem="r1")).status_code == 202
    first, second, third, fourth = (row.intent for row in running.log.on("run-audience"))
    assert first.content == Text(body="text")
    assert (second.content.name, second.category, second.priority) == ("own", "marketing", 3)
    assert second.metadata == {"a": "1", "b": "2"}
    assert (third.content.name, third.sender) == ("other", FIRST)
    assert (fourth.content.named, fourth.content.language, fourth.priority) == ({"who": "Asha"}, "hi", 2)


async def test_a_key_with_a_fixed_sender_needs_none_and_may_use_no_other(running: Running) -> None:
    audience = [{"to": TO}]
    free = {key: value for key, value in RUN.items() if key != "senders"} | {"audience": audience}
    assert (await running.post("/api/v1/runs", free, key=FIXED_KEY, idem="r1")).status_code == 202
    assert running.log.on("run-audience")[0].home == LONE
    answer = await running.post("/api/v1/runs", RUN | {"audience": audience}, key=FIXED_KEY, idem="r2")
    assert (answer.status_code, answer.json()["code"]) == (403, "SENDER_NOT_ALLOWED")
    answer = await running.post(
        "/api/v1/runs", free | {"audience": [{"to": TO, "sender": "advisors"}]}, key=FIXED_KEY, idem="r3"
    )
    assert (answer.status_code, answer.json()["badRows"]) == (422, [1])


async def test_what_is_written_about_a_run_holds_no_person(running: Running) -> None:
    await running.post("/api/v1/runs", RUN | {"audience": [{"to": TO}]}, idem="r1")
    (run,) = running.log.on("send-runs")
    (audit,) = running.log.on("audit-log")
    assert TO[1:] not in run.model_dump_json() + audit.model_dump_json()
    assert person_key(PEPPER, TO) not in run.model_dump_json()


async def test_the_api_describes_itself(running: Running) -> None:
    found = (await running.http.get("/openapi.json")).json()
    assert {"/api/v1/send", "/api/v1/send/batch", "/api/v1/runs"} <= found["paths"].keys()
    assert "multipart/form-data" in found["paths"]["/api/v1/runs"]["post"]["requestBody"]["content"]


@pytest.mark.req("RTW-7")
async def test_a_fallback_content(running: Running) -> None:
    text = {"type": "text", "body": "Your document is at our desk."}
    asked = {"to": TO, "template": TEMPLATE, "category": "utility", "sessionId": LONE, "fallbackContent": text}
    more = {"fallbackAfterSeconds": 600, "duplicateOk": True, "fallbackIfUndeliverable": True}
    assert (await running.post("/api/v1/send", asked | more)).status_code == 202
    (intent,) = running.log.on("send-intents")
    assert intent.fallback_content.body == text["body"]
    assert (intent.fallback_after_seconds, intent.fallback_if_undeliverable) == (600, True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"fallbackAfterSeconds": 600}, "fallback_content"),
        ({"fallbackContent": {"type": "text", "body": "x"}, "fallbackAfterSeconds": 600}, "duplicate_ok"),
        ({"fallbackContent": {"type": "image", "link": "https://example.test/a.gif"}}, "GIF"),
    ],
)
async def test_a_fallback_content_that_makes_no_sense(running: Running, more: dict[str, Any], said: str) -> None:
    asked = {"to": TO, "template": TEMPLATE, "category": "utility", "sessionId": LONE}
    answer = await running.post("/api/v1/send", asked | more)
    assert answer.status_code == 422 and said in answer.text
    assert running.log.on("send-intents") == []
