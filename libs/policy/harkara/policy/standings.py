"""Everyone's consent in memory, as small as it can be: a million persons in about 95 MB."""

from __future__ import annotations

import struct
from typing import NamedTuple

from harkara.contracts.consent import PURPOSES, ConsentState, Heard, Purpose, Standing, joined_words
from harkara.contracts.event import Event, epoch_ms
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import PERSON_IDENTITIES, Topic
from harkara.policy.aliases import Aliases, packed
from harkara.policy.clearance import Word, restricted, word_of
from harkara.policy.rows import PackedRows
from harkara.policy.shapes import Found, Shape, Taught, plausible
from harkara.policy.words import both_packed, kept_words, pack_alone, pack_state, unpack_words


class Said(NamedTuple):
    """What holds for marketing and for transactional messages, and the person's language."""

    marketing: Word | None
    transactional: Word | None
    language: str | None


class _Told(NamedTuple):
    """What records of a shape say: which of the shared ones holds; of each purpose the standing, the source and the
    place of its time; and the place of the language's time."""

    place: int
    words: tuple[tuple[Standing, str, int] | None, ...]
    language_at: int | None

    def packed(self, found: list[Found]) -> tuple[bytes, int] | None:
        """What `pack_state` makes of a state of these times; None where one of them is none that an event may say."""
        parts, age = [b"", b""], 0
        for index, word in enumerate(self.words):
            if word is not None:
                at = found[word[2]]
                if not plausible(at):
                    return None
                parts[index], more = pack_alone(word[0], word[1], epoch_ms(at))
                age += more
        if self.language_at is not None:
            at = found[self.language_at]
            if not plausible(at):
                return None
            age += epoch_ms(at)
        return both_packed(*parts), age


MOST_SHAPES = 5000  # some hundred, times the version of the state; records of others are read as JSON
MOST_SHARED = 10_000  # without pauses there are 16 per language; beyond these, and with an end, each person has theirs
_HEAD = struct.Struct(
    ">iq"
)  # which of the shared ones holds (-1: their own), and how old the state is; the words follow
_OWN = -1


