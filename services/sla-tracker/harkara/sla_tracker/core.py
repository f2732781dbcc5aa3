"""How a run stands: each message counted once, under the status that is shown for it; and when it is spoken of.

Which status a message has is the matter of `contracts.lifecycle.advance`. On time is who was reached by the
deadline, by Meta's own timestamps: the first of delivered, read and played.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from harkara.contracts.lifecycle import ENDS, REACHED, State
from harkara.contracts.runs import RunCounts, SendRun, SlaEvent

EXPLAINED = frozenset({"rejected", "cancelled", "expired", "failed_unsent", "unknown", "failed", "held"})
"""Statuses whose reason is counted: the others need none."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one message adds to its run's counts."""

    status: str
    reason: str | None
    delivered: bool
    on_time: bool
    ended: bool
    version: int


def share_of(state: State, deadline: datetime | None) -> Share:
    """The message's part; without a deadline every delivery is on time."""
    reached_at = [datetime.fromisoformat(at) for status, at in state["first_seen"].items() if status in REACHED]
    status = state["status"]
    return Share(
        status=status,
        reason=_reason(state) if status in EXPLAINED else None,
        delivered=bool(reached_at),
        on_time=bool(reached_at) and (deadline is None or min(reached_at) <= deadline),
        ended=status in ENDS,
        version=state["version"],
    )


def _reason(state: State) -> str:
    """The code of the reason, else Meta's error code, else `unexplained`."""
    reason = state.get("reason")
    if reason:
        return str(reason["code"])
    return str(state.get("error_code", "unexplained"))


def run_of(state: State) -> str | None:
    """The run that the message belongs to, where an event has named it."""
    run_id: str | None = state["facts"].get("run_id")
    return run_id


@dataclass
class Tally:
    """The counts of one run in one partition. `version` is the sum of its messages' versions: it grows with every
    change, and a table recovered from its changelog gives the same."""

    deadline: datetime | None = None
    by_status: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    on_time: int = 0
    ended: int = 0
    version: int = 0

    def add(self, share: Share, times: int = 1) -> None:
        """Count the share; `times` -1 takes it back."""
        self.by_status[share.status] += times
        if share.reason is not None:
            self.by_reason[share.reason] += times
        self.delivered += times * share.delivered
        self.on_time += times * share.on_time
        self.ended += times * share.ended
        self.version += times * share.version

    def counts(self) -> RunCounts:
        """The counts as they are published; zeros are left out."""
        return RunCounts(
            by_status={status: n for status, n in sorted(self.by_status.items()) if n},
            by_reason={reason: n for reason, n in sorted(self.by_reason.items()) if n},
            delivered=self.delivered,
            on_time=self.on_time,
            ended=self.ended,
        )


def tally(states: Iterable[State], deadline: datetime | None) -> Tally:
    """The counts of these messages."""
    counted = Tally(deadline)
    for state in states:
        counted.add(share_of(state, deadline))
    return counted


@dataclass(frozen=True, slots=True)
class Totals:
    """A run's counts over all partitions."""

    delivered: int = 0
    on_time: int = 0
    ended: int = 0

    def percent_on_time(self, expected: int) -> float:
        """0 to 100, two decimals; an empty run kept its promise."""
        return round(100 * self.on_time / expected, 2) if expected else 100.0


def totals_of(parts: Iterable[RunCounts]) -> Totals:
    """The sum over the partitions."""
    listed = list(parts)
    return Totals(sum(p.delivered for p in listed), sum(p.on_time for p in listed), sum(p.ended for p in listed))


Kind = Literal["completed", "deadline_passed"]


def due(run: SendRun, totals: Totals, said: frozenset[str], now: datetime, settle: timedelta) -> list[SlaEvent]:
    """What is to be said about the run now and was not `said` yet.

    The deadline is spoken of `settle` after it, so that deliveries of the last seconds have arrived from Meta.
    """
    kinds: list[Kind] = []
    if totals.ended >= run.expected:
        kinds.append("completed")
    if run.deadline is not None and now >= run.deadline + settle:
        kinds.append("deadline_passed")
    return [_event(run, kind, totals, now) for kind in kinds if kind not in said]


def is_finished(run: SendRun, said: frozenset[str]) -> bool:
    """Whether there is nothing left to say about the run."""
    return "completed" in said and (run.deadline is None or "deadline_passed" in said)


def _event(run: SendRun, kind: Kind, totals: Totals, now: datetime) -> SlaEvent:
    return SlaEvent(
        run_id=run.run_id,
        kind=kind,
        expected=run.expected,
        delivered=totals.delivered,
        on_time=totals.on_time,
        ended=totals.ended,
        percent_on_time=totals.percent_on_time(run.expected),
        deadline=run.deadline,
        at=now,
    )
