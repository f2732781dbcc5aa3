"""What is known of templates as far as a lane looks at it: which may go, which wait, which never will (B12, B13)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from harkara.contracts.intents import Category
from harkara.contracts.template_state import TemplateCategory, TemplateState, TemplateStatus
from harkara.policy.lane import Obstacle, template_kept_back
from harkara.policy.sections import Templates
from harkara.policy.template_values import Taken, taken_by, values_problem
from harkara.policy.templates import changed, dearer_than_paid_for, recategorised

if TYPE_CHECKING:
    from harkara.dispatcher.message import Message


class TemplateWord(NamedTuple):
    """The newest state of one template; times are Unix seconds. `paused_until` None: no time ends its pause; `takes`
    None: nobody has read which values it takes."""

    version: int
    status: TemplateStatus
    status_at: float
    paused_until: float | None
    category: TemplateCategory | None
    takes: Taken | None = None

    @property
    def approved(self) -> bool:
        """Whether Meta lets it through."""
        return self.status == "APPROVED"


def at_account(waba_id: str, template_key: str) -> str:
    """The name of a template of one account: what a hold of it is called, and where its word is found."""
    return f"{waba_id}/{template_key}"


def name_of(state: TemplateState) -> str:
    """As `at_account`, of a state."""
    return at_account(state.waba_id, f"{state.name}:{state.language}")


def word_of(state: TemplateState) -> TemplateWord:
    """What a lane keeps of a state: 160 bytes, for what is taken is one object for all that take the same."""
    return TemplateWord(
        state.version,
        state.status,
        0.0 if state.status_at is None else state.status_at.timestamp(),
        None if state.paused_until is None else state.paused_until.timestamp(),
        state.category,
        None if state.parameters is None else taken_by(state.parameters),
    )


def wrong_with(word: TemplateWord, message: Message, template_key: str | None) -> str | None:
    """What of the values that the message brings to this template of its own does not fit it; None: nothing, or not
    known."""
    brings = message.traits.brings
    if word.takes is None or not brings:
        return None
    if template_key == message.template_key:
        return values_problem(word.takes, brings[0])
    backups = message.traits.backups
    return values_problem(word.takes, brings[1 + backups.index(template_key)]) if template_key in backups else None


def template_obstacle(word: TemplateWord, message: Message, template_key: str | None, now: float) -> Obstacle | None:
    """What stands in the template's way, for this message, or None."""
    fits = wrong_with(word, message, template_key) is None
    return template_kept_back(word.status, word.paused_until, word.category, message.category, now, fits=fits)


def told_of(
    reason: str, words: Mapping[str, TemplateWord], accounts: Iterable[str], message: Message, policy: Templates
) -> dict[str, Any]:
    """What an operator has to know of a wait besides its reason, with what he can do (B12): what it would cost to go on
    by a template that became dearer, or what does not fit one that was changed."""
    if reason == "template_recategorised":
        told = (price_told(words, waba_id, message.template_key, message.category, policy) for waba_id in accounts)
    elif reason == "template_changed":
        told = (_change_told(words, waba_id, message) for waba_id in accounts)
    else:
        return {}
    return next(filter(None, told), {})


def _change_told(words: Mapping[str, TemplateWord], waba_id: str, message: Message) -> dict[str, Any]:
    key = message.template_key or ""
    word, (name, _, language) = words.get(at_account(waba_id, key)), key.partition(":")
    wrong = None if word is None else wrong_with(word, message, key)
    if wrong is None:
        return {}
    reason = changed(name, language, wrong)
    return {"text": reason.text, "details": reason.details}


def price_told(
    words: Mapping[str, TemplateWord], waba_id: str, template_key: str | None, category: Category, policy: Templates
) -> dict[str, Any]:
    """What is told of a message that is held because its template became dearer: the sentence with both prices, where
    the policy has them, and the details; {} where it did not."""
    word, (name, _, language) = words.get(at_account(waba_id, template_key or "")), (template_key or "").partition(":")
    dearer = None if word is None else dearer_than_paid_for(word.category, category)
    if dearer is None:
        return {}
    reason = recategorised(name, language, dearer, None, category, policy)
    return {"text": reason.text, "details": reason.details}
