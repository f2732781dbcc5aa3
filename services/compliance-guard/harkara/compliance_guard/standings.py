"""Everyone's consent in memory, as small as it can be: a million persons in about 250 MB."""

from __future__ import annotations

from typing import NamedTuple

from harkara.contracts.consent import PURPOSES, ConsentState, Heard, Purpose
from harkara.contracts.event import Event, epoch_ms
from harkara.contracts.topics import Topic
from harkara.policy.clearance import Word, word_of


class Said(NamedTuple):
    """What holds for marketing and for transactional messages, and the person's language."""

    marketing: Word | None
    transactional: Word | None
    language: str | None


MOST_SHARED = 10_000  # kept for sharing: without pauses there are 25 per language; each pause's end makes one more


class Standings:
    """Fed by the replica of `consent-state`. A record that is older than the one held is passed over: of two writers,
    one of them frozen and revived, the one that knows more wins."""

    def __init__(self) -> None:
        self._persons: dict[bytes, tuple[Said, int]] = {}
        self._shared: dict[Said, Said] = {}

    def __len__(self) -> int:
        return len(self._persons)

    def word(self, person_key: str, purpose: Purpose) -> Word | None:
        """What the person last said for the purpose, or None where nothing is known."""
        said = self.said(person_key)
        return None if said is None else said.marketing if purpose == "marketing" else said.transactional

    def said(self, person_key: str) -> Said | None:
        """All that is held of the person."""
        held = self._persons.get(_packed(person_key))
        return None if held is None else held[0]

    def apply(self, topic: Topic, key: str, event: Event | None) -> None:
        """Take one record of `consent-state`; a tombstone forgets the person."""
        if not isinstance(event, ConsentState):
            self._persons.pop(_packed(key), None)
            return
        person, age = _packed(key), _age(event)
        held = self._persons.get(person)
        if held is None or held[1] <= age:
            self._persons[person] = (self._one(event), age)

    def _one(self, state: ConsentState) -> Said:
        said = Said(word_of(state, "marketing"), word_of(state, "transactional"), state.language)
        if len(self._shared) >= MOST_SHARED:
            self._shared.clear()
        return self._shared.setdefault(said, said)


def _packed(person_key: str) -> bytes:
    """16 bytes for the keys that we make, the text for any other."""
    try:
        return bytes.fromhex(person_key)
    except ValueError:
        return person_key.encode()


def _age(state: ConsentState) -> int:
    """Grows with every change of the state, as each word of it only ever gives way to a later one."""
    words = sum(_sum(state.words(purpose)) for purpose in PURPOSES)
    return words + (epoch_ms(state.language_at) if state.language_at else 0)


def _sum(heard: Heard) -> int:
    words = (heard.word, heard.at_meta, heard.pause, heard.block)
    instants = (heard.resumed_at, heard.revoked_until, *(word.at for word in words if word is not None))
    return sum(epoch_ms(at) for at in instants if at is not None)
