"""Who was written to since when, in the order of that: 30 bytes a person, where a dict of names takes 160.

A day of a portfolio without a messaging limit may be millions of people, all of whom must be known on the day on which
Meta gives it one. A name is held as 64 bits of its hash: of ten million people two are taken for one with a chance of
three in a million.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator

_SHARDS = 256  # each grows by itself: of a million people 4,000 are moved at a time, some milliseconds
_FIRST_HEADS = 4
_PER_HEAD = 2  # people of a chain on average before there are more chains
_NOBODY = -1


class People:
    """Each has a place (a number), found by chains from the hash; places are in a ring by order, and used again."""

    def __init__(self) -> None:
        self._digests = array("Q")
        self._since = array("d")
        self._chain = array("i")
        self._older = array("i")
        self._newer = array("i")
        self._oldest = self._newest = self._unused = _NOBODY
        self._heads = [array("i", [_NOBODY]) * _FIRST_HEADS for _ in range(_SHARDS)]
        self._counts = array("i", [0]) * _SHARDS
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[float]:
        """Since when each counts (Unix seconds), in the order in which they were noted last."""
        return (self._since[place] for place in self._places())

    def __eq__(self, other: object) -> bool:
        """The same people since the same times in the same order."""
        return isinstance(other, People) and self._rows() == other._rows()

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def held_bytes(self) -> int:
        """What all of it takes."""
        links = (self._digests, self._chain, self._older, self._newer, self._counts, *self._heads)
        return sum(each.itemsize * len(each) for each in links) + self._since.itemsize * len(self._since)

    def since(self, person: str) -> float | None:
        """Since when they count; None: they do not."""
        place = self._find(_digest(person))
        return None if place == _NOBODY else self._since[place]

    def note(self, person: str, at: float) -> None:
        """They were written to at `at`, or later if that is known: they are the newest now."""
        digest = _digest(person)
        place = self._find(digest)
        if place == _NOBODY:
            place = self._placed(digest)
            self._since[place] = at
        else:
            self._unlink(place)
            self._since[place] = max(at, self._since[place])
        self._append(place)

    def first(self) -> float | None:
        """Since when the first one counts, who was noted longest ago."""
        return None if self._oldest == _NOBODY else self._since[self._oldest]

    def drop_first(self) -> None:
        """The first one counts no longer. There must be one."""
        place = self._oldest
        self._unlink(place)
        digest = self._digests[place]
        heads, head = self._heads_of(digest)
        before, at = _NOBODY, heads[head]
        while at != place:
            before, at = at, self._chain[at]
        if before == _NOBODY:
            heads[head] = self._chain[place]
        else:
            self._chain[before] = self._chain[place]
        self._chain[place], self._unused = self._unused, place
        self._counts[digest % _SHARDS] -= 1
        self._count -= 1

    def _places(self) -> Iterator[int]:
        place = self._oldest
        while place != _NOBODY:
            yield place
            place = self._newer[place]

    def _rows(self) -> list[tuple[int, float]]:
        return [(self._digests[place], self._since[place]) for place in self._places()]

    def _find(self, digest: int) -> int:
        heads, head = self._heads_of(digest)
        place = heads[head]
        while place != _NOBODY and self._digests[place] != digest:
            place = self._chain[place]
        return place

    def _heads_of(self, digest: int) -> tuple[array[int], int]:
        heads = self._heads[digest % _SHARDS]
        return heads, digest // _SHARDS & (len(heads) - 1)

    def _placed(self, digest: int) -> int:
        """A place for a new one, the first of its chain."""
        shard = digest % _SHARDS
        if self._counts[shard] >= _PER_HEAD * len(self._heads[shard]):
            self._rehang(shard)
        place = self._unused
        if place == _NOBODY:
            place = len(self._digests)
            self._digests.append(digest)
            self._since.append(0.0)
            for links in (self._chain, self._older, self._newer):
                links.append(_NOBODY)
        else:
            self._unused = self._chain[place]
            self._digests[place] = digest
        heads, head = self._heads_of(digest)
        self._chain[place], heads[head] = heads[head], place
        self._counts[shard] += 1
        self._count += 1
        return place

    def _rehang(self, shard: int) -> None:
        """Everybody of a shard on twice as many chains."""
        before = self._heads[shard]
        self._heads[shard] = array("i", [_NOBODY]) * (2 * len(before))
        for place in before:
            while place != _NOBODY:
                following = self._chain[place]
                heads, head = self._heads_of(self._digests[place])
                self._chain[place], heads[head] = heads[head], place
                place = following

    def _append(self, place: int) -> None:
        self._older[place], self._newer[place] = self._newest, _NOBODY
        if self._newest == _NOBODY:
            self._oldest = place
        else:
            self._newer[self._newest] = place
        self._newest = place

    def _unlink(self, place: int) -> None:
        older, newer = self._older[place], self._newer[place]
        if older == _NOBODY:
            self._oldest = newer
        else:
            self._newer[older] = newer
        if newer == _NOBODY:
            self._newest = older
        else:
            self._older[newer] = older


def _digest(person: str) -> int:
    return int.from_bytes(hashlib.blake2b(person.encode(), digest_size=8).digest(), "big")
