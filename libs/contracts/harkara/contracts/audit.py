"""Who did what: every operator action and every refusal."""

from __future__ import annotations

import hashlib
from datetime import UTC
from typing import ClassVar

import orjson
from pydantic import Field

from harkara.contracts.event import Event, Instant


class AuditRecord(Event):
    """One action. `subject` is a message, run, number or person key; never a phone, a text or a secret."""

    ce_type: ClassVar[str] = "harkara.audit.v1"
    audit_id: str
    actor: str
    action: str
    subject: str
    at: Instant
    details: dict[str, str] = Field(default_factory=dict)


CHAIN_START = "0" * 64
"""What stands in the place of the hash before a chain's first record."""


def linked_hash(before: str, record: AuditRecord) -> str:
    """The hash of a record in its chain, as 64 hexadecimal digits: SHA-256 over the hash of the record before and
    everything that this one says. So no record can be changed, taken out or put in without every later hash changing.
    """
    at = record.at.astimezone(UTC).isoformat(timespec="microseconds")
    said = [record.audit_id, record.actor, record.action, record.subject, at, sorted(record.details.items())]
    return hashlib.sha256(bytes.fromhex(before) + orjson.dumps(said)).hexdigest()
