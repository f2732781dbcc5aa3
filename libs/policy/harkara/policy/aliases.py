"""Which names are one person's (B17): who is asked about under one is known by all of them.

A person is named by a phone number, by a business-scoped user id, or by both; names change. Links come in any order and
more than once, and the same links give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from harkara.contracts.event import epoch_ms
from harkara.contracts.persons import PersonAlias

FOREVER_MS = 2**62
MOST_NAMES = 32  # of one person: a phone or an id is changed a few times in a life; what links more is not one person
_NAME, _ROW = 16, 24  # bytes: a packed name; a name and until when (milliseconds) what is said under it counts


class Aliases:
    """Links by name, packed: about 200 bytes a link and direction, of which there is one for most persons.

    `owners` is kept only where asked for, since it doubles that.
    """

    def __init__(self, *, with_owners: bool = False) -> None:
        self._names: dict[bytes, bytes] = {}
        self._owners: dict[bytes, bytes] | None = {} if with_owners else None

    def __len__(self) -> int:
        return len(self._names)

    def apply(self, alias: PersonAlias) -> None:
        """Take one link. Keys that are no pseudonyms of ours are passed over."""
        person, other = packed(alias.person_key), packed(alias.alias_key)
        if len(person) != _NAME or len(other) != _NAME or person == other:
            return
        until_ms = epoch_ms(alias.at) if alias.kind == "number_changed" else FOREVER_MS
        _link(self._names, person, other, until_ms)
        if alias.kind == "user_id_changed":
            _link(self._names, other, person, until_ms)
        if self._owners is not None:
            _link(self._owners, other, person, until_ms)
            if alias.kind == "user_id_changed":
                _link(self._owners, person, other, until_ms)

    def names(self, person_key: str) -> dict[bytes, int]:
        """Every other name of the person, packed, and until when (ms) what is said under it counts. {} for most."""
        return _reached(self._names, packed(person_key))

    def owners(self, person_key: str) -> list[tuple[str, int]]:
        """Whom that which is said under this name counts for besides, and until when (ms)."""
        found = {} if self._owners is None else _reached(self._owners, packed(person_key))
        return [(name.hex(), until_ms) for name, until_ms in found.items()]


def packed(person_key: str) -> bytes:
    """16 bytes for the keys that we make, the text for any other."""
    try:
        return bytes.fromhex(person_key)
    except ValueError:
        return person_key.encode()


def _link(links: dict[bytes, bytes], from_name: bytes, to_name: bytes, until_ms: int) -> None:
    """The latest end counts: the same change told twice is one, and a link without an end has none."""
    known = dict(_rows(links.get(from_name, b"")))
    if known.get(to_name, -1) >= until_ms:
        return
    known[to_name] = until_ms
    rows = sorted(known.items(), key=lambda row: (-row[1], row[0]))[:MOST_NAMES]
    links[from_name] = b"".join(name + until.to_bytes(8, "big") for name, until in rows)


def _rows(row: bytes) -> Iterator[tuple[bytes, int]]:
    for start in range(0, len(row), _ROW):
        yield row[start : start + _NAME], int.from_bytes(row[start + _NAME : start + _ROW], "big")


def _reached(links: dict[bytes, bytes], start: bytes) -> dict[bytes, int]:
    """Every name that is reached, and the earliest end on the way (of several ways the latest)."""
    if start not in links:
        return {}
    found: dict[bytes, int] = {start: FOREVER_MS}
    waiting = [start]
    while waiting and len(found) <= MOST_NAMES:
        name = waiting.pop()
        for other, until_ms in _rows(links.get(name, b"")):
            end = min(until_ms, found[name])
            if found.get(other, -1) < end:
                found[other] = end
                waiting.append(other)
    del found[start]
    return found
