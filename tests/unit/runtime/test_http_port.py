"""The HTTP port on a real socket: TLS 1.3 or nothing, and no patience for heads that do not come."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from harkara.runtime.http_port import MOST_HEAD_BYTES, PatientProtocol, uvicorn_config
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.support.certificates import self_signed
from tests.support.wait import eventually

HEAD = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


class Server(uvicorn.Server):
    """Without uvicorn's signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(settings: ServiceSettings) -> AsyncIterator[int]:
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> str:
        return "alive"

    server = Server(uvicorn_config(settings, app))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await eventually(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        await task


def client_context(certificate: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate))
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.req("SEC-3")
async def test_the_port_speaks_tls_1_3_and_nothing_older(certificate: tuple[Path, Path]) -> None:
    settings = ServiceSettings(tls_cert_file=certificate[0], tls_key_file=certificate[1])
    async with served(settings) as port:
        url = f"https://127.0.0.1:{port}/healthz"
        modern = client_context(certificate[0], ssl.TLSVersion.TLSv1_3)
        async with httpx.AsyncClient(verify=modern) as http:
            answer = await http.get(url)
            assert answer.json() == "alive"
            stream = answer.extensions["network_stream"]
            assert stream.get_extra_info("ssl_object").version() == "TLSv1.3"
        async with httpx.AsyncClient(verify=client_context(certificate[0], ssl.TLSVersion.TLSv1_2)) as http:
            with pytest.raises(httpx.TransportError):
                await http.get(url)
        async with httpx.AsyncClient() as http:
            with pytest.raises(httpx.TransportError):
                await http.get(f"http://127.0.0.1:{port}/healthz")


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    ("version", "taken"), [(ssl.TLSVersion.TLSv1_3, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, None)], ids=["1.3", "1.2"]
)
async def test_our_kafka_clients_refuse_a_broker_below_tls_1_3(
    certificate: tuple[Path, Path], version: ssl.TLSVersion, taken: str | None
) -> None:
    context = KafkaSettings(security_protocol="SSL", ssl_ca_file=certificate[0]).aiokafka_options()["ssl_context"]
    broker = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    broker.minimum_version = broker.maximum_version = version
    broker.load_cert_chain(*certificate)

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=broker)
    async with server:
        port = server.sockets[0].getsockname()[1]
        if taken is None:
            with pytest.raises(OSError):  # TLS's alert, or the end of the connection before it was read
                await asyncio.open_connection("127.0.0.1", port, ssl=context)
            return
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        assert writer.get_extra_info("ssl_object").version() == taken
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "before", [b"", b"GET", HEAD, HEAD + b"\r\n" + HEAD], ids=["nothing", "a word", "a line", "the second"]
)
async def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    monkeypatch.setattr(PatientProtocol, "head_seconds", 0.2)
    async with served(ServiceSettings()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = asyncio.get_running_loop().time()
        complete, _, rest = before.rpartition(b"\r\n\r\n")
        if complete:
            writer.write(complete + b"\r\n\r\n")
            await reader.readuntil(b'"alive"')
            began = asyncio.get_running_loop().time()
        writer.write(rest)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert 0.15 <= asyncio.get_running_loop().time() - began < 3
        writer.close()


async def test_a_head_without_end_is_not_kept() -> None:
    async with served(ServiceSettings()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        line = b"X-More: " + b"x" * 1000 + b"\r\n"
        writer.write(HEAD)
        sent = 0
        with suppress(ConnectionError):
            while not reader.at_eof() and sent < 100 * MOST_HEAD_BYTES:
                writer.write(line)
                sent += len(line)
                await writer.drain()
                await asyncio.sleep(0)
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert sent < 100 * MOST_HEAD_BYTES
        writer.close()


async def test_a_connection_that_is_used_again_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "head_seconds", 0.2)
    async with served(ServiceSettings()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        until = asyncio.get_running_loop().time() + 0.5
        while asyncio.get_running_loop().time() < until:
            writer.write(HEAD + b"\r\n")
            await asyncio.wait_for(reader.readuntil(b'"alive"'), 5)
        writer.close()
        await writer.wait_closed()
