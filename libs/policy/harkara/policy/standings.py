"""Everyone's consent in memory, as small as it can be: a million persons in about 350 MB."""

from __future__ import annotations

from typing import NamedTuple

from harkara.contracts.consent import PURPOSES, ConsentState, Heard, Purpose, joined_words
from harkara.contracts.event import Event, epoch_ms
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import PERSON_IDENTITIES, Topic
from harkara.policy.aliases import Aliases, packed
from harkara.policy.clearance import Word, word_of
from harkara.policy.words import kept_words, pack_words, unpack_words


class Said(NamedTuple):
    """What holds for marketing and for transactional messages, and the person's language."""

    marketing: Word | None
    transactional: Word | None
    language: str | None


MOST_SHARED = 10_000  # kept for sharing: without pauses there are 25 per language; each pause's end makes one more


class Standings:
    """Fed by the replica of `consent-state` and `person-identities`. A record that is older than the one held is passed
    over: of two writers, one of them frozen and revived, the one that knows more wins. What a person said under another
    name of theirs counts as if it had been said under this one (B17)."""

    def __init__(self, *, with_owners: bool = False) -> None:
        self.aliases = Aliases(with_owners=with_owners)
        self._persons: dict[bytes, tuple[Said, int, bytes]] = {}
        self._shared: dict[Said, Said] = {}

    def __len__(self) -> int:
        return len(self._persons)

    def word(self, person_key: str, purpose: Purpose) -> Word | None:
        """What the person last said for the purpose, or None where nothing is known."""
        said = self.said(person_key)
        return None if said is None else said.marketing if purpose == "marketing" else said.transactional

    def said(self, person_key: str) -> Said | None:
        """All that is held of the person, under all their names."""
        held = self._persons.get(packed(person_key))
        names = self.aliases.names(person_key)
        others = [(self._persons[name], until_ms) for name, until_ms in names.items() if name in self._persons]
        if not others:
            return None if held is None else held[0]
        return self._said_by_all(person_key, held, others)

    def words(self, person_key: str, until_ms: int) -> dict[Purpose, Heard]:
        """The words that were said under this one name until then (ms); {} where nothing is known."""
        held = self._persons.get(packed(person_key))
        return {} if held is None else kept_words(unpack_words(held[2]), until_ms)

    def apply(self, topic: Topic, key: str, event: Event | None) -> None:
        """Take one record; a tombstone of `consent-state` forgets the person."""
        if isinstance(event, PersonAlias):
            self.aliases.apply(event)
            return
        if not isinstance(event, ConsentState):
            if topic.name != PERSON_IDENTITIES.name:
                self._persons.pop(packed(key), None)
            return
        person, age = packed(key), _age(event)
        held = self._persons.get(person)
        if held is None or held[1] <= age:
            self._persons[person] = (self._one(event), age, pack_words({p: event.words(p) for p in PURPOSES}))

    def _one(self, state: ConsentState) -> Said:
        said = Said(word_of(state, "marketing"), word_of(state, "transactional"), state.language)
        if len(self._shared) >= MOST_SHARED:
            self._shared.clear()
        return self._shared.setdefault(said, said)

    def _said_by_all(
        self, person_key: str, held: tuple[Said, int, bytes] | None, others: list[tuple[tuple[Said, int, bytes], int]]
    ) -> Said:
        words = {purpose: Heard() for purpose in PURPOSES} if held is None else unpack_words(held[2])
        language = None if held is None else held[0].language
        for (said, _, exact), until_ms in others:
            more = kept_words(unpack_words(exact), until_ms)
            words = {purpose: joined_words(words[purpose], more[purpose]) for purpose in PURPOSES}
            language = language or said.language
        shown = {purpose: words[purpose].shown() for purpose in PURPOSES}
        state = ConsentState(
            person_key=person_key, marketing=shown["marketing"], transactional=shown["transactional"], heard=words
        )
        return Said(word_of(state, "marketing"), word_of(state, "transactional"), language)


def _age(state: ConsentState) -> int:
    """Grows with every change of the state, as each word of it only ever gives way to a later one."""
    words = sum(_sum(state.words(purpose)) for purpose in PURPOSES)
    return words + (epoch_ms(state.language_at) if state.language_at else 0)


def _sum(heard: Heard) -> int:
    words = (heard.word, heard.at_meta, heard.pause, heard.block)
    instants = (heard.resumed_at, heard.revoked_until, *(word.at for word in words if word is not None))
    return sum(epoch_ms(at) for at in instants if at is not None)
