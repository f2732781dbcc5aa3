"""What the terminal shows while a run is under way, and at its end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harkara.cli.evidence import Verdict, percentile
from harkara.contracts.lifecycle import ENDS

RATE_SECONDS = 3.0  # the window of the rate shown: long enough not to flicker, short enough to see a kill
SHOWN_IDS = 10

STYLES = {
    "read": "green", "played": "green", "delivered": "green", "sent": "cyan", "submitted": "cyan",
    "failed": "red", "failed_unsent": "red", "rejected": "yellow", "unknown": "magenta", "in_doubt": "magenta",
}  # fmt: skip


@dataclass
class Screen:
    """The live picture: a bar of ended messages, a row per number, a row per status."""

    total: int
    progress: Progress = field(
        default_factory=lambda: Progress(
            TextColumn("[bold]ended"), BarColumn(bar_width=40), MofNCompleteColumn(), TimeElapsedColumn()
        )
    )
    _sent: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._task = self.progress.add_task("run", total=self.total)

    def draw(
        self, now: float, accepted: Mapping[str, int], queues: Mapping[str, Mapping[str, Any]], states: Sequence[str]
    ) -> Group:
        """The picture at `now` (seconds, monotonic): `accepted` per number at the simulator, `states` of the run."""
        statuses = Counter(states)
        self.progress.update(self._task, completed=sum(n for s, n in statuses.items() if s in ENDS))
        numbers = Table("number", "at Meta", "per second", "queued", "in flight", "in doubt", "verdict", expand=False)
        for number in sorted({*accepted, *queues}):
            queue = queues.get(number, {})
            numbers.add_row(
                number,
                str(accepted.get(number, 0)),
                f"{self._rate(number, now, accepted.get(number, 0)):.0f}",
                *(str(queue.get(key, 0)) for key in ("queued", "in_flight", "in_doubt")),
                str(queue.get("verdict", "open")),
            )
        line = Text("  ").join(Text(f"{s} {n}", STYLES.get(s, "white")) for s, n in sorted(statuses.items()))
        return Group(self.progress, numbers, line)

    def _rate(self, number: str, now: float, accepted: int) -> float:
        seen = self._sent.setdefault(number, deque())
        seen.append((now, accepted))
        while now - seen[0][0] > RATE_SECONDS:
            seen.popleft()
        seconds = now - seen[0][0]
        return (accepted - seen[0][1]) / seconds if seconds > 0 else 0.0


def summary(verdict: Verdict, webhook_to_state_ms: Sequence[float], wall_seconds: float) -> Group:
    """The end: counts from the two independent readings, and what does not fit."""
    statuses = Table("status", "messages", title="By message-state")
    for status, count in sorted(verdict.by_status.items()):
        statuses.add_row(Text(status, STYLES.get(status, "white")), str(count))
    reasons = Table("reason", "messages", title="Ended otherwise than read or delivered")
    for reason, count in sorted(verdict.by_reason.items()):
        reasons.add_row(reason, str(count))
    facts = Table(show_header=False, box=None)
    facts.add_row("recipients", str(verdict.expected))
    facts.add_row("accepted, by the simulator's ledger", str(verdict.accepted))
    facts.add_row("lost", _must_be_none(verdict.lost))
    facts.add_row("duplicated", _must_be_none(verdict.duplicated))
    facts.add_row("ledger and projection disagree", _must_be_none(verdict.disagreements))
    facts.add_row("unknown (in doubt, never resent)", _unknown(verdict))
    facts.add_row("intent to Graph, p50 / p99", _milliseconds(verdict.waits_ms))
    facts.add_row("webhook to state, p50 / p99", _milliseconds(webhook_to_state_ms))
    facts.add_row("wall time", f"{wall_seconds:.1f} s")
    return Group(statuses, reasons, facts) if verdict.by_reason else Group(statuses, facts)


def _must_be_none(found: Sequence[str]) -> Text:
    if not found:
        return Text("0", "bold green")
    more = "" if len(found) <= SHOWN_IDS else f" and {len(found) - SHOWN_IDS} more"
    return Text(f"{len(found)}: {', '.join(found[:SHOWN_IDS])}{more}", "bold red")


def _unknown(verdict: Verdict) -> Text:
    if not verdict.unknown:
        return Text("0")
    return Text(
        f"{len(verdict.unknown)} (Meta has {verdict.unknown_accepted}): {', '.join(verdict.unknown)}", "magenta"
    )


def _milliseconds(values: Sequence[float]) -> str:
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return "not measured" if p50 is None or p99 is None else f"{p50:,.0f} ms / {p99:,.0f} ms"
