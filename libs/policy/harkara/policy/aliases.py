"""Which names are one person's (B17): who is asked about under one is known by all of them.

A person is named by a phone number, by a business-scoped user id, or by both; names change. Links come in any order and
more than once, and the same links give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from harkara.contracts.event import epoch_ms
from harkara.contracts.persons import PersonAlias
from harkara.policy.rows import PackedRows
from harkara.policy.shapes import Found, Shape, Taught, plausible

FOREVER_MS = 2**62
MOST_NAMES = 32  # of one person: a phone or an id is changed a few times in a life; what links more is not one person
MOST_SHAPES = 200  # four kinds of link, each with its time written in one of two ways; others are read as JSON
_NAME, _UNTIL = 16, 8  # bytes: a packed name; until when (milliseconds) what is said under it counts
_NAMES, _PHONES, _OWNERS, _ENDS = 1, 2, 4, 8
"""How one name is to another: also its, it as its phone, what is said under it counts for it. And: until a time."""


class _Places(NamedTuple):
    """Where a link's names and time stand in a text, and its kind."""

    person: int
    other: int
    at: int
    kind: str


class Aliases:
    """Links by name, packed: about 40 bytes a link and direction, of which there are two for most persons: from phone
    to user id and back.

    Whom a name's words count for besides is kept only where asked for.
    """

    def __init__(self, *, with_owners: bool = False) -> None:
        self._links = PackedRows()
        self._owners = _OWNERS if with_owners else 0
        self._taught = Taught(MOST_SHAPES, PersonAlias, _places_of)

    def __len__(self) -> int:
        """How many names are linked to others."""
        return len(self._links)

    def apply(self, alias: PersonAlias) -> None:
        """Take one link. Keys that are no pseudonyms of ours are passed over."""
        person, other = packed(alias.person_key), packed(alias.alias_key)
        if len(person) == _NAME and len(other) == _NAME:
            self._take(person, other, alias.kind, epoch_ms(alias.at))

    def take(self, text: bytes) -> bool:
        """Take one link as its record's JSON, where one of that shape has been decoded before. False: decode it."""
        read = self._taught.read(b"", text)
        if read is None:
            return False
        places, found = read
        person, other, at = found[places.person], found[places.other], found[places.at]
        if isinstance(person, datetime) or isinstance(other, datetime) or not plausible(at):
            return False
        self._take(person, other, places.kind, epoch_ms(at))
        return True

    def _take(self, person: bytes, other: bytes, kind: str, at_ms: int) -> None:
        if person == other:
            return
        until_ms = at_ms if kind == "number_changed" else FOREVER_MS
        there, back = _NAMES, self._owners
        if kind == "user_id":
            back |= _PHONES
        if kind == "user_id_changed":
            there, back = there | self._owners, back | _NAMES
        self._link(person, there, other, until_ms)
        self._link(other, back, person, until_ms)

    def _link(self, from_name: bytes, ways: int, to_name: bytes, until_ms: int) -> None:
        """The latest end counts: the same change told twice is one, and a link without an end has none."""
        if not ways:
            return
        held = self._links.get(from_name)
        if held is None:
            self._links[from_name] = _entry(ways, to_name, until_ms)
            return
        rows: list[tuple[int, bytes, int]] = []
        for way in (_NAMES, _PHONES, _OWNERS):
            known = dict(_unpacked(held, way))
            if ways & way and known.get(to_name, -1) < until_ms:
                known[to_name] = until_ms
            latest = sorted(known.items(), key=lambda row: (-row[1], row[0]))[:MOST_NAMES]
            rows += [(way, name, until) for name, until in latest]
        self._links[from_name] = _together(rows)

    def names(self, person_key: str, also_key: str | None = None) -> dict[bytes, int]:
        """Every other name of the person, packed, and until when (ms) what is said under it counts. {} for most.

        Of a user id also the phones that it belongs to, and their names. `also_key`: a second name that whoever asks
        knows the person by; of several ends the latest counts.
        """
        name = packed(person_key)
        if also_key is None and name not in self._links:
            return {}
        found = known_names(name, self._rows, self._phones_of)
        if also_key is None:
            return found
        also = packed(also_key)
        for each, until_ms in (known_names(also, self._rows, self._phones_of) | {also: FOREVER_MS}).items():
            found[each] = max(until_ms, found.get(each, -1))
        found.pop(name, None)
        return found

    def _rows(self, name: bytes) -> Iterable[tuple[bytes, int]]:
        return _unpacked(self._links.get(name) or b"", _NAMES)

    def _phones_of(self, user_id: bytes) -> list[bytes]:
        return [phone for phone, _ in _unpacked(self._links.get(user_id) or b"", _PHONES)]

    def owners(self, person_key: str) -> list[tuple[str, int]]:
        """Whom that which is said under this name counts for besides, and until when (ms)."""
        links = self._links
        found = _reached(lambda name: _unpacked(links.get(name) or b"", _OWNERS), packed(person_key))
        return [(name.hex(), until_ms) for name, until_ms in found.items()]


