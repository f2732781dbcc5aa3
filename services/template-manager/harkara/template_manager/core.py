"""What is known of a template, from everything that was seen of it.

A join: of each fact the latest word counts, so events may come in any order and more than once, and an older one never
takes the place of a newer. At equal times (webhooks tell whole seconds) the stricter word counts; the list, which is
read soon after every notice, has the last one. But for a while after Meta refused a call for the template: a list that
still says APPROVED then is behind, and every message that waits would be let go and held again each time it is read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from harkara.contracts.event import Instant, Reason, Value
from harkara.contracts.numbers import Quality
from harkara.contracts.template_state import TemplateCategory, TemplateParameters, TemplateState, TemplateStatus
from harkara.contracts.templates import TemplateEvent
from harkara.graph_api.templates import category_of, status_of

Row = dict[str, Any]
"""A template's row: TemplateState, and under `facts` what it follows from. Readers ignore the facts."""

GONE: frozenset[TemplateStatus] = frozenset({"DELETED"})
FORGOTTEN_AFTER = timedelta(days=90)
"""After its deletion. An approved name is free again after 30 days (Meta), and notices live 30 days on their topic."""
AN_INSTANT = timedelta(milliseconds=1)  # what a category held before the notice that it holds no more
FIRST_DOUBT = timedelta(minutes=1)  # of the list after a refusal; longer than its readings in a row are apart
LONGEST_DOUBT = timedelta(hours=1)  # then a call tries it again, as where no list is read
DOUBTS_REMEMBERED = timedelta(days=1)
MOST_REFUSALS = 7  # in as many minutes: the seventh is doubted for the longest time

_STRICTNESS: dict[TemplateStatus, int] = {
    "UNKNOWN": 0, "APPROVED": 1, "PENDING": 2, "IN_APPEAL": 3, "PAUSED": 4, "LIMIT_EXCEEDED": 5, "LOCKED": 6,
    "REJECTED": 7, "DISABLED": 8, "ARCHIVED": 9, "PENDING_DELETION": 10, "DELETED": 11,
}  # fmt: skip
_COST: dict[TemplateCategory, int] = {"UTILITY": 0, "AUTHENTICATION": 1, "MARKETING": 2}
_QUALITY: dict[Quality, int] = {"UNKNOWN": 0, "GREEN": 1, "YELLOW": 2, "RED": 3}
_UNSEEN = frozenset({"version", "updated_at", "observed_at", "status_at", "category_at", "facts"})
"""Of a row: what changes although nothing new was learned."""


class StatusWord(Value):
    """The status at a time, and why."""

    at: Instant
    status: TemplateStatus
    reason: Reason | None = None


class PauseWord(Value):
    """A pause that Meta announced, and until when; None: until somebody lifts it."""

    at: Instant
    until: Instant | None = None


class QualityWord(Value):
    """The rating at a time."""

    at: Instant
    quality: Quality


class Announcement(Value):
    """Meta's notice that the category will be another one."""

    at: Instant
    category: TemplateCategory
    due: Instant | None = None


class ContentWord(Value):
    """The content as it was listed."""

    at: Instant
    parameters: TemplateParameters
    content_hash: str


class Facts(Value):
    """The latest word on each fact. `categories`: when each category was last seen to hold, so that the one before the
    present one is known whatever order the words came in. `unlisted`: the status by all but approvals in the list; None
    in rows of before there was one. `refused_at`: when a call was refused for it last, `refusals` the minutes in which
    some were. `approved_at`: of the newest notice of an approval."""

    template_id: str | None = None
    seen_at: Instant
    status: StatusWord | None = None
    unlisted: StatusWord | None = None
    refused_at: Instant | None = None
    refusals: tuple[Instant, ...] = ()
    approved_at: Instant | None = None
    pause: PauseWord | None = None
    categories: dict[TemplateCategory, Instant] = Field(default_factory=dict)
    announced: Announcement | None = None
    quality: QualityWord | None = None
    content: ContentWord | None = None


