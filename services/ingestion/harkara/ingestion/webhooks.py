"""Meta's webhook: verified, split, kept raw, then answered 200 (design 4.7; WHK-1, WHK-3, WHK-7, WHK-10)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from harkara.graph_api import signature
from harkara.ingestion.effects import TooLarge, Unavailable
from harkara.ingestion.metrics import SECRETS_USED, UNMAPPED, WEBHOOK_SECONDS, WEBHOOKS
from harkara.ingestion.records import RecordMaker, Records
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output, RawOutput
from harkara.runtime.problems import Problem

RETRY_AFTER = {"Retry-After": "5"}
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_JSON = re.compile(r"application/(?:[a-z0-9.-]+\+)?json\s*(?:;.*)?", re.ASCII | re.IGNORECASE)


class SafePlace(Protocol):
    """Where a webhook is safe: WebhookLog."""

    async def append(self, raw: bytes, received_at: datetime, outputs: Sequence[Output | RawOutput]) -> None:
        """Return once nothing of it can be lost. Raises Unavailable or TooLarge."""
        ...


@dataclass(frozen=True)
class Webhooks:
    """The two requests of Meta's. Several `secrets`: of several apps, or of one whose secret is being changed."""

    secrets: tuple[str, ...]
    verify_token: str
    place: SafePlace
    maker: RecordMaker
    clock: Clock

    async def challenge(self, request: Request) -> Response:
        """The handshake: the challenge as plain text, or 403 where the token is not ours."""
        query = request.query_params
        given = query.get("hub.verify_token", "").encode()
        known = hmac.compare_digest(given, self.verify_token.encode())
        challenge = query.get("hub.challenge", "")
        if query.get("hub.mode") != "subscribe" or not known or not _CHALLENGE.fullmatch(challenge):
            return Problem(403, "FORBIDDEN", "The handshake is not ours").response()
        return PlainTextResponse(challenge, headers={"X-Content-Type-Options": "nosniff"})

    async def receive(self, request: Request) -> Response:
        """One webhook. 200 only once everything in it is safe; 503 makes Meta send it again."""
        started = self.clock.monotonic()
        said = request.headers.get("content-type")
        if said is not None and not _JSON.fullmatch(said):
            WEBHOOKS.labels("not_json").inc()
            return Problem(415, "UNSUPPORTED_MEDIA_TYPE", "A webhook is application/json").response()
        raw = await request.body()
        if not self._signed(raw, request.headers.get(signature.HEADER)):
            WEBHOOKS.labels("unsigned").inc()
            return Problem(401, "UNAUTHORIZED", "The signature does not fit the body").response()
        now = self.clock.now()
        received_at = now.replace(microsecond=now.microsecond // 1000 * 1000)  # what the spool keeps of it
        records = self.maker.records(raw, received_at)
        try:
            if records.outputs:
                await self.place.append(raw, received_at, records.outputs)
        except Unavailable:
            WEBHOOKS.labels("unavailable").inc()
            return unavailable().response()
        except TooLarge:
            WEBHOOKS.labels("too_large").inc()
            return Problem(413, "PAYLOAD_TOO_LARGE", "The body is too large").response()
        _count(records)
        WEBHOOK_SECONDS.observe(self.clock.monotonic() - started)
        return Response(status_code=200)

    def _signed(self, raw: bytes, header: str | None) -> bool:
        """Over the bytes as they came; every secret is tried, so that the time does not tell which one it was."""
        fits = [signature.verify((secret,), raw, header) for secret in self.secrets]
        if True not in fits:
            return False
        SECRETS_USED.labels(str(fits.index(True) + 1)).inc()
        return True


def _count(records: Records) -> None:
    WEBHOOKS.labels("malformed" if records.faults else "mended" if records.mended else "accepted").inc()
    for what, count in records.unmapped.items():
        UNMAPPED.labels(what).inc(count)


def unavailable() -> Problem:
    """Kafka has not taken it: nothing is promised, the caller tries again."""
    return Problem(
        503,
        "UNAVAILABLE",
        "Not accepted: the log is not available",
        "Nothing was promised; repeat the request with the same Idempotency-Key.",
        headers=RETRY_AFTER,
    )