def known_names(
    name: bytes, rows: Callable[[bytes], Iterable[tuple[bytes, int]]], phones: Callable[[bytes], Iterable[bytes]]
) -> dict[bytes, int]:
    """The names whose words count for `name`, and until when (ms). `rows`: the names that are linked under one, each
    until when; `phones`: whose user id it is.

    A user id is asked about by its phones only where it is itself the name that is asked about: of a phone that changed
    hands, the words of the new owner are nobody else's. A phone that another of them says was given up counts until
    then.
    """
    found = _reached(rows, name)
    holders = [phone for phone in phones(name) if phone != name]
    if not holders:
        return found
    behind = [_reached(rows, phone) for phone in holders]
    for index, phone in enumerate(holders):
        given_up = [others[phone] for place, others in enumerate(behind) if place != index and phone in others]
        end = min(given_up, default=FOREVER_MS)
        for each, until_ms in ((phone, FOREVER_MS), *behind[index].items()):
            if each != name:
                found[each] = max(min(until_ms, end), found.get(each, -1))
    return found


def packed(person_key: str) -> bytes:
    """16 bytes for the keys that we make, the text for any other."""
    try:
        return bytes.fromhex(person_key)
    except ValueError:
        return person_key.encode()


def _places_of(shape: Shape, found: list[Found], alias: PersonAlias) -> _Places | None:
    """Where the parts of this link stand in texts of its shape; None where they are not all among what differs."""
    places = shape.places()
    person, other, at = (places.get((name,)) for name in ("person_key", "alias_key", "at"))
    if person is None or other is None or at is None:
        return None
    return _Places(person, other, at, alias.kind)


def _entry(ways: int, name: bytes, until_ms: int) -> bytes:
    if until_ms == FOREVER_MS:
        return bytes([ways]) + name
    return bytes([ways | _ENDS]) + name + until_ms.to_bytes(_UNTIL, "big")


def _together(rows: Iterable[tuple[int, bytes, int]]) -> bytes:
    """One entry for the ways that lead to the same name until the same time."""
    ways: dict[tuple[bytes, int], int] = {}
    for way, name, until_ms in rows:
        ways[name, until_ms] = ways.get((name, until_ms), 0) | way
    return b"".join(_entry(way, name, until_ms) for (name, until_ms), way in ways.items())


def _unpacked(row: bytes, way: int) -> Iterator[tuple[bytes, int]]:
    """The names that are linked in this way, each until when (ms)."""
    start = 0
    while start < len(row):
        ways, end = row[start], start + 1 + _NAME
        until_ms = FOREVER_MS
        if ways & _ENDS:
            until_ms = int.from_bytes(row[end : end + _UNTIL], "big")
            end += _UNTIL
        if ways & way:
            yield row[start + 1 : start + 1 + _NAME], until_ms
        start = end


def _reached(rows: Callable[[bytes], Iterable[tuple[bytes, int]]], start: bytes) -> dict[bytes, int]:
    """Every name that is reached, and the earliest end on the way (of several ways the latest)."""
    found: dict[bytes, int] = {start: FOREVER_MS}
    waiting = [start]
    while waiting and len(found) <= MOST_NAMES:
        name = waiting.pop()
        for other, until_ms in rows(name):
            end = min(until_ms, found[name])
            if found.get(other, -1) < end:
                found[other] = end
                waiting.append(other)
    del found[start]
    return found
