"""Why was it decided so? A decision is made again from what was kept of it, and must come out the same (B11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harkara.contracts.event import Decision, Reason
from harkara.policy import clearance, contacts, fallback, lane_decisions, routing
from harkara.policy.governance import Governance


@dataclass(frozen=True, slots=True)
class Again:
    """A decision made again. `reason` is the refusal's own, where it refuses; `same`: the verdict is the one that was
    kept; `unreadable`: why it cannot be made again."""

    verdict: dict[str, Any]
    same: bool
    reason: Reason | None = None
    unreadable: str | None = None


def decided_again(decision: Decision, governance: Governance) -> Again:
    """The decision under this policy, from its recorded inputs, as of its own time. Raises nothing."""
    try:
        verdict, reason = _STEPS[decision.step](decision, governance)
    except ValidationError as error:
        why = f"this version cannot read what was kept of it: {error.error_count()} fields do not fit"
        return Again({}, same=False, unreadable=why)
    return Again(verdict, same=verdict == decision.verdict, reason=reason)


def _clearance(decision: Decision, governance: Governance) -> tuple[dict[str, Any], Reason | None]:
    verdict = clearance.judge(clearance.Facts.model_validate(decision.inputs), governance, decision.at)
    return clearance.verdict_of(verdict), verdict.reason if isinstance(verdict, clearance.Rejected) else None


def _routing(decision: Decision, governance: Governance) -> tuple[dict[str, Any], Reason | None]:
    choice = routing.choose(routing.Facts.model_validate(decision.inputs), governance, decision.at)
    if isinstance(choice, Reason):
        return routing.verdict_of(choice), choice
    other = fallback.chosen_again(decision.inputs, governance, decision.at)
    verdict = fallback.verdict_with(routing.verdict_of(choice), other)
    return verdict, fallback.not_routed(other) if isinstance(other, Reason) else None


def _contact(decision: Decision, governance: Governance) -> tuple[dict[str, Any], Reason | None]:
    refusal = contacts.judged(contacts.Facts.model_validate(decision.inputs), governance, decision.at)
    stamp = {"policy_version": governance.version}
    return contacts.verdict_of(refusal), None if refusal is None else refusal.reason.model_copy(update=stamp)


def _lane(decision: Decision, governance: Governance) -> tuple[dict[str, Any], Reason | None]:
    outcome = lane_decisions.judged(decision.inputs, governance, decision.at)
    return lane_decisions.verdict_of(outcome), lane_decisions.why(outcome, governance.version)


_STEPS = {"clearance": _clearance, "routing": _routing, "contact": _contact, "lane": _lane}
