"""What became of every message, against the ledger of the far side: the only judge of a chaos run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

CLAIMED = frozenset({"submitted", "sent", "delivered", "read", "played", "failed"})
"""Statuses that say that Meta has the message."""
DOUBTED = frozenset({"in_doubt", "unknown"})
SETTLED = (*sorted(CLAIMED), *sorted(DOUBTED))


@dataclass
class Verdict:
    """Figures and names of one run; they add up. `doubted`: ever in doubt; `accepted`: of these, in the ledger."""

    messages: int = 0
    doubted: int = 0
    accepted: int = 0
    unknown: int = 0
    cancelled: int = 0
    duplicates: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    false_claims: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was sent twice, lost, or claimed without being so."""
        return not (self.duplicates or self.lost or self.false_claims)

    def add(self, other: Verdict) -> None:
        """Take another run's figures in."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def __str__(self) -> str:
        figures = (
            f"{self.messages} messages: {self.doubted} in doubt (of these {self.accepted} accepted, {self.unknown} "
            f"unknown for good), {self.cancelled} cancelled, {len(self.duplicates)} duplicates, {len(self.lost)} lost, "
            f"{len(self.false_claims)} claimed falsely"
        )
        named = {"duplicate": self.duplicates, "lost": self.lost, "false": self.false_claims}
        return "; ".join([figures, *(f"{word}: {', '.join(ids)}" for word, ids in named.items() if ids)])


def message_of(entry: Mapping[str, Any]) -> str:
    """The message of a ledger entry, from its callback data."""
    return str(entry["opaque"]).rpartition(".")[0]


def judged(
    sent: Iterable[str],
    states: Mapping[str, Mapping[str, Any]],
    ledger: Iterable[Mapping[str, Any]],
    cancelled: Collection[str] = (),
) -> Verdict:
    """The verdict on messages `sent`, each with its joined lifecycle state, given everything that was accepted.

    Lost: neither claimed nor in doubt by name, nor cancelled where that was asked for (`cancelled`). False: claimed
    with a wamid that the ledger does not have for it, or cancelled although it does.
    """
    sent, entries = list(sent), list(ledger)
    times = Counter(message_of(entry) for entry in entries)
    wamids = {(message_of(entry), entry["wamid"]) for entry in entries}
    verdict = Verdict(messages=len(sent))
    for message_id in sent:
        state = states.get(message_id, {})
        status = state.get("status")
        if times[message_id] > 1:
            verdict.duplicates.append(message_id)
        if status in CLAIMED and (message_id, state.get("wamid")) not in wamids:
            verdict.false_claims.append(message_id)
        if status == "cancelled" and message_id in cancelled:
            verdict.cancelled += 1
            verdict.false_claims += [message_id] if times[message_id] else []
        elif status not in CLAIMED and status not in DOUBTED:
            verdict.lost.append(f"{message_id} ({status or 'no event'})")
        if DOUBTED & set(state.get("first_seen", ())):
            verdict.doubted += 1
            verdict.accepted += times[message_id] > 0
            verdict.unknown += status == "unknown"
    return verdict
