"""Rows by name in the least memory: a million of 30 bytes in about 60 MB, where a dict of bytes takes 190.

Names of 16 bytes (pseudonyms) lie in buckets, each one `bytes`: how many rows, their names, where each one's value
ends, the values. There are as many buckets as the rows need, one more for every few rows (linear hashing), so that no
write waits for all of them to be laid out anew. Any other name is kept in a dict.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import accumulate

_NAME, _COUNT, _END = 16, 2, 4  # bytes
_EMPTY = bytes(_COUNT)
_FIRST_BUCKETS = 8
_ROWS_A_BUCKET = 12  # on average: the fixed 50 bytes of a bucket are 4 a row then, and a write copies some 700


class PackedRows:
    """A mapping from names to rows of bytes, with as much of a dict's ways as is needed."""

    __slots__ = ("_buckets", "_count", "_others", "_round", "_split")

    def __init__(self) -> None:
        self._buckets: list[bytes] = [_EMPTY] * _FIRST_BUCKETS
        self._round = _FIRST_BUCKETS  # buckets at the beginning of this round, in which each of them is split in two
        self._split = 0  # how many of them have been
        self._others: dict[bytes, bytes] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count + len(self._others)

    def __iter__(self) -> Iterator[bytes]:
        for bucket in self._buckets:
            for place in range(bucket[0] | bucket[1] << 8):
                yield bucket[_COUNT + _NAME * place : _COUNT + _NAME * (place + 1)]
        yield from self._others

    def __contains__(self, name: bytes) -> bool:
        if len(name) != _NAME:
            return name in self._others
        return _place(self._buckets[self._number(name)], name) >= 0

    def get(self, name: bytes) -> bytes | None:
        """The row of that name, or None."""
        if len(name) != _NAME:
            return self._others.get(name)
        bucket = self._buckets[self._number(name)]
        place = _place(bucket, name)
        return None if place < 0 else _value(bucket, place)

    def __setitem__(self, name: bytes, row: bytes) -> None:
        if self.add(name, row):
            return
        if len(name) != _NAME:
            self._others[name] = row
            return
        number = self._number(name)
        bucket = self._buckets[number]
        place = _place(bucket, name)
        if _value(bucket, place) != row:
            self._buckets[number] = _with(_without(bucket, place), name, row)

    def add(self, name: bytes, row: bytes) -> bool:
        """Set the row of that name where there is none yet; whether there was none."""
        if len(name) != _NAME:
            if name in self._others:
                return False
            self._others[name] = row
            return True
        number = self._number(name)
        bucket = self._buckets[number]
        if _place(bucket, name) >= 0:
            return False
        self._buckets[number] = _with(bucket, name, row)
        self._count += 1
        if self._count > _ROWS_A_BUCKET * len(self._buckets):
            self._one_bucket_more()
        return True

    def pop(self, name: bytes) -> None:
        """Forget the row; there may be none."""
        if len(name) != _NAME:
            self._others.pop(name, None)
            return
        number = self._number(name)
        bucket = self._buckets[number]
        place = _place(bucket, name)
        if place >= 0:
            self._buckets[number] = _without(bucket, place)
            self._count -= 1

    def _number(self, name: bytes) -> int:
        """Which bucket: by as many bits of the hash as the round has, one more where the bucket has been split."""
        hashed = hash(name)
        number = hashed % self._round
        return number if number >= self._split else hashed % (self._round * 2)

    def _one_bucket_more(self) -> None:
        """Split the next bucket of the round: one bit more says which of its rows go to the new one."""
        stay, go = list[tuple[bytes, bytes]](), list[tuple[bytes, bytes]]()
        for name, row in _rows(self._buckets[self._split]):
            (go if hash(name) % (self._round * 2) >= self._round else stay).append((name, row))
        self._buckets[self._split] = _packed(stay)
        self._buckets.append(_packed(go))
        self._split += 1
        if self._split == self._round:
            self._round, self._split = self._round * 2, 0


def _place(bucket: bytes, name: bytes) -> int:
    """Which row of the bucket has that name; -1: none. What looks like it across two names is none."""
    end = _COUNT + _NAME * (bucket[0] | bucket[1] << 8)
    at = bucket.find(name, _COUNT, end)
    while at >= 0 and (at - _COUNT) % _NAME:
        at = bucket.find(name, at + 1, end)
    return -1 if at < 0 else (at - _COUNT) // _NAME


def _value(bucket: bytes, place: int) -> bytes:
    count = bucket[0] | bucket[1] << 8
    ends = _COUNT + _NAME * count
    values, at = ends + _END * count, ends + _END * place
    start = int.from_bytes(bucket[at - _END : at], "little") if place else 0
    return bucket[values + start : values + int.from_bytes(bucket[at : at + _END], "little")]


def _with(bucket: bytes, name: bytes, row: bytes) -> bytes:
    """The bucket and one row more, behind the others."""
    count = bucket[0] | bucket[1] << 8
    names, ends = _COUNT + _NAME * count, _COUNT + (_NAME + _END) * count
    end = (len(bucket) - ends + len(row)).to_bytes(_END, "little")
    number = (count + 1).to_bytes(_COUNT, "little")
    return b"".join((number, bucket[_COUNT:names], name, bucket[names:ends], end, bucket[ends:], row))


def _without(bucket: bytes, gone: int) -> bytes:
    """The bucket without one of its rows, packed anew."""
    return _packed([each for place, each in enumerate(_rows(bucket)) if place != gone])


def _rows(bucket: bytes) -> list[tuple[bytes, bytes]]:
    """The rows of a bucket, with their names."""
    count = bucket[0] | bucket[1] << 8
    values = _COUNT + (_NAME + _END) * count
    ends = struct.unpack_from(f"<{count}I", bucket, _COUNT + _NAME * count)
    found, at, start = [], _COUNT, values
    for end in ends:
        found.append((bucket[at : at + _NAME], bucket[start : values + end]))
        at, start = at + _NAME, values + end
    return found


def _packed(rows: list[tuple[bytes, bytes]]) -> bytes:
    """A bucket of these rows, in this order."""
    ends = accumulate(len(row) for _, row in rows)
    head, tail = len(rows).to_bytes(_COUNT, "little"), struct.pack(f"<{len(rows)}I", *ends)
    return b"".join((head, *(name for name, _ in rows), tail, *(row for _, row in rows)))
