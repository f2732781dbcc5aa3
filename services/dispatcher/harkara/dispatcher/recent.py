"""Whom a lane wrote to lately: per home, person and category, the attempts that had an effect or may have had one.

Remembered only of messages that a cap or the guard against duplicate content is about, for as long as the lane
remembers a message that has ended (seven days, and until the day is over). About 170 bytes a contact, 60 for a second
one of the same day: two short strings in a table of its day. A day is forgotten in parts, so nothing is scanned.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from harkara.contracts.intents import Category
from harkara.dispatcher.horizon import forgotten
from harkara.policy.contacts import NO_RULES, Contact, ContactRules

DAY_SECONDS = 86_400
MOST_A_DAY = 300
"""Attempts of one person and category that are kept of one day, the newest: three for each message that the highest cap
counts (100). Content that was said before these is not known again."""
CATEGORIES: tuple[Category, ...] = ("authentication", "utility", "marketing", "service")
_HEAD = struct.Struct(">dHB")  # when (Unix seconds), attempt, bytes of the id; the highest bit: a mark stands before it
_MARKED = 0x80
_MARK_BYTES = 8
_PERSON_BYTES = 16


class Attempt(NamedTuple):
    """An attempt of a message. `at`: when its call was to start (Unix seconds); `mark`: of what it said, or empty."""

    number: int
    at: float
    mark: str = ""


class Recent:
    """The contacts of the last seven days. `rules`: what the policy in force says of them; they decide what is noted
    and looked at, never what is remembered."""

    def __init__(self) -> None:
        self.rules: ContactRules = NO_RULES
        self._homes: dict[str, bytes] = {}
        self._days: dict[int, dict[bytes, bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self._days)

    def __len__(self) -> int:
        return sum(sum(1 for _ in _unpacked(packed)) for day in self._days.values() for packed in day.values())

    def put(
        self,
        person_key: str,
        category: Category,
        message_id: str,
        attempts: Iterable[Attempt],
        written_at: float,
        home: str = "",
    ) -> None:
        """From now on these are the message's attempts that count, as an entry written then (Unix seconds) says."""
        key, name = self._key(person_key, category, home), message_id.encode()
        for day in self._days.values():
            packed = day.get(key)
            if packed is not None and name in packed:
                _replace(day, key, b"".join(_packed(*each) for each in _unpacked(packed) if each[0] != message_id))
        added = b"".join(_packed(message_id, each) for each in attempts)
        if added:
            today = self._days.setdefault(int(written_at // DAY_SECONDS), {})
            _replace(today, key, _newest(today.get(key, b"") + added))
        for number in [number for number, day in self._days.items() if not day]:
            del self._days[number]

    def attempts(self, person_key: str, category: Category, message_id: str, home: str = "") -> list[Attempt]:
        """The message's attempts that count, in their order."""
        found = [each for name, each in self._all(self._key(person_key, category, home)) if name == message_id]
        return sorted(found) if found else found

    def others(
        self, names: Iterable[str], categories: Collection[Category], message_id: str, home: str = ""
    ) -> Iterator[Contact]:
        """The home's contacts in these categories of the person who has these names, but for those of this message. One
        that was noted under two names comes twice."""
        for person_key in names:
            for category in categories:
                for name, each in self._all(self._key(person_key, category, home)):
                    if name != message_id:
                        yield Contact(name, each.at, category, each.mark)

    def forget_old(self, now: float, limit: int) -> None:
        """Forget up to `limit` persons of days that are over for seven days: nothing counts for longer."""
        deque(forgotten(self._days, DAY_SECONDS, now, limit), maxlen=0)

    def _key(self, person_key: str, category: Category, home: str) -> bytes:
        """Homes that share a lane count for themselves: which do is chance. The first one's keys are the shortest."""
        ending = self._homes.get(home)
        if ending is None:
            ending = self._homes[home] = len(self._homes).to_bytes(2, "big") if self._homes else b""
        return _key(person_key, category) + ending

    def _all(self, key: bytes) -> Iterator[tuple[str, Attempt]]:
        for day in self._days.values():
            packed = day.get(key)
            if packed is not None:
                yield from _unpacked(packed)


def _key(person_key: str, category: Category) -> bytes:
    """17 bytes for the keys that we make; any other begins with its quotation mark and cannot be one of these."""
    try:
        person = bytes.fromhex(person_key)
        if len(person) != _PERSON_BYTES:
            raise ValueError
    except ValueError:
        person = b'"%b"' % person_key.encode()
    return person + bytes((CATEGORIES.index(category),))


def _replace(day: dict[bytes, bytes], key: bytes, packed: bytes) -> None:
    if packed:
        day[key] = packed
    else:
        day.pop(key, None)


def _newest(packed: bytes) -> bytes:
    """Without the oldest of more than MOST_A_DAY."""
    if len(packed) <= MOST_A_DAY * _HEAD.size:
        return packed
    every = list(_unpacked(packed))
    if len(every) <= MOST_A_DAY:
        return packed
    every.sort(key=lambda each: each[1].at)
    return b"".join(_packed(*each) for each in every[-MOST_A_DAY:])


def _packed(message_id: str, attempt: Attempt) -> bytes:
    name, mark = message_id.encode(), bytes.fromhex(attempt.mark)
    length = len(name) | (_MARKED if mark else 0)
    return _HEAD.pack(attempt.at, min(attempt.number, 65_535), length) + mark + name


def _unpacked(packed: bytes) -> Iterator[tuple[str, Attempt]]:
    at = 0
    while at < len(packed):
        called_at, number, length = _HEAD.unpack_from(packed, at)
        at += _HEAD.size
        mark = ""
        if length & _MARKED:
            mark = packed[at : at + _MARK_BYTES].hex()
            at += _MARK_BYTES
        end = at + (length & ~_MARKED)
        yield packed[at:end].decode(), Attempt(number, called_at, mark)
        at = end
