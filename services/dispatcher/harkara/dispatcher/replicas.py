"""What the lanes hold of global facts: who has refused (only they), and what each number may do."""

from __future__ import annotations

from collections.abc import Callable

from harkara.contracts.consent import PURPOSES, ConsentState, Heard, Purpose
from harkara.contracts.event import Event
from harkara.contracts.numbers import NumberState
from harkara.contracts.topics import CONSENT_STATE, NUMBER_STATE, Topic
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.settings import ServiceSettings

FRESH_SECONDS = 2.0  # staler than this, no call starts (design 4.5)


class Denials:
    """The persons who refuse something, or did before they opted in again; everyone else is not kept. `changed` is told
    of each whose word is another one."""

    def __init__(self, settings: ServiceSettings, changed: Callable[[str], None] = lambda _: None) -> None:
        self.by_person: dict[str, ConsentState] = {}
        self._changed = changed
        self.table = ReplicaTable(settings, "dispatcher-denials", (CONSENT_STATE,), self._apply)

    def _apply(self, _: Topic, person_key: str, event: Event | None) -> None:
        if isinstance(event, ConsentState) and any(_refuses(event, purpose) for purpose in PURPOSES):
            self.by_person[person_key] = _lean(event)
            self._changed(person_key)
        else:
            self.by_person.pop(person_key, None)


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


class NumberStates:
    """The newest state of each number; `changed` is told of each change."""

    def __init__(self, settings: ServiceSettings, changed: Callable[[str], None]) -> None:
        self.by_number: dict[str, NumberState] = {}
        self._changed = changed
        self.table = ReplicaTable(settings, "dispatcher-numbers", (NUMBER_STATE,), self._apply)

    def _apply(self, _: Topic, number: str, event: Event | None) -> None:
        if event is None:
            if self.by_number.pop(number, None) is not None:
                self._changed(number)
            return
        known = self.by_number.get(number)
        if isinstance(event, NumberState) and (known is None or event.version > known.version):
            self.by_number[number] = event
            if known is None or _word(known) != _word(event):
                self._changed(number)


def _word(state: NumberState) -> tuple[object, ...]:
    return state.verdict, state.until, state.latched, state.version if state.verdict == "open" else 0
