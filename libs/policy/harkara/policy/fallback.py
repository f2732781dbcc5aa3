"""What an intent's fallback content would go by: planned as if it were the intent's content (RTW-7).

Planned when the message is, so that a preview shows it and a template that may not go, or whose values do not fit, is
known before it is needed. What is asked of it once it goes (consent, the window, the template, the number) is asked
again by the lane. A message whose fallback has no way goes without one, and says why: its first content is not at
fault.
"""

from __future__ import annotations

from datetime import datetime

from harkara.contracts.event import Reason
from harkara.contracts.intents import ClearedIntent, FallbackPlan
from harkara.policy.governance import Governance
from harkara.policy.routing import NoRoute, Surroundings, plan

NOT_ROUTED = "fallback_not_routed"


def plan_fallback(
    cleared: ClearedIntent, governance: Governance, around: Surroundings, now: datetime
) -> FallbackPlan | Reason | None:
    """The plan of a cleared intent's fallback content, why there is none, or None where the intent has no fallback.

    `fallback_template` does not stand in for it: the window's other form is the first content's.
    """
    intent = cleared.intent
    if intent.fallback_content is None:
        return None
    as_content = {"content": intent.fallback_content, "fallback_content": None, "fallback_template": None}
    planned = plan(cleared.model_copy(update={"intent": intent.model_copy(update=as_content)}), governance, around, now)
    if isinstance(planned, NoRoute):
        return _not_routed(planned.reason)
    return FallbackPlan(
        plan=planned.plan,
        session=planned.session,
        template=planned.template,
        after_seconds=intent.fallback_after_seconds,
        if_undeliverable=intent.fallback_if_undeliverable,
    )


def _not_routed(why: Reason) -> Reason:
    text = f"It goes without its fallback content: {why.text}"
    return why.model_copy(update={"code": NOT_ROUTED, "text": text, "details": why.details | {"because": why.code}})


def told(fallback: FallbackPlan | Reason | None) -> str:
    """For a preview: the form in which it would go first, `refused:<code>`, or nothing where there is none."""
    if fallback is None:
        return ""
    return f"refused:{fallback.details['because']}" if isinstance(fallback, Reason) else fallback.plan[0].form
