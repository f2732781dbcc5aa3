"""The way out: aiohttp, knowing for certain whether a request can have left; httpx's transports in its place for tests.

An exception of an HTTP library does not say whether bytes have left: a disconnect after the request was written and a
refused connection look alike, and believing the wrong one is a duplicate. So the step that writes marks the call
(`left`): before it nothing can have been written, after it everything is in doubt; and once a question has ended, that
step writes nothing any more. The connector asks the caller when a connection is at hand (`before_call`, the lease). The
clock is asked once more in the step that writes (`in_time`): of a process that was frozen in between no more than the
one call in that step is late.

Sends do not pass through httpx: its request and response objects took two thirds of a call's processor time (0.37 ms
against 0.13 ms).
"""

from __future__ import annotations

import asyncio
import contextvars
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from harkara.graph_api.outcome import LeaseLost

MAX_KEEPALIVE_SECONDS = 15.0
"""Idle connections are closed here before the far side does it, so that none dies under a request."""

MAX_ANSWER_BYTES = 262_144
"""Meta's answers to these calls have a few kilobytes; what is longer is not one of them."""


def _always() -> bool:
    return True


@dataclass(slots=True)
class Call:
    """One request, and the question asked when a connection is at hand: whether it was `asked`, and whether the answer
    was yes (`connection_at_hand`). `in_time` is asked once more, when the first byte is about to leave; `late`: that
    was too late. `left`: from then on bytes may have left; `over`: nobody waits for the answer any more, and what has
    not left never does."""

    before_call: Callable[[], bool]
    in_time: Callable[[], bool] = _always
    asked: bool = False
    connection_at_hand: bool = False
    late: bool = False
    left: bool = False
    over: bool = False

    def begin(self) -> None:
        """Raises LeaseLost where the caller says no. Nothing has been written yet."""
        self.asked = True
        if not self.before_call():
            raise LeaseLost
        self.connection_at_hand = True

    def leave(self) -> None:
        """The next statement writes. Raises LeaseLost where it is too late for that: nothing has been written."""
        if self.over:
            raise LeaseLost
        if not self.in_time():
            self.connection_at_hand, self.late = False, True
            raise LeaseLost
        self.left = True


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer that arrived whole. `headers` ignore case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class AnswerTooLong(httpx.TransportError):
    """The answer is longer than MAX_ANSWER_BYTES: not Meta's."""


class WentAround(RuntimeError):
    """The HTTP client wrote without asking: whether anything has left is not known of any call."""


