"""From records to rows: pure, so that a replay of the topics in any order fills the same tables.

A row replaces the one with its key only if it is newer by the event's own version or time; events are only inserted.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harkara.contracts.audit import AuditRecord
from harkara.contracts.consent import OWN_WORD, SAID_ELSEWHERE, ConsentEvent
from harkara.contracts.envelope import LONGEST_REASON, Envelope, Headers, Undecodable, decode, header
from harkara.contracts.event import Event, event_id
from harkara.contracts.lifecycle import MessageLifecycle, MessageState
from harkara.contracts.numbers import NumberEvent, NumberState, QueueState
from harkara.contracts.persons import PersonAlias
from harkara.contracts.runs import RunCounts, RunProgress, SendRun, SlaEvent
from harkara.contracts.topics import (
    AUDIT_LOG,
    CONSENT_EVENTS,
    MESSAGE_LIFECYCLE,
    MESSAGE_STATE,
    NUMBER_EVENTS,
    NUMBER_STATE,
    PERSON_IDENTITIES,
    QUARANTINED,
    QUEUE_STATE,
    RUN_PROGRESS,
    SEND_RUNS,
    SLA_EVENTS,
    Topic,
)

DEAD_LETTER_TOPICS: tuple[Topic, ...] = tuple(topic.dlq for topic in QUARANTINED)
TOPICS: tuple[Topic, ...] = (
    NUMBER_STATE, QUEUE_STATE, SEND_RUNS, RUN_PROGRESS, SLA_EVENTS, NUMBER_EVENTS, AUDIT_LOG, *DEAD_LETTER_TOPICS,
    CONSENT_EVENTS, PERSON_IDENTITIES, MESSAGE_STATE, MESSAGE_LIFECYCLE,
)  # fmt: skip
"""What the console reads, the few and telling before the many: a backlog of messages never hides a halted number. Who
was erased is known before their messages, when all is read again."""

_DEAD_LETTER_NAMES = frozenset(topic.name for topic in DEAD_LETTER_TOPICS)
WAITING_KEY = b"wamid:"  # message-state keeps statuses here whose message it does not know yet; they are no message

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its primary key, and the column by which a row replaces another (None: rows are never replaced)."""

    name: str
    key: tuple[str, ...]
    newer: str | None
    columns: tuple[str, ...]


