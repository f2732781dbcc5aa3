"""May this template be sent, as far as it is known? Its status, its category and its values (TPL-2, TPL-9, RTW-4, B12).

What a template asks for is compared without keeping what it is given: a fact says that the values fit, or what is wrong
with them, and never what they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from harkara.contracts.event import Reason, Value
from harkara.contracts.intents import Category, Template, Variant
from harkara.contracts.template_state import (
    TemplateCategory,
    TemplateState,
    TemplateStatus,
    template_key,
)
from harkara.policy.sections import Templates
from harkara.policy.template_values import brought_by, taken_by, values_problem

_COST: dict[TemplateCategory, int] = {"UTILITY": 1, "AUTHENTICATION": 2, "MARKETING": 3}
_NAMES: dict[TemplateCategory, Literal["marketing", "utility", "authentication"]] = {
    "UTILITY": "utility", "AUTHENTICATION": "authentication", "MARKETING": "marketing",
}  # fmt: skip
_PAID_FOR: dict[Category, int] = {"service": 1, "utility": 1, "authentication": 2, "marketing": 3}
"""What the intent's category reckons with (cloud-api, pricing): a template outside the window is at least utility."""
IN_REVIEW: frozenset[TemplateStatus] = frozenset({"PENDING", "IN_APPEAL"})
RULE = "templates"


class TemplateFact(Value):
    """What a decision goes by of one template. `wrong`: what of the message's values does not fit it."""

    status: TemplateStatus = "UNKNOWN"
    category: TemplateCategory | None = None
    category_before: TemplateCategory | None = None
    paused_until: datetime | None = None
    wrong: str | None = None


class Standing(NamedTuple):
    """Whether it may be sent: 0 approved, 1 nothing is known that speaks against it, 2 it waits in the lane until its
    pause ends, 3 it may not, for `reason`."""

    rank: Literal[0, 1, 2, 3]
    reason: Reason | None = None


class Wording(NamedTuple):
    """The language in which the template goes (None: as it was given), and its standing by account."""

    language: str | None
    standings: Mapping[str, Standing]


APPROVED, REFUSED = 0, 3
UNKNOWN_BUT_ALLOWED = Standing(1)


def facts_about(
    wanted: Sequence[Template], wabas: Sequence[str], known: Mapping[str, TemplateState]
) -> dict[str, dict[str, TemplateFact]]:
    """By account and language what is known of a template, `wanted` in these languages; what is not known has no
    place."""
    found: dict[str, dict[str, TemplateFact]] = {}
    for waba_id in wabas:
        for each in wanted:
            state = known.get(template_key(waba_id, each.name, each.language))
            if state is not None:
                found.setdefault(waba_id, {})[each.language] = fact_of(state, each)
    return found


def fact_of(state: TemplateState, template: Template) -> TemplateFact:
    """What is known, and whether the values fit."""
    return TemplateFact.built(  # every value is of its type already
        status=state.status,
        category=state.category,
        category_before=state.category_before,
        paused_until=state.paused_until,
        wrong=None if state.parameters is None else values_problem(taken_by(state.parameters), brought_by(template)),
    )


def wording(
    name: str,
    languages: Sequence[str],
    wabas: Sequence[str],
    facts: Mapping[str, Mapping[str, TemplateFact]],
    category: Category,
    policy: Templates,
) -> Wording | Reason:
    """The first language of the chain that is approved in an account of the sender; else one of which nothing is known;
    else one whose pause ends. None of them: why the first one may not go."""
    best: tuple[int, Wording] | None = None
    for language in languages:
        standings = {
            waba_id: standing(name, language, facts.get(waba_id, {}).get(language), category, policy)
            for waba_id in wabas
        }
        rank = min(each.rank for each in standings.values())
        if best is None or rank < best[0]:
            best = rank, Wording(language, standings)
        if rank == 0:
            break
    assert best is not None  # there is a template, so there is a language, and a home has an account
    if best[0] < REFUSED:
        return best[1]
    return next(each.reason for each in best[1].standings.values() if each.reason is not None)


