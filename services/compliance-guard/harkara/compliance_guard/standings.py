"""Everyone's consent in memory, as small as it can be: a million persons in about 250 MB."""

from __future__ import annotations

from datetime import UTC, datetime

from harkara.contracts.consent import ConsentState, Purpose
from harkara.contracts.event import Event, epoch_ms
from harkara.contracts.topics import Topic
from harkara.policy.clearance import Word, word_of

Pair = tuple[Word | None, Word | None]
"""The words for marketing and for transactional messages."""

MOST_SHARED = 10_000  # pairs kept for sharing: without pauses there are 25; each pause's end makes one more


class Standings:
    """Fed by the replica of `consent-state`. A record that is older than the one held is passed over: of two writers,
    one of them frozen and revived, the one that knows more wins."""

    def __init__(self) -> None:
        self._persons: dict[bytes, tuple[Pair, int]] = {}
        self._shared: dict[Pair, Pair] = {}

    def __len__(self) -> int:
        return len(self._persons)

    def word(self, person_key: str, purpose: Purpose) -> Word | None:
        """What the person last said for the purpose, or None where nothing is known."""
        held = self._persons.get(_packed(person_key))
        return None if held is None else held[0][0 if purpose == "marketing" else 1]

    def apply(self, topic: Topic, key: str, event: Event | None) -> None:
        """Take one record of `consent-state`; a tombstone forgets the person."""
        if not isinstance(event, ConsentState):
            self._persons.pop(_packed(key), None)
            return
        person, age = _packed(key), _age(event)
        held = self._persons.get(person)
        if held is None or held[1] <= age:
            self._persons[person] = (self._one(event), age)

    def _one(self, state: ConsentState) -> Pair:
        pair = (word_of(state, "marketing"), word_of(state, "transactional"))
        if len(self._shared) >= MOST_SHARED:
            self._shared.clear()
        return self._shared.setdefault(pair, pair)


def _packed(person_key: str) -> bytes:
    """16 bytes for the keys that we make, the text for any other."""
    try:
        return bytes.fromhex(person_key)
    except ValueError:
        return person_key.encode()


def _age(state: ConsentState) -> int:
    """Grows with every change of the state, as the word of each purpose only ever gives way to a later one."""
    start = datetime.fromtimestamp(0, UTC)
    times = (word.at if word else start for word in (state.marketing, state.transactional))
    return sum(epoch_ms(at) for at in times)
