"""What a waiting message will need once or twice, small: intent hash, traceparent and content in some 80 bytes.

A queue of a million orders lies in memory. As JSON these three are 220 bytes each; packed they take some 10 us more to
close and to open, so what goes out at once is not packed. Only ever in memory: the journal has the order as it came.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import orjson

_LENGTHS = struct.Struct(
    ">HH"
)  # of hash and trace in bytes; the highest bit: it is text, not what its digits stand for
_TEXT = 0x8000
_PLAIN = 0x4000  # in the trace's length: the content is JSON as it is
LONGEST_TRACE = 512  # characters; a traceparent has 55. A longer one is nobody's trace, and left out
_TRACE_LENGTH = 55  # 00, and 32, 16 and 2 digits for trace id, span id and flags (W3C traceparent, version 00)
_WINDOW_BITS = -10  # raw deflate with a window of 1 KB: the words below and a usual content fit
_FAMILIAR = (
    b'"answers":"not_before":"dry_run":true,"caption":"","filename":"","link":"https://"},"header":{"type":"image","id":'
    b'""document""video"},"buttons":[{"index":0,"session":{"type":"text","body":"{"to":"+91","template":{"type":'
    b'"template","name":"","language":"en_US","body":["'
)


def seal(intent_hash: str, trace: str | None, content: dict[str, Any], *, packed: bool = True) -> bytes:
    """The three in one; without a trace that is too long to be one. `packed`: small, for a message that may wait long;
    else quick to open. Raises ValueError for a hash above 32,767 bytes."""
    of_hash, hash_flag = _packed(intent_hash, intent_hash)
    of_trace, trace_flag = _packed_trace(trace if trace is not None and len(trace) <= LONGEST_TRACE else "")
    if len(of_hash) >= _TEXT:
        raise ValueError("an intent hash has at most 32,767 bytes")
    plain = orjson.dumps(content)
    lengths = _LENGTHS.pack(len(of_hash) | hash_flag, len(of_trace) | trace_flag | (0 if packed else _PLAIN))
    return b"".join((lengths, of_hash, of_trace, *(_deflated(plain) if packed else (plain,))))


def hash_in(sealed: bytes) -> str:
    """The intent hash."""
    length, _ = _LENGTHS.unpack_from(sealed)
    part = sealed[_LENGTHS.size : _LENGTHS.size + (length & ~_TEXT)]
    return part.decode() if length & _TEXT else part.hex()


def trace_in(sealed: bytes) -> str | None:
    """The traceparent."""
    of_hash, length = _LENGTHS.unpack_from(sealed)
    length &= ~_PLAIN
    if not length:
        return None
    start = _LENGTHS.size + (of_hash & ~_TEXT)
    part = sealed[start : start + (length & ~_TEXT)]
    if length & _TEXT:
        return part.decode()
    digits = part.hex()
    return f"00-{digits[:32]}-{digits[32:48]}-{digits[48:]}"


def content_in(sealed: bytes) -> dict[str, Any]:
    """The content."""
    of_hash, of_trace = _LENGTHS.unpack_from(sealed)
    content = sealed[_content_start(of_hash, of_trace) :]
    if not of_trace & _PLAIN:
        inflate = zlib.decompressobj(_WINDOW_BITS, _FAMILIAR)
        content = inflate.decompress(content) + inflate.flush()
    found: dict[str, Any] = orjson.loads(content)
    return found


def _content_start(of_hash: int, of_trace: int) -> int:
    return _LENGTHS.size + (of_hash & ~_TEXT) + (of_trace & ~(_TEXT | _PLAIN))


def _deflated(plain: bytes) -> tuple[bytes, bytes]:
    deflate = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, 1, zlib.Z_DEFAULT_STRATEGY, _FAMILIAR)
    return deflate.compress(plain), deflate.flush()


def _packed_trace(trace: str) -> tuple[bytes, int]:
    usual = len(trace) == _TRACE_LENGTH and trace[:3] == "00-" and trace[35] == trace[52] == "-"
    return _packed(trace, trace[3:35] + trace[36:52] + trace[53:] if usual else "")


def _packed(text: str, digits: str) -> tuple[bytes, int]:
    """What the hexadecimal digits stand for, where these say it all, else the text itself; and the flag for it."""
    try:
        packed = bytes.fromhex(digits)
    except ValueError:
        packed = b""
    return (packed, 0) if packed and packed.hex() == digits else (text.encode(), _TEXT if text else 0)