MESSAGES = Table(
    "messages", ("message_id",), "version",
    ("message_id", "home", "status", "attempt", "at", "wamid", "phone_number_id", "error_code", "reason", "run_id",
     "producer", "person_key", "category", "received_at", "attempts", "first_seen", "duplicate", "anomalies",
     "version"),
)  # fmt: skip
MESSAGE_EVENTS = Table(
    "message_events", ("source", "event_id"), None,
    ("source", "event_id", "message_id", "wamid", "home", "at", "event"),
)  # fmt: skip
RUNS = Table(
    "runs", ("run_id",), "created_at",
    ("run_id", "name", "producer", "expected", "homes", "audience_hash", "deadline", "created_at", "filters",
     "left_out", "verdicts", "verdict_hash", "policy_version", "dry_run"),
)  # fmt: skip
PROGRESS = Table(
    "run_progress", ("run_id", "partition"), "version", ("run_id", "partition", "version", "counts", "updated_at")
)
SLA = Table(
    "sla_events", ("source", "event_id"), None,
    ("source", "event_id", "run_id", "kind", "expected", "delivered", "on_time", "ended", "percent_on_time", "deadline",
     "at"),
)  # fmt: skip
NUMBERS = Table(
    "numbers", ("phone_number_id",), "version",
    ("phone_number_id", "home", "version", "verdict", "availability", "quality", "connection", "until", "latched",
     "reason", "by", "updated_at"),
)  # fmt: skip
NUMBER_HISTORY = Table(
    "number_events", ("source", "event_id"), None,
    ("source", "event_id", "phone_number_id", "home", "kind", "at", "event"),
)  # fmt: skip
QUEUES = Table(
    "queues", ("phone_number_id",), "updated_at",
    ("phone_number_id", "home", "queued", "scheduled", "held", "in_flight", "in_doubt", "sent_last_minute",
     "sent_today", "oldest_queued_at", "verdict", "by_priority", "flows", "first", "pace", "daily_limit", "daily_used",
     "updated_at"),
)  # fmt: skip
AUDIT = Table("audit", ("audit_id",), None, ("audit_id", "actor", "action", "subject", "at", "details"))
DEAD_LETTERS = Table(
    "dead_letters", ("topic", "partition", "offset"), None,
    ("topic", "partition", "offset", "recorded_at", "origin", "loop", "reason", "message_id", "key_hash"),
)  # fmt: skip
CONSENT = Table(
    "consent_events", ("person_key", "event_id"), None,
    ("event_id", "person_key", "standing", "purpose", "source", "at", "until", "proof", "origin", "language", "actor"),
)  # fmt: skip
NAMES = Table("person_names", ("person_key", "alias_key", "kind"), "at", ("person_key", "alias_key", "kind", "at"))
TABLES = (
    CONSENT, NAMES, MESSAGES, MESSAGE_EVENTS, RUNS, PROGRESS, SLA, NUMBERS, NUMBER_HISTORY, QUEUES, AUDIT, DEAD_LETTERS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read, before anything was believed of it. `timestamp` is the record's own."""

    topic: Topic
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Placed:
    """A row and the table it belongs to; `of` is the record it came from."""

    table: Table
    row: Row
    of: Record

    @property
    def unreadable(self) -> bool:
        """The console's own note of a record that it could not read itself."""
        return self.table is DEAD_LETTERS and self.of.topic.name not in _DEAD_LETTER_NAMES


def views_of(placed: Iterable[Placed]) -> set[str]:
    """The live views that show these rows: `overview`, `run:<id>`, `message:<id or wamid>`."""
    found: set[str] = set()
    for each in placed:
        row = each.row
        if each.table in (MESSAGES, MESSAGE_EVENTS):
            found |= {f"message:{row[name]}" for name in ("message_id", "wamid") if row.get(name)}
        elif each.table is AUDIT:  # a word on a run is its state
            found |= {f"message:{row['subject']}", f"run:{row['subject']}", "overview"}
        elif each.table in (RUNS, PROGRESS, SLA):
            found |= {f"run:{row['run_id']}", "overview"}
        elif each.table not in (NUMBER_HISTORY, CONSENT, NAMES):  # which no live page shows
            found.add("overview")
    return found


def place(record: Record, pepper: bytes) -> Placed | None:
    """The row of a record; None for a record that says nothing to the read side.

    A tombstone is not followed: Kafka forgets an ended message after its retention, the read side keeps its history.
    A record that is no event of its topic becomes a dead letter of the console's own.
    """
    if record.topic.name in _DEAD_LETTER_NAMES:
        return dead_letter(record, pepper)
    if record.value is None or _waits_for_its_message(record):
        return None
    where = f"{record.topic.name}-{record.partition}-{record.offset}"
    try:
        envelope = decode(record.topic.events, record.value, record.headers, fallback_id=where)
    except Undecodable as error:
        return dead_letter(record, pepper, reason=str(error))
    table, row_of = _PLACES[type(envelope.event)]
    return Placed(table, row_of(envelope), record)


def automatic_halt(placed: Placed) -> Placed | None:
    """The audit's record of a number that was halted by no operator; of other rows None. Operators' words are there
    already. A halt is one until the number is resumed, whatever is seen of it meanwhile."""
    row = placed.row
    if placed.table is not NUMBERS or not row["latched"] or row["by"].startswith("operator:"):
        return None
    reason = row["reason"] or {}
    said = {name: str(reason.get(name) or "") for name in ("code", "rule", "text", "policy_version")}
    record = AuditRecord(
        audit_id=event_id("halt", row["phone_number_id"], row["resumed_at"] or "", row["by"], said["code"]),
        actor=row["by"],
        action="number_halted",
        subject=row["phone_number_id"],
        at=row["updated_at"],
        details=said | {"home": row["home"]},
    )
    return Placed(AUDIT, _plain(record), placed.of)


def dead_letter(record: Record, pepper: bytes, *, reason: str | None = None) -> Placed:
    """Where a record is that could not be processed, and why. `reason` is the console's own, else the DLQ's header.

    The key is stored as its HMAC (16 characters): enough to see that letters share one, no way back to a phone.
    """
    said = reason or header(record.headers, "dlq-reason") or "no reason was given"
    row = {
        "topic": record.topic.name,
        "partition": record.partition,
        "offset": record.offset,
        "recorded_at": _text(record.timestamp),
        "origin": header(record.headers, "dlq-source") or f"{record.topic.name}-{record.partition}-{record.offset}",
        "loop": "console" if reason else header(record.headers, "dlq-loop") or "unknown",
        "reason": said[:LONGEST_REASON],
        "message_id": header(record.headers, "ce_subject"),
        "key_hash": hmac.new(pepper, record.key, hashlib.sha256).hexdigest()[:16] if record.key else None,
    }
    return Placed(DEAD_LETTERS, row, record)


def newest(placed: Iterable[Placed]) -> dict[Table, list[Row]]:
    """The rows to write by table: of several with one key the newest, in the order of their keys.

    One order for everybody, so that two writers of the same rows never wait for each other crosswise.
    """
    kept: dict[Table, dict[tuple[Any, ...], Row]] = {}
    for each in placed:
        rows = kept.setdefault(each.table, {})
        key = tuple(each.row[column] for column in each.table.key)
        before = rows.get(key)
        if before is None or (each.table.newer is not None and before[each.table.newer] < each.row[each.table.newer]):
            rows[key] = each.row
    return {table: [row for _, row in sorted(kept[table].items())] for table in TABLES if table in kept}


def sum_counts(parts: Iterable[RunCounts]) -> RunCounts:
    """A run's counts: the sum over the lifecycle partitions."""
    by_status: dict[str, int] = {}
    by_reason: dict[str, int] = {}
    delivered = on_time = ended = 0
    for part in parts:
        _add(by_status, part.by_status)
        _add(by_reason, part.by_reason)
        delivered, on_time, ended = delivered + part.delivered, on_time + part.on_time, ended + part.ended
    return RunCounts(by_status=by_status, by_reason=by_reason, delivered=delivered, on_time=on_time, ended=ended)


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in percent, one decimal, rounded down (9,999 of 10,000 are not all); of nothing it is 0."""
    return part * 1000 // whole / 10 if whole > 0 else 0.0


def _add(total: dict[str, int], part: dict[str, int]) -> None:
    for name, count in part.items():
        total[name] = total.get(name, 0) + count


def _waits_for_its_message(record: Record) -> bool:
    return record.topic is MESSAGE_STATE and (record.key or b"").lstrip(b'"').startswith(WAITING_KEY)


def _text(at: datetime) -> str:
    """UTC in one fixed width, so that the order of the texts is the order of the times."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _plain(event: Event, *times: str) -> Row:
    """The event's fields as JSON has them; `times` in the sortable form."""
    row = event.model_dump(mode="json")
    return row | {name: _text(getattr(event, name)) for name in times}


def _consent(envelope: Envelope) -> Row:
    """What was said, without another name by which they said it: here it would outlive that name's erasure."""
    row = _plain(envelope.event, "at")
    own = {"actor": row["person_key"]} if row["source"] == OWN_WORD and row["actor"] else {}
    elsewhere = {"proof": SAID_ELSEWHERE} if row["proof"].startswith(SAID_ELSEWHERE) else {}
    return row | own | elsewhere


def _message(envelope: Envelope) -> Row:
    row = _plain(envelope.event)
    facts = row.pop("facts")
    return row | {name: facts.get(name) for name in ("run_id", "producer", "person_key", "category", "received_at")}


def _identified(envelope: Envelope) -> Row:
    return {"source": envelope.source, "event_id": envelope.id}


def _message_event(envelope: Envelope) -> Row:
    event = envelope.event.model_dump(mode="json", exclude_none=True)
    named = {name: event.get(name) for name in ("message_id", "wamid", "home", "at")}
    return _identified(envelope) | named | {"event": event}


def _number_event(envelope: Envelope) -> Row:
    event = envelope.event.model_dump(mode="json", exclude_none=True)
    named = {name: event[name] for name in ("phone_number_id", "home", "kind", "at")}
    return _identified(envelope) | named | {"event": event}


_PLACES: dict[type[Event], tuple[Table, Callable[[Envelope], Row]]] = {
    MessageState: (MESSAGES, _message),
    MessageLifecycle: (MESSAGE_EVENTS, _message_event),
    SendRun: (RUNS, lambda e: _plain(e.event, "created_at")),
    RunProgress: (PROGRESS, lambda e: _plain(e.event)),
    SlaEvent: (SLA, lambda e: _identified(e) | _plain(e.event)),
    NumberState: (NUMBERS, lambda e: _plain(e.event)),
    NumberEvent: (NUMBER_HISTORY, _number_event),
    QueueState: (QUEUES, lambda e: _plain(e.event, "updated_at")),
    AuditRecord: (AUDIT, lambda e: _plain(e.event)),
    ConsentEvent: (CONSENT, _consent),
    PersonAlias: (NAMES, lambda e: _plain(e.event, "at")),
}
