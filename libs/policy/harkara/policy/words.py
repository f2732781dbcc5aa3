"""The words of a person in a few bytes: exact enough to join what was said under several names, a million times over.

Without event ids and proofs, which decide nothing but ties between equal words.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import get_args

from harkara.contracts.consent import PURPOSES, ConsentState, Heard, Purpose, PurposeConsent, Standing
from harkara.contracts.event import EARLIEST, epoch_ms

_STANDINGS: tuple[Standing, ...] = get_args(Standing)
_WORDS = ("word", "at_meta", "pause", "block")
_INSTANTS = ("resumed_at", "revoked_until", "erased_at", "returned_at")
_SLOTS = len(_WORDS) + len(_INSTANTS)
_WORD = struct.Struct(">BqBq")  # which, when, what, until (0: without an end); milliseconds
_INSTANT = struct.Struct(">Bq")
_TIME = 8  # bytes of it in both, behind which of them it is
_SAME = b"\xff"  # the transactional words are the marketing ones: true of most persons


def pack_words(words: Mapping[Purpose, Heard]) -> bytes:
    """About 20 bytes for who said one thing for every purpose."""
    return both_packed(*(_packed(words[purpose]) for purpose in PURPOSES))


def pack_state(state: ConsentState) -> tuple[bytes, int]:
    """The words of a state, and how old it is: the sum of its instants (ms), which grows with every change of it, as
    each word only ever gives way to a later one. What an erasure took counts as if it had been said then.

    Of who said one thing for a purpose, as most did, nothing is built that would only be packed again.
    """
    language_at = state.language_at or state.words("marketing").erased_at
    packed, age = [], epoch_ms(language_at) if language_at else 0
    for purpose, word in zip(PURPOSES, (state.marketing, state.transactional), strict=True):
        heard = state.heard.get(purpose)
        if heard is not None:
            packed.append(_packed(heard))
            age += _sum(heard)
        elif word is None:
            packed.append(b"")
        else:
            until_ms = 0 if word.until is None else epoch_ms(word.until)
            alone, more = pack_alone(word.standing, word.source, epoch_ms(word.at), until_ms)
            packed.append(alone)
            age += more
    return both_packed(*packed), age


def pack_alone(standing: Standing, source: str, at_ms: int, until_ms: int = 0) -> tuple[bytes, int]:
    """The words of who said this alone for a purpose, and the sum of their instants."""
    around, count = _around_time(standing, source, until_ms)
    return at_ms.to_bytes(_TIME, "big", signed=True).join(around), at_ms * count


def both_packed(marketing: bytes, transactional: bytes) -> bytes:
    """The words of both purposes as one row."""
    return _SAME + marketing if marketing == transactional else bytes([len(marketing)]) + marketing + transactional


def unpack_words(packed: bytes) -> dict[Purpose, Heard]:
    """The words again, without their event ids and sources."""
    if packed[:1] == _SAME:
        both = _unpacked(packed[1:])
        return dict.fromkeys(PURPOSES, both)
    end = 1 + packed[0]
    return {"marketing": _unpacked(packed[1:end]), "transactional": _unpacked(packed[end:])}


def kept_words(words: Mapping[Purpose, Heard], until_ms: int) -> dict[Purpose, Heard]:
    """Only what was said until then: who moves to another number takes along what was said under the old one, not what
    its next owner says."""
    return {purpose: _kept(heard, until_ms) for purpose, heard in words.items()}


def _kept(heard: Heard, until_ms: int) -> Heard:
    gone: dict[str, None] = {}
    for slot in _WORDS:
        word = getattr(heard, slot)
        if word is not None and epoch_ms(word.at) > until_ms:
            gone[slot] = None
    for slot in _INSTANTS:
        at = getattr(heard, slot)
        if at is not None and epoch_ms(at) > until_ms:
            gone[slot] = None
    return heard.model_copy(update=gone) if gone else heard


@lru_cache(maxsize=256)  # five standings by the eight sources that there are
def _slots_of(standing: Standing, source: str) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Which words and which instants are heard of who said this alone, all of them that word and its time; and the
    standing's number."""
    word = PurposeConsent(standing=standing, at=EARLIEST, event_id="", source=source)
    heard = ConsentState(person_key="", marketing=word).words("marketing")
    words = tuple(which for which, slot in enumerate(_WORDS) if getattr(heard, slot) is not None)
    instants = (which for which, slot in enumerate(_INSTANTS, start=len(_WORDS)) if getattr(heard, slot) is not None)
    return words, tuple(instants), _STANDINGS.index(standing)


@lru_cache(maxsize=1024)  # the same, and each end of a pause a little while
def _around_time(standing: Standing, source: str, until_ms: int) -> tuple[tuple[bytes, ...], int]:
    """The packed words of who said this alone, cut where its time belongs, and how often that counts."""
    words, instants, what = _slots_of(standing, source)
    parts = [_WORD.pack(which, 0, what, until_ms) for which in words]
    parts += [_INSTANT.pack(which, 0) for which in instants]
    around = [b""]
    for part in parts:
        around[-1] += part[:1]
        around.append(part[1 + _TIME :])
    return tuple(around), _SLOTS if standing == "erased" else len(parts)


def _sum(heard: Heard) -> int:
    words = (heard.word, heard.at_meta, heard.pause, heard.block)
    instants = [getattr(heard, slot) for slot in _INSTANTS] + [None if word is None else word.at for word in words]
    if heard.erased_at is None:
        return sum(epoch_ms(at) for at in instants if at is not None)
    return sum(epoch_ms(heard.erased_at if at is None else max(at, heard.erased_at)) for at in instants)


def _packed(heard: Heard) -> bytes:
    parts = []
    for which, slot in enumerate(_WORDS):
        word: PurposeConsent | None = getattr(heard, slot)
        if word is not None:
            until_ms = 0 if word.until is None else epoch_ms(word.until)
            parts.append(_WORD.pack(which, epoch_ms(word.at), _STANDINGS.index(word.standing), until_ms))
    for which, slot in enumerate(_INSTANTS, start=len(_WORDS)):
        at: datetime | None = getattr(heard, slot)
        if at is not None:
            parts.append(_INSTANT.pack(which, epoch_ms(at)))
    return b"".join(parts)  # at most 4 x 18 + 4 x 9 = 108 bytes, so that a length fits below the mark


def _unpacked(row: bytes) -> Heard:
    found: dict[str, PurposeConsent | datetime] = {}
    start = 0
    while start < len(row):
        which = row[start]
        if which < len(_WORDS):
            _, at_ms, standing, until_ms = _WORD.unpack_from(row, start)
            until = _instant(until_ms) if until_ms else None
            word = PurposeConsent(standing=_STANDINGS[standing], at=_instant(at_ms), event_id="", until=until)
            found[_WORDS[which]] = word
            start += _WORD.size
        else:
            found[_INSTANTS[which - len(_WORDS)]] = _instant(_INSTANT.unpack_from(row, start)[1])
            start += _INSTANT.size
    return Heard.model_validate(found)


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
