"""Who has refused, under every name of theirs: what the last gate looks at (design 4.5, B17).

A person's word under one name is denied under all of them. The words of all names are joined as the guard joins them,
the latest of each kind, so the order in which words and links arrive makes no difference. The words of whoever never
refused anything are not kept: an opt-in under one of several names is known here once the guard has written the refusal
that it overrides under that name too (`compliance_guard.carrying`), and until then the refusal stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from harkara.contracts.consent import PURPOSES, ConsentState, Heard, Purpose, joined_words
from harkara.contracts.event import Event
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CONSENT_STATE, PERSON_IDENTITIES, Topic
from harkara.dispatcher.links import Links
from harkara.policy.aliases import FOREVER_MS
from harkara.policy.words import kept_words, pack_words, unpack_words
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.settings import ServiceSettings


class Own(NamedTuple):
    """What was said under one name: as the gate asks for it, and every word in some 20 bytes, for a join."""

    state: ConsentState
    words: bytes


class Denials:
    """The persons who refuse something, or did before they opted in again, by each of their names; everyone else is not
    kept. `changed` is told of each name whose word is another one; `linked` of the names that a new link joins.

    Both topics are one replica, so where either is stale `table` is, and no call starts.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        changed: Callable[[str], None] = lambda _: None,
        linked: Callable[[list[str]], None] = lambda _: None,
    ) -> None:
        self.by_person: dict[str, ConsentState] = {}
        self.links = Links()
        self._own: dict[str, Own] = {}
        self._changed = changed
        self._linked = linked
        self.table = ReplicaTable(settings, "dispatcher-denials", (CONSENT_STATE, PERSON_IDENTITIES), self._apply)

    def _apply(self, topic: Topic, key: str, event: Event | None) -> None:
        if isinstance(event, PersonAlias):
            self._take_link(event)
        elif topic.name == CONSENT_STATE.name:
            self._take_word(key, event)

    def _take_link(self, alias: PersonAlias) -> None:
        if not self.links.apply(alias):
            return
        names = self.links.kin(alias.person_key)
        if not self._own.keys().isdisjoint(names):
            for name in names:
                self._reconsider(name)
        self._linked(names)

    def _take_word(self, person_key: str, event: Event | None) -> None:
        if isinstance(event, ConsentState) and any(_refuses(event, purpose) for purpose in PURPOSES):
            words = pack_words({purpose: event.words(purpose) for purpose in PURPOSES})
            self._own[person_key] = Own(_lean(event), words)
        elif self._own.pop(person_key, None) is None:
            return
        for name in self.links.kin(person_key):
            self._reconsider(name)

    def _reconsider(self, name: str) -> None:
        before, state = self.by_person.get(name), self._of_all_names(name)
        if state is None:
            self.by_person.pop(name, None)
        elif state is not before:
            self.by_person[name] = state
            self._changed(name)

    def _of_all_names(self, name: str) -> ConsentState | None:
        """What holds under this name, as far as it is a refusal."""
        own = self._own.get(name)
        others = [
            (self._own[other.hex()], until_ms)
            for other, until_ms in self.links.names(name).items()
            if other.hex() in self._own
        ]
        if own is not None and all(each.words == own.words for each, _ in others):
            return own.state
        if own is None and len(others) == 1 and others[0][1] == FOREVER_MS:
            return others[0][0].state
        if not others:
            return None
        return _joined(name, own, others)


def _joined(name: str, own: Own | None, others: list[tuple[Own, int]]) -> ConsentState | None:
    words = dict.fromkeys(PURPOSES, Heard()) if own is None else unpack_words(own.words)
    for other, until_ms in others:
        more = kept_words(unpack_words(other.words), until_ms)
        words = {purpose: joined_words(words[purpose], more[purpose]) for purpose in PURPOSES}
    shown = {purpose: words[purpose].shown() for purpose in PURPOSES}
    state = ConsentState.model_construct(
        person_key=name, marketing=shown["marketing"], transactional=shown["transactional"], heard=words
    )
    return _lean(state) if any(_refuses(state, purpose) for purpose in PURPOSES) else None


def _refuses(state: ConsentState, purpose: Purpose) -> bool:
    word = state.marketing if purpose == "marketing" else state.transactional
    return (word is not None and word.standing != "opted_in") or state.words(purpose).revoked_until is not None


def _lean(state: ConsentState) -> ConsentState:
    """Without the words that the ones in force were read off, and what is equal for both purposes held once: 1.7 kB."""
    until = {purpose: state.words(purpose).revoked_until for purpose in PURPOSES}
    revoked = {at: Heard(revoked_until=at) for at in until.values() if at is not None}
    same = state.marketing if state.marketing == state.transactional else state.transactional
    heard = {purpose: revoked[at] for purpose, at in until.items() if at is not None}
    return ConsentState.model_construct(
        person_key=state.person_key, marketing=state.marketing, transactional=same, heard=heard
    )
