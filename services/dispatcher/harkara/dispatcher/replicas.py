"""What the lanes hold of numbers and templates: what each may do now (who has refused: `denials.py`)."""

from __future__ import annotations

from collections.abc import Callable

from harkara.contracts.event import Event
from harkara.contracts.numbers import NumberState
from harkara.contracts.template_state import TemplateState
from harkara.contracts.topics import NUMBER_STATE, TEMPLATE_STATE, Topic
from harkara.dispatcher.wordings import TemplateWord, at_account, name_of, word_of
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.settings import ServiceSettings

FRESH_SECONDS = 2.0  # staler than this, no call starts (design 4.5)


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
