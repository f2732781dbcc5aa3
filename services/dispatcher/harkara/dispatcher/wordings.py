"""What is known of templates as far as a lane looks at it: which may go, which wait, which never will (B12, B13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harkara.contracts.intents import Category
from harkara.contracts.template_state import TemplateCategory, TemplateState, TemplateStatus
from harkara.policy.sections import Templates
from harkara.policy.templates import IN_REVIEW, dearer_than_paid_for, recategorised

GONE: frozenset[TemplateStatus] = frozenset({"DISABLED", "REJECTED", "DELETED", "PENDING_DELETION", "ARCHIVED"})
"""What comes back by somebody's work alone, if at all; LOCKED and LIMIT_EXCEEDED may pass."""


class TemplateWord(NamedTuple):
    """The newest state of one template; times are Unix seconds. `paused_until` None: no time ends its pause."""

    version: int
    status: TemplateStatus
    status_at: float
    paused_until: float | None
    category: TemplateCategory | None

    @property
    def approved(self) -> bool:
        """Whether Meta lets it through."""
        return self.status == "APPROVED"


class Obstacle(NamedTuple):
    """Why a template may not go now; `until` None: until its state is another one. `final`: it never will."""

    reason: str
    until: float | None = None
    final: bool = False


def at_account(waba_id: str, template_key: str) -> str:
    """The name of a template of one account: what a hold of it is called, and where its word is found."""
    return f"{waba_id}/{template_key}"


def name_of(state: TemplateState) -> str:
    """As `at_account`, of a state."""
    return at_account(state.waba_id, f"{state.name}:{state.language}")


def word_of(state: TemplateState) -> TemplateWord:
    """What a lane keeps of a state: 150 bytes."""
    return TemplateWord(
        state.version,
        state.status,
        0.0 if state.status_at is None else state.status_at.timestamp(),
        None if state.paused_until is None else state.paused_until.timestamp(),
        state.category,
    )


def template_obstacle(
    words: Mapping[str, TemplateWord], waba_id: str, template_key: str | None, category: Category, now: float
) -> Obstacle | None:
    """What stands in the template's way in this account, or None. Where nothing is known, Meta decides.

    A pause that was announced until a time is over then, whether its end has been told or not. A dearer category holds
    whatever the status: nobody agreed to its price, and it asks for another consent.
    """
    word = words.get(at_account(waba_id, template_key or ""))
    if word is None or word.status == "UNKNOWN":
        return None
    if word.status == "PAUSED":
        over = word.paused_until is not None and word.paused_until <= now
        if not over:
            return Obstacle("template_paused", word.paused_until)
    elif word.status in IN_REVIEW:
        return Obstacle("template_in_review")
    elif word.status != "APPROVED":
        return Obstacle("template_not_approved", final=word.status in GONE)
    dearer = dearer_than_paid_for(word.category, category)
    return None if dearer is None else Obstacle("template_recategorised")


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
