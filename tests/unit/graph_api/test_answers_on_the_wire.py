"""Answers as bytes on a socket, whole and broken off, with a length and without one: what each of them says of a send,
and whether its connection is used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest

from harkara.graph_api.client import GraphClient, GraphReadFailed
from harkara.graph_api.errors import policy_for
from harkara.graph_api.outcome import Accepted, GraphError, InDoubt, NotSent, Outcome, Refused
from tests.support.wait import eventually

BODY = b'{"messages": [{"id": "wamid.A"}]}'
ERROR = b'{"error": {"code": 131026}}'
ACCEPTED = Accepted("wamid.A")
REFUSED = Refused(GraphError(400, 131026), policy_for(131026))
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
KEPT, CLOSED = False, True


class Far:
    """Answers every request with the same bytes, and then closes where it is to."""

    def __init__(self, answer: bytes, *, closes: bool) -> None:
        self.answer, self.closes = answer, closes
        self.requests = self.connections = self.ended = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                self.requests += 1
                writer.write(self.answer)
                await writer.drain()
                if self.closes:
                    break
        writer.close()
        self.ended += 1


@asynccontextmanager
async def asking(far: Far, timeout_seconds: float = 5.0) -> AsyncIterator[GraphClient]:
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        graph = GraphClient(address, "v26.0", lambda: "EAATEST", timeout_seconds=timeout_seconds)
        yield graph
        await graph.aclose()
        await eventually(lambda: far.ended == far.connections)


@pytest.mark.req("FHL-3")
@pytest.mark.parametrize(
    ("answer", "closes", "wanted", "connections"),
    [
        pytest.param(OK + LENGTH + BODY, KEPT, ACCEPTED, 1, id="with its length"),
        pytest.param(OK + b"Connection: close\r\n" + LENGTH + BODY, CLOSED, ACCEPTED, 2, id="the last one"),
        pytest.param(OK + b"\r\n" + BODY, CLOSED, ACCEPTED, 2, id="up to the connection's end"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + BODY, CLOSED, ACCEPTED, 2, id="of HTTP 1.0"),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), KEPT, ACCEPTED, 1,
            id="in chunks",
        ),
        pytest.param(b"HTTP/1.1 400 Bad\r\n\r\n" + ERROR, CLOSED, REFUSED, 2, id="an error up to the connection's end"),
        pytest.param(b"HTTP/1.1 400 Bad\r\n\r\n" + ERROR, KEPT, InDoubt("timeout"), 2, id="without an end"),
        pytest.param(
            b"HTTP/1.1 503 No\r\n\r\n<html>", CLOSED, InDoubt("http_5xx", GraphError(503)), 2, id="of a gateway"
        ),
        pytest.param(OK + b"Content-Length: 500\r\n\r\n" + BODY, CLOSED, InDoubt("connection"), 2, id="broken off"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", KEPT, InDoubt("answer", GraphError(204)), 1, id="nothing"),
        pytest.param(b"", CLOSED, InDoubt("connection"), 2, id="none"),
        pytest.param(b"SSH-2.0\r\n\r\n", KEPT, InDoubt("connection"), 2, id="of something else"),
    ],
)  # fmt: skip
async def test_what_an_answer_says(answer: bytes, closes: bool, wanted: Outcome, connections: int) -> None:
    far = Far(answer, closes=closes)
    async with asking(far, 0.3 if wanted == InDoubt("timeout") else 5.0) as graph:
        assert [await graph.send("1", {"to": "x"}) for _ in range(2)] == [wanted, wanted]
        assert (far.requests, far.connections) == (2, connections), "a send is never repeated"


async def test_a_read_whose_connection_breaks_is_asked_once_more() -> None:
    """A connection that was kept may end at the very moment of the next question."""
    far = Far(b"", closes=True)
    async with asking(far) as graph:
        with pytest.raises(GraphReadFailed) as failed:
            await graph.phone_number("1")
        assert failed.value.outcome == InDoubt("connection")
        assert far.requests == 2


async def test_what_was_said_unasked_is_not_taken_for_the_next_answer() -> None:
    """A gateway says 408 on a connection that nobody uses, and may go on with it."""
    answered, over, asked = asyncio.Event(), asyncio.Event(), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"}"):
                asked += 1
                writer.write(OK + LENGTH + BODY)
                if asked == 1:
                    await answered.wait()
                    writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        if asked == 2:
            over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        graph = GraphClient(address, "v26.0", lambda: "EAATEST", max_connections=1)
        assert await graph.send("1", {"to": "x"}) == ACCEPTED
        ((idle, _),) = [each for queue in cast(Any, graph)._way_out._connector._conns.values() for each in queue]
        answered.set()
        await eventually(lambda: idle.should_close)  # it has arrived
        assert await graph.send("1", {"to": "x"}) == NotSent("connect")
        assert asked == 1
        assert await graph.send("1", {"to": "x"}) == ACCEPTED
        await graph.aclose()
        await over.wait()
