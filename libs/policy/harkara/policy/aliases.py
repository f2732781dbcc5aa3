"""Which names are one person's (B17): who is asked about under one is known by all of them.

A person is named by a phone number, by a business-scoped user id, or by both; names change. Links come in any order and
more than once, and the same links give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from harkara.contracts.event import epoch_ms
from harkara.contracts.persons import PersonAlias
from harkara.policy.rows import PackedRows

FOREVER_MS = 2**62
MOST_NAMES = 32  # of one person: a phone or an id is changed a few times in a life; what links more is not one person
_NAME, _ROW = 16, 24  # bytes: a packed name; a name and until when (milliseconds) what is said under it counts


class Aliases:
    """Links by name, packed: about 80 bytes a link and direction, of which there are two for most persons: from phone
    to user id and back.

    `owners` is kept only where asked for, since it is one more.
    """

    def __init__(self, *, with_owners: bool = False) -> None:
        self._names = PackedRows()
        self._phones = PackedRows()
        self._owners = PackedRows() if with_owners else None

    def __len__(self) -> int:
        return len(self._names)

    def apply(self, alias: PersonAlias) -> None:
        """Take one link. Keys that are no pseudonyms of ours are passed over."""
        person, other = packed(alias.person_key), packed(alias.alias_key)
        if len(person) != _NAME or len(other) != _NAME or person == other:
            return
        until_ms = epoch_ms(alias.at) if alias.kind == "number_changed" else FOREVER_MS
        _link(self._names, person, other, until_ms)
        if alias.kind == "user_id":
            _link(self._phones, other, person, until_ms)
        if alias.kind == "user_id_changed":
            _link(self._names, other, person, until_ms)
        if self._owners is not None:
            _link(self._owners, other, person, until_ms)
            if alias.kind == "user_id_changed":
                _link(self._owners, person, other, until_ms)

    def names(self, person_key: str, also_key: str | None = None) -> dict[bytes, int]:
        """Every other name of the person, packed, and until when (ms) what is said under it counts. {} for most.

        Of a user id also the phones that it belongs to, and their names. `also_key`: a second name that whoever asks
        knows the person by; of several ends the latest counts.
        """
        name = packed(person_key)
        if also_key is None and name not in self._names and name not in self._phones:
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
        return _unpacked(self._names.get(name) or b"")

    def _phones_of(self, user_id: bytes) -> list[bytes]:
        return [phone for phone, _ in _unpacked(self._phones.get(user_id) or b"")]

    def owners(self, person_key: str) -> list[tuple[str, int]]:
        """Whom that which is said under this name counts for besides, and until when (ms)."""
        owners = self._owners
        if owners is None:
            return []
        found = _reached(lambda name: _unpacked(owners.get(name) or b""), packed(person_key))
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


def _link(links: PackedRows, from_name: bytes, to_name: bytes, until_ms: int) -> None:
    """The latest end counts: the same change told twice is one, and a link without an end has none."""
    known = dict(_unpacked(links.get(from_name) or b""))
    if known.get(to_name, -1) >= until_ms:
        return
    known[to_name] = until_ms
    rows = sorted(known.items(), key=lambda row: (-row[1], row[0]))[:MOST_NAMES]
    links[from_name] = b"".join(name + until.to_bytes(8, "big") for name, until in rows)


def _unpacked(row: bytes) -> Iterator[tuple[bytes, int]]:
    for start in range(0, len(row), _ROW):
        yield row[start : start + _NAME], int.from_bytes(row[start + _NAME : start + _ROW], "big")


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
