"""What another policy would have decided: kept decisions are made again under it, and nothing is sent (B11)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from harkara.contracts.event import Decision
from harkara.policy.explain import decided_again
from harkara.policy.governance import Governance

MOST_SHOWN = 1000  # differences kept one by one; all of them are counted


@dataclass(frozen=True, slots=True)
class Difference:
    """One decision that would come out otherwise. `was` and `would`: `cleared`, `routed`, `rejected: <reason>`; `text`
    is the new refusal's sentence."""

    message_id: str
    decision: Decision
    was: str
    would: str
    text: str | None = None


@dataclass(slots=True)
class Comparison:
    """The kept decisions against a policy. `kinds` counts differences by (step, was, would); `unreadable`: decisions
    that this version cannot make again; `moot`: routings of messages that would have been refused before."""

    governance: Governance
    decisions: int = 0
    same: int = 0
    unreadable: int = 0
    moot: int = 0
    kinds: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    shown: list[Difference] = field(default_factory=list)
    _refused: set[str] = field(default_factory=set)
    _routed: dict[str, tuple[str, str, str] | None] = field(default_factory=dict)

    def add(self, message_id: str, decision: Decision) -> None:
        """One more, in any order: the clocks of two hops may differ by more than their decisions do."""
        self.decisions += 1
        if decision.step == "routing" and message_id in self._refused:
            self.moot += 1
            return
        again = decided_again(decision, self.governance)
        if again.unreadable is not None:
            self.unreadable += 1
            return
        if decision.step == "clearance" and again.verdict["outcome"] == "rejected":
            self._refuse(message_id)
        kind = None if again.same else _kind(decision, again.verdict)
        if decision.step == "routing":
            self._routed[message_id] = kind
        if kind is None:
            self.same += 1
            return
        self.kinds[kind] += 1
        if len(self.shown) < MOST_SHOWN:
            text = None if again.reason is None else again.reason.text
            self.shown.append(Difference(message_id, decision, kind[1], kind[2], text))

    def _refuse(self, message_id: str) -> None:
        """It would not have come to its routing."""
        self._refused.add(message_id)
        if message_id not in self._routed:
            return
        kind = self._routed.pop(message_id)
        self.moot += 1
        if kind is None:
            self.same -= 1
            return
        self.kinds[kind] -= 1
        self.kinds += Counter()  # without those that are none now
        self.shown = [each for each in self.shown if (each.message_id, each.decision.step) != (message_id, "routing")]


def _kind(decision: Decision, verdict: dict[str, Any]) -> tuple[str, str, str]:
    """(step, was, would)."""
    was, would = _named(decision.verdict), _named(verdict)
    return decision.step, was, f"{would} otherwise" if was == would else would


def _named(verdict: dict[str, Any]) -> str:
    outcome = str(verdict.get("outcome"))
    return f"{outcome}: {verdict['code']}" if "code" in verdict else outcome
