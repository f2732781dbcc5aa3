"""Before any route: how large a body may be, and whose request it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

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
}
OTHER_LIMIT = 64 * KIB


class Edge:
    """ASGI middleware. A body above its path's limit is answered 413, whether or not it says its length; an API
    request without a valid key 401, before its body is read (ING-7). The caller is `request.state.caller`."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        headers = Headers(scope=scope)
        limit = BODY_LIMITS.get(path, OTHER_LIMIT)
        try:
            if path.startswith(API_PREFIX):
                given = (headers.get("authorization"), headers.get("x-api-key"))
                scope.setdefault("state", {})["caller"] = self._keys.authenticate(*given)
            if _declared(headers) > limit:
                raise _too_large(path, limit)
        except Problem as problem:
            REFUSALS.labels(problem.code).inc()
            await problem.response()(scope, receive, send)
            return
        await self._limited(scope, receive, send, limit)

    async def _limited(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        taken = 0
        answered = False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > limit:
                    return {"type": "http.disconnect"}  # whoever reads the body stops reading
            return message

        async def guarded(message: Message) -> None:
            nonlocal answered
            if taken > limit and not answered:
                return  # the route's own answer to a body that was cut off
            answered = True
            await send(message)

        with suppress(ClientDisconnect):  # raised by whoever reads the body: it was cut off here, or the client left
            await self._app(scope, counted, guarded)
        if taken > limit and not answered:
            problem = _too_large(scope["path"], limit)
            REFUSALS.labels(problem.code).inc()
            await problem.response()(scope, receive, send)


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0


def _too_large(path: str, limit: int) -> Problem:
    if path == WEBHOOK_PATH:
        WEBHOOKS.labels("too_large").inc()
    return Problem(413, "PAYLOAD_TOO_LARGE", "The body is too large", f"At most {limit} bytes are taken here.")
