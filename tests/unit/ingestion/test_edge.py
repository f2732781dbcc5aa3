"""Bodies that come too slowly, or too many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from harkara.ingestion.edge import BODY_LIMITS, BODY_SECONDS, MOST_HELD, MOST_HELD_BYTES, WEBHOOK_PATH, Edge, Room
from tests.support.wait import eventually
from tests.unit.ingestion.conftest import FREE_KEY, api_keys

LARGEST = BODY_LIMITS[WEBHOOK_PATH]


async def reads(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body's length."""
    raw = await Request(scope, receive).body()
    await PlainTextResponse(str(len(raw)))(scope, receive, send)


def client(seconds: float = 0.2) -> httpx.AsyncClient:
    edge = Edge(reads, api_keys(), body_seconds={WEBHOOK_PATH: seconds})
    return httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://edge")


async def stalling(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    await asyncio.Event().wait()


@pytest.mark.parametrize("pieces", [(), (b"x" * 100,)])
async def test_a_body_that_stalls_is_408_and_the_connection_is_closed(pieces: tuple[bytes, ...]) -> None:
    async with client() as http:
        answer = await http.post(WEBHOOK_PATH, content=stalling(*pieces))
        assert (answer.status_code, answer.json()["code"]) == (408, "REQUEST_TIMEOUT")
        assert answer.headers["connection"] == "close"


async def test_a_body_that_trickles_is_not_waited_for_either() -> None:
    async def trickling() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        until = loop.time() + 5
        while loop.time() < until:
            yield b"x"
            await asyncio.sleep(0.01)

    began = asyncio.get_running_loop().time()
    async with client() as http:
        assert (await http.post(WEBHOOK_PATH, content=trickling())).status_code == 408
    assert asyncio.get_running_loop().time() - began < 2


async def test_a_body_in_time_is_read_whole() -> None:
    async with client() as http:
        assert (await http.post(WEBHOOK_PATH, content=b"x" * LARGEST)).text == str(LARGEST)


async def test_uploads_have_the_time_they_need() -> None:
    assert all(BODY_LIMITS[path] / seconds < 300_000 for path, seconds in BODY_SECONDS.items())


async def test_the_memory_of_webhooks_under_way_is_bounded_and_given_back() -> None:
    edge = Edge(reads, api_keys(), body_seconds={WEBHOOK_PATH: 30.0})
    holding = MOST_HELD_BYTES // LARGEST
    async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://edge") as http:
        under_way = [
            asyncio.create_task(http.post(WEBHOOK_PATH, content=stalling(b"x" * LARGEST))) for _ in range(holding)
        ]
        await eventually(lambda: edge._held["webhooks"] == holding * LARGEST)
        answer = await http.post(WEBHOOK_PATH, content=b"x" * LARGEST)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        for task in under_way:
            task.cancel()
        await asyncio.wait(under_way)
        assert edge._held["webhooks"] == 0
        assert (await http.post(WEBHOOK_PATH, content=b"x" * LARGEST)).status_code == 200


@pytest.mark.parametrize(
    ("room", "media"), [("inline", "application/json"), ("forms", "multipart/form-data; boundary=x")]
)
async def test_audiences_under_way_are_bounded_together_and_take_nothing_from_webhooks(room: Room, media: str) -> None:
    edge = Edge(reads, api_keys(), body_seconds={"/api/v1/runs": 30.0})
    headers = {"Authorization": f"Bearer {FREE_KEY}", "Content-Type": media}
    paths = ("/api/v1/runs", "/api/v1/runs/preview", "/api/v1/send/batch")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(edge), base_url="http://edge", headers=headers, timeout=30
    ) as http:
        most = b"x" * (MOST_HELD[room] - 100)
        under_way = asyncio.create_task(http.post("/api/v1/runs", content=stalling(most)))
        await eventually(lambda: edge._held[room] == len(most))
        for path in paths:
            answer = await http.post(path, content=b"x" * 101)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert (await http.post(paths[1], content=b"x" * 100)).status_code == 200
        assert (await http.post("/api/v1/send", content=b"x" * 101)).status_code == 200
        assert (await http.post(WEBHOOK_PATH, content=b"x" * LARGEST)).status_code == 200
        under_way.cancel()
        await asyncio.wait([under_way])
        assert edge._held[room] == 0
        assert (await http.post(paths[1], content=b"x" * 101)).status_code == 200