def observe(facts: Facts | None, event: TemplateEvent) -> Facts:
    """The facts with one more thing that was seen."""
    known = Facts(seen_at=event.at) if facts is None else facts
    said: dict[str, Any] = {
        "seen_at": max(known.seen_at, event.at),
        "template_id": _larger(known.template_id, event.template_id),
        "categories": _categories(known.categories, event),
    }
    word = _status_word(event)
    said["status"] = _newest(known.status, word, _strictness)
    if word is not None and (word.status != "APPROVED" or event.kind != "listed"):
        said["unlisted"] = _newest(known.unlisted, word, _strictness)
    if event.source == "dispatcher" and word is not None:
        said["refused_at"] = event.at if known.refused_at is None else max(known.refused_at, event.at)
        minutes = {*known.refusals, event.at.replace(second=0, microsecond=0)}
        said["refusals"] = tuple(sorted(minutes)[-MOST_REFUSALS:])
    if event.source == "webhook" and word is not None and word.status == "APPROVED":
        said["approved_at"] = event.at if known.approved_at is None else max(known.approved_at, event.at)
    if event.status == "PAUSED" and event.source == "webhook":
        said["pause"] = _newest(known.pause, PauseWord(at=event.at, until=event.until), _length)
    announced = category_of(event.correct_category)
    if announced is not None:
        notice = Announcement(at=event.at, category=announced, due=event.effective_at)
        said["announced"] = _newest(known.announced, notice, lambda each: (_COST[each.category], str(each.due)))
    if event.quality is not None:
        rated = QualityWord(at=event.at, quality=event.quality)
        said["quality"] = _newest(known.quality, rated, lambda each: _QUALITY[each.quality])
    if event.parameters is not None and event.content_hash is not None:
        content = ContentWord(at=event.at, parameters=event.parameters, content_hash=event.content_hash)
        said["content"] = _newest(known.content, content, lambda each: each.content_hash)
    return known.model_copy(update=said)


def _status_word(event: TemplateEvent) -> StatusWord | None:
    if event.kind == "missing":
        text = "The account's list does not have it any more."
        return StatusWord(at=event.at, status="DELETED", reason=Reason(code="not_listed", text=text))
    if event.status is None:
        return None
    return StatusWord(at=event.at, status=status_of(event.status), reason=event.reason)


def _categories(known: dict[TemplateCategory, datetime], event: TemplateEvent) -> dict[TemplateCategory, datetime]:
    before, now, seen = category_of(event.previous_category), category_of(event.category), dict(known)
    for category, at in ((before, event.at - AN_INSTANT), (now, event.at)):
        if category is not None:
            seen[category] = max(at, known.get(category, at))
    return seen


def _strictness(word: StatusWord) -> tuple[int, str]:
    return _STRICTNESS[word.status], "" if word.reason is None else word.reason.model_dump_json()


def _length(word: PauseWord) -> tuple[bool, str]:
    return word.until is None, str(word.until)


def _newest(known: Any, word: Any, at_equal_times: Any) -> Any:
    """The later one; of two of one time the larger by `at_equal_times`, so that the order does not matter."""
    if known is None or word is None:
        return known if word is None else word
    return max(known, word, key=lambda each: (each.at, at_equal_times(each)))


def _larger(known: str | None, other: str | None) -> str | None:
    """A template that is made again under its name has another, larger id (Meta counts them up)."""
    if known is None or other is None:
        return known or other
    return max(known, other, key=lambda each: (len(each), each))


def state_of(event: TemplateEvent | TemplateState, facts: Facts, version: int, now: datetime) -> TemplateState:
    """What the facts say of the template that `event` names."""
    newest = sorted(facts.categories.items(), key=lambda pair: (pair[1], _COST[pair[0]]), reverse=True)
    category, category_at = newest[0] if newest else (None, None)
    status, content, quality = _standing(facts), facts.content, facts.quality
    announced = facts.announced if _still_to_come(facts.announced, category, category_at) else None
    return TemplateState(
        waba_id=event.waba_id,
        name=event.name,
        language=event.language,
        template_id=facts.template_id,
        version=version,
        status="UNKNOWN" if status is None else status.status,
        status_at=None if status is None else status.at,
        paused_until=_paused_until(facts),
        category=category,
        category_before=newest[1][0] if len(newest) > 1 else None,
        category_at=category_at,
        correct_category=None if announced is None else announced.category,
        effective_at=None if announced is None else announced.due,
        quality="UNKNOWN" if quality is None else quality.quality,
        parameters=None if content is None else content.parameters,
        content_hash=None if content is None else content.content_hash,
        reason=None if status is None else status.reason,
        observed_at=facts.seen_at,
        updated_at=now,
    )


