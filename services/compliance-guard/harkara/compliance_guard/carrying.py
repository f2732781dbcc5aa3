"""What a person said under one name, written under their other names too (B17).

The guard itself joins the words of all names when it decides. The lanes hold denials by the name a message is for, so
what was said under another one is carried there, once the link between the two is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from harkara.compliance_guard.metrics import CARRIED
from harkara.contracts.consent import OWN_WORD, SAID_ELSEWHERE, Change, ConsentEvent, Heard, Purpose, Source
from harkara.contracts.event import epoch_ms, event_id
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CONSENT_EVENTS
from harkara.policy.aliases import FOREVER_MS
from harkara.policy.standings import Standings
from harkara.runtime.kafka import Output
from harkara.runtime.loop import Incoming, Refused

Said = tuple[str, Change, datetime, datetime | None, datetime | None]
"""Slot, change, when, until when (of a pause), cancels until when."""
SOURCES: dict[str, Source] = {
    "at_meta": "meta_preference",
    "block": "operator",
    "erased_at": "operator",
    "returned_at": OWN_WORD,
}
"""Which words of a person's a carried one joins is told by its source."""


class Carrier:
    """Follows `person-identities`. Behind the gate of the consent replica, so that it knows the words there are; what
    is said later is written under every name by whoever hears it."""

    def __init__(self, standings: Standings) -> None:
        self._standings = standings

    def carry(self, incoming: Incoming) -> Iterable[Output]:
        """The changes of consent that a link makes."""
        alias = incoming.envelope.event
        if not isinstance(alias, PersonAlias):
            raise Refused("the record is no PersonAlias")
        until_ms = epoch_ms(alias.at) if alias.kind == "number_changed" else FOREVER_MS
        outputs = self._over(alias.alias_key, alias.person_key, until_ms)
        if alias.kind == "user_id_changed":
            outputs += self._over(alias.person_key, alias.alias_key, until_ms)
        CARRIED.inc(len(outputs))
        return outputs

    def _over(self, from_key: str, to_key: str, until_ms: int) -> list[Output]:
        there = self._standings.words(to_key, FOREVER_MS)
        return carried(self._standings.words(from_key, until_ms), there, from_key, to_key)


def carried(words: Mapping[Purpose, Heard], known: Mapping[Purpose, Heard], from_key: str, to_key: str) -> list[Output]:
    """The words that are news under the other name, as events whose ids are functions of the words."""
    found = []
    for purpose, heard in words.items():
        there = {said[:3] for said in _said(known[purpose])} if purpose in known else set()
        for said in _said(heard):
            if said[:3] not in there:
                found.append(_output(purpose, said, from_key, to_key))
    return found


def _said(heard: Heard) -> list[Said]:
    found: list[Said] = []
    for slot in ("word", "at_meta", "pause", "block"):
        word = getattr(heard, slot)
        if word is not None:
            revoked = heard.revoked_until if word.standing in ("opted_out", "blocked") else None
            found.append((slot, word.standing, word.at, word.until, revoked))
    lifted = [word.at for word in (heard.word, heard.block) if word is not None and word.standing == "opted_in"]
    if heard.resumed_at is not None and heard.resumed_at not in lifted:
        found.append(("resumed_at", "resumed", heard.resumed_at, None, None))
    if heard.erased_at is not None:
        found.append(("erased_at", "erased", heard.erased_at, None, heard.revoked_until))
        if heard.returned_at is not None:  # as the person's own word: no other one of theirs ends an erasure
            found.append(("returned_at", "opted_in", heard.returned_at, None, None))
    return found


def _output(purpose: Purpose, said: Said, from_key: str, to_key: str) -> Output:
    slot, change, at, until, cancels_until = said
    identity = event_id("carried", from_key, to_key, purpose, slot, change, epoch_ms(at))
    event = ConsentEvent(
        event_id=identity,
        person_key=to_key,
        standing=change,
        purpose=purpose,
        source=SOURCES.get(slot, "identity"),
        at=at.astimezone(UTC),
        until=until,
        cancels_until=None if cancels_until is None or cancels_until < at else cancels_until,
        proof="" if change == "erased" else f"{SAID_ELSEWHERE}, {from_key}",
    )
    return Output(CONSENT_EVENTS, to_key, to_key, event, identity, at)
