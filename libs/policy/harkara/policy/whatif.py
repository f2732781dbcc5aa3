"""What another policy would have decided: kept decisions are made again under it, and nothing is sent (B11).

A message has one verdict: the first of its decisions that comes out otherwise, or that cannot be compared, is the one
that counts, and those after it are moot. Hops come in any order, since the clocks of two may differ by more than their
decisions do; the decisions of one hop in theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from harkara.contracts.event import Decision
from harkara.policy.comparable import contacts_not_kept, not_kept
from harkara.policy.explain import decided_again
from harkara.policy.governance import Governance

MOST_SHOWN = 1000  # differences kept one by one; all of them are counted
_HOPS = {"clearance": 0, "routing": 1, "contact": 2, "lane": 2}

Sort = Literal["same", "otherwise", "not comparable", "unreadable", "moot"]


class Found(NamedTuple):
    """What a decision comes to. `told`: of a difference (step, was, would), of what cannot be compared (step, what was
    not kept)."""

    sort: Sort
    told: tuple[str, ...] = ()


_SAME, _MOOT, _UNREADABLE = Found("same"), Found("moot"), Found("unreadable")


class _Noted(NamedTuple):
    """A decision among those of its message; one object for all that are alike. `contact`: it is the lane's on
    contacts, or says that no rule on them is about the message; `unless_contact`: what the last one to let the message
    go on comes to, where none of those is there."""

    hop: int
    found: Found
    contact: bool
    unless_contact: Found | None


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
    """The kept decisions against a policy. `policy_of` gives the policy of a version, None where it is not on record:
    by it is told what a decision was asked."""

    governance: Governance
    policy_of: Callable[[str], Governance | None] = lambda _: None
    decisions: int = 0
    _counts: Counter[Found] = field(default_factory=Counter)
    _messages: dict[str, tuple[_Noted, ...]] = field(default_factory=dict)
    _alike: dict[_Noted, _Noted] = field(default_factory=dict)
    _shown: dict[str, Difference] = field(default_factory=dict)

    def add(self, message_id: str, decision: Decision) -> None:
        """One more."""
        self.decisions += 1
        found, text = self._found(decision)
        noted = self._noted(decision, found)
        before = self._messages.get(message_id, ())
        place = next((at for at, each in enumerate(before) if each.hop > noted.hop), len(before))
        after = self._messages[message_id] = (*before[:place], noted, *before[place:])
        self._counts.subtract(_verdicts(before))
        verdicts = _verdicts(after)
        self._counts.update(verdicts)
        decisive = next((at for at, each in enumerate(verdicts) if each.sort in ("otherwise", "not comparable")), None)
        if decisive is None or verdicts[decisive].sort != "otherwise":
            self._shown.pop(message_id, None)
        elif decisive == place:
            self._shown.pop(message_id, None)
            if len(self._shown) < MOST_SHOWN:
                self._shown[message_id] = Difference(message_id, decision, found.told[1], found.told[2], text)

    @property
    def same(self) -> int:
        """Decisions that come out as they did."""
        return self._counts[_SAME]

    @property
    def unreadable(self) -> int:
        """Decisions that this version cannot make again."""
        return self._counts[_UNREADABLE]

    @property
    def moot(self) -> int:
        """Decisions after the one of their message that counts: they would not be asked for any more, or otherwise."""
        return self._counts[_MOOT]

    @property
    def kinds(self) -> Counter[tuple[str, ...]]:
        """How many messages would come out otherwise, by (step, was, would)."""
        return self._told("otherwise")

    @property
    def not_comparable(self) -> Counter[tuple[str, ...]]:
        """Of how many messages the policy looks at something that was not kept, by (step, what)."""
        return self._told("not comparable")

    @property
    def shown(self) -> list[Difference]:
        """The first differences, one a message."""
        return list(self._shown.values())

    def _told(self, sort: Sort) -> Counter[tuple[str, ...]]:
        return Counter({found.told: count for found, count in self._counts.items() if found.sort == sort and count})

    def _found(self, decision: Decision) -> tuple[Found, str | None]:
        """What it comes to by itself; the sentence of a new refusal."""
        try:
            missing = not_kept(decision, self.governance, self.policy_of(decision.policy_version))
        except ValidationError:
            return _UNREADABLE, None
        again = decided_again(decision, self.governance)
        if again.unreadable is not None:
            return _UNREADABLE, None
        if missing is not None:
            return Found("not comparable", (decision.step, missing)), None
        if again.same:
            return _SAME, None
        return Found("otherwise", _kind(decision, again.verdict)), None if again.reason is None else again.reason.text

    def _noted(self, decision: Decision, found: Found) -> _Noted:
        step, unless_contact = decision.step, None
        if found is _SAME and decision.verdict.get("outcome") in ("cleared", "routed"):
            missing = contacts_not_kept(decision, self.governance, self.policy_of(decision.policy_version))
            unless_contact = None if missing is None else Found("not comparable", ("contact", missing))
        answers = bool(decision.inputs.get("answers"))
        noted = _Noted(_HOPS[step], found, step == "contact" or answers, unless_contact)
        return self._alike.setdefault(noted, noted)


def _verdicts(noted: tuple[_Noted, ...]) -> list[Found]:
    """What each of a message's decisions comes to among the others. Of a message that was routed the lane decides on
    the contacts before it, and only its refusals are kept."""
    contact, decided, verdicts = any(each.contact for each in noted), False, []
    let_go = max((each.hop for each in noted if each.unless_contact is not None), default=None)
    for each in noted:
        asked = not contact and each.hop == let_go and each.unless_contact is not None
        found = each.unless_contact if asked and each.unless_contact is not None else each.found
        verdicts.append(_MOOT if decided else found)
        decided = decided or found.sort in ("otherwise", "not comparable")
    return verdicts


def _kind(decision: Decision, verdict: dict[str, Any]) -> tuple[str, str, str]:
    """(step, was, would)."""
    was, would = _named(decision.verdict), _named(verdict)
    return decision.step, was, f"{would} otherwise" if was == would else would


def _named(verdict: dict[str, Any]) -> str:
    outcome = str(verdict.get("outcome"))
    return f"{outcome}: {verdict['code']}" if "code" in verdict else outcome
