"""Who did what: every operator action and every refusal."""

from __future__ import annotations

from typing import ClassVar

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
