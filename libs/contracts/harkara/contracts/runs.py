"""Runs: one template to an audience, until a deadline."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harkara.contracts.event import Event, Home, Instant, Value
from harkara.contracts.intents import SendIntent


class AudienceRow(Event):
    """One recipient of a run, frozen when the run was accepted: its home never changes afterwards.

    `emit_at` is the row's slot where the run spreads its messages; None means at once.
    """

    ce_type: ClassVar[str] = "harkara.audience-row.v1"
    run_id: str
    row: int
    home: Home
    intent: SendIntent
    emit_at: Instant | None = None


class SendRun(Event):
    """A run as accepted. `expected` is the number of rows on `run-audience`, `audience_hash` is of the frozen rows,
    keyed by the pepper.

    `filters` are those that chose its recipients out of the list that was given, `left_out` how many they left out.
    `verdicts` is what the policy was expected to say when the run was accepted, as counts by verdict and by reason
    (`refused:opted_out`), under `policy_version`, each recipient's in `verdict_hash`; empty where it was not asked.
    `dry_run`: nobody is called.
    """

    ce_type: ClassVar[str] = "harkara.send-run.v1"
    run_id: str
    name: str
    producer: str
    expected: int
    homes: dict[str, int]
    audience_hash: str
    deadline: Instant | None = None
    created_at: Instant
    filters: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    left_out: int = 0
    verdicts: dict[str, int] = Field(default_factory=dict)
    verdict_hash: str | None = None
    policy_version: str | None = None
    dry_run: bool = False


class RunCounts(Value):
    """How the messages of a run stand: each message is counted once, under the status that is shown for it."""

    by_status: dict[str, int]
    by_reason: dict[str, int]
    delivered: int
    on_time: int
    ended: int


class RunProgress(Event):
    """The counts of one run in one lifecycle partition; the run's counts are the sum over its partitions."""

    ce_type: ClassVar[str] = "harkara.run-progress.v1"
    run_id: str
    partition: int
    version: int
    counts: RunCounts
    updated_at: Instant


class SlaEvent(Event):
    """Something about a run's promise that operators are told: it ended, or its deadline passed."""

    ce_type: ClassVar[str] = "harkara.sla.v1"
    run_id: str
    kind: Literal["completed", "deadline_passed"]
    expected: int
    delivered: int
    on_time: int
    ended: int
    percent_on_time: float
    deadline: Instant | None = None
    at: Instant
