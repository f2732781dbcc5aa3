"""`X-Hub-Signature-256`: HMAC-SHA256 with the app secret over the raw bytes of a webhook's body."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

HEADER = "X-Hub-Signature-256"
_PREFIX = "sha256="
_LENGTH = 71  # the prefix and 64 lower-case hexadecimal digits


def sign(secret: str, raw: bytes) -> str:
    """The header's value for exactly these bytes: `sha256=` and 64 lower-case hexadecimal digits."""
    return _PREFIX + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def verify(secrets: Iterable[str], raw: bytes, header: str | None) -> bool:
    """Whether any of the secrets signed these bytes.

    Several secrets hold during a rotation. Each is compared in constant time and none is skipped after a match, so
    the time tells neither how near a forgery was nor which secret matched. Pass the bytes as received: parsed and
    serialised again they hash differently (Meta escapes non-ASCII as \\uXXXX). An empty secret never verifies.
    """
    if header is None or len(header) != _LENGTH or not header.isascii():
        return False
    matched = False
    for secret in secrets:
        if secret:
            matched |= hmac.compare_digest(sign(secret, raw), header)
    return matched