class WayOut(Protocol):
    """One question, asked once: no retry, no redirect, no cookie."""

    async def ask(
        self, call: Call, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> RawAnswer:
        """The whole answer. Asks `call` when a connection is at hand, and as it writes. Raises LeaseLost for a no,
        httpx.UnsupportedProtocol for an address that is none, httpx.ConnectError while nothing can have left and
        another httpx.TransportError after it."""
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


_current_call: contextvars.ContextVar[Call | None] = contextvars.ContextVar("harkara_graph_call", default=None)


class LeasedConnector(aiohttp.TCPConnector):
    """Asks the current call just before aiohttp gets its connection."""

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


class LeasedRequest(ClientRequest):
    """Asks the current call in the step that writes. aiohttp writes headers and body together, in a task of their own,
    so between the connector and here lies a turn of the event loop, with all of its other calls."""

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """As aiohttp's; where the call is too late, whoever waits for the answer gets LeaseLost instead, and where the
        connection has gone since it was at hand, that."""
        call, protocol = _current_call.get(), conn.protocol
        if call is not None and protocol is not None:
            if protocol.transport is None or protocol.transport.is_closing():
                protocol.set_exception(aiohttp.ClientConnectionResetError("closed before the request"))
                return
            try:
                call.leave()
            except LeaseLost as exc:
                protocol.set_exception(exc)
                return
        await super().write_bytes(writer, conn, content_length)

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """As aiohttp's, which writes a request without a body here and does not come to `write_bytes`."""
        call = _current_call.get()
        if call is not None and not self._body:
            call.leave()
        return await super().send(conn)


class GraphTransport(httpx.AsyncBaseTransport):
    """One pool of connections. HTTP/1.1, no redirects, no retries, no cookies, no proxy from the environment.

    `proxy` is an http:// address through which every connection goes; `local_address` the address they come from.
    Opened by the first question, in that event loop.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        keepalive_seconds: float,
        connect_timeout_seconds: float,
        local_address: str | None = None,
        proxy: str | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._max_connections = max_connections
        self._keepalive_seconds = min(keepalive_seconds, MAX_KEEPALIVE_SECONDS)
        self._timeout = aiohttp.ClientTimeout(connect=connect_timeout_seconds, sock_connect=connect_timeout_seconds)
        self._local_address = local_address
        self._proxy = proxy
        self._verify = verify if isinstance(verify, ssl.SSLContext) else tls_context(verify)
        self._session: aiohttp.ClientSession | None = None
        self._asked = "", URL()  # of the newest question: a number asks the same for each message

    def _open(self) -> aiohttp.ClientSession:
        connector = LeasedConnector(
            limit=self._max_connections,
            keepalive_timeout=self._keepalive_seconds,
            ssl=self._verify,
            local_addr=(self._local_address, 0) if self._local_address else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            request_class=LeasedRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=self._timeout,
        )

    async def ask(
        self, call: Call, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> RawAnswer:
        """As WayOut says."""
        if self._session is None:
            self._session = self._open()
        if self._asked[0] != url:
            self._asked = url, URL(url)  # parsed once: what aiohttp itself remembers is too little for many numbers
        token = _current_call.set(call)
        try:
            response = await self._session.request(
                method, self._asked[1], headers=headers, data=content, allow_redirects=False, proxy=self._proxy
            )
            if not call.left:  # then "nothing has left" would be said of calls that did leave
                raise WentAround("the HTTP client went around the leased connector")
            try:
                return RawAnswer(response.status, response.headers, await _whole(response.content))
            finally:
                response.close()  # of an answer read to its end nothing is left to close
        except (aiohttp.ClientError, OSError) as exc:
            raise _told(exc, call) from exc
        finally:
            call.over = True
            _current_call.reset(token)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """For an httpx.AsyncClient on this pool: its read timeout is a total here, the answer is read whole.

        Raises as `ask`, and httpx.ReadTimeout.
        """
        call, content = Call(lambda: True), await request.aread()
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("read")):
                answer = await self.ask(call, request.method, str(request.url), request.headers, content or None)
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=request) from None
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)

    async def aclose(self) -> None:
        """Closes every connection; questions under way end."""
        if self._session is not None:
            await self._session.close()


def _told(exc: Exception, call: Call) -> httpx.TransportError:
    """What the exception means, by the moment at which it came."""
    name = type(exc).__name__
    if isinstance(exc, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return httpx.UnsupportedProtocol(name)
    return httpx.ReadError(name) if call.left else httpx.ConnectError(name)


@cache
def tls_context(verify: bool) -> ssl.SSLContext:
    """The process's one context: reading the certificates takes 20 ms and half a megabyte, too much for each number."""
    return httpx.create_ssl_context(verify=verify, trust_env=False)


async def _whole(content: aiohttp.StreamReader) -> bytes:
    body = await content.readany()
    while len(body) <= MAX_ANSWER_BYTES:
        part = await content.readany()
        if not part:
            return body
        body += part
    raise AnswerTooLong("answer too long")


class LeasedTransport:
    """Any transport of httpx as a way out (httpx.MockTransport in tests)."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def ask(
        self, call: Call, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> RawAnswer:
        """As WayOut says; what the inner transport raises passes through."""
        request = httpx.Request(method, url, headers=headers, content=content)
        call.begin()
        call.leave()
        response = await self._inner.handle_async_request(request)
        try:
            parts, size = list[bytes](), 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER_BYTES:
                    raise AnswerTooLong("answer too long")
            return RawAnswer(response.status_code, response.headers, b"".join(parts))
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Closes the inner transport."""
        await self._inner.aclose()
