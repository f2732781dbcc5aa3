"""Calls of an endpoint: what is an answer, and whom nobody calls."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from harkara.outcome_notifier.calls import Answer, Caller, GuardedResolver, NotPublic
from harkara.outcome_notifier.endpoints import Endpoint

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[int]:
    """An endpoint of this machine; its port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        assert site._server is not None
        yield site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


def endpoint(url: str, *, private: bool) -> Endpoint:
    return Endpoint("campaigns", url, (b"k" * 32,), frozenset({"MESSAGE_READ"}), private)


async def called(url: str, *, private: bool = True, timeout_seconds: float = 5.0) -> Answer:
    async with Caller(endpoint(url, private=private), timeout_seconds) as caller:
        return await caller.post(b"{}", {"webhook-id": "a"})


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_any_2xx_is_delivered(status: int) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["webhook-id"] == "a"
        assert request.headers["content-type"] == "application/json"
        assert await request.read() == b"{}"
        return web.Response(status=status)

    async with answering(handler) as port:
        assert await called(f"http://localhost:{port}/hooks") == Answer(True, f"status {status}")


async def test_a_redirect_is_not_followed() -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with answering(handler) as port:
        answer = await called(f"http://localhost:{port}/hooks")
    assert (answer.delivered, answer.said, seen) == (False, "status 307", ["/hooks"])


async def test_an_endpoint_may_ask_us_to_wait_or_to_go() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=410 if request.path == "/gone" else 503, headers={"Retry-After": "120"})

    async with answering(handler) as port:
        assert await called(f"http://localhost:{port}/busy") == Answer(False, "status 503", False, 120.0)
        assert (await called(f"http://localhost:{port}/gone")).gone


async def test_slow_and_endless_answers_end() -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65_536)
        except ConnectionError:
            return response

    async with answering(slow) as port:
        answer = await called(f"http://localhost:{port}/", timeout_seconds=0.2)
        assert not answer.delivered and answer.said == "no answer in time"
    async with answering(endless) as port:
        assert (await called(f"http://localhost:{port}/")).delivered


async def test_nobody_listening_is_an_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = await called(f"http://localhost:{taken.getsockname()[1]}/")
    assert not answer.delivered


async def test_a_name_that_leads_inside_is_not_called() -> None:
    reached: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response()

    async with answering(handler) as port:
        for host in ("localhost", "2130706433", "0x7f.1"):
            answer = await called(f"http://{host}:{port}/", private=False)
            assert not answer.delivered, host
    assert reached == []


async def test_one_private_address_among_public_ones_spoils_them_all() -> None:
    class Names(GuardedResolver):
        def __init__(self, *addresses: str) -> None:
            super().__init__(private=False)
            self._inner = Fixed(*addresses)  # type: ignore[assignment]

    with pytest.raises(NotPublic):
        await Names("1.1.1.1", "10.0.0.1").resolve("rebinding.example")
    found = await Names("1.1.1.1").resolve("public.example")
    assert [each["host"] for each in found] == ["1.1.1.1"]


class Fixed:
    """A resolver that knows one answer."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self._addresses
        ]
