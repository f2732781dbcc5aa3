"""What a number may do, from everything that was seen and said about it.

A join: of each fact the latest word counts, of two of one time the worse (Meta's notices are stamped in whole seconds),
so events and commands may come in any order and more than once. The rules (requirement FHL-2 and the settled conflicts
of the design):

    halted           BLOCKED, a refused token or an operator's halt, after the last resume: only an operator ends it
    paused           a rate limit of the whole number, until its hold has passed
    pause_proactive  LIMITED, until AVAILABLE; or quality RED, until it is another
    open             otherwise
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from harkara.contracts.event import Instant, Reason, Value
from harkara.contracts.numbers import Availability, NumberCommand, NumberEvent, NumberState, Quality, Verdict
from harkara.contracts.partition import murmur2

RULE = "FHL-2"
FIRST_POLLS_WITHIN_SECONDS = 5.0  # all numbers are known soon after a start, without a burst

_WORSE: dict[str, int] = {"AVAILABLE": 1, "LIMITED": 2, "BLOCKED": 3, "GREEN": 1, "YELLOW": 2, "RED": 3}
"""Of availabilities and of qualities: which of two words of one time counts."""

Rank = TypeVar("Rank", int, str, tuple[str, str], tuple[int, str], tuple[bool, str], tuple[datetime, str])
Row = dict[str, Any]
"""A number's row: NumberState, and under `facts` what it follows from. Readers of number-state ignore the facts."""


class Facts(Value):
    """The latest word on each fact, and when it was said."""

    availability: Availability = "UNKNOWN"
    availability_at: Instant | None = None
    availability_reason: Reason | None = None
    quality: Quality = "UNKNOWN"
    quality_at: Instant | None = None
    connection: str = "UNKNOWN"
    connection_at: Instant | None = None
    latched_at: Instant | None = None
    latch_reason: Reason | None = None
    latched_by: str = ""
    resumed_at: Instant | None = None
    resumed_by: str = ""
    held_at: Instant | None = None
    hold_until: Instant | None = None
    hold_reason: Reason | None = None
    messaging_limit: int | None = None
    messaging_limit_at: Instant | None = None

    @property
    def latched(self) -> bool:
        """Whether something halted the number after an operator last resumed it."""
        return self.latched_at is not None and (self.resumed_at is None or self.latched_at > self.resumed_at)


def observe(facts: Facts, event: NumberEvent) -> Facts:
    """What was seen: by the poll, by a webhook, by the dispatcher."""
    said: dict[str, Any] = {}
    for read in (_availability, _quality, _limit, _connection, _latch, _hold):
        said |= read(facts, event)
    return facts.model_copy(update=said)


def _availability(facts: Facts, event: NumberEvent) -> dict[str, Any]:
    word, at = event.availability, event.at
    if word is None or word == "UNKNOWN":
        return {}
    reason = event.reason if word != "AVAILABLE" else None
    before = (_WORSE.get(facts.availability, 0), _text(facts.availability_reason))
    if not _counts(at, (_WORSE[word], _text(reason)), facts.availability_at, before):
        return {}
    return {"availability": word, "availability_at": at, "availability_reason": reason}


def _quality(facts: Facts, event: NumberEvent) -> dict[str, Any]:
    word = event.quality
    if word is None or word == "UNKNOWN":
        return {}
    counts = _counts(event.at, _WORSE[word], facts.quality_at, _WORSE.get(facts.quality, 0))
    return {"quality": word, "quality_at": event.at} if counts else {}


def _limit(facts: Facts, event: NumberEvent) -> dict[str, Any]:
    limit, known = event.messaging_limit, facts.messaging_limit
    if limit is None or not _counts(event.at, _tightness(limit), facts.messaging_limit_at, _tightness(known)):
        return {}
    return {"messaging_limit": limit, "messaging_limit_at": event.at}


def _tightness(limit: int | None) -> int:
    """Larger for fewer people; -1 is no limit."""
    return 0 if limit is None or limit < 0 else 2**63 - limit


def _connection(facts: Facts, event: NumberEvent) -> dict[str, Any]:
    word, known = event.connection, facts.connection
    if word is None:
        return {}
    counts = _counts(event.at, (word != "CONNECTED", word), facts.connection_at, (known != "CONNECTED", known))
    return {"connection": word, "connection_at": event.at} if counts else {}


def _latch(facts: Facts, event: NumberEvent) -> dict[str, Any]:
    if event.kind != "halted" and event.availability != "BLOCKED":
        return {}
    return _latched(facts, event.at, event.reason, event.source)


