"""Answers that are none: dropped connections, cut bodies, silence. Plain ASGI responses for uvicorn."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on with zero seconds: close sends RST


class DroppedConnection(Response):
    """Waits, then resets the TCP connection; with `partial` it writes that much of a longer answer first."""

    def __init__(self, after_seconds: float = 0.0, partial: bytes = b"") -> None:
        super().__init__()
        self._after_seconds = after_seconds
        self._partial = partial

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Never completes a response."""
        if self._partial:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % (len(self._partial) + 64))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self._partial, "more_body": True})
        gone = asyncio.ensure_future(_disconnect(receive))
        await asyncio.wait({gone}, timeout=self._after_seconds)
        if not gone.done():
            _reset(receive)
        await gone


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _reset(receive: Receive) -> None:
    """Resets the connection of uvicorn's request cycle, whose method `receive` is; ASGI itself has no word for it."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("connections can be reset under uvicorn only, without middleware that wraps receive()")
    found = transport.get_extra_info("socket")
    if found is not None:
        with socket.socket(fileno=os.dup(found.fileno())) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
