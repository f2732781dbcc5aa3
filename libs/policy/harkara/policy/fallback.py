"""What an intent's fallback content would go by: planned as if it were the intent's content (RTW-7).

Planned when the message is, so that a preview shows it and a template that may not go, or whose values do not fit, is
known before it is needed. What is asked of it once it goes (consent, the window, the template, the number) is asked
again by the lane. A message whose fallback has no way goes without one, and says why: its first content is not at
fault.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from harkara.contracts.event import Decision, Reason
from harkara.contracts.intents import ClearedIntent, FallbackPlan, SendIntent
from harkara.policy.governance import Governance
from harkara.policy.routing import Choice, Facts, NoRoute, Planned, Surroundings, choose, decision_of, plan, verdict_of

NOT_ROUTED = "fallback_not_routed"
KEPT = "fallback"
"""Where it stands in the inputs and the verdict of its message's routing."""
_OF_CONTENT = ("free_form", "template", "template_name", "languages", "offered", "asked", "templates", "repeats")
"""The facts in which it differs from the first content: person, hour and numbers are the same."""


def plan_fallback(
    cleared: ClearedIntent, governance: Governance, around: Surroundings, now: datetime
) -> FallbackPlan | Reason | None:
    """The plan of a cleared intent's fallback content, why there is none, or None where the intent has no fallback."""
    return as_ordered(decide_fallback(cleared, governance, around, now), cleared.intent)


def decide_fallback(
    cleared: ClearedIntent, governance: Governance, around: Surroundings, now: datetime
) -> Planned | NoRoute | None:
    """The decision on the fallback content, None where the intent has none. `fallback_template` does not stand in for
    it: the window's other form is the first content's."""
    intent = cleared.intent
    if intent.fallback_content is None:
        return None
    as_content = {"content": intent.fallback_content, "fallback_content": None, "fallback_template": None}
    return plan(cleared.model_copy(update={"intent": intent.model_copy(update=as_content)}), governance, around, now)


def as_ordered(planned: Planned | NoRoute | None, intent: SendIntent) -> FallbackPlan | Reason | None:
    """What of the decision goes into the order, or why there is nothing."""
    if planned is None:
        return None
    if isinstance(planned, NoRoute):
        return not_routed(planned.reason)
    return FallbackPlan(
        plan=planned.plan,
        session=planned.session,
        template=planned.template,
        after_seconds=intent.fallback_after_seconds,
        if_undeliverable=intent.fallback_if_undeliverable,
    )


def not_routed(why: Reason) -> Reason:
    """That the message goes without it, and why."""
    text = f"It goes without its fallback content: {why.text}"
    return why.model_copy(update={"code": NOT_ROUTED, "text": text, "details": why.details | {"because": why.code}})


def kept_with(decision: Decision | None, fallback: Planned | NoRoute | None) -> Decision | None:
    """What is kept of a message's routing, with that of its fallback content."""
    if decision is None or fallback is None:
        return decision
    of_it = decision_of(fallback, decision.policy_version, decision.at)
    if of_it is None:
        return decision
    facts = {name: of_it.inputs[name] for name in _OF_CONTENT if name in of_it.inputs}
    return decision.model_copy(
        update={"inputs": decision.inputs | {KEPT: facts}, "verdict": decision.verdict | {KEPT: of_it.verdict}}
    )


def chosen_again(inputs: dict[str, Any], governance: Governance, now: datetime) -> Choice | Reason | None:
    """The decision on the fallback content, made again from what is kept of the message's routing; None: there was
    none. Raises ValidationError where it cannot be read."""
    if KEPT not in inputs:
        return None
    shared = {name: value for name, value in inputs.items() if name not in (KEPT, *_OF_CONTENT)}
    return choose(Facts.model_validate({**shared, **inputs[KEPT]}), governance, now)


def verdict_with(verdict: dict[str, Any], fallback: Choice | Reason | None) -> dict[str, Any]:
    """A routing's verdict with that on the fallback content."""
    return verdict if fallback is None else verdict | {KEPT: verdict_of(fallback)}


def told(fallback: FallbackPlan | Reason | None) -> str:
    """For a preview: the form in which it would go first, `refused:<code>`, or nothing where there is none."""
    if fallback is None:
        return ""
    return f"refused:{fallback.details['because']}" if isinstance(fallback, Reason) else fallback.plan[0].form