def _latched(facts: Facts, at: datetime, reason: Reason | None, by: str) -> dict[str, Any]:
    before = (facts.latched_by, _text(facts.latch_reason))
    if not _counts(at, (by, _text(reason)), facts.latched_at, before):
        return {}
    return {"latched_at": at, "latch_reason": reason, "latched_by": by}


def _hold(facts: Facts, event: NumberEvent) -> dict[str, Any]:
    until = event.hold_until
    if event.kind != "rate_limited" or until is None:
        return {}
    before = (facts.hold_until or until, _text(facts.hold_reason))
    if not _counts(event.at, (until, _text(event.reason)), facts.held_at, before):
        return {}
    return {"held_at": event.at, "hold_until": until, "hold_reason": event.reason}


def obey(facts: Facts, command: NumberCommand) -> Facts:
    """What an operator said. A resume ends a halt and a hold; a RED quality or LIMITED it cannot lift."""
    by = f"operator:{command.actor}"
    if command.kind == "halt":
        reason = Reason(code="operator_halt", text=command.note or "An operator halted the number.", rule=RULE)
        return facts.model_copy(update=_latched(facts, command.at, reason, by))
    if not _counts(command.at, by, facts.resumed_at, facts.resumed_by):
        return facts
    return facts.model_copy(update={"resumed_at": command.at, "resumed_by": by})


def judge(facts: Facts, now: datetime) -> tuple[Verdict, datetime | None, Reason | None, str]:
    """The verdict at `now`, until when (paused only), why, and by whom."""
    if facts.latched:
        return "halted", None, facts.latch_reason, facts.latched_by
    if facts.hold_until is not None and facts.hold_until > now and _after_resume(facts.held_at, facts):
        return "paused", facts.hold_until, facts.hold_reason, "dispatcher"
    if facts.availability == "LIMITED":
        return "pause_proactive", None, facts.availability_reason, "meta"
    if facts.quality == "RED":
        text = "Meta rates the number's quality RED (LOW); only session messages go until it recovers."
        return "pause_proactive", None, Reason(code="quality_red", text=text, rule="FHL-4"), "meta"
    return "open", None, None, facts.resumed_by


def first_row(phone_number_id: str, home: str, now: datetime) -> Row:
    """The row of a number of which nothing is known yet: open."""
    return _row(phone_number_id, home, Facts(), 1, now)


def next_row(row: Row, facts: Facts, now: datetime) -> Row | None:
    """The row with these facts at `now`; None where nothing at all is new.

    The version grows only where a reader sees a difference, so a poll that says the same again is no news.
    """
    new = _row(row["phone_number_id"], row["home"], facts, row["version"] + 1, now)
    if any(new[key] != row.get(key) for key in new if key not in ("version", "updated_at", "facts")):
        return new
    return {**row, "facts": new["facts"]} if new["facts"] != row["facts"] else None


def facts_of(row: Row) -> Facts:
    """What the row follows from."""
    return Facts.model_validate(row["facts"])


def first_poll_after_seconds(phone_number_id: str) -> float:
    """How long after taking over a number its health is asked for first."""
    return FIRST_POLLS_WITHIN_SECONDS * _fraction(phone_number_id)


def second_poll_after_seconds(phone_number_id: str, interval_seconds: float) -> float:
    """From the first poll to the second, half to one and a half intervals: so that all numbers spread over one."""
    return interval_seconds * (0.5 + _fraction(phone_number_id))


def _fraction(phone_number_id: str) -> float:
    return murmur2(phone_number_id.encode()) % 1000 / 1000


def _row(phone_number_id: str, home: str, facts: Facts, version: int, now: datetime) -> Row:
    verdict, until, reason, by = judge(facts, now)
    state = NumberState(
        phone_number_id=phone_number_id,
        home=home,
        version=version,
        verdict=verdict,
        availability=facts.availability,
        quality=facts.quality,
        connection=facts.connection,
        until=until,
        latched=facts.latched,
        reason=reason,
        by=by,
        resumed_at=facts.resumed_at,
        updated_at=now,
    )
    return state.model_dump(mode="json") | {"facts": facts.model_dump(mode="json", exclude_none=True)}


def _counts(at: datetime, rank: Rank, known_at: datetime | None, known_rank: Rank) -> bool:
    """Whether a word of that time takes the place of the one that is known: a later one, or of one time the worse."""
    return known_at is None or at > known_at or (at == known_at and rank > known_rank)


def _text(reason: Reason | None) -> str:
    return "" if reason is None else reason.model_dump_json()


def _after_resume(at: datetime | None, facts: Facts) -> bool:
    return at is not None and (facts.resumed_at is None or at > facts.resumed_at)
