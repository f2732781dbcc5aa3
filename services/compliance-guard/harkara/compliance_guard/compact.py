"""The projection's rows in a tenth of their memory, exactly as they were: a million persons in about 100 MB.

A row is kept as its JSON. What differs from person to person in it (their key, ids, times) is packed; the text around
it is the same for thousands and is kept once. A row that would not come back byte for byte is kept as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from harkara.policy.rows import PackedRows

Row = dict[str, Any]

MOST_TEXTS = 20_000  # some hundred shapes, times the version, which counts a person's changes; beyond these: as it is
AS_IT_IS = 0xFFFF
_PLACE, _TIME = struct.Struct(">H"), struct.Struct(">q")
_KEY, _ID, _WHOLE, _EXACT = b"\x01", b"\x02", b"\x03", b"\x04"  # stand for what is packed; JSON's strings have no such
_LENGTHS = (20, 27, 32)  # of times in whole seconds, exact times, and ids
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class CompactRows(MutableMapping[str, Row]):
    """Rows by person; for a projection's table. Under keys that are no pseudonyms of ours they are kept unpacked."""

    def __init__(self) -> None:
        self._rows = PackedRows()
        self._others: dict[str, Row] = {}
        self._texts: list[list[bytes]] = []
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._rows) + len(self._others)

    def __iter__(self) -> Iterator[str]:
        yield from (name.hex() for name in self._rows)
        yield from self._others

    def __getitem__(self, key: str) -> Row:
        row: Row | None = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def get(self, key: str, default: Any = None) -> Any:
        """The row, or `default`: asked of every row that is read back, and most are not there yet."""
        name = _name(key)
        if name is None:
            return self._others.get(key, default)
        held = self._rows.get(name)
        if held is None:
            return default
        row: Row = orjson.loads(self._text(name, held))
        return row

    def __setitem__(self, key: str, row: Row) -> None:
        name = _name(key)
        if name is None:
            self._others[key] = row
        else:
            self._rows[name] = self._packed(name, orjson.dumps(row))

    def __delitem__(self, key: str) -> None:
        name = _name(key)
        if name is None:
            del self._others[key]
        elif name in self._rows:
            self._rows.pop(name)
        else:
            raise KeyError(key)

    def _packed(self, name: bytes, text: bytes) -> bytes:
        if b"\\" in text:  # an escaped quote would not be where a string ends
            return _PLACE.pack(AS_IT_IS) + text
        pieces, found = text.split(b'"'), []
        for index in range(1, len(pieces), 2):
            if len(pieces[index]) in _LENGTHS and (short := _shortened(name, pieces[index])) is not None:
                pieces[index] = short[0]
                found.append(short[1])
        shape = b'"'.join(pieces)
        place = self._places.get(shape)
        if place is None:
            if len(self._texts) >= MOST_TEXTS:
                return _PLACE.pack(AS_IT_IS) + text
            place = self._places[shape] = len(self._texts)
            self._texts.append(pieces)
        return _PLACE.pack(place) + b"".join(found)

    def _text(self, name: bytes, held: bytes) -> bytes:
        place = _PLACE.unpack_from(held)[0]
        if place == AS_IT_IS:
            return held[_PLACE.size :]
        pieces, at = self._texts[place].copy(), _PLACE.size
        for index in range(1, len(pieces), 2):
            match pieces[index]:
                case b"\x01":
                    pieces[index] = name.hex().encode()
                case b"\x02":
                    pieces[index] = held[at : at + 16].hex().encode()
                    at += 16
                case b"\x03" | b"\x04" as kind:
                    pieces[index] = _written(_TIME.unpack_from(held, at)[0], exact=kind == _EXACT)
                    at += _TIME.size
        return b'"'.join(pieces)


def _name(key: str) -> bytes | None:
    """The 16 bytes of a pseudonym of ours; None for any other key."""
    try:
        name = bytes.fromhex(key)
    except ValueError:
        return None
    return name if len(name) == 16 and name.hex() == key else None


def _shortened(name: bytes, piece: bytes) -> tuple[bytes, bytes] | None:
    """What stands for a string in the text, and what is packed of it; None: it stays."""
    if len(piece) == 32:
        identity = _name(piece.decode())
        return None if identity is None else (_KEY, b"") if identity == name else (_ID, identity)
    if len(piece) not in (20, 27) or not piece.isascii() or piece[10:11] != b"T":
        return None
    try:
        at = datetime.fromisoformat(piece.decode())
    except ValueError:
        return None
    kind = _WHOLE if len(piece) == 20 else _EXACT
    microseconds = (at - _EPOCH) // _MICROSECOND if at.tzinfo is UTC else 0
    return (kind, _TIME.pack(microseconds)) if _written(microseconds, exact=kind == _EXACT) == piece else None


def _written(microseconds: int, *, exact: bool) -> bytes:
    """A time as we write it in JSON."""
    at = (_EPOCH + microseconds * _MICROSECOND).isoformat(timespec="microseconds" if exact else "seconds")
    return at.removesuffix("+00:00").encode() + b"Z"
