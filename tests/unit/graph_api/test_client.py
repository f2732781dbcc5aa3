"""The client over a swapped transport: what it sends, and that it asks the lease exactly once."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from harkara.graph_api.client import MAX_ANSWER_BYTES, GraphClient, GraphReadFailed
from harkara.graph_api.outcome import Accepted, InDoubt, NotSent, Refused

TOKEN = "EAATEST-secret-token"
OK = {"messages": [{"id": "wamid.x"}], "contacts": [{"wa_id": "919999900011"}]}


def client(handler: Callable[[httpx.Request], httpx.Response]) -> GraphClient:
    return GraphClient("https://graph.example.test/", "v26.0", lambda: TOKEN, transport=httpx.MockTransport(handler))


async def test_a_send_is_one_post_with_the_token_in_the_header_alone() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=OK)

    graph = client(answer)
    outcome = await graph.send("100000000000001", {"to": "+919999900011"}, before_call=lambda: True)
    await graph.aclose()
    assert outcome == Accepted("wamid.x", "919999900011")
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "https://graph.example.test/v26.0/100000000000001/messages")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(request.content) == {"to": "+919999900011"}
    assert TOKEN not in repr(graph)


async def test_a_lost_lease_sends_nothing() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError("the call was made")

    asked: list[bool] = []

    def lease() -> bool:
        asked.append(True)
        return False

    graph = client(answer)
    outcome = await graph.send("100000000000001", {}, before_call=lease)
    await graph.aclose()
    assert outcome == NotSent("lease")
    assert asked == [True]


async def test_a_mistake_before_the_call_shows_itself() -> None:
    def broken() -> bool:
        raise ZeroDivisionError

    graph = client(lambda request: httpx.Response(200, json=OK))
    with pytest.raises(ZeroDivisionError):
        await graph.send("100000000000001", {}, before_call=broken)
    await graph.aclose()


@pytest.mark.parametrize(
    ("raised", "wanted"),
    [
        (httpx.ConnectError("x"), NotSent("connect")),
        (httpx.ReadError("x"), InDoubt("connection")),
        (httpx.ReadTimeout("x"), InDoubt("timeout")),
        (RuntimeError("x"), InDoubt("connection")),
    ],
)
async def test_exceptions_become_outcomes(raised: Exception, wanted: NotSent | InDoubt) -> None:
    calls: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        raise raised

    graph = client(answer)
    assert await graph.send("100000000000001", {}) == wanted
    await graph.aclose()
    assert calls == [1], "a POST is never repeated"


async def test_an_endless_answer_is_in_doubt() -> None:
    graph = client(lambda request: httpx.Response(200, content=b"x" * (MAX_ANSWER_BYTES + 1)))
    assert await graph.send("100000000000001", {}) == InDoubt("connection")
    await graph.aclose()


async def test_a_rotated_token_counts_from_the_next_call() -> None:
    tokens = iter(["EAATEST-old", "EAATEST-new"])
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json=OK)

    graph = GraphClient(
        "https://graph.example.test", "v26.0", lambda: next(tokens), transport=httpx.MockTransport(answer)
    )
    await graph.send("1", {})
    await graph.send("1", {})
    await graph.aclose()
    assert seen == ["Bearer EAATEST-old", "Bearer EAATEST-new"]


async def test_reads_name_their_fields_and_fail_with_metas_error() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/9"):
            return httpx.Response(401, json={"error": {"code": 190}})
        if request.url.path.endswith("/8"):
            return httpx.Response(200, json=[])
        assert request.url.params["fields"] in ("health_status", "quality_rating,status")
        health = {"can_send_message": "AVAILABLE", "entities": []}
        return httpx.Response(200, json={"id": "1", "quality_rating": "RED", "health_status": health})

    graph = client(answer)
    assert (await graph.health_status("1")).worst_for_messages() == "AVAILABLE"
    assert (await graph.phone_number("1", ["quality_rating", "status"])).quality_rating == "RED"
    with pytest.raises(GraphReadFailed) as refused:
        await graph.health_status("9")
    assert isinstance(refused.value.outcome, Refused)
    with pytest.raises(GraphReadFailed) as odd:
        await graph.phone_number("8")
    assert isinstance(odd.value.outcome, InDoubt)
    await graph.aclose()