def _standing(facts: Facts) -> StatusWord | None:
    """The word on the status that counts."""
    newest, until = facts.status, doubted_until(facts)
    if newest is None or until is None or newest.status != "APPROVED" or newest == facts.unlisted:
        return newest
    return facts.unlisted if newest.at < until else newest


def doubted_until(facts: Facts) -> datetime | None:
    """Until when an approval in the list is doubted, because calls were refused: twice as long with each minute in
    which some were, within a day. A notice of an approval ends it at once, also one of the second of the refusal:
    notices tell whole seconds, and a notice, unlike the list, is not behind."""
    refused_at, approved_at = facts.refused_at, facts.approved_at
    if refused_at is None or (approved_at is not None and approved_at >= refused_at.replace(microsecond=0)):
        return None
    lately = [minute for minute in facts.refusals if refused_at - minute <= DOUBTS_REMEMBERED]
    doubled: int = 2 ** max(len(lately) - 1, 0)
    return refused_at + min(FIRST_DOUBT * doubled, LONGEST_DOUBT)


def doubt_ends(row: Row) -> datetime | None:
    """When the list is to be read again of a template that calls were refused for; None where no doubt keeps it back.
    Looked at often, so without reading the facts of those that were never refused."""
    if row["status"] == "APPROVED" or "refused_at" not in row["facts"]:
        return None
    return doubted_until(facts_of(row))


def _paused_until(facts: Facts) -> datetime | None:
    """When the present pause ends, as far as it was announced. One that was seen to hold on beyond its end has none."""
    status, pause = _standing(facts), facts.pause
    if status is None or status.status != "PAUSED" or pause is None or pause.until is None:
        return None
    return pause.until if pause.until > status.at else None


def _still_to_come(
    announced: Announcement | None, category: TemplateCategory | None, category_at: datetime | None
) -> bool:
    return announced is not None and (announced.category != category or (category_at or announced.at) < announced.at)


def next_row(row: Row | None, event: TemplateEvent, now: datetime) -> Row | None:
    """The row after this event; None where it says nothing new. The version grows only where a reader sees a
    difference, so that a list that says the same again is no news."""
    before = None if row is None else facts_of(row)
    facts = observe(before, event)
    if facts == before:
        return None
    version = 0 if row is None else row["version"]
    new = state_of(event, facts, version + 1, now).model_dump(mode="json")
    if row is not None and not any(new[key] != row.get(key) for key in new if key not in _UNSEEN):
        new = {**new, "version": version, "updated_at": row["updated_at"]}
    return new | {"facts": facts.model_dump(mode="json", exclude_none=True)}


def facts_of(row: Row) -> Facts:
    """What the row follows from."""
    return Facts.model_validate(row["facts"])


def is_news(row: Row | None, listed: TemplateEvent) -> bool:
    """Whether a reader would see another template after this word of the list. That the list gives no reason where a
    notice gave one is no news."""
    after = next_row(row, listed, listed.at)
    if after is None or row is None:
        return after is not None
    return any(after[key] != row.get(key) for key in after if key not in _UNSEEN and key != "reason")


def missing(rows: dict[str, Row], listed: set[str], asked_at: datetime) -> list[TemplateEvent]:
    """The templates that the whole list, asked for at `asked_at`, does not have although they were there before."""
    found = []
    for key, row in rows.items():
        state = TemplateState.model_validate(row)
        seen_since = state.observed_at >= asked_at
        if key in listed or state.status in GONE or seen_since:
            continue
        found.append(
            TemplateEvent(
                waba_id=state.waba_id, name=state.name, language=state.language, kind="missing", source="sync",
                at=asked_at,
            )
        )  # fmt: skip
    return found


def is_forgotten(row: Row, now: datetime) -> bool:
    """Whether a template has been gone for so long that nothing speaks of it any more."""
    state = TemplateState.model_validate(row)
    return state.status in GONE and state.status_at is not None and state.status_at + FORGOTTEN_AFTER <= now
