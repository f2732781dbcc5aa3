"""The projection's rows in a tenth of their memory, exactly as they were: a million persons in about 60 MB.

A row is kept as its JSON. What differs from person to person in it (their key, ids, times) is packed; the text around
it is the same for thousands and is kept once. A row that would not come back byte for byte is kept as it is.
"""

from __future__ import annotations

import struct
from binascii import unhexlify
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from harkara.policy.rows import PackedRows
from harkara.policy.shapes import ID, KEY, Found, Kind, Shapes, written_time

Row = dict[str, Any]

MOST_TEXTS = 20_000  # some hundred shapes, times the version, which counts a person's changes; beyond these: as it is
AS_IT_IS = 0xFFFF
_PLACE, _TIME = struct.Struct(">H"), struct.Struct(">q")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class CompactRows(MutableMapping[str, Row]):
    """Rows by person; for a projection's table. Under keys that are no pseudonyms of ours they are kept unpacked.
    `most_texts`: how many different ones around what differs are kept."""

    def __init__(self, most_texts: int = MOST_TEXTS) -> None:
        self._rows = PackedRows()
        self._others: dict[str, Row] = {}
        self._shapes = Shapes(most_texts)
        self._rows_there: set[int] = set()

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
            self._rows[name] = self._packed(key.encode(), orjson.dumps(row))

    def __delitem__(self, key: str) -> None:
        name = _name(key)
        if name is None:
            del self._others[key]
        elif name in self._rows:
            self._rows.pop(name)
        else:
            raise KeyError(key)

    def keep(self, key: bytes, text: bytes) -> bool:
        """Take a row's JSON as it is, where its key holds none yet and a row of its shape has been parsed before: of a
        million that are read back all but some hundred. False: the row is to be parsed and set."""
        read = self._shapes.read(key, text)
        if read is None or KEY not in read[0].kinds:  # without it the key may be none of ours
            return False
        number = read[0].number
        if number not in self._rows_there:
            if not isinstance(orjson.loads(text), dict):
                return False
            self._rows_there.add(number)
        return self._rows.add(unhexlify(key), _PLACE.pack(number) + _short(read[1]))

    def _packed(self, key: bytes, text: bytes) -> bytes:
        read = self._shapes.read(key, text)
        if read is None:
            return _PLACE.pack(AS_IT_IS) + text
        return _PLACE.pack(read[0].number) + _short(read[1])

    def _text(self, name: bytes, held: bytes) -> bytes:
        number = _PLACE.unpack_from(held)[0]
        if number == AS_IT_IS:
            return held[_PLACE.size :]
        shape = self._shapes[number]
        return shape.text(list(_written(name, shape.kinds, held)))


def _name(key: str) -> bytes | None:
    """The 16 bytes of a pseudonym of ours; None for any other key."""
    try:
        name = bytes.fromhex(key)
    except ValueError:
        return None
    return name if len(name) == 16 and name.hex() == key else None


def _short(found: list[Found]) -> bytes:
    """Ids as their 16 bytes, times as microseconds since 1970, nothing for the key."""
    return b"".join(each if isinstance(each, bytes) else _TIME.pack((each - _EPOCH) // _MICROSECOND) for each in found)


def _written(name: bytes, kinds: tuple[Kind, ...], held: bytes) -> Iterator[bytes]:
    """What was at the places of the text."""
    at = _PLACE.size
    for kind in kinds:
        if kind == KEY:
            yield name.hex().encode()
        elif kind == ID:
            yield held[at : at + 16].hex().encode()
            at += 16
        else:
            yield written_time(kind, _EPOCH + _TIME.unpack_from(held, at)[0] * _MICROSECOND)
            at += _TIME.size
