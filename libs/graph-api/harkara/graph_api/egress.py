"""The way out: httpx on aiohttp, knowing for certain whether a request can have left.

httpx-aiohttp (0.1 and 0.2) maps aiohttp's ClientConnectionError to httpx.ConnectTimeout, and a disconnect or a reset
after the request was written is such an error: believed, it would be a duplicate. So the connector marks the moment
at which a connection is at hand; before it nothing can have been written, after it everything is in doubt. The same
moment is the latest one at which the caller can still be asked (`before_call`, the lease).
"""

from __future__ import annotations

import contextvars
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import httpx
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from httpx_aiohttp import AiohttpTransport

from harkara.graph_api.outcome import LeaseLost

MAX_KEEPALIVE_SECONDS = 15.0
"""Idle connections are closed here before the far side does it, so that none dies under a request."""

CALL = "harkara.call"
"""The key of a request's Call in httpx's extensions."""


@dataclass(slots=True)
class Call:
    """One request: the question asked when a connection is at hand, and whether that moment was reached."""

    before_call: Callable[[], bool]
    connection_at_hand: bool = False

    def begin(self) -> None:
        """Raises LeaseLost where the caller says no. Nothing has been written yet."""
        if not self.before_call():
            raise LeaseLost
        self.connection_at_hand = True


_current_call: contextvars.ContextVar[Call | None] = contextvars.ContextVar("harkara_graph_call", default=None)


class LeasedConnector(aiohttp.TCPConnector):
    """Asks the current call just before aiohttp gets its connection; aiohttp writes in the same task right after."""

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        """A pooled or a new connection; LeaseLost gives it back unused."""
        connection = await super().connect(req, traces, timeout)
        call = _current_call.get()
        if call is not None:
            try:
                call.begin()
            except BaseException:
                connection.release()
                raise
        return connection


class GraphTransport(AiohttpTransport):
    """One pool of connections. HTTP/1.1, no redirects, no retries, no cookies, no proxy from the environment."""

    def __init__(
        self,
        *,
        max_connections: int,
        keepalive_seconds: float,
        connect_timeout_seconds: float,
        local_address: str | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        limits = httpx.Limits(
            max_connections=max_connections, keepalive_expiry=min(keepalive_seconds, MAX_KEEPALIVE_SECONDS)
        )
        super().__init__(verify=verify, trust_env=False, limits=limits, local_address=local_address, client=self._open)
        self._connect_timeout_seconds = connect_timeout_seconds

    def _open(self) -> aiohttp.ClientSession:
        connector = LeasedConnector(
            limit=self.limits.max_connections or 0,
            keepalive_timeout=self.limits.keepalive_expiry,
            ssl=self.ssl_context,
            local_addr=(self.local_address, 0) if self.local_address else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.ConnectError while no connection was at hand, httpx.ReadError after it, LeaseLost between."""
        call: Call = request.extensions.get(CALL) or Call(lambda: True)
        token = _current_call.set(call)
        try:
            return await super().handle_async_request(request)
        except (httpx.TimeoutException, httpx.TransportError, aiohttp.ClientError, OSError) as exc:
            if isinstance(exc, httpx.UnsupportedProtocol | httpx.PoolTimeout):
                raise
            if not call.connection_at_hand:
                raise httpx.ConnectError(type(exc).__name__, request=request) from exc
            raise httpx.ReadError(type(exc).__name__, request=request) from exc
        finally:
            _current_call.reset(token)


class LeasedTransport(httpx.AsyncBaseTransport):
    """Asks the call, then hands over to any other transport (httpx.MockTransport in tests)."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As the inner transport's; LeaseLost before it is called."""
        call: Call | None = request.extensions.get(CALL)
        if call is not None:
            call.begin()
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Closes the inner transport."""
        await self._inner.aclose()
