"""What the lanes hold of global facts: who has refused (only they), and what each number may do."""

from __future__ import annotations

from collections.abc import Callable

from harkara.contracts.consent import PURPOSES, ConsentState, Heard, Purpose
from harkara.contracts.event import Event
from harkara.contracts.numbers import NumberState
from harkara.contracts.template_state import TemplateState
from harkara.contracts.topics import CONSENT_STATE, NUMBER_STATE, TEMPLATE_STATE, Topic
from harkara.dispatcher.wordings import TemplateWord, at_account, name_of, word_of
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
    """The newest state of each number, and of each template (by its name in its account); `changed` and `reworded` are
    told of each change."""

    def __init__(
        self,
        settings: ServiceSettings,
        changed: Callable[[str], None],
        reworded: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.by_number: dict[str, NumberState] = {}
        self.templates: dict[str, TemplateWord] = {}
        self._changed = changed
        self._reworded = reworded
        self.table = ReplicaTable(settings, "dispatcher-numbers", (NUMBER_STATE, TEMPLATE_STATE), self._apply)

    def _apply(self, topic: Topic, key: str, event: Event | None) -> None:
        if topic == TEMPLATE_STATE:
            self._take_template(key, event)
        else:
            self._take_number(key, event)

    def _take_template(self, key: str, event: Event | None) -> None:
        if not isinstance(event, TemplateState):
            waba_id, name, language = key.split("/")
            self.templates.pop(at_account(waba_id, f"{name}:{language}"), None)
            return
        name, word = name_of(event), word_of(event)
        known = self.templates.get(name)
        if known is None or word.version > known.version:
            self.templates[name] = word
            if known is None or known._replace(version=0) != word._replace(version=0):
                self._reworded(name)

    def _take_number(self, number: str, event: Event | None) -> None:
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
