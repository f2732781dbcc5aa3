"""What is remembered of messages that have ended: enough to recognise them for seven days, and no more.

About 200 bytes a message: the id, and 13 packed bytes. Generations of six hours are forgotten as a whole, so nothing
is scanned and the oldest is never searched for.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

HORIZON_SECONDS = 7 * 86_400
FORGOTTEN_AFTER_SECONDS = HORIZON_SECONDS + 70.0
"""Seven days, and as long as a call may begin and last after its attempt was journaled (lease at most 5 s, time-out
60 s, margin): a contact counts for so much longer than its cap's span, which is seven days at most."""
GENERATION_SECONDS = 6 * 3600
_PACK = struct.Struct(">8sBHH")
MOST_TEMPLATES = 65_535  # of one lane that are told apart, 6 MB; an account has 6,000 at most, and few are in use
Key = TypeVar("Key", str, bytes)
ENDS = ("submitted", "failed_unsent", "cancelled", "expired", "unknown", "rehearsed")
_CODES = {status: code for code, status in enumerate(ENDS)}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a message ended in the lane. `submitted`: Meta has it, its further life is not the lane's. `template`: by
    which its newest attempt went ("": none, or not known)."""

    status: str
    attempt: int
    fingerprint: bytes
    template: str = ""


class Horizon:
    """The ended messages of the last seven days (at least; up to six hours more)."""

    def __init__(self) -> None:
        self._generations: dict[int, dict[str, bytes]] = {}
        self._templates = [""]
        self._places = {"": 0}

    def __len__(self) -> int:
        return sum(len(generation) for generation in self._generations.values())

    def add(
        self, message_id: str, ended_at: float, status: str, attempt: int, intent_hash: str, template: str = ""
    ) -> None:
        """Remember an end; a later end of the same message (an echo after `unknown`) takes its place."""
        self._forget(message_id)
        place = self._place_of(template) if template else 0
        number, attempt = int(ended_at // GENERATION_SECONDS), attempt if attempt < 65_535 else 65_535
        generation = self._generations.get(number)
        if generation is None:
            generation = self._generations[number] = {}
        generation[message_id] = _PACK.pack(fingerprint(intent_hash), _CODES[status], attempt, place)

    def find(self, message_id: str) -> Ended | None:
        """How the message ended, or None: unknown or forgotten."""
        for generation in reversed(self._generations.values()):  # newest first: a repeat is mostly soon
            packed = generation.get(message_id)
            if packed is not None:
                print_, status, attempt, place = _PACK.unpack(packed)
                return Ended(ENDS[status], attempt, print_, self._templates[place])
        return None

    def _place_of(self, template: str) -> int:
        place = self._places.get(template)
        if place is None:
            if len(self._templates) > MOST_TEMPLATES:
                return 0
            place = self._places[template] = len(self._templates)
            self._templates.append(template)
        return place

    def forget_old(self, now: float, limit: int) -> Iterator[str]:
        """Up to `limit` message ids whose seven days are over; they are forgotten here, their journal keys may go."""
        return forgotten(self._generations, GENERATION_SECONDS, now, limit)

    def next_forget(self) -> float | None:
        """When the oldest generation may go, in Unix seconds."""
        oldest = min(self._generations, default=None)
        return None if oldest is None else (oldest + 1) * GENERATION_SECONDS + FORGOTTEN_AFTER_SECONDS

    def discard(self, message_id: str) -> None:
        """Forget one message (its tombstone was read)."""
        self._forget(message_id)

    def _forget(self, message_id: str) -> None:
        for generation in self._generations.values():
            if generation.pop(message_id, None) is not None:
                return


def forgotten(spans: dict[int, dict[Key, bytes]], span_seconds: int, now: float, limit: int) -> Iterator[Key]:
    """Take up to `limit` keys of numbered spans of time, each so long, that are over for FORGOTTEN_AFTER_SECONDS."""
    for number in sorted(spans):
        if (number + 1) * span_seconds + FORGOTTEN_AFTER_SECONDS > now:
            return
        span = spans[number]
        while span and limit > 0:
            limit -= 1
            yield span.popitem()[0]
        if span:
            return
        del spans[number]


def fingerprint(intent_hash: str) -> bytes:
    """64 bits of an intent's hash: among a message's own repeats a false match has one chance in 10^19."""
    try:
        start = bytes.fromhex(intent_hash[:16])  # it is a hash already
    except ValueError:
        start = b""
    return start if len(start) == 8 else hashlib.blake2b(intent_hash.encode(), digest_size=8).digest()
