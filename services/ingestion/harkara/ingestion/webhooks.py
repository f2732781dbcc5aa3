"""Meta's webhook: verified, split, appended raw, then answered 200 (design 4.7; WHK-1, WHK-3, WHK-7, WHK-10)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from harkara.contracts.partition import partition_for
from harkara.contracts.topics import WEBHOOK_EVENTS
from harkara.graph_api import signature
from harkara.ingestion.core import NotAWebhook, split
from harkara.ingestion.effects import Appender, TooLarge, Unavailable, outputs_of
from harkara.ingestion.metrics import WEBHOOK_SECONDS, WEBHOOKS
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output, RawOutput
from harkara.runtime.problems import Problem

RETRY_AFTER = {"Retry-After": "5"}
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Webhooks:
    """The two requests of Meta's. `partitions` is that of every topic."""

    secrets: tuple[str, ...]
    verify_token: str
    appender: Appender
    clock: Clock
    partitions: int

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
        """One webhook. 200 only once everything in it is acknowledged; 503 makes Meta send it again."""
        started = self.clock.monotonic()
        raw = await request.body()
        if not signature.verify(self.secrets, raw, request.headers.get(signature.HEADER)):
            WEBHOOKS.labels("unsigned").inc()
            return Problem(401, "UNAUTHORIZED", "The signature does not fit the body").response()
        outputs, malformed = self._records(raw)
        try:
            if outputs:
                await self.appender.write(outputs)
        except Unavailable:
            WEBHOOKS.labels("unavailable").inc()
            return unavailable().response()
        except TooLarge:
            WEBHOOKS.labels("too_large").inc()
            return Problem(413, "PAYLOAD_TOO_LARGE", "The body is too large").response()
        WEBHOOKS.labels("malformed" if malformed else "accepted").inc()
        WEBHOOK_SECONDS.observe(self.clock.monotonic() - started)
        return Response(status_code=200)

    def _records(self, raw: bytes) -> tuple[Sequence[Output | RawOutput], bool]:
        """What is written for a signed body; what of it is no webhook goes to the DLQ with all the bytes."""
        now = self.clock.now()
        digest = hashlib.sha256(raw).hexdigest()
        try:
            emissions, faults = split(orjson.loads(raw), digest, len(raw), now)
        except orjson.JSONDecodeError:
            emissions, faults = [], ["the body is not valid JSON"]
        except NotAWebhook as error:
            emissions, faults = [], [str(error)]
        outputs: list[Output | RawOutput] = list(outputs_of(emissions, now))
        if faults:
            outputs.append(self._quarantined(raw, digest, faults))
        return outputs, bool(faults)

    def _quarantined(self, raw: bytes, digest: str, faults: list[str]) -> RawOutput:
        return RawOutput(
            topic=WEBHOOK_EVENTS.dlq,
            partition=partition_for(digest, self.partitions),
            key=digest.encode(),
            value=raw,
            headers=[
                ("dlq-reason", "; ".join(faults[:20]).encode()),  # twenty say enough of a body that has thousands
                ("dlq-loop", b"ingestion-webhooks"),
                ("dlq-source", b"POST /webhooks/meta"),
            ],
        )


def unavailable() -> Problem:
    """Kafka has not taken it: nothing is promised, the caller tries again."""
    return Problem(
        503,
        "UNAVAILABLE",
        "Not accepted: the log is not available",
        "Nothing was promised; repeat the request with the same Idempotency-Key.",
        headers=RETRY_AFTER,
    )
