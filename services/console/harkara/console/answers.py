"""The shapes of the query API's answers (JSON in camelCase), and how they are made of what the read side holds."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from harkara.console.core import Row
from harkara.contracts.lifecycle import ENDS, MessageLifecycle, MessageState
from harkara.contracts.numbers import QueuePace
from harkara.policy.governance import Governance
from harkara.policy.schedule import Schedule

RUN_STATES = {None: "running", "resume_run": "running", "pause_run": "paused", "cancel_run": "cancelled"}


class Answer(BaseModel):
    """An answer; times are RFC 3339 in UTC."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Why(Answer):
    """Why something was decided: `code` for machines, `text` for people, `rule` and `policy_version` to look it up."""

    code: str
    text: str
    rule: str | None = None
    policy_version: str | None = None
    details: dict[str, str] = {}


class Step(Answer):
    """One thing that happened to a message."""

    status: str
    at: datetime
    attempt: int
    phone_number_id: str | None = None
    form: str | None = None
    error_code: int | None = None
    reason: Why | None = None
    hold_until: datetime | None = None
    source: str


class Attempt(Answer):
    """One attempt, counted from 1 (what came before is history): when each of its statuses was first seen."""

    attempt: int
    status: str
    at: datetime
    phone_number_id: str | None = None
    form: str | None = None
    template: str | None = None
    wamid: str | None = None
    error_code: int | None = None
    reason: Why | None = None
    seen: dict[str, datetime]


class MessageAnswer(Answer):
    """One message: its status, its attempts, and its history, oldest first. `ended`: nothing more is expected."""

    message_id: str
    status: str
    ended: bool
    attempt: int
    at: datetime
    home: str
    phone_number_id: str | None
    wamid: str | None
    error_code: int | None
    reason: Why | None
    run_id: str | None
    producer: str | None
    person_key: str | None
    category: str | None
    received_at: datetime | None
    duplicate: bool
    anomalies: tuple[str, ...]
    first_seen: dict[str, datetime]
    attempts: list[Attempt]
    history: list[Step]


class QueuedAnswer(Answer):
    """A message near the head of a queue. `position` 1 is next; `estimated_delivery` is when its number's pace lets it
    go, null where nobody knows."""

    position: int
    message_id: str
    priority: int
    flow: str
    estimated_delivery: datetime | None


class QueueAnswer(Answer):
    """One number's queue as its lane last reported it (`updated_at`); counts of messages. `next` are the first ones in
    their order; `next_at` is when the next call may start, `daily_used` the calls of the last 24 hours."""

    phone_number_id: str
    verdict: str
    queued: int
    scheduled: int
    held: int
    in_flight: int
    in_doubt: int
    sent_last_minute: int
    sent_today: int
    oldest_queued_at: datetime | None
    by_priority: dict[str, int]
    next_at: datetime | None
    daily_limit: int | None
    daily_used: int
    next: list[QueuedAnswer]
    updated_at: datetime


class SenderQueue(Answer):
    """The queues of a sender: a number, or every number of a pool. `not_reported`: numbers no lane has spoken of."""

    sender: str
    home: str
    queued: int
    numbers: list[QueueAnswer]
    not_reported: list[str]


class NumberStats(Answer):
    """One number's part: what waits, and what of its limits is used."""

    phone_number_id: str
    queued: int
    held: int
    in_flight: int
    in_doubt: int
    sent_last_minute: int
    sent_today: int
    daily_limit: int | None
    daily_used: int


class SenderStats(Answer):
    """How a sender's messages of the last `hours` stand, by status, what it sent, and what waits (ING-6)."""

    sender: str
    home: str
    hours: int
    by_status: dict[str, int]
    total: int
    delivered: int
    percent_delivered: float
    sent_last_minute: int
    sent_today: int
    queued: int
    numbers: list[NumberStats]


class RunAnswer(Answer):
    """A run: what was promised and how it stands. Percentages are of `expected`, rounded down.

    `state`: running, paused or cancelled, by the newest word on it (`told_by`, `told_at`). `verdicts` is what the
    policy was expected to say when the run was accepted, `by_status` and `by_reason` what became of its messages.
    """

    run_id: str
    name: str
    producer: str
    expected: int
    homes: dict[str, int]
    deadline: datetime | None
    created_at: datetime
    delivered: int
    on_time: int
    ended: int
    percent_delivered: float
    percent_on_time: float
    percent_ended: float
    by_status: dict[str, int]
    by_reason: dict[str, int]
    audience_hash: str
    filters: dict[str, list[str]]
    left_out: int
    verdicts: dict[str, int]
    verdict_hash: str | None
    policy_version: str | None
    dry_run: bool
    state: Literal["running", "paused", "cancelled"]
    told_by: str | None
    told_at: datetime | None


class RecipientAnswer(Answer):
    """What became of one recipient of a run (ING-16): Meta's id of the message, its template, its state and why."""

    message_id: str
    person_key: str | None
    status: str
    at: datetime
    wamid: str | None
    phone_number_id: str | None
    form: str | None
    template: str | None
    category: str | None
    attempts: int
    error_code: int | None
    reason: Why | None


class RecipientsAnswer(Answer):
    """A page of a run's recipients by message id; `after` asks for the next one."""

    recipients: list[RecipientAnswer]
    after: str | None


