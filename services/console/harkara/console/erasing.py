"""What of a row says whom it is about, and the row without that (CMP-12). Pure.

An erasure covers what is from before the person came back, also what is written down later: a status of an old message,
a record that is read again from the start. A message's `wamid` goes too, as Meta's has the phone number in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harkara.console.core import AUDIT, CONSENT, MESSAGE_EVENTS, MESSAGES, NAMES, Row, Table
from harkara.contracts.audit import ERASED, PERSON_FIELDS, WAMID


@dataclass(frozen=True, slots=True)
class Erasure:
    """That a person was erased, and since when their own word, an operator's or the API's lets them be known again."""

    person_key: str
    at: datetime
    returned_at: datetime | None = None

    def covers(self, at: datetime) -> bool:
        """Whether something of that time is to be kept without the person."""
        return self.returned_at is None or at < self.returned_at


def persons_of(table: Table, row: Row) -> set[str]:
    """The pseudonyms that the row names."""
    if table in (CONSENT, NAMES):
        return {row["person_key"], row.get("alias_key") or row["person_key"]}
    if table is AUDIT:
        return set(row["persons"])
    if table is MESSAGES:
        attempts: Mapping[str, Row] = row["attempts"]
        found = {row["person_key"], *(attempt.get("reached_key") for attempt in attempts.values())}
    elif table is MESSAGE_EVENTS:
        found = {row["event"].get("person_key"), row["event"].get("reached_key")}
    else:
        return set()
    return {each for each in found if each is not None and each != ERASED}


def time_of(table: Table, row: Row) -> datetime:
    """The time by which it is told whether an erasure covers the row: of a message, when it was accepted."""
    received = row.get("received_at") if table is MESSAGES else row.get("event", {}).get("received_at")
    at = received or row["at"]
    return (at if isinstance(at, datetime) else datetime.fromisoformat(at)).astimezone(UTC)


def covering(table: Table, row: Row, erasures: Mapping[str, Erasure]) -> set[str]:
    """The erased persons of whom the row is to say nothing."""
    if not erasures:
        return set()
    persons = [erasures[each] for each in persons_of(table, row) if each in erasures]
    return {each.person_key for each in persons if each.covers(time_of(table, row))}


def message_without_person(table: Table, row: Row, persons: Collection[str]) -> Row:
    """A row of messages or of their events, anybody's: without these persons, and without Meta's id of the message."""
    if table is MESSAGES:
        bare = {name: without(row[name], persons) for name in ("attempts", "reason", "anomalies")}
        return row | bare | {"person_key": ERASED, "wamid": None}
    return row | {"wamid": None, "event": without(row["event"], persons)}


def without(value: Any, persons: Collection[str]) -> Any:
    """A JSON value in which nobody is named: no field that names a person, no id of Meta's, none of these persons."""
    if isinstance(value, dict):
        kept = {name: without(each, persons) for name, each in value.items() if name != "wamid"}
        return kept | {name: ERASED for name in kept.keys() & PERSON_FIELDS if kept[name] is not None}
    if isinstance(value, list):
        return [without(each, persons) for each in value]
    if not isinstance(value, str):
        return value
    for person in persons:
        value = value.replace(person, ERASED)
    return WAMID.sub(ERASED, value)
