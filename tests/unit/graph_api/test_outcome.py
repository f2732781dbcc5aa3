"""What can be known of a send: the pure classifiers against Meta's samples and against every listed code."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from harkara.graph_api.errors import Action, error_table, policy_for
from harkara.graph_api.outcome import (
    Accepted,
    GraphError,
    InDoubt,
    LeaseLost,
    NotSent,
    Refused,
    classify_exception,
    classify_response,
)

PAYLOADS = Path(__file__).parents[2] / "fixtures" / "meta" / "payloads"
INDEX = {row["file"]: row for row in json.loads((PAYLOADS / "_index.json").read_text(encoding="utf-8"))["files"]}
ERRORS = sorted(name for name, row in INDEX.items() if row["kind"] == "graph_error")
NO_HEADERS = httpx.Headers()


@pytest.mark.parametrize("name", sorted(name for name in INDEX if name.startswith("graph_res_send_")))
def test_every_sampled_200_of_a_send_is_accepted(name: str) -> None:
    raw = (PAYLOADS / name).read_bytes()
    outcome = classify_response(200, NO_HEADERS, raw)
    assert isinstance(outcome, Accepted)
    body = json.loads(raw)
    assert outcome.wamid == body["messages"][0]["id"]
    assert outcome.wa_id == body["contacts"][0].get("wa_id")
    assert outcome.message_status == body["messages"][0].get("message_status")


@pytest.mark.parametrize("name", ERRORS)
def test_every_sampled_error_is_refused_or_in_doubt_by_its_code(name: str) -> None:
    row = INDEX[name]
    outcome = classify_response(row["http_status"], httpx.Headers(row.get("headers")), (PAYLOADS / name).read_bytes())
    if row["code"] in (1, 2, 131000):
        assert isinstance(outcome, InDoubt)
    else:
        assert isinstance(outcome, Refused)
        assert outcome.policy == policy_for(row["code"], outcome.error.subcode)
        assert outcome.error.fbtrace_id
    assert outcome.error is not None
    assert outcome.error.code == row["code"]


@pytest.mark.parametrize("code", sorted(error_table()))
def test_every_listed_code_is_decided_by_code_whatever_the_status(code: int) -> None:
    expected = InDoubt if policy_for(code).action is Action.IN_DOUBT else Refused
    for http_status in (400, 429, 500, 503):
        outcome = classify_response(http_status, NO_HEADERS, json.dumps({"error": {"code": code}}).encode())
        assert isinstance(outcome, expected)


def test_an_unlisted_code_is_refused_below_500_and_in_doubt_above() -> None:
    body = b'{"error": {"code": 999999, "message": "new"}}'
    refused = classify_response(400, NO_HEADERS, body)
    assert isinstance(refused, Refused)
    assert refused.policy.alert
    assert isinstance(classify_response(500, NO_HEADERS, body), InDoubt)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"ok"', b"{", b"{}", b'{"messages": []}', b'{"messages": [{}]}', b'{"messages": [null]}',
        b'{"messages": [{"id": ""}]}', b'{"messages": [{"id": 7}]}', b"<html>", b'{"messages": [{"id": "wamid."}',
        b'{"success": true}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_200_that_is_not_metas_is_in_doubt(body: bytes) -> None:
    assert isinstance(classify_response(200, NO_HEADERS, body), InDoubt)


def test_contacts_are_optional() -> None:
    outcome = classify_response(200, NO_HEADERS, b'{"messages": [{"id": "wamid.x"}], "contacts": null}')
    assert outcome == Accepted("wamid.x")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("body", [b"", b"<html></html>", b"{}", b'{"error": "no"}', b'{"error": {"code": "x"}}'])
def test_a_5xx_without_a_graph_error_is_in_doubt(status: int, body: bytes) -> None:
    assert isinstance(classify_response(status, NO_HEADERS, body), InDoubt)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 429])
def test_a_4xx_without_a_graph_error_is_refused_by_its_status(status: int) -> None:
    outcome = classify_response(status, NO_HEADERS, b"<html></html>")
    assert isinstance(outcome, Refused)
    assert outcome.error == GraphError(status)
    assert outcome.policy.code is None


def test_a_408_is_in_doubt() -> None:
    assert isinstance(classify_response(408, NO_HEADERS, b""), InDoubt)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "100000"}, 3600.0),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 07:28:00 GMT"}, None),
        ({"X-Business-Use-Case-Usage": '{"1": [{"estimated_time_to_regain_access": 23}]}'}, 1380.0),
        ({"X-Business-Use-Case-Usage": '{"1": [{"estimated_time_to_regain_access": 0}], "2": [7], "3": 1}'}, None),
        ({"X-Business-Use-Case-Usage": "not json"}, None),
    ],
)
def test_what_the_answer_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    outcome = classify_response(429, httpx.Headers(headers), b'{"error": {"code": 80007}}')
    assert isinstance(outcome, Refused)
    assert outcome.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("exc", "wanted"),
    [
        (LeaseLost(), NotSent("lease")),
        (httpx.PoolTimeout(""), NotSent("pool")),
        (httpx.ConnectError(""), NotSent("connect")),
        (httpx.ConnectTimeout(""), NotSent("connect")),
        (httpx.ProxyError(""), NotSent("connect")),
        (httpx.UnsupportedProtocol(""), NotSent("impossible")),
        (httpx.InvalidURL(""), NotSent("impossible")),
        (httpx.LocalProtocolError(""), NotSent("impossible")),
        (httpx.ReadTimeout(""), InDoubt("timeout")),
        (httpx.WriteTimeout(""), InDoubt("timeout")),
        (TimeoutError(), InDoubt("timeout")),
        (httpx.ReadError(""), InDoubt("connection")),
        (httpx.WriteError(""), InDoubt("connection")),
        (httpx.RemoteProtocolError(""), InDoubt("connection")),
        (httpx.DecodingError(""), InDoubt("connection")),
        (ConnectionResetError(), InDoubt("connection")),
        (ValueError(), InDoubt("connection")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exceptions(exc: BaseException, wanted: NotSent | InDoubt) -> None:
    assert classify_exception(exc) == wanted


def test_no_repr_shows_what_meta_said_about_the_request() -> None:
    body = b'{"error": {"code": 131009, "error_data": {"details": "Parameter Invalid: +919999912345"}}}'
    refused = classify_response(400, NO_HEADERS, body)
    assert "99999" not in repr(refused)
    assert "919999912345" not in repr(Accepted("wamid.x", "919999912345"))
