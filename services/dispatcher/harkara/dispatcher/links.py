"""Which names are one person's, as small as it can be: about 60 bytes a link, for both directions.

Every lane's process hears every link, for nobody knows beforehand who will say no under which name. So a link is one
row of bytes, found from either of its names by chains of numbers; as rows by name (`policy.aliases`) it would be
half as much again. What counts for whom is decided as guard and router decide it (`policy.aliases.known_names`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from harkara.contracts.event import epoch_ms
from harkara.contracts.persons import PersonAlias
from harkara.policy.aliases import FOREVER_MS, MOST_NAMES, known_names, packed

_NAME = 16
_ROW = 2 * _NAME + 8  # person, alias, and in eight bytes kind and until when
_KINDS = ("user_id", "user_id_changed", "number_changed", "wa_id")
_UNTIL_BITS = 61
_FOREVER = (1 << _UNTIL_BITS) - 1
_SHARDS = 256  # each grows by itself: of a million links 8,000 ends are moved at a time, a few milliseconds
_FIRST_HEADS = 16
_PER_HEAD = 2  # links of a chain on average before there are more chains

Row = tuple[bytes, bytes, str, int]
"""Person, alias, kind, until when (ms) what is said under the alias counts for the person."""


class Links:
    """All links by both names. An end of a link is numbered 2 x row for the person's, one more for the alias's."""

    def __init__(self) -> None:
        self._rows = bytearray()
        self._next = array("i")
        self._heads = [array("i", [-1]) * _FIRST_HEADS for _ in range(_SHARDS)]
        self._counts = array("i", [0]) * _SHARDS

    def __len__(self) -> int:
        return len(self._rows) // _ROW

    @property
    def held_bytes(self) -> int:
        """What rows and chains take."""
        arrays = (self._next, self._counts, *self._heads)
        return len(self._rows) + sum(each.itemsize * len(each) for each in arrays)

    def apply(self, alias: PersonAlias) -> bool:
        """Take one link; whether it says anything new. Keys that are no pseudonyms of ours are passed over."""
        person, other = packed(alias.person_key), packed(alias.alias_key)
        if len(person) != _NAME or len(other) != _NAME or person == other:
            return False
        until = min(epoch_ms(alias.at), _FOREVER) if alias.kind == "number_changed" else _FOREVER
        end = _KINDS.index(alias.kind) << _UNTIL_BITS | until
        for at in self._ends(person):
            start = at // 2 * _ROW
            known = int.from_bytes(self._rows[start + 2 * _NAME : start + _ROW], "big")
            same = not at & 1 and self._rows[start + _NAME : start + 2 * _NAME] == other
            if same and known >> _UNTIL_BITS == end >> _UNTIL_BITS:
                if known < end:
                    self._rows[start + 2 * _NAME : start + _ROW] = end.to_bytes(8, "big")
                return known < end
        self._rows += person + other + end.to_bytes(8, "big")
        self._chain(person, len(self._next))
        self._chain(other, len(self._next))
        return True

    def names(self, person_key: str) -> dict[bytes, int]:
        """The other names whose words count for this one, and until when (ms); {} for whoever has none."""
        name = packed(person_key)
        if len(name) != _NAME or not self._knows(name):
            return {}
        return known_names(name, self._counted, self._phones)

    def kin(self, person_key: str) -> list[str]:
        """Every name that links lead to from this one, in any direction, itself first; at most MOST_NAMES. A superset
        of those whose words count for it, and of those for whom its words count."""
        found = {packed(person_key): None}
        waiting = list(found) if len(packed(person_key)) == _NAME else []
        while waiting:
            name = waiting.pop()
            for person, alias, _, _ in self._linked(name):
                other = alias if name == person else person
                if other not in found and len(found) < MOST_NAMES:
                    found[other] = None
                    waiting.append(other)
        return [person_key, *(name.hex() for name in list(found)[1:])]

    def line(self, person_key: str) -> str:
        """The name of all names of a person by which their messages keep one order: a phone's own, a user id's phone's
        (of several the smallest), else itself."""
        name = packed(person_key)
        if len(name) != _NAME or not self._knows(name) or any(True for _ in self._user_ids(name)):
            return person_key
        phones = {phone for each in self._same_ids(name) for phone in self._phones(each)}
        return min(phones).hex() if phones else person_key

    def _same_ids(self, user_id: bytes) -> set[bytes]:
        """The user id and those that it had or got, where the same person has both."""
        found, waiting = {user_id}, [user_id]
        while waiting and len(found) < MOST_NAMES:
            for person, alias, kind, _ in self._linked(waiting.pop()):
                for other in (person, alias) if kind == "user_id_changed" else ():
                    if other not in found:
                        found.add(other)
                        waiting.append(other)
        return found

    def _counted(self, name: bytes) -> Iterator[tuple[bytes, int]]:
        for person, alias, kind, until_ms in self._linked(name):
            if person == name:
                yield alias, until_ms
            elif kind == "user_id_changed":
                yield person, until_ms

    def _phones(self, user_id: bytes) -> list[bytes]:
        return [person for person, alias, kind, _ in self._linked(user_id) if kind == "user_id" and alias == user_id]

    def _user_ids(self, phone: bytes) -> Iterator[bytes]:
        return (alias for person, alias, kind, _ in self._linked(phone) if kind == "user_id" and person == phone)

    def _linked(self, name: bytes) -> list[Row]:
        """The newest links of a name, at most MOST_NAMES."""
        found = []
        for at in self._ends(name):
            start = at // 2 * _ROW
            row = bytes(self._rows[start : start + _ROW])
            end = int.from_bytes(row[2 * _NAME :], "big")
            until = end & _FOREVER
            kind = _KINDS[end >> _UNTIL_BITS]
            found.append((row[:_NAME], row[_NAME : 2 * _NAME], kind, FOREVER_MS if until == _FOREVER else until))
            if len(found) == MOST_NAMES:
                break
        return found

    def _knows(self, name: bytes) -> bool:
        return next(self._ends(name), None) is not None

    def _ends(self, name: bytes) -> Iterator[int]:
        heads = self._heads[name[0]]
        at = heads[_place(name, len(heads))]
        while at >= 0:
            start = at // 2 * _ROW + (at & 1) * _NAME
            if self._rows[start : start + _NAME] == name:
                yield at
            at = self._next[at]

    def _chain(self, name: bytes, end: int) -> None:
        """The end is the first of its name's chain now."""
        shard = name[0]
        heads = self._heads[shard]
        if self._counts[shard] >= _PER_HEAD * len(heads):
            heads = self._rehung(heads)
            self._heads[shard] = heads
        place = _place(name, len(heads))
        self._next.append(heads[place])
        heads[place] = end
        self._counts[shard] += 1

    def _rehung(self, heads: array[int]) -> array[int]:
        """The ends of a shard on twice as many chains, each in its order."""
        more = array("i", [-1]) * (2 * len(heads))
        for head in heads:
            chain = []
            while head >= 0:
                chain.append(head)
                head = self._next[head]
            for at in reversed(chain):
                start = at // 2 * _ROW + (at & 1) * _NAME
                place = _place(self._rows[start : start + _NAME], len(more))
                self._next[at] = more[place]
                more[place] = at
        return more


def _place(name: bytes | bytearray, chains: int) -> int:
    """Names are as good as random (HMAC), so their own bytes are a hash; the first has chosen the shard."""
    return int.from_bytes(name[1:5], "big") & (chains - 1)
