"""Sends as they go to Meta: over TLS, directly and through a proxy that tunnels, on connections that are kept."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from harkara.graph_api.client import GraphClient
from harkara.graph_api.outcome import Accepted, NotSent
from tests.support.certificates import self_signed
from tests.support.wait import eventually

ANSWER = b'{"messages": [{"id": "wamid.A"}]}'
BODY = {"to": "x"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


class Far:
    """Accepts everything; remembers each request's first line, and how many connections there were."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.connections = self.ended = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                self.lines.append(head.partition(b"\r\n")[0].decode())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
                await writer.drain()
        writer.close()
        self.ended += 1


class Proxy:
    """Opens a tunnel to `port` for whoever asks for one, whatever the name that they ask for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[str] = []
        self.open = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0].decode())
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.open += 1
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(passed_on(reader, far_writer), passed_on(far_reader, writer))
        self.open -= 1


async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while part := await reader.read(65_536):
            writer.write(part)
    writer.close()


@asynccontextmanager
async def served(certificate: tuple[Path, Path]) -> AsyncIterator[tuple[Far, int]]:
    far, context = Far(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = await asyncio.start_server(far.answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield far, server.sockets[0].getsockname()[1]


async def test_sends_share_a_connection_over_tls(certificate: tuple[Path, Path]) -> None:
    async with served(certificate) as (far, port):
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        graph = GraphClient(f"https://127.0.0.1:{port}", "v26.0", lambda: "EAATEST", verify=trusted)
        for _ in range(3):
            assert await graph.send("1", BODY) == Accepted("wamid.A")
        assert far.lines == ["POST /v26.0/1/messages HTTP/1.1"] * 3
        assert far.connections == 1
        await graph.aclose()
        await eventually(lambda: far.ended == 1)


async def test_nothing_is_said_to_somebody_without_a_certificate_that_is_trusted(
    certificate: tuple[Path, Path],
) -> None:
    async with served(certificate) as (far, port):
        graph = GraphClient(f"https://127.0.0.1:{port}", "v26.0", lambda: "EAATEST")
        assert await graph.send("1", BODY) == NotSent("connect")
        assert far.lines == []
        await graph.aclose()


@pytest.mark.req("FHL-8")
async def test_a_proxy_tunnels_and_sees_no_request(certificate: tuple[Path, Path]) -> None:
    async with AsyncExitStack() as stack:
        far, port = await stack.enter_async_context(served(certificate))
        proxy = Proxy(port)
        server = await stack.enter_async_context(await asyncio.start_server(proxy.answer, "127.0.0.1", 0))
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        graph = GraphClient(
            f"https://127.0.0.1:{port}",
            "v26.0",
            lambda: "EAATEST",
            verify=trusted,
            proxy=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        )
        for _ in range(2):
            assert await graph.send("1", BODY) == Accepted("wamid.A")
        assert proxy.asked == [f"CONNECT 127.0.0.1:{port} HTTP/1.1"]
        assert far.lines == ["POST /v26.0/1/messages HTTP/1.1"] * 2
        await graph.aclose()
        await eventually(lambda: proxy.open == 0 and far.ended == 1)
