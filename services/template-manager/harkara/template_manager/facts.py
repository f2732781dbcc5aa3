"""The facts of a template: of each the latest word, by whom it was said, and when each word was first seen.

Whatever order the words come in, and however often, the facts are the same: of each a maximum or a minimum is kept.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from harkara.contracts.event import Instant, Reason, Value
from harkara.contracts.numbers import Quality
from harkara.contracts.template_state import BodyText, TemplateCategory, TemplateParameters, TemplateStatus
from harkara.contracts.templates import TemplateEvent
from harkara.graph_api.templates import category_of, status_of, variables

AN_INSTANT = timedelta(milliseconds=1)  # what a category held before the notice that it holds no more
MOST_REFUSALS = 7  # minutes with refused calls that are kept: a doubt of the list is the longest after so many

STRICTNESS: dict[TemplateStatus, int] = {
    "UNKNOWN": 0, "APPROVED": 1, "PENDING": 2, "IN_APPEAL": 3, "PAUSED": 4, "LIMIT_EXCEEDED": 5, "LOCKED": 6,
    "REJECTED": 7, "DISABLED": 8, "ARCHIVED": 9, "PENDING_DELETION": 10, "DELETED": 11,
}  # fmt: skip
COST: dict[TemplateCategory, int] = {"UTILITY": 0, "AUTHENTICATION": 1, "MARKETING": 2}
_QUALITY: dict[Quality, int] = {"UNKNOWN": 0, "GREEN": 1, "YELLOW": 2, "RED": 3}


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
    """The content as it was listed; `wording` None in rows of before it was kept."""

    at: Instant
    parameters: TemplateParameters
    content_hash: str
    wording: BodyText | None = None


class BodyWord(Value):
    """The variables of the body that a notice showed."""

    at: Instant
    values: tuple[str, ...]


class Facts(Value):
    """The latest word on each fact. `categories`: when each category was last seen to hold, so that the one before the
    present one is known whatever order the words came in. `unlisted`: the status by all but approvals in the list; None
    in rows of before there was one. `refused_at`: when a call was refused for it last, `refusals` the minutes in which
    some were. `approved_at`: of the newest notice of an approval.

    What notices said, to be held against a list that lags: `told` the newest status of a notice or a refused call,
    `noticed` of a notice; `told_categories` as `categories`, `told_quality`, `told_body`. `first_seen`: when each
    status, category or quality was first seen at all. `reviewed_at`: of the newest notice of a review, `noticed_at`: of
    the newest notice of all."""

    template_id: str | None = None
    seen_at: Instant
    status: StatusWord | None = None
    unlisted: StatusWord | None = None
    told: StatusWord | None = None
    noticed: StatusWord | None = None
    told_categories: dict[TemplateCategory, Instant] = Field(default_factory=dict)
    told_quality: QualityWord | None = None
    told_body: BodyWord | None = None
    first_seen: dict[str, Instant] = Field(default_factory=dict)
    reviewed_at: Instant | None = None
    noticed_at: Instant | None = None
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
        "first_seen": _first_seen(known, event),
    }
    word = _status_word(event)
    if event.source != "sync":
        said |= _told(known, event, word)
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
        said["announced"] = _newest(known.announced, notice, lambda each: (COST[each.category], str(each.due)))
    if event.quality is not None:
        rated = QualityWord(at=event.at, quality=event.quality)
        said["quality"] = _newest(known.quality, rated, lambda each: _QUALITY[each.quality])
    if event.parameters is not None and event.content_hash is not None:
        content = ContentWord(
            at=event.at, parameters=event.parameters, content_hash=event.content_hash, wording=event.wording
        )
        said["content"] = _newest(known.content, content, lambda each: (each.content_hash, each.wording or ""))
    return known.model_copy(update=said)


def _told(known: Facts, event: TemplateEvent, word: StatusWord | None) -> dict[str, Any]:
    """What a notice, or a refused call, makes of the facts that a list is held against."""
    said: dict[str, Any] = {"told": _newest(known.told, word, _strictness)}
    if event.source != "webhook":
        return said
    if word is not None and word.status == "PENDING":
        said["reviewed_at"] = word.at if known.reviewed_at is None else max(known.reviewed_at, word.at)
    said["noticed"] = _newest(known.noticed, word, _strictness)
    said["told_categories"] = _categories(known.told_categories, event)
    rated = None if event.quality is None else QualityWord(at=event.at, quality=event.quality)
    said["told_quality"] = _newest(known.told_quality, rated, lambda each: _QUALITY[each.quality])
    values = () if event.text is None else variables(event.text.body)
    # A body without a variable is not believed: it may be shown with its examples filled in.
    body = BodyWord(at=event.at, values=values) if values else None
    said["told_body"] = _newest(known.told_body, body, lambda each: each.values)
    said["noticed_at"] = event.at if known.noticed_at is None else max(known.noticed_at, event.at)
    return said


def _first_seen(known: Facts, event: TemplateEvent) -> dict[str, datetime]:
    """When each word was first seen. A row of before this was noted has the words of its last state."""
    seen, word = dict(known.first_seen), _status_word(event)
    pairs: list[tuple[str, datetime]] = [(each.status, each.at) for each in (known.status, word) if each is not None]
    pairs += [*known.categories.items(), *_categories({}, event).items()]
    if known.quality is not None:
        pairs.append((known.quality.quality, known.quality.at))
    if event.quality is not None:
        pairs.append((event.quality, event.at))
    for name, at in pairs:
        seen[name] = min(at, seen.get(name, at))
    return seen


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
    return STRICTNESS[word.status], "" if word.reason is None else word.reason.model_dump_json()


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