class RunsAnswer(Answer):
    """The newest runs; `before` asks for the next page."""

    runs: list[RunAnswer]
    before: datetime | None


class NumberAnswer(Answer):
    """A sender number: what it may do, since when and by whose word. `latched`: only an operator resumes it.
    `connection`: Meta's word for its registration (CONNECTED, DISCONNECTED, BANNED; FHL-12)."""

    phone_number_id: str
    home: str
    verdict: str
    availability: str
    quality: str
    connection: str
    latched: bool
    until: datetime | None
    reason: Why | None
    by: str
    updated_at: datetime | None
    queue: QueueAnswer | None


class AllAccepted(Answer):
    """Several commands were written, one per home; what comes of them is seen on the messages and in the audit log."""

    command_ids: list[str]


class Accepted(Answer):
    """A command was written; what comes of it is seen on the message or number and in the audit log."""

    command_id: str


def message_answer(state: MessageState, history: list[Row]) -> MessageAnswer:
    """A message's answer from its state and its lifecycle events."""
    facts: dict[str, Any] = dict.fromkeys(("run_id", "producer", "person_key", "category", "received_at"))
    fields = ("message_id", "status", "attempt", "at", "home", "phone_number_id", "wamid", "error_code", "duplicate",
              "anomalies", "first_seen")  # fmt: skip
    attempts = sorted(number for number in map(int, state.attempts) if number)
    return MessageAnswer(
        **{name: getattr(state, name) for name in fields},
        **(facts | state.facts),
        ended=state.status in ENDS,
        reason=_why(state.reason.model_dump() if state.reason else None),
        attempts=[_attempt(number, state.attempts[str(number)]) for number in attempts],
        history=[_step(row) for row in history],
    )


def run_answer(run: Row) -> RunAnswer:
    """A run's answer from its row and summed counts."""
    counts, word = run["counts"], run["word"] or {}
    told = {"state": RUN_STATES[word.get("action")], "told_by": word.get("actor"), "told_at": word.get("at")}
    return RunAnswer.model_validate(run | counts.model_dump() | told)


def recipient_answer(row: Row) -> RecipientAnswer:
    """A recipient's answer from the message's row; form and template are the newest attempt's."""
    attempts: dict[str, dict[str, Any]] = row["attempts"]
    newest = max(map(int, attempts), default=0)
    about = {name: attempts.get(str(newest), {}).get(name) for name in ("form", "template")}
    return RecipientAnswer.model_validate(row | about | {"attempts": newest, "reason": _why(row["reason"])})


def number_answers(
    governance: Governance, reported: dict[str, Row], home: str | None, now: datetime
) -> list[NumberAnswer]:
    """Every number of the policy file, in its order, then numbers that are only reported. No state yet means open."""
    listed = {n.phone_number_id: governance.home_of(n.phone_number_id) or "" for n in governance.numbers}
    known = listed | {pnid: row["home"] for pnid, row in reported.items() if pnid not in listed}
    return [
        _number(pnid, its_home, reported.get(pnid, {}), now)
        for pnid, its_home in known.items()
        if home is None or its_home == home
    ]


def queue_answer(row: Row | None, now: datetime) -> QueueAnswer | None:
    """A queue's answer with its times as of now, None where its lane has not reported."""
    if not row:
        return None
    pace = None if row["pace"] is None else QueuePace.model_validate(row["pace"])
    schedule = None if pace is None else Schedule(pace, now.timestamp())
    heads = [
        each | {"position": place, "estimated_delivery": schedule.at(place) if schedule is not None else None}
        for place, each in enumerate(row["first"], 1)
    ]
    return QueueAnswer.model_validate(row | {"next": heads, "next_at": None if pace is None else pace.next_at})


NUMBER_WORDS = ("verdict", "availability", "quality", "connection", "latched", "until", "updated_at")


def _number(phone_number_id: str, home: str, reported: Row, now: datetime) -> NumberAnswer:
    state = reported.get("state") or {
        "verdict": "open", "availability": "UNKNOWN", "quality": "UNKNOWN", "connection": "UNKNOWN", "latched": False,
        "until": None, "reason": None, "by": "", "updated_at": None,
    }  # fmt: skip
    return NumberAnswer(
        **{name: state[name] for name in NUMBER_WORDS},
        phone_number_id=phone_number_id,
        home=home,
        by=state["by"],
        reason=_why(state["reason"]),
        queue=queue_answer(reported.get("queue"), now),
    )


def _why(reason: dict[str, Any] | None) -> Why | None:
    return Why.model_validate(reason) if reason else None


def _attempt(number: int, entry: dict[str, Any]) -> Attempt:
    return Attempt.model_validate(entry | {"attempt": number, "reason": _why(entry.get("reason"))})


def _step(row: Row) -> Step:
    event = MessageLifecycle.model_validate(row["event"])
    return Step(
        status=event.status,
        at=event.at,
        attempt=event.attempt,
        phone_number_id=event.phone_number_id,
        form=event.form,
        error_code=event.error_code,
        reason=_why(event.reason.model_dump() if event.reason else None),
        hold_until=event.hold_until,
        source=row["source"],
    )
