"""How often a person may be written to, and whether they were told the same already: the lane's decision on a contact.

A contact is a message of which the person got an attempt, or may have got one. A function of its arguments, so that a
refusal can be made again from what is kept of it (B11). Times are Unix seconds, spans seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from harkara.contracts.event import Decision, Instant, Reason, Value
from harkara.contracts.intents import Category
from harkara.policy.governance import Governance
from harkara.policy.sections import Compliance, ContactPurpose, DuplicateContent, FrequencyCap

TRANSACTIONAL: frozenset[Category] = frozenset({"utility", "authentication", "service"})
CAP_RULE = "compliance.frequency_caps"
DUPLICATE_RULE = "compliance.duplicate_content"
HOUR_SECONDS = 3600.0
MOST_ON_RECORD = 100  # contacts that a refusal keeps: as many as the highest cap counts


class Contact(NamedTuple):
    """An attempt that the person got or may have got. `mark`: of what it said; empty where that is not known."""

    message_id: str
    at: float
    category: Category
    mark: str = ""


class Refusal(NamedTuple):
    """The message must not go. `counted`: the contacts that speak against it, one per message, the newest first."""

    reason: Reason
    counted: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class ContactRules:
    """The policy's part that the lane decides. `looks_at`: per category that a rule is about, whose contacts count;
    `marked`: the categories of which the content counts."""

    caps: tuple[FrequencyCap, ...] = ()
    duplicates: DuplicateContent | None = None
    looks_at: tuple[tuple[Category, frozenset[Category]], ...] = ()
    marked: frozenset[Category] = frozenset()

    def concern(self, category: str) -> bool:
        """Whether a contact of this category is to be remembered."""
        return any(each == category for each, _ in self.looks_at)

    def counting(self, category: str) -> frozenset[Category]:
        """Whose contacts count for a message of this category."""
        return next((others for each, others in self.looks_at if each == category), frozenset())


NO_RULES = ContactRules()


def rules_of(compliance: Compliance) -> ContactRules:
    """What the file says of contacts."""
    caps, duplicates = compliance.frequency_caps, compliance.duplicate_content
    marked: frozenset[Category] = frozenset() if duplicates is None else frozenset(duplicates.purposes)
    looks: dict[Category, frozenset[Category]] = {each: marked for each in sorted(marked)}
    for cap in caps:
        categories = categories_of(cap.purpose)
        looks |= {each: looks.get(each, frozenset()) | categories for each in sorted(categories)}
    return ContactRules(caps, duplicates, tuple(looks.items()), marked)


def categories_of(purpose: ContactPurpose) -> frozenset[Category]:
    """The categories that a purpose names."""
    return TRANSACTIONAL if purpose == "transactional" else frozenset((purpose,))


def refusal_of(
    rules: ContactRules, category: Category, mark: str, contacts: Iterable[Contact], now: float, margin: float
) -> Refusal | None:
    """Why a message that would be attempted now must not be, or None. `contacts` are those of other messages; each
    counts `margin` seconds longer than its span, since a call may begin and be answered that much later than noted."""
    if not rules.concern(category):
        return None
    newest = _newest(contacts)
    for cap in rules.caps:
        if category in categories_of(cap.purpose) and (found := _over(cap, newest, now, margin)) is not None:
            return found
    duplicates = rules.duplicates
    if duplicates is None or category not in duplicates.purposes or not mark:
        return None
    return _told_already(duplicates, mark, newest, now, margin)


def _newest(contacts: Iterable[Contact]) -> list[Contact]:
    """One contact per message and content, the newest first. Of one message's attempts the last counts for a cap."""
    found: dict[tuple[str, str], Contact] = {}
    for each in contacts:
        known = found.get((each.message_id, each.mark))
        if known is None or known.at < each.at:
            found[each.message_id, each.mark] = each
    return sorted(found.values(), key=lambda each: (-each.at, each.message_id))


