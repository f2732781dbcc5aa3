"""Who a message is for, without saying so: pseudonyms for the topics that carry no personal data."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from functools import lru_cache

_USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}", re.ASCII)  # Meta, business-scoped user ids


def person_key(pepper: bytes, name: str) -> str:
    """HMAC-SHA-256(pepper, canonical name), 32 hexadecimal characters: the person in every event but the send path's.

    `name` is a phone number, with or without a plus sign, as Meta's `wa_id` has none; or a business-scoped user id.
    """
    return hmac.digest(pepper, canonical_name(name).encode(), "sha256")[:16].hex()


def canonical_name(name: str) -> str:
    """The one form of a phone number that has two: E.164 as it is dialled today, without the plus sign (B17).

    A `wa_id` keeps the form in which the number was first registered (Meta; fact sheet 8.6). Brazil: mobile numbers of
    eight digits, 6 to 9 first, got a 9 in front. Mexico: the 1 after 52 was given up. Argentina: the 9 after 54 is
    written. Anything else, a user id too, is taken as it is.
    """
    digits = name.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return name.lstrip("+")
    if len(digits) == 12 and digits.startswith("55") and digits[4] in "6789":
        return f"{digits[:4]}9{digits[4:]}"
    if len(digits) == 13 and digits.startswith("521"):
        return f"52{digits[3:]}"
    if len(digits) == 12 and digits.startswith("54") and digits[2] != "9":
        return f"549{digits[2:]}"
    return digits


def is_phone(name: object) -> bool:
    """Whether a name of Meta's is a phone number: a user id may stand in `from` and `wa_id` as well."""
    digits = name.removeprefix("+") if isinstance(name, str) else ""
    return 7 <= len(digits) <= 15 and digits.isascii() and digits.isdigit() and not digits.startswith("0")


def is_user_id(name: object) -> bool:
    """Whether it is a business-scoped user id of Meta's, or a parent id: `event.UserId`."""
    return isinstance(name, str) and _USER_ID.fullmatch(name) is not None


def step_key(pepper: bytes, intent_hash: str) -> str:
    """HMAC-SHA-256 of an intent's hash, 32 hexadecimal characters: what the ids of its message's events are made of.
    They stay for years beside the pseudonym; of the bare hash whoever knows the text could try phone numbers until an
    id fits."""
    return hmac.digest(pepper, f"steps\x1f{intent_hash}".encode(), "sha256")[:16].hex()


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
    root = _root_of(message_id)
    if current is not None and current.split("-")[1:2] == [root[3:35]]:
        return current
    return root


@lru_cache(maxsize=1024)  # what a step writes of a message it writes at once: a batch of 500, twice over
def _root_of(message_id: str) -> str:
    trace = hashlib.sha256(f"trace\x1f{message_id}".encode()).hexdigest()[:32]
    root = hashlib.sha256(f"root\x1f{message_id}".encode()).hexdigest()[:16]
    return f"00-{trace}-{root}-01"


def _short_hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:26]