class Standings:
    """Fed by the replica of `consent-state` and `person-identities`. A record that is older than the one held is passed
    over: of two writers, one of them frozen and revived, the one that knows more wins. What a person said under another
    name of theirs counts as if it had been said under this one (B17). `most_shared`: how many different states are kept
    once for all persons of whom they hold."""

    def __init__(self, *, with_owners: bool = False, most_shared: int = MOST_SHARED) -> None:
        self.aliases = Aliases(with_owners=with_owners)
        self._persons = PackedRows()
        self._own: dict[bytes, Said] = {}
        self._shared: list[Said] = []
        self._most_shared = most_shared
        self._places: dict[Said, int] = {}
        self._taught = Taught(MOST_SHAPES, ConsentState, self._told_by)

    def __len__(self) -> int:
        return len(self._persons)

    def word(self, person_key: str, purpose: Purpose, also_key: str | None = None) -> Word | None:
        """What the person last said for the purpose, or None where nothing is known. `also_key`: a second name by which
        whoever asks knows them; unless it is linked, what was said under it can forbid, and never permit."""
        said = self.said(person_key)
        word = None if said is None else said.marketing if purpose == "marketing" else said.transactional
        if also_key is None or also_key == person_key or packed(also_key) in self.aliases.names(person_key):
            return word
        return restricted(word, self.word(also_key, purpose))

    def said(self, person_key: str) -> Said | None:
        """All that is held of the person, under all their names."""
        held = self._persons.get(packed(person_key))
        names = self.aliases.names(person_key)
        rows = ((name, self._persons.get(name), until_ms) for name, until_ms in names.items())
        others = [(self._of_row(name, row), row, until_ms) for name, row, until_ms in rows if row is not None]
        said = None if held is None else self._of_row(packed(person_key), held)
        return said if not others else self._said_by_all(person_key, said, held, others)

    def names(self, person_key: str, also_key: str | None = None) -> tuple[str, ...]:
        """Every other name of the person."""
        found = self.aliases.names(person_key, also_key)
        return tuple(name.hex() for name in found) if found else ()

    def words(self, person_key: str, until_ms: int) -> dict[Purpose, Heard]:
        """The words that were said under this one name until then (ms); {} where nothing is known."""
        held = self._persons.get(packed(person_key))
        return {} if held is None else kept_words(unpack_words(held[_HEAD.size :]), until_ms)

    def apply(self, topic: Topic, key: str, event: Event | None) -> None:
        """Take one record; a tombstone of `consent-state` forgets the person."""
        if isinstance(event, PersonAlias):
            self.aliases.apply(event)
            return
        if not isinstance(event, ConsentState):
            if topic.name != PERSON_IDENTITIES.name:
                self._persons.pop(packed(key))
                self._own.pop(packed(key), None)
            return
        person, (words, age) = packed(key), pack_state(event)
        held = self._persons.get(person)
        if held is None or _HEAD.unpack_from(held)[1] <= age:
            said = _said_in(event)
            place = self._place(said)
            if place == _OWN:
                self._own[person] = said
            else:
                self._own.pop(person, None)
            self._persons[person] = _HEAD.pack(place, age) + words

    def take(self, topic: Topic, key: bytes, text: bytes) -> bool:
        """Take one record as its JSON, where one of that shape has been decoded before, which says the same of another
        person at other times: of a million all but some hundred. False: decode it, for `apply`."""
        if topic.name == PERSON_IDENTITIES.name:
            return self.aliases.take(text)
        read = self._taught.read(key, text)
        return read is not None and self._take(packed(key.decode()), *read)

    def _take(self, person: bytes, told: _Told, found: list[Found]) -> bool:
        packed_state = told.packed(found)
        if packed_state is None:
            return False
        words, age = packed_state
        row = _HEAD.pack(told.place, age) + words
        if self._persons.add(person, row):  # as most are: one look tells
            return True
        held = self._persons.get(person)
        if held is None or _HEAD.unpack_from(held)[1] <= age:
            self._own.pop(person, None)
            self._persons[person] = row
        return True

    def _told_by(self, shape: Shape, found: list[Found], state: ConsentState) -> _Told | None:
        """What every record of this state's shape says, where that is the same whatever its times are: one word for a
        purpose, without an end, as most persons said. (Of several words the later one holds.)"""
        both = (state.marketing, state.transactional)
        if state.heard or any(word is not None and word.until is not None for word in both):
            return None
        places, words = shape.places(), list[tuple[Standing, str, int] | None]()
        for purpose, word in zip(PURPOSES, both, strict=True):
            at = places.get((purpose, "at"))
            words.append(None if word is None or at is None else (word.standing, word.source, at))
        told = _Told(self._place(_said_in(state)), tuple(words), places.get(("language_at",)))
        return told if told.place != _OWN and told.packed(found) == pack_state(state) else None

    def _place(self, said: Said) -> int:
        """Where it is among the shared; `_OWN` where it is to be kept for the person alone."""
        place = self._places.get(said)
        if place is None:
            ends = any(word is not None and word.until is not None for word in said[:2])
            if ends or len(self._shared) >= self._most_shared:
                return _OWN
            place = self._places[said] = len(self._shared)
            self._shared.append(said)
        return place

    def _of_row(self, person: bytes, row: bytes) -> Said:
        place = _HEAD.unpack_from(row)[0]
        return self._own[person] if place == _OWN else self._shared[place]

    def _said_by_all(
        self, person_key: str, own: Said | None, held: bytes | None, others: list[tuple[Said, bytes, int]]
    ) -> Said:
        words = {purpose: Heard() for purpose in PURPOSES} if held is None else unpack_words(held[_HEAD.size :])
        language = None if own is None else own.language
        for said, row, until_ms in others:
            more = kept_words(unpack_words(row[_HEAD.size :]), until_ms)
            words = {purpose: joined_words(words[purpose], more[purpose]) for purpose in PURPOSES}
            language = language or said.language
        shown = {purpose: words[purpose].shown() for purpose in PURPOSES}
        state = ConsentState(
            person_key=person_key, marketing=shown["marketing"], transactional=shown["transactional"], heard=words
        )
        return _said_in(state)._replace(language=language)


def _said_in(state: ConsentState) -> Said:
    return Said(word_of(state, "marketing"), word_of(state, "transactional"), state.language)