def _over(cap: FrequencyCap, newest: list[Contact], now: float, margin: float) -> Refusal | None:
    span = cap.per_hours * HOUR_SECONDS + margin
    counted = list(_one_each(_within(span, newest, categories_of(cap.purpose), now)))
    if len(counted) < cap.most:
        return None
    next_at = _iso(counted[cap.most - 1].at + span)
    text = (
        f"In the last {cap.per_hours:g} hours {_so_many(len(counted), cap.purpose)} went to this person, or may have, "
        f"and no more than {cap.most} may; the next may go from {next_at} on."
    )
    details = {
        "purpose": cap.purpose,
        "most": str(cap.most),
        "per_hours": f"{cap.per_hours:g}",
        "count": str(len(counted)),
        "next_at": next_at,
    }
    reason = Reason(code="frequency_cap", text=text, rule=CAP_RULE, details=details)
    return Refusal(reason, tuple(counted[:MOST_ON_RECORD]))


def _within(span: float, newest: list[Contact], categories: Collection[Category], now: float) -> Iterator[Contact]:
    """Those that still speak against another of these categories."""
    return (each for each in newest if each.category in categories and each.at + span > now)


def _one_each(contacts: Iterable[Contact]) -> Iterator[Contact]:
    seen: set[str] = set()
    for each in contacts:
        if each.message_id not in seen:
            seen.add(each.message_id)
            yield each


def _told_already(
    rule: DuplicateContent, mark: str, newest: list[Contact], now: float, margin: float
) -> Refusal | None:
    span = rule.within_hours * HOUR_SECONDS + margin
    earlier = next((each for each in _within(span, newest, rule.purposes, now) if each.mark == mark), None)
    if earlier is None:
        return None
    next_at = _iso(earlier.at + span)
    text = (
        f"Message {earlier.message_id} said the same to this person at {_iso(earlier.at)}, or may have; it may be said "
        f"again from {next_at} on."
    )
    details = {
        "earlier_message_id": earlier.message_id,
        "earlier_at": _iso(earlier.at),
        "within_hours": f"{rule.within_hours:g}",
        "next_at": next_at,
    }
    return Refusal(Reason(code="duplicate_content", text=text, rule=DUPLICATE_RULE, details=details), (earlier,))


class Counted(Value):
    """A contact as a refusal keeps it. `same`: it said the same as the message that was refused."""

    message_id: str
    at: Instant
    category: Category
    same: bool = False


class Facts(Value):
    """What a refusal went by: the contacts that spoke against the message, and the margin in seconds."""

    category: Category
    person_key: str
    contacts: tuple[Counted, ...]
    margin_seconds: float


def decision_of(
    refusal: Refusal, category: Category, person_key: str, mark: str, policy_version: str, now: float, margin: float
) -> Decision:
    """What is kept of a refusal, so that it can be explained."""
    contacts = tuple(
        Counted(message_id=each.message_id, at=_at(each.at), category=each.category, same=each.mark == mark != "")
        for each in refusal.counted
    )
    facts = Facts(category=category, person_key=person_key, contacts=contacts, margin_seconds=margin)
    inputs = facts.model_dump(mode="json", exclude_defaults=True)
    verdict = verdict_of(refusal)
    return Decision(step="contact", policy_version=policy_version, at=_at(now), inputs=inputs, verdict=verdict)


def judged(facts: Facts, governance: Governance, now: datetime) -> Refusal | None:
    """The decision made again from what was kept of it."""
    mark = "the same"
    contacts = [
        Contact(each.message_id, each.at.timestamp(), each.category, mark if each.same else "")
        for each in facts.contacts
    ]
    rules = rules_of(governance.compliance)
    return refusal_of(rules, facts.category, mark, contacts, now.timestamp(), facts.margin_seconds)


def verdict_of(refusal: Refusal | None) -> dict[str, Any]:
    """A verdict in a form that can be kept and compared."""
    if refusal is None:
        return {"outcome": "goes"}
    return {"outcome": "cancelled", "code": refusal.reason.code, "rule": refusal.reason.rule or ""}


def left_to_the_lane(compliance: Compliance, category: Category) -> tuple[str, ...]:
    """The codes by which a message of this category may yet be refused in its lane: what went before it is known only
    there, so neither preview nor precheck can say."""
    capped = any(category in categories_of(cap.purpose) for cap in compliance.frequency_caps)
    told = compliance.duplicate_content is not None and category in compliance.duplicate_content.purposes
    return (*(("frequency_cap",) if capped else ()), *(("duplicate_content",) if told else ()))


def _so_many(count: int, purpose: str) -> str:
    return f"{count} {purpose} message{'' if count == 1 else 's'}"


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _iso(seconds: float) -> str:
    return _at(seconds).isoformat(timespec="seconds")