def with_backups(
    language: str | None,
    wanted: Sequence[Template],
    facts: Mapping[str, Mapping[str, TemplateFact]],
    category: Category,
    policy: Templates,
) -> Template | None:
    """The template in the language in which it goes, and as its variants those that are approved in another one of the
    person's: for the lane to swap to, should Meta pause it before it went (B13)."""
    chosen = next((each for each in wanted if each.language == language), None)
    if chosen is None or len(wanted) == 1:
        return chosen
    approved = (
        each
        for each in wanted
        if each is not chosen
        and any(
            standing(each.name, each.language, known.get(each.language), category, policy).rank == APPROVED
            for known in facts.values()
        )
    )
    variants = tuple(found for each in approved if (found := _beside(chosen, each)) is not None)
    return chosen.model_copy(update={"variants": variants}) if variants else chosen


def _beside(chosen: Template, other: Template) -> Variant | None:
    """The other wording as a variant of the chosen one, whose values it would take over unless it says its own; None
    where it has no header and the chosen one has: that cannot be said."""
    if chosen.header is not None and other.header is None:
        return None
    given = {name: getattr(other, name) for name in ("header", "body", "named")}
    return Variant(language=other.language, **{k: each for k, each in given.items() if each != getattr(chosen, k)})


def standing(name: str, language: str, fact: TemplateFact | None, category: Category, policy: Templates) -> Standing:
    """Of one template in one account."""
    told = {"template": f"{name}:{language}"}
    if fact is None or fact.status == "UNKNOWN":
        if policy.unknown == "allow":
            return UNKNOWN_BUT_ALLOWED
        text = f"Nothing is known of the template {name} in {language}, and only known ones are sent."
        return Standing(3, Reason(code="template_unknown", text=text, rule="templates.unknown", details=told))
    dearer = dearer_than_paid_for(fact.category, category)
    if dearer is not None:
        return Standing(3, recategorised(name, language, dearer, fact.category_before, category, policy))
    if fact.status not in ("APPROVED", "PAUSED"):
        text = f"The template {name} in {language} may not be sent: at Meta it is {fact.status}."
        told |= {"status": fact.status}
        return Standing(3, Reason(code="template_not_approved", text=text, rule=RULE, details=told))
    if fact.wrong is not None:
        text = f"The values do not fit the template {name} in {language}: {fact.wrong}."
        return Standing(3, Reason(code="template_values_wrong", text=text, rule=RULE, details=told))
    return Standing(2 if fact.status == "PAUSED" else 0)


def dearer_than_paid_for(now: TemplateCategory | None, category: Category) -> TemplateCategory | None:
    """The template's category where it costs more than the message's, or asks for another consent; else None."""
    return now if now is not None and _COST[now] > _PAID_FOR[category] else None


def recategorised(
    name: str,
    language: str,
    dearer: TemplateCategory,
    before: TemplateCategory | None,
    category: Category,
    policy: Templates,
) -> Reason:
    """Why a message does not go by a template that became dearer than its category, with both prices where the policy
    has them: somebody decides whether it is worth that."""
    now, expected = _NAMES[dearer], "utility" if category == "service" else category
    prices = policy.prices
    price = (
        f"{prices[now]:g} instead of {prices[expected]:g} {policy.currency} a message"
        if now in prices and expected in prices
        else f"as {now}"
    )
    text = (
        f"The template {name} in {language} is {now} at Meta, and the message is {category}: it would cost {price}, "
        f"and asks for consent to {now}. Send it again with that category, or another template."
    )
    details = {"template": f"{name}:{language}", "expected": category, "now": now}
    if before is not None:
        details["before"] = _NAMES[before]
    return Reason(code="template_recategorised", text=text, rule=RULE, details=details)


def changed(name: str, language: str, wrong: str) -> Reason:
    """Why a message waits whose template was edited at Meta after it had been planned, and what somebody can do."""
    text = (
        f"The template {name} in {language} was changed at Meta, and what waits does not fit it any more: {wrong}. "
        "Cancel it, or its run, and send it again with values that fit; or change the template back, and it goes."
    )
    return Reason(
        code="template_changed", text=text, rule=RULE, details={"template": f"{name}:{language}", "wrong": wrong}
    )
