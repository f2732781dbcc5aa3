"""Who did what: every operator action and every refusal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any, ClassVar

import orjson
from pydantic import Field

from harkara.contracts.event import Decision, Event, Instant


class AuditRecord(Event):
    """One action. `subject` is a message, run, number or person key; never a phone, a text or a secret."""

    ce_type: ClassVar[str] = "harkara.audit.v1"
    audit_id: str
    actor: str
    action: str
    subject: str
    at: Instant
    details: dict[str, str] = Field(default_factory=dict)


POLICY_APPLIED = "policy_applied"
"""The action of a record by which a service says which policy it goes by from then on."""

DECISIONS_RECORDED = "decisions_recorded"
"""The action of a record that stands for a number of decisions: `details` has their `count` and `hash`."""

CHAIN_START = "0" * 64
"""What stands in the place of the hash before a chain's first record."""


_KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
"""What a pseudonym looks like; ids of ours do too, and are sealed without harm."""
WAMID = re.compile(r"wamid\.[\w+/=-]+", re.ASCII)
PERSON_FIELDS = frozenset({"person_key", "reached_key", "also_key", "listed_as", "names"})
"""The fields, of events and of what is kept of decisions, that say whom it is about: they are emptied for whoever is
erased, and Meta's ids of messages too, which have the phone number in them."""
ERASED = "erased"
"""Stands where a person was."""
_PERSON_IN_JSON = re.compile(rb'"(' + "|".join(sorted(PERSON_FIELDS)).encode() + rb')":"(?:[^"\\]|\\.)*"')
SUBJECT = "subject"
Salts = Mapping[str, str]
"""By field (`subject`, or `details.<name>`) the salt of what it says."""


def linked_hash(before: str, record: AuditRecord, salts: Salts | None = None) -> str:
    """The hash of a record in its chain, as 64 hexadecimal digits: SHA-256 over the hash of the record before and
    everything that this one says. So no record can be changed, taken out or put in without every later hash changing.

    What a field with a salt says goes in sealed, so that it can be taken out of the record later and the hash stays.
    """
    at = record.at.astimezone(UTC).isoformat(timespec="microseconds")
    shown = record if not salts else _sealed(record, salts)
    said = [record.audit_id, record.actor, record.action, shown.subject, at, sorted(shown.details.items())]
    return hashlib.sha256(bytes.fromhex(before) + orjson.dumps(said)).hexdigest()


def seal(salt: str, said: str) -> str:
    """What stands for `said` in the hash, and in the record once it is erased: nobody can try out who it was without
    the salt, which is thrown away then."""
    return "erased:" + hashlib.sha256(f"{salt}\x1f{said}".encode()).hexdigest()


def persons_in(record: AuditRecord) -> set[str]:
    """Whom the record may be about: everything in it that looks like a pseudonym."""
    return {found for _, said in _fields(record) for found in _KEY.findall(said)}


def fields_to_seal(record: AuditRecord) -> list[str]:
    """The fields that need a salt of their own: those in which a pseudonym may stand."""
    return [field for field, said in _fields(record) if _KEY.search(said)]


def without_person(record: AuditRecord, salts: Salts, person_key: str) -> tuple[AuditRecord, dict[str, str]]:
    """The record without this person, and the salts that are left; its hash is the same. A field without a salt, of a
    record from before there were any, stays as it is."""
    named = {field for field, said in _fields(record) if field in salts and person_key in said}
    rest = {field: salt for field, salt in salts.items() if field not in named}
    return _sealed(record, {field: salts[field] for field in named}), rest


def decision_hash(source: str, event_id: str, message_id: str | None, decision: Any) -> str:
    """The hash of what was decided on a message and by what, as it stands in the event of that id, JSON; 64 hexadecimal
    digits. Whom it was about does not go in: the person can be erased, and the hash stays."""
    said = orjson.dumps([source, event_id, message_id, decision], option=orjson.OPT_SORT_KEYS)
    if b"wamid" in said:  # no decision has needed one yet
        said = orjson.dumps([source, event_id, message_id, _without_wamids(decision)], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(_PERSON_IN_JSON.sub(rb'"\1":"erased"', said)).hexdigest()


def as_json(decision: Decision) -> Any:
    """As it stands in its event."""
    return decision.model_dump(mode="json", exclude_none=True)


def decisions_hash(hashes: Iterable[str]) -> str:
    """The hash of these decisions, in whatever order they are given."""
    return hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()


def _without_wamids(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_wamids(each) for name, each in value.items() if name != "wamid"}
    if isinstance(value, list):
        return [_without_wamids(each) for each in value]
    return WAMID.sub(ERASED, value) if isinstance(value, str) else value


def _fields(record: AuditRecord) -> Iterator[tuple[str, str]]:
    yield SUBJECT, record.subject
    yield from ((f"details.{name}", said) for name, said in record.details.items())


def _sealed(record: AuditRecord, salts: Salts) -> AuditRecord:
    said = {field: seal(salts[field], text) if field in salts else text for field, text in _fields(record)}
    details = {field.removeprefix("details."): text for field, text in said.items() if field != SUBJECT}
    return record.model_copy(update={"subject": said[SUBJECT], "details": details})
