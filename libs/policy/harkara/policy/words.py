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
_INSTANTS = ("resumed_at", "revoked_until")
_WORD = struct.Struct(">BqBq")  # which, when, what, until (0: without an end); milliseconds
_INSTANT = struct.Struct(">Bq")
_SAME = b"\xff"  # the transactional words are the marketing ones: true of most persons


def pack_words(words: Mapping[Purpose, Heard]) -> bytes:
    """About 20 bytes for who said one thing for every purpose."""
    return _both(*(_packed(words[purpose]) for purpose in PURPOSES))


def pack_state(state: ConsentState) -> tuple[bytes, int]:
    """The words of a state, and how old it is: the sum of its instants (ms), which grows with every change of it, as
    each word only ever gives way to a later one.

    Of who said one thing for a purpose, as most did, nothing is built that would only be packed again.
    """
    packed, age = [], epoch_ms(state.language_at) if state.language_at else 0
    for purpose, word in zip(PURPOSES, (state.marketing, state.transactional), strict=True):
        heard = state.heard.get(purpose)
        if heard is not None:
            packed.append(_packed(heard))
            age += _sum(heard)
        elif word is None:
            packed.append(b"")
        else:
            words, instants = _slots_of(word.standing, word.source)
            at_ms, until_ms = epoch_ms(word.at), 0 if word.until is None else epoch_ms(word.until)
            what = _STANDINGS.index(word.standing)
            parts = [_WORD.pack(which, at_ms, what, until_ms) for which in words]
            packed.append(b"".join(parts + [_INSTANT.pack(which, at_ms) for which in instants]))
            age += at_ms * (len(words) + len(instants))
    return _both(*packed), age


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


@lru_cache(maxsize=256)  # four standings by the eight sources that there are
def _slots_of(standing: Standing, source: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which words and which instants are heard of who said this alone: all of them are that word and its time."""
    word = PurposeConsent(standing=standing, at=EARLIEST, event_id="", source=source)
    heard = ConsentState(person_key="", marketing=word).words("marketing")
    words = tuple(which for which, slot in enumerate(_WORDS) if getattr(heard, slot) is not None)
    instants = (which for which, slot in enumerate(_INSTANTS, start=len(_WORDS)) if getattr(heard, slot) is not None)
    return words, tuple(instants)


def _both(marketing: bytes, transactional: bytes) -> bytes:
    return _SAME + marketing if marketing == transactional else bytes([len(marketing)]) + marketing + transactional


def _sum(heard: Heard) -> int:
    words = (heard.word, heard.at_meta, heard.pause, heard.block)
    instants = (heard.resumed_at, heard.revoked_until, *(word.at for word in words if word is not None))
    return sum(epoch_ms(at) for at in instants if at is not None)


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
    return b"".join(parts)  # at most 4 x 18 + 2 x 9 = 90 bytes, so that a length fits below the mark


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
