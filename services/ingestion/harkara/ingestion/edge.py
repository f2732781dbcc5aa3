"""Before any route: how large a body may be and how long it may take to come, and whose request it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harkara.ingestion.metrics import REFUSALS, WEBHOOKS
from harkara.runtime.api_keys import ApiKeys
from harkara.runtime.problems import Problem

KIB, MIB = 1024, 1024 * 1024
WEBHOOK_PATH = "/webhooks/meta"
API_PREFIX = "/api/"
BODY_LIMITS: Mapping[str, int] = {
    WEBHOOK_PATH: 3 * MIB + 64 * KIB,  # Meta sends at most 3 MB; the margin is for its headers' idea of a megabyte
    "/api/v1/send": 128 * KIB,  # a text of 4,096 characters, a template's values and a fallback, all escaped
    "/api/v1/send/batch": 16 * MIB,  # 1,000 such messages, none at its limits
    "/api/v1/runs": 64 * MIB,  # 100,000 rows of 600 bytes
    "/api/v1/runs/preview": 64 * MIB,
    "/api/v1/runs/precheck": 64 * MIB,
}
OTHER_LIMIT = 64 * KIB
BODY_SECONDS: Mapping[str, float] = {
    "/api/v1/send/batch": 60.0,  # 16 MiB over a line of 2.2 Mbit/s
    "/api/v1/runs": 240.0,  # 64 MiB over the same
    "/api/v1/runs/preview": 240.0,
    "/api/v1/runs/precheck": 240.0,
}
OTHER_BODY_SECONDS = 10.0  # the webhook's too: 3 MB over 2.5 Mbit/s, where Meta's lines are far faster
MOST_HELD_BYTES = 128 * MIB  # of webhooks' bodies in memory at once: 180,000 of one status, or 40 of the largest
MOST_INLINE_BYTES = 64 * MIB  # of runs and batches as JSON: a row takes up to six times its bytes once it is parsed
MOST_FORM_BYTES = 64 * MIB  # of runs with a file, which lies on disk while it is read: one of the largest, or 5 usual

Room = Literal["webhooks", "inline", "forms", "small"]
"""Whose room a body takes; the small ones (as many as there are connections, 128 KiB each) are not counted."""
MOST_HELD: Mapping[Room, int] = {"webhooks": MOST_HELD_BYTES, "inline": MOST_INLINE_BYTES, "forms": MOST_FORM_BYTES}


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why the body was not read to its end: the metric's word, and the answer."""

    outcome: str
    problem: Problem


class Edge:
    """ASGI middleware. A body above its path's limit is answered 413, whether or not it says its length, one that
    does not come in time 408; an API request without a valid key 401, before its body is read (ING-7). The caller is
    `request.state.caller`. Webhooks, and runs and batches, are answered 503 while the room for their bodies is taken;
    neither takes the other's."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, *, body_seconds: Mapping[str, float] = BODY_SECONDS) -> None:
        self._app = app
        self._keys = keys
        self._body_seconds = body_seconds
        self._held: Counter[Room] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        headers = Headers(scope=scope)
        try:
            if path.startswith(API_PREFIX):
                given = (headers.get("authorization"), headers.get("x-api-key"))
                scope.setdefault("state", {})["caller"] = self._keys.authenticate(*given)
        except Problem as problem:
            REFUSALS.labels(problem.code).inc()
            await problem.response()(scope, receive, send)
            return
        room = _room(path, headers)
        body = _Body(self, path, room, receive, self._body_seconds.get(path, OTHER_BODY_SECONDS))
        if _declared(headers) > body.limit:
            await self._refused(_too_large(body.limit), scope, receive, send)
            return
        try:
            await self._served(body, scope, receive, send)
        finally:
            self._held[room] -= body.held

    async def _served(self, body: _Body, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def guarded(message: Message) -> None:
            nonlocal answered
            if body.refusal is not None and not answered:
                return  # the route's own answer to a body that was cut off
            answered = True
            await send(message)

        with suppress(ClientDisconnect):  # raised by whoever reads the body: it was cut off here, or the client left
            await self._app(scope, body.receive, guarded)
        if body.refusal is not None and not answered:
            await self._refused(body.refusal, scope, receive, send)

    async def _refused(self, refusal: _Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == WEBHOOK_PATH:
            WEBHOOKS.labels(refusal.outcome).inc()
        REFUSALS.labels(refusal.problem.code).inc()
        await refusal.problem.response()(scope, receive, send)

    def hold(self, room: Room, size: int) -> bool:
        """Take so much more of a room; False where there is none left."""
        if room != "small" and self._held[room] + size > MOST_HELD[room]:
            return False
        self._held[room] += size
        return True


class _Body:
    """One request's body as it comes. `refusal` is set when it is cut off; the reader is told that the client left."""

    def __init__(self, edge: Edge, path: str, room: Room, receive: Receive, seconds: float) -> None:
        self.limit = BODY_LIMITS.get(path, OTHER_LIMIT)
        self.held = 0
        self.refusal: _Refusal | None = None
        self._edge, self._receive = edge, receive
        self._room = room
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._taken = 0
        self._whole = False

    async def receive(self) -> Message:
        """ASGI's receive: the next piece of the body, in time and within the limits."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            return self._cut(_too_slow())
        if message["type"] != "http.request":
            return message
        size = len(message.get("body", b""))
        self._taken += size
        self._whole = not message.get("more_body", False)
        if self._taken > self.limit:
            return self._cut(_too_large(self.limit))
        if not self._edge.hold(self._room, size):
            return self._cut(_no_memory())
        self.held += size
        return message

    def _cut(self, refusal: _Refusal) -> Message:
        self.refusal = refusal
        return {"type": "http.disconnect"}  # whoever reads the body stops reading


def _room(path: str, headers: Headers) -> Room:
    if path == WEBHOOK_PATH:
        return "webhooks"
    if BODY_LIMITS.get(path, OTHER_LIMIT) <= MIB:
        return "small"
    return "forms" if headers.get("content-type", "").lower().startswith("multipart/") else "inline"


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0


CLOSE = {"Connection": "close"}  # what is left of the body would be taken for the next request


def _too_large(limit: int) -> _Refusal:
    detail = f"At most {limit} bytes are taken here."
    return _Refusal("too_large", Problem(413, "PAYLOAD_TOO_LARGE", "The body is too large", detail))


def _too_slow() -> _Refusal:
    detail = "Send the whole body without a pause."
    return _Refusal("too_slow", Problem(408, "REQUEST_TIMEOUT", "The body came too slowly", detail, headers=CLOSE))


def _no_memory() -> _Refusal:
    headers = CLOSE | {"Retry-After": "5"}
    return _Refusal("unavailable", Problem(503, "UNAVAILABLE", "Too much is under way", "Repeat it.", headers=headers))
