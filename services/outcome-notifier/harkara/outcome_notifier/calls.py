"""One call of a producer's endpoint: to an address that was looked at, within a time, without following anybody."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from harkara.outcome_notifier.endpoints import Endpoint, is_public

IN_FLIGHT = 16  # calls of one endpoint at a time: 160/s where it answers in 100 ms, and no flood where it hangs
ANSWER_BYTES = 16 * 1024  # of an answer are read, so that the connection can be used again; a longer one is cut off
IDLE_SECONDS = 15.0
LONGEST_RETRY_AFTER = 3600.0
GONE = 410
"""The endpoint wants no more (Standard Webhooks): its outcomes are given up at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`delivered`: a 2xx. `gone`: never again. `said`: a status or the kind of error, nothing of the endpoint's own
    words. `wait_seconds`: how long it asked us to stay away."""

    delivered: bool
    said: str
    gone: bool = False
    wait_seconds: float | None = None


class NotPublic(OSError):
    """The endpoint's name leads to an address that nobody may call from here."""


class GuardedResolver(AbstractResolver):
    """Resolves a name to addresses that may be called: the connection is made to one of these and no other, so a name
    that changes between the look and the call gains nothing. One private address among public ones spoils them all."""

    def __init__(self, private: bool) -> None:
        self._private = private
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """aiohttp's seam. Raises NotPublic."""
        found = await self._inner.resolve(host, port, family)
        if not self._private and not all(is_public(each["host"]) for each in found):
            raise NotPublic("the name leads to an address that is not public")
        return found

    async def close(self) -> None:
        """aiohttp's seam."""
        await self._inner.close()


class Caller:
    """Calls one endpoint; connections, names and cookies are shared with no other."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        self._url = endpoint.url
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._resolver = GuardedResolver(endpoint.private)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Caller:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver, use_dns_cache=False, limit=IN_FLIGHT, keepalive_timeout=IDLE_SECONDS
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            trust_env=False,  # a proxy from the environment would resolve the name itself
            auto_decompress=False,
            headers={"content-type": "application/json", "user-agent": "harkara-outcome-notifier"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """One attempt. What goes wrong at the endpoint or on the way is an answer, never an exception."""
        if self._session is None:
            raise RuntimeError("the caller is not open")
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                await response.content.read(ANSWER_BYTES)
                return _answer(response.status, response.headers.get("retry-after"))
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            return Answer(False, _kind_of(error))


def _answer(status: int, retry_after: str | None) -> Answer:
    wait = min(float(retry_after), LONGEST_RETRY_AFTER) if retry_after and _is_digits(retry_after) else None
    return Answer(200 <= status < 300, f"status {status}", status == GONE, wait)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _kind_of(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause: Any = getattr(error, "os_error", None) or error
    return type(cause).__name__
