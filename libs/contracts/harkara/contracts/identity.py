"""Who a message is for, without saying so: pseudonyms for the topics that carry no personal data."""

from __future__ import annotations

import base64
import hashlib
import hmac


def person_key(pepper: bytes, phone: str) -> str:
    """HMAC-SHA-256(pepper, E.164 digits), 32 hexadecimal characters: the person in every event but the send path's.

    `phone` may come with or without a plus sign, as Meta's `wa_id` has none.
    """
    return hmac.new(pepper, phone.lstrip("+").encode(), hashlib.sha256).hexdigest()[:32]


def derived_message_id(api_key_id: str, idempotency_key: str, row: int) -> str:
    """The id of row `row` of a request: a function of the key, the client's Idempotency-Key and the row alone,
    so a repeated request names the same messages. `m-` and 26 characters of base32 (130 bits)."""
    return "m-" + _short_hash(f"{api_key_id}\x1f{idempotency_key}\x1f{row}")


def derived_run_id(api_key_id: str, idempotency_key: str) -> str:
    """The id of a run, as `derived_message_id`: `r-` and 26 characters of base32."""
    return "r-" + _short_hash(f"{api_key_id}\x1f{idempotency_key}\x1frun")


def message_traceparent(message_id: str, current: str | None = None) -> str:
    """The trace of a message: its id is a function of the message id, so that every service, and Meta's webhooks days
    later, write to the same one. `current` is kept where it already belongs to that trace (it names the step before).
    """
    trace = hashlib.sha256(f"trace\x1f{message_id}".encode()).hexdigest()[:32]
    if current is not None and current.split("-")[1:2] == [trace]:
        return current
    root = hashlib.sha256(f"root\x1f{message_id}".encode()).hexdigest()[:16]
    return f"00-{trace}-{root}-01"


def _short_hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:26]
