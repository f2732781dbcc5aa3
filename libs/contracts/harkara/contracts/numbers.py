"""The health of sender numbers, and how their queues stand."""

from __future__ import annotations

from typing import ClassVar, Literal

from harkara.contracts.event import Event, Home, Instant, Reason

Availability = Literal["AVAILABLE", "LIMITED", "BLOCKED", "UNKNOWN"]
Quality = Literal["GREEN", "YELLOW", "RED", "UNKNOWN"]
Verdict = Literal["open", "paused", "pause_proactive", "halted"]
"""open: sends. paused: nothing until `until`. pause_proactive: only session messages.
halted: nothing until an operator resumes."""


class NumberEvent(Event):
    """Something was seen about a number: by the poll of health_status, by a webhook, or by the dispatcher's calls."""

    ce_type: ClassVar[str] = "harkara.number-event.v1"
    phone_number_id: str
    home: Home
    kind: Literal["health", "quality", "status", "halted", "rate_limited", "throughput", "other"]
    source: Literal["poll", "webhook", "dispatcher"]
    at: Instant
    availability: Availability | None = None
    quality: Quality | None = None
    hold_until: Instant | None = None
    reason: Reason | None = None


class NumberCommand(Event):
    """An operator's word on a number; `actor` is who said it, `note` why."""

    ce_type: ClassVar[str] = "harkara.number-command.v1"
    command_id: str
    phone_number_id: str
    home: Home
    kind: Literal["halt", "resume"]
    actor: str
    note: str = ""
    at: Instant


class NumberState(Event):
    """What a number may do now. `version` only grows: a reader keeps the highest."""

    ce_type: ClassVar[str] = "harkara.number-state.v1"
    phone_number_id: str
    home: Home
    version: int
    verdict: Verdict
    availability: Availability = "UNKNOWN"
    quality: Quality = "UNKNOWN"
    until: Instant | None = None
    latched: bool = False
    reason: Reason | None = None
    by: str = ""
    updated_at: Instant


class QueueState(Event):
    """How one number's queue stands in its lane, about once a second while it changes. Counts of messages."""

    ce_type: ClassVar[str] = "harkara.queue-state.v1"
    phone_number_id: str
    home: Home
    queued: int
    scheduled: int
    held: int
    in_flight: int
    in_doubt: int
    sent_last_minute: int
    sent_today: int
    oldest_queued_at: Instant | None = None
    verdict: Verdict = "open"
    updated_at: Instant
