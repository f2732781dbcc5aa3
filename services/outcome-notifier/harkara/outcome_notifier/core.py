"""Which outcomes a message's state tells of, and how a callback is written, signed and repeated. Pure.

Callbacks follow Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks, spec): the headers
`webhook-id`, `webhook-timestamp` and `webhook-signature`, the signature over `<id>.<timestamp>.<body>`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson

from harkara.contracts.event import event_id
from harkara.contracts.lifecycle import REACHED, MessageState
from harkara.contracts.outcomes import MessageOutcome, OutcomeError, OutcomeKind

TOLD_WITHIN = timedelta(days=7)
"""Older outcomes are news to nobody: Meta repeats webhooks for 7 days, and message-outcomes is kept as long."""
REMEMBERED = 200_000
"""Messages whose told outcomes are remembered, 150 bytes each: several minutes of the whole system's full rate. One
that is forgotten is told again, under the same ids."""
FAILED = frozenset({"failed", "rejected", "cancelled", "expired", "failed_unsent", "unknown"})
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 5.0, 900.0
"""A callback is repeated after 5 s, 10 s, ... up to 15 min: an endpoint that is back gets everything within that."""
_IMPLIED: tuple[tuple[OutcomeKind, tuple[str, ...]], ...] = (
    ("MESSAGE_SENT", ("sent", "delivered", "read", "played")),
    ("MESSAGE_DELIVERED", ("delivered", "read", "played")),
    ("MESSAGE_READ", ("read", "played")),
)
"""What each kind follows from: read implies delivered, delivered implies sent (Meta leaves some statuses out)."""
_UNSTATED = "no reason was given"


@dataclass(frozen=True, slots=True)
class Told:
    """An outcome and its id, the same for the same message, kind and (of a failure) attempt."""

    id: str
    outcome: MessageOutcome


def outcomes_of(state: MessageState) -> list[Told]:
    """Every outcome that the state tells of, in the order sent, delivered, read; or the failure that it stands at."""
    found = [_reached(state, kind, statuses) for kind, statuses in _IMPLIED]
    told = [each for each in found if each is not None]
    if state.status in FAILED and not REACHED & state.first_seen.keys():
        told.append(_failed(state))
    return told


def _reached(state: MessageState, kind: OutcomeKind, statuses: Sequence[str]) -> Told | None:
    """Its time is that of its own status; where Meta left that out, of the one that implies it."""
    seen = [(status, state.first_seen[status]) for status in statuses if status in state.first_seen]
    if not seen:
        return None
    return _told(state, kind, seen[0][1], event_id("outcome", state.message_id, kind))


def _failed(state: MessageState) -> Told:
    identity = event_id("outcome", state.message_id, "MESSAGE_FAILED", state.attempt)
    return _told(state, "MESSAGE_FAILED", state.at, identity, _error(state))


def _error(state: MessageState) -> OutcomeError:
    reason = state.reason
    return OutcomeError(
        code=reason.code if reason is not None else state.status,
        text=reason.text if reason is not None else _UNSTATED,
        meta_code=state.error_code,
        certain=state.status != "unknown",
    )


def _told(
    state: MessageState, kind: OutcomeKind, at: datetime, identity: str, error: OutcomeError | None = None
) -> Told:
    outcome = MessageOutcome(
        kind=kind,
        message_id=state.message_id,
        home=state.home,
        person_key=state.facts.get("person_key"),
        whatsapp_id=state.wamid,
        error=error,
        status=state.status,
        attempt=state.attempt,
        at=at,
        producer=state.facts.get("producer"),
        run_id=state.facts.get("run_id"),
    )
    return Told(identity, outcome)


@dataclass
class Memory:
    """What was told of the newest messages, so that a state that grows does not tell it again."""

    limit: int = REMEMBERED
    _told: OrderedDict[str, frozenset[str]] = field(default_factory=OrderedDict)

    def news(self, state: MessageState, now: datetime) -> list[Told]:
        """The state's outcomes that were not told yet and are not too old to tell; they count as told from here on."""
        outcomes = outcomes_of(state)
        if not outcomes:
            return []
        known = self._told.pop(state.message_id, frozenset())
        self._told[state.message_id] = known | {each.id for each in outcomes}
        while len(self._told) > self.limit:
            self._told.popitem(last=False)
        return [each for each in outcomes if each.id not in known and each.outcome.at >= now - TOLD_WITHIN]


def body_of(outcome: MessageOutcome) -> bytes:
    """The callback's body: the same bytes each time it is sent."""
    error = outcome.error
    data = {
        "messageId": outcome.message_id,
        "to": outcome.person_key,
        "whatsappId": outcome.whatsapp_id,
        "attempt": outcome.attempt,
        "runId": outcome.run_id,
        "error": error
        and {"code": error.code, "message": error.text, "metaCode": error.meta_code, "certain": error.certain},
    }
    kept = {name: value for name, value in data.items() if value is not None}
    return orjson.dumps({"type": outcome.kind, "timestamp": outcome.at.isoformat(), "data": kept})


def secret_bytes(text: str) -> bytes:
    """The key of a `whsec_` secret. Raises ValueError unless it is base64 of 24 to 64 bytes (Standard Webhooks)."""
    prefix, _, encoded = text.partition("_")
    if prefix != "whsec":
        raise ValueError("a secret begins with whsec_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise ValueError("what follows whsec_ is not base64") from None
    if not 24 <= len(key) <= 64:
        raise ValueError(f"a secret holds 24 to 64 bytes, this one {len(key)}")
    return key


def signed_headers(identity: str, body: bytes, secrets: Sequence[bytes], at: datetime) -> dict[str, str]:
    """The three headers. Every secret signs, so that a receiver that knows the old or the new one believes us."""
    timestamp = str(int(at.timestamp()))
    content = b".".join((identity.encode(), timestamp.encode(), body))
    made = (base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode() for secret in secrets)
    return {
        "webhook-id": identity,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{each}" for each in made),
    }


def delay_after(failures: int, identity: str, asked_seconds: float | None) -> float:
    """Seconds to wait after that many failures: doubling, at least what the endpoint asked for, at most 15 minutes.

    Up to a tenth more by the id, so that those that failed together do not come back together.
    """
    doubled = FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 20)
    spread = int(hashlib.sha256(identity.encode()).hexdigest()[:4], 16) / 0xFFFF
    return min(LONGEST_DELAY_SECONDS, max(doubled, asked_seconds or 0.0)) * (1 + spread / 10)
