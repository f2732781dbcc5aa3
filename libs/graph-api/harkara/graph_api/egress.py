"""The way out: aiohttp's connections, and a request that leaves in the very step in which its lease was asked;
httpx's transports in its place for tests.

An exception of an HTTP library does not say whether bytes have left: a disconnect after the request was written and a
refused connection look alike, and believing the wrong one is a duplicate. So the request is written here. aiohttp gives
a connection (pool, TLS, proxy, time-outs) and reads the answer; in between, in one step without any other work of the
event loop, the caller is asked (`before_call`, the lease), the call is marked (`left`), and all of it is written at
once. Before the mark nothing can have left, after it everything is in doubt. The clock is asked once more right before
the mark (`in_time`): of a process that was frozen in between no more than the one call in that step is late.

Neither httpx' request and response objects nor those of aiohttp's session are in the way of a send: they took most of
a call's processor time (0.37 ms with httpx, 0.14 ms with the session, 0.06 ms so).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import aiohttp
import httpx
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from harkara.graph_api.outcome import LeaseLost

MAX_KEEPALIVE_SECONDS = 15.0
"""Idle connections are closed here before the far side does it, so that none dies under a request."""

MAX_ANSWER_BYTES = 262_144
"""Meta's answers to these calls have a few kilobytes; what is longer is not one of them."""

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no line of a request's head may have in it (RFC 9110, 5.5): behind a line's end another header would begin."""

_ENDED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
"""How it shows that the far side ended a connection under a request."""


def _always() -> bool:
    return True


@dataclass(slots=True)
class Call:
    """One request, and the question `asked` when a connection is at hand. `in_time` is asked once more, when the first
    byte is about to leave. `left`: from then on bytes may have left."""

    before_call: Callable[[], bool]
    in_time: Callable[[], bool] = _always
    asked: bool = False
    left: bool = False

    def begin(self) -> None:
        """Raises LeaseLost where the caller says no. Nothing has been written yet."""
        self.asked = True
        if not self.before_call():
            raise LeaseLost

    def leave(self) -> None:
        """The next statement writes. Raises LeaseLost where it is too late for that: nothing has been written."""
        if not self.in_time():
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


class WayOut(Protocol):
    """One question, asked once: no retry, no redirect, no cookie. A read is asked once more where the connection ended
    under it: one that was kept may do so at that very moment."""

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


class Asked:
    """What a number asks again and again: the address, and the head of the request but for its length."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], proxy: str | None) -> None:
        """Raises httpx.UnsupportedProtocol and ValueError for an address that nobody can be asked at."""
        address = URL(url)
        if address.scheme not in ("http", "https") or not address.raw_host or address.raw_user is not None:
            raise httpx.UnsupportedProtocol("an http or https address with a host, and no name or password, is needed")
        self._same = method, url, headers
        through = None if proxy is None else URL(proxy)
        self.request = aiohttp.ClientRequest(method, address, headers=dict(headers), proxy=through)
        self._head: bytes | None = None

    def is_this(self, method: str, url: str, headers: Mapping[str, str]) -> bool:
        """Whether it is asked so again; the same headers are the same object."""
        known = self._same
        return headers is known[2] and url == known[1] and method == known[0]

    def head(self) -> bytes:
        """Made when a connection is at hand: the connector adds what a proxy wants to know. Raises ValueError for what
        cannot be written."""
        if self._head is None:
            request = self.request
            through_proxy = request.proxy is not None and not request.is_ssl()
            target = str(request.url) if through_proxy else request.url.raw_path_qs
            told = {hdrs.CONTENT_LENGTH, hdrs.TRANSFER_ENCODING}  # of a length that is said with each request
            lines = [f"{request.method} {target} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in request.headers.items() if name.title() not in told]
            if any(_FORBIDDEN.search(line) for line in lines):
                raise ValueError("a header has a character that no header can carry")
            self._head = "\r\n".join(lines).encode()
        return self._head


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
        self._connector: aiohttp.TCPConnector | None = None
        self._asked: Asked | None = None  # the newest: a number asks the same for each message

    def _open(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self._max_connections,
            keepalive_timeout=self._keepalive_seconds,
            ssl=self._verify,
            local_addr=(self._local_address, 0) if self._local_address else None,
        )

    async def ask(
        self, call: Call, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> RawAnswer:
        """As WayOut says."""
        asked = self._asked
        if asked is None or not asked.is_this(method, url, headers):
            self._asked = asked = Asked(method, url, headers, self._proxy)
        if self._connector is None:
            self._connector = self._open()
        once_more = method in aiohttp.ClientRequest.GET_METHODS
        while True:
            try:
                return await _once(call, self._connector, self._timeout, asked, content)
            except (aiohttp.ClientError, HttpProcessingError, aiohttp.EofStream, OSError) as exc:
                if not (once_more and call.left and isinstance(exc, _ENDED)):
                    raise _told(exc, call) from exc
                once_more = False

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
        if self._connector is not None:
            await self._connector.close()


async def _once(
    call: Call, connector: aiohttp.TCPConnector, timeout: aiohttp.ClientTimeout, asked: Asked, content: bytes | None
) -> RawAnswer:
    """One exchange. Whatever it raises, the connection is given back or closed."""
    connection = await connector.connect(asked.request, [], timeout)
    try:
        answer = await _answered(call, connection, asked, content)
    except LeaseLost:
        connection.release()  # unused
        raise
    except BaseException:
        connection.close()
        raise
    connection.release()
    return answer


async def _answered(call: Call, connection: Connection, asked: Asked, content: bytes | None) -> RawAnswer:
    """Ask, mark and write, in one step; then the answer. Of what it raises only LeaseLost leaves the connection as it
    was."""
    request, protocol = _bytes_of(asked, content), connection.protocol
    call.begin()
    if protocol is None or protocol.transport is None or protocol.transport.is_closing() or protocol.should_close:
        # closed, or something was said that nobody had asked for: it must not be taken for the answer
        raise aiohttp.ClientConnectionResetError("of no use before the request")
    # an answer that says no length ends with its connection
    skips_body = asked.request.method == hdrs.METH_HEAD
    protocol.set_response_params(read_until_eof=True, skip_payload=skips_body, auto_decompress=False)
    call.leave()
    protocol.transport.write(request)
    while True:
        message, body = await protocol.read()
        if not 100 <= message.code < 200 or message.code == 101:
            return RawAnswer(message.code, message.headers, await _whole(body))


def _bytes_of(asked: Asked, content: bytes | None) -> bytes:
    if content is None and asked.request.method in aiohttp.ClientRequest.GET_METHODS:
        return asked.head() + b"\r\n\r\n"
    body = content or b""
    return b"%s\r\nContent-Length: %d\r\n\r\n%s" % (asked.head(), len(body), body)


def _told(exc: Exception, call: Call) -> httpx.TransportError:
    """What the exception means, by the moment at which it came."""
    name = type(exc).__name__
    if isinstance(exc, aiohttp.InvalidURL):
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
