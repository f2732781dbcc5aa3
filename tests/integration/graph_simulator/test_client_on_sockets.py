"""GraphClient against real sockets that misbehave: what never left is NotSent, everything after it is in doubt."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import pytest

from harkara.graph_api.client import GraphClient
from harkara.graph_api.egress import GraphTransport
from harkara.graph_api.outcome import Accepted, InDoubt, NotSent, Refused

BODY = {"to": "+919999900011", "type": "text", "text": {"body": "x" * 1000}}
OK_BODY = b'{"messages":[{"id":"wamid.x"}]}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(OK_BODY), OK_BODY)

Behaviour = Callable[["Peer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """A raw server: one behaviour for every connection, and what it saw."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    requested: asyncio.Event = field(default_factory=asyncio.Event)

    async def read_request(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        self.requests.append(head + await reader.readexactly(length))
        self.requested.set()


@contextlib.asynccontextmanager
async def peer(behaviour: Behaviour) -> AsyncIterator[Peer]:
    seen = Peer()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        seen.connections += 1
        try:
            await behaviour(seen, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@contextlib.asynccontextmanager
async def client(
    port: int, timeout_seconds: float = 2.0, max_connections: int = 64, connect_timeout_seconds: float = 5.0
) -> AsyncIterator[GraphClient]:
    graph = GraphClient(
        f"http://127.0.0.1:{port}",
        "v26.0",
        lambda: "EAATEST-one",
        timeout_seconds=timeout_seconds,
        connect_timeout_seconds=connect_timeout_seconds,
        max_connections=max_connections,
    )
    try:
        yield graph
    finally:
        await graph.aclose()


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset_before_answer(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read_request(reader)
    reset(writer)


async def reset_while_reading(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(10)
    reset(writer)


async def close_before_answer(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read_request(reader)


async def close_at_once(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def cut_the_body(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read_request(reader)
    writer.write(OK[:-10])
    await writer.drain()


async def cut_the_head(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read_request(reader)
    writer.write(OK[:20])
    await writer.drain()


async def hang(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read_request(reader)
    await reader.read()


async def trickle(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read_request(reader)
    for start in range(len(OK)):  # never idle, never done: only a total timeout ends it
        writer.write(OK[start : start + 1])
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)


async def not_http(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read_request(reader)
    writer.write(b"SMTP ready\r\n\r\n")
    await writer.drain()


async def html_502(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read_request(reader)
    html = b"<html><body>Sorry, something went wrong.</body></html>"
    head = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(html)
    writer.write(head + html)
    await writer.drain()


async def redirect(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read_request(reader)
    writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def answer(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await seen.read_request(reader)
        writer.write(OK)
        await writer.drain()


@pytest.mark.req("B1")
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (reset_before_answer, "connection"),
        (reset_while_reading, "connection"),
        (close_before_answer, "connection"),
        (close_at_once, "connection"),
        (cut_the_body, "connection"),
        (cut_the_head, "connection"),
        (not_http, "connection"),
        (hang, "timeout"),
        (trickle, "timeout"),
        (html_502, "http_5xx"),
    ],
)
async def test_whatever_happens_after_a_connection_is_at_hand_is_in_doubt(behaviour: Behaviour, reason: str) -> None:
    patience = 0.8 if reason == "timeout" else 10.0
    async with peer(behaviour) as seen, client(seen.port, timeout_seconds=patience) as graph:
        outcome = await graph.send("100000000000001", BODY)
        assert isinstance(outcome, InDoubt)
        assert outcome.reason == reason
        assert len(seen.requests) <= 1
        assert seen.connections == 1, "a POST is never repeated"


async def test_a_refused_connection_is_not_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, never listening: every connection is refused
        async with client(closed.getsockname()[1]) as graph:
            assert await graph.send("100000000000001", BODY) == NotSent("connect")


async def test_a_name_that_does_not_resolve_is_not_sent() -> None:
    graph = GraphClient("http://graph.invalid", "v26.0", lambda: "EAATEST-one", timeout_seconds=5)
    assert await graph.send("100000000000001", BODY) == NotSent("connect")
    await graph.aclose()


async def test_a_failed_tls_handshake_is_not_sent() -> None:
    async with peer(close_at_once) as seen:
        graph = GraphClient(f"https://127.0.0.1:{seen.port}", "v26.0", lambda: "EAATEST-one", timeout_seconds=5)
        assert await graph.send("100000000000001", BODY) == NotSent("connect")
        await graph.aclose()


async def test_waiting_for_a_connection_past_the_time_is_not_sent() -> None:
    async with peer(hang) as seen, client(seen.port, 2.0, max_connections=1, connect_timeout_seconds=0.3) as graph:
        first = asyncio.create_task(graph.send("100000000000001", BODY))
        async with asyncio.timeout(5):
            await seen.requested.wait()  # the only connection is taken
        asked: list[bool] = []

        def lease() -> bool:
            asked.append(True)
            return True

        second = await graph.send("100000000000001", BODY, before_call=lease)
        assert second in (NotSent("connect"), NotSent("pool"))
        assert not asked, "the lease is asked when a connection is at hand, not before"
        assert await first == InDoubt("timeout")
        assert len(seen.requests) == 1


async def test_a_lost_lease_writes_nothing_and_gives_the_connection_back() -> None:
    async with peer(answer) as seen, client(seen.port, max_connections=1) as graph:
        assert await graph.send("100000000000001", BODY, before_call=lambda: False) == NotSent("lease")
        assert not seen.requests
        assert await graph.send("100000000000001", BODY) == Accepted("wamid.x")
        assert seen.connections == 1


async def test_a_redirect_is_not_followed() -> None:
    async with peer(redirect) as seen, client(seen.port) as graph:
        outcome = await graph.send("100000000000001", BODY)
        assert isinstance(outcome, Refused)
        assert len(seen.requests) == 1


async def test_connections_are_kept_and_an_idle_one_that_the_server_closed_is_never_a_wrong_not_sent() -> None:
    closing = asyncio.Event()

    async def close_after_one(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await seen.read_request(reader)
        writer.write(OK)
        await writer.drain()
        if seen.connections == 1:
            await closing.wait()
            return
        await answer(seen, reader, writer)

    async with peer(close_after_one) as seen, client(seen.port) as graph:
        assert await graph.send("100000000000001", BODY) == Accepted("wamid.x")
        closing.set()
        outcome = await graph.send("100000000000001", BODY)  # the close may or may not have been seen yet
        assert outcome == Accepted("wamid.x") or isinstance(outcome, InDoubt)
        assert await graph.send("100000000000001", BODY) == Accepted("wamid.x")
        assert await graph.send("100000000000001", BODY) == Accepted("wamid.x")
        assert seen.connections == 2


async def test_the_token_is_in_the_header_and_not_in_the_address() -> None:
    async with peer(answer) as seen, client(seen.port) as graph:
        await graph.send("100000000000001", BODY)
        head = seen.requests[0].split(b"\r\n\r\n")[0].split(b"\r\n")
        assert head[0] == b"POST /v26.0/100000000000001/messages HTTP/1.1"
        assert b"Authorization: Bearer EAATEST-one" in head or b"authorization: Bearer EAATEST-one" in head


async def test_a_proxy_is_asked_for_the_whole_address() -> None:
    async with peer(answer) as seen:
        proxy = f"http://127.0.0.1:{seen.port}"
        graph = GraphClient("http://graph.example.test", "v26.0", lambda: "EAATEST-one", proxy=proxy, timeout_seconds=5)
        assert await graph.send("100000000000001", BODY) == Accepted("wamid.x")
        await graph.aclose()
        assert seen.requests[0].startswith(b"POST http://graph.example.test/v26.0/100000000000001/messages HTTP/1.1")


async def test_a_proxy_that_cannot_be_reached_has_sent_nothing() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        graph = GraphClient("https://graph.example.test", "v26.0", lambda: "EAATEST-one", proxy=proxy)
        assert await graph.send("100000000000001", BODY) == NotSent("connect")
        await graph.aclose()


async def test_an_answer_longer_than_metas_is_in_doubt_and_its_connection_is_not_used_again() -> None:
    async def endless(seen: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await seen.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000)
        await writer.drain()
        await answer(seen, reader, writer)

    async with peer(endless) as seen, client(seen.port, max_connections=1) as graph:
        for _ in range(2):
            assert await graph.send("100000000000001", BODY) == InDoubt("connection")
        assert seen.connections == 2


async def test_to_an_address_that_is_none_no_request_is_possible() -> None:
    graph = GraphClient("gopher://graph.example.test", "v26.0", lambda: "EAATEST-one")
    assert await graph.send("100000000000001", BODY) == NotSent("impossible")
    await graph.aclose()


async def test_httpx_on_this_pool_reads_whole_answers_and_keeps_its_time() -> None:
    async with peer(answer) as seen, httpx.AsyncClient(transport=transport()) as http:
        reply = await http.post(f"http://127.0.0.1:{seen.port}/hook", content=b"{}", headers={"X-Sign": "a"})
        assert (reply.status_code, reply.content, reply.headers["content-type"]) == (200, OK_BODY, "application/json")
        assert b"x-sign: a" in seen.requests[0].lower()
    async with peer(hang) as seen, httpx.AsyncClient(transport=transport(), timeout=0.3) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(f"http://127.0.0.1:{seen.port}/hook", content=b"{}")


def transport() -> GraphTransport:
    return GraphTransport(max_connections=4, keepalive_seconds=10.0, connect_timeout_seconds=5.0)
