"""The HTTP port: TLS 1.3 where it has a certificate (SEC-3), and no patience for heads that do not come or end.

uvicorn waits for ever for the rest of a request's head; a few thousand such connections and nobody else is served. The
body's time is the application's matter, which knows how large it may be.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from harkara.runtime.settings import ServiceSettings

HEAD_SECONDS = 10.0  # from the connection, or from a head's first byte, to its last; a slow line needs one
MOST_HEAD_BYTES = 64 * 1024  # eight times what proxies let through; the parser itself has no bound


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's, with a deadline and a bound for each head. `head_seconds` is the class's, for a test to shorten."""

    head_seconds = HEAD_SECONDS
    _head_timer: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is due from now."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Between two requests uvicorn's keep-alive time runs; a head that has begun runs on ours."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.transport.close()
        if self._head_timer is None and self._idle():
            self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._in_head = False
        self._cancel_head_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._cancel_head_timer()
        super().connection_lost(exc)

    def _idle(self) -> bool:
        """Whether no request is under way and no keep-alive time runs: a head is incomplete."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and self.timeout_keep_alive_task is None and not self.transport.is_closing()

    def _give_up(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def server_context(cert_file: Path, key_file: Path | None) -> ssl.SSLContext:
    """TLS 1.3 and nothing older. Raises OSError or ssl.SSLError where the files are not a certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(cert_file, key_file)
    return context


def uvicorn_config(settings: ServiceSettings, app: FastAPI) -> uvicorn.Config:
    """For one service's port."""
    cert_file, key_file = settings.tls_cert_file, settings.tls_key_file
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
        limit_concurrency=2000,  # beyond this a request waits longer than Meta's patience; 503 makes it retry
        ssl_context_factory=None if cert_file is None else lambda _config, _make: server_context(cert_file, key_file),
    )
