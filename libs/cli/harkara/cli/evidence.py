"""Holds what Meta's side accepted against what Harkara says of it. Pure: two independent readings in, a verdict out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harkara.contracts.lifecycle import EFFECT_RANK, ENDS_WITHOUT_EFFECT


@dataclass(frozen=True, slots=True)
class Accepted:
    """One line of the ledger: the message and attempt of its callback data, its wamid, when it was accepted."""

    message_id: str
    attempt: int
    wamid: str
    phone_number_id: str
    accepted_at_ms: int


@dataclass(frozen=True)
class Verdict:
    """What the two readings say. `lost`, `duplicated` and `disagreements` must be empty.

    `unknown` are the messages whose call was under way at a kill or whose answer never came: named, never guessed.
    """

    expected: int
    accepted: int
    by_status: Mapping[str, int]
    by_reason: Mapping[str, int]
    lost: Sequence[str]
    duplicated: Sequence[str]
    disagreements: Sequence[str]
    unknown: Sequence[str]
    unknown_accepted: int
    foreign: int = 0
    waits_ms: Sequence[float] = field(default_factory=tuple)

    @property
    def holds(self) -> bool:
        """Whether every message went out exactly once or ended for a reason, and the projection says the same."""
        return not (self.lost or self.duplicated or self.disagreements)


def judge(message_ids: Iterable[str], ledger: Iterable[Accepted], states: Mapping[str, Mapping[str, Any]]) -> Verdict:
    """`states` are MessageState records by message id, read from `message-state`; `ledger` is the simulator's own."""
    expected = list(message_ids)
    accepted: dict[str, list[Accepted]] = defaultdict(list)
    for entry in ledger:
        accepted[entry.message_id].append(entry)
    wanted = set(expected)
    disagreements = [text for m in expected for text in _disagreements(m, accepted.get(m, []), states.get(m))]
    unknown = [m for m in expected if states.get(m, {}).get("status") == "unknown"]
    return Verdict(
        expected=len(expected),
        accepted=sum(len(entries) for m, entries in accepted.items() if m in wanted),
        by_status=Counter(str(states[m]["status"]) if m in states else "(no state)" for m in expected),
        by_reason=Counter(reason for m in expected if (reason := _reason(states.get(m))) is not None),
        lost=[m for m in expected if m not in accepted and not _ended_without_effect(states.get(m))],
        duplicated=[m for m in expected if len(accepted.get(m, ())) > 1],
        disagreements=disagreements,
        unknown=unknown,
        unknown_accepted=sum(1 for m in unknown if m in accepted),
        foreign=sum(1 for m in accepted if m not in wanted),
        waits_ms=[wait for m in expected for wait in _waits(accepted.get(m, []), states.get(m))],
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def _ended_without_effect(state: Mapping[str, Any] | None) -> bool:
    """It ended before Meta had it, and says why."""
    return state is not None and state["status"] in ENDS_WITHOUT_EFFECT and state.get("reason") is not None


def _disagreements(message_id: str, entries: list[Accepted], state: Mapping[str, Any] | None) -> list[str]:
    """Where the projection claims what the ledger does not have, or denies what it has."""
    if state is None:
        return [f"{message_id}: in the ledger, but without a state"] if entries else []
    status, wamids = state["status"], {entry.wamid for entry in entries}
    if status in EFFECT_RANK and state.get("wamid") not in wamids:
        return [f"{message_id}: {status}, but the ledger does not have its wamid"]
    if status in ENDS_WITHOUT_EFFECT - {"unknown"} and entries:
        return [f"{message_id}: {status}, but the ledger has it"]
    return []


def _reason(state: Mapping[str, Any] | None) -> str | None:
    reason = (state or {}).get("reason")
    return None if reason is None else f"{state['status']}: {reason['code']}"  # type: ignore[index]


def _waits(entries: list[Accepted], state: Mapping[str, Any] | None) -> list[float]:
    received = (state or {}).get("facts", {}).get("received_at_ms")
    return [entries[0].accepted_at_ms - received] if entries and received is not None else []
