"""A lane's decisions against messages as they are kept, and made again (B11)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from harkara.contracts.event import Decision, Reason
from harkara.policy.governance import Governance
from harkara.policy.lane_facts import (
    Cancel,
    Conflict,
    Consent,
    Echoless,
    Facts,
    Hours,
    Life,
    Outcome,
    Refusal,
    Request,
    Resend,
    Resolved,
    Run,
    Unresolved,
    Ways,
)
from harkara.policy.lane_obstacles import Elsewhere, Hold, Number, NumberSays, Place, Wording
from harkara.policy.lane_reasons import reason_of, told

Inputs = Mapping[str, Any]
"""The JSON of facts, with their `kind`: a key of KINDS."""


class DryRun(Facts):
    """It was to be worked off without a call; `held`: the facts for which it would have been held."""

    codes = ("dry_run",)
    dry_run: bool
    held: dict[str, Any] | None = None

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """Where it would have been held, that must come out again too."""
        holds = self.held is None or facts_of(self.held).outcome(now, governance) is not None
        return Outcome("rehearsed", "dry_run") if self.dry_run and holds else None


KINDS: dict[str, type[Facts]] = {
    "cancel": Cancel,
    "consent": Consent,
    "life": Life,
    "run": Run,
    "hours": Hours,
    "ways": Ways,
    "number": Number,
    "number_state": NumberSays,
    "elsewhere": Elsewhere,
    "hold": Hold,
    "template": Wording,
    "place": Place,
    "refusal": Refusal,
    "echoless": Echoless,
    "resend": Resend,
    "unresolved": Unresolved,
    "resolved": Resolved,
    "dry_run": DryRun,
    "conflict": Conflict,
    "request": Request,
}


def facts_of(inputs: Inputs) -> Facts:
    """The facts that were kept. Raises ValidationError where this version does not know their kind, or cannot read
    them."""
    return KINDS.get(str(inputs.get("kind")), Unknown).model_validate(inputs)


class Unknown(Facts):
    """Facts of a version that is newer than this."""

    codes = ()
    kind: Literal["of a newer version"]

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """Nothing can be said of it."""
        return None


def decision_of(inputs: Inputs, status: str, code: str, policy_version: str, now: datetime) -> Decision:
    """What is kept of a decision against a message: `inputs` as the lane had them, and what it made of them."""
    verdict = verdict_of(Outcome(status, code))
    return Decision(step="lane", policy_version=policy_version, at=now, inputs=dict(inputs), verdict=verdict)


def judged(inputs: Inputs, governance: Governance, now: datetime) -> Outcome | None:
    """The decision made again. Raises ValidationError, as `facts_of`."""
    return facts_of(inputs).outcome(now.timestamp(), governance)


def verdict_of(outcome: Outcome | None) -> dict[str, Any]:
    """A verdict in a form that can be kept and compared."""
    if outcome is None:
        return {"outcome": "goes"}
    return {"outcome": outcome.status, "code": outcome.code, "rule": told(outcome.code).rule or ""}


def why(outcome: Outcome | None, policy_version: str) -> Reason | None:
    """The reason of an outcome."""
    return None if outcome is None else reason_of(outcome.code, policy_version, outcome.name)
