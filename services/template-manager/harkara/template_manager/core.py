"""What is known of a template, from everything that was seen of it.

A join: of each fact the latest word counts, so events may come in any order and more than once, and an older one never
takes the place of a newer. At equal times (webhooks tell whole seconds) the stricter word counts.

The list is read soon after every notice, and may lag behind it: so for a while it undoes nothing of what a notice said,
unless it says something that was not known before the notice. It is read again when that while is over, and then has
the last word. Likewise after Meta refused a call for the template: a list that still says APPROVED then is behind, and
every message that waits would be let go and held again each time it is read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from harkara.contracts.event import Reason
from harkara.contracts.template_state import TemplateCategory, TemplateParameters, TemplateState, TemplateStatus
from harkara.contracts.templates import TemplateEvent
from harkara.template_manager.facts import (
    AN_INSTANT,
    COST,
    Announcement,
    BodyWord,
    ContentWord,
    Facts,
    QualityWord,
    StatusWord,
    observe,
)

Row = dict[str, Any]
"""A template's row: TemplateState, and under `facts` what it follows from. Readers ignore the facts."""

GONE: frozenset[TemplateStatus] = frozenset({"DELETED"})
FORGOTTEN_AFTER = timedelta(days=90)
"""After its deletion. An approved name is free again after 30 days (Meta), and notices live 30 days on their topic."""
NOTICE_DOUBT = timedelta(minutes=5)
"""Of the list after a notice. Where the list is right and the notice that said so was lost, messages wait (or go) so
much longer; where it lags, those that must not go do not."""
A_SECOND = timedelta(seconds=1)  # notices tell whole ones: what was seen in it may have been seen before
FIRST_DOUBT = timedelta(minutes=1)  # of the list after a refusal; longer than its readings in a row are apart
LONGEST_DOUBT = timedelta(hours=1)  # then a call tries it again, as where no list is read
DOUBTS_REMEMBERED = timedelta(days=1)
UNREAD = Reason(code="content_unread", text="Meta approved it after a review; what it takes now is read first.")
_UNSEEN = frozenset({"version", "updated_at", "observed_at", "status_at", "category_at", "facts"})
"""Of a row: what changes although nothing new was learned."""


def state_of(event: TemplateEvent | TemplateState, facts: Facts, version: int, now: datetime) -> TemplateState:
    """What the facts say of the template that `event` names."""
    newest = sorted(_held_categories(facts).items(), key=lambda pair: (pair[1], COST[pair[0]]), reverse=True)
    category, category_at = newest[0] if newest else (None, None)
    status, content, quality = _shown(facts), facts.content, _rating(facts)
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
        parameters=None if content is None else _parameters(content, facts.told_body),
        content_hash=None if content is None else content.content_hash,
        wording=None if content is None else content.wording,
        reason=None if status is None else status.reason,
        observed_at=facts.seen_at,
        updated_at=now,
    )


def _lags(facts: Facts, said: str, at: datetime, told_at: datetime | None) -> bool:
    """Whether what the list said at `at` may be what it said before the notice of `told_at`. A word that was never seen
    before that notice, or within the second that it tells, is newer than the notice."""
    if told_at is None or not told_at <= at < told_at + NOTICE_DOUBT:
        return False
    return said in ("UNKNOWN", "DELETED") or facts.first_seen.get(said, told_at) < told_at + A_SECOND


def _standing(facts: Facts) -> StatusWord | None:
    """The word on the status that counts."""
    newest, noticed, until = facts.status, facts.noticed, doubted_until(facts)
    if newest is None or newest == facts.told:
        return newest
    if noticed is not None and _lags(facts, newest.status, newest.at, noticed.at) and not _agrees(facts, newest):
        return facts.told
    if until is None or newest.status != "APPROVED" or newest == facts.unlisted:
        return newest
    return facts.unlisted if newest.at < until else newest


def _shown(facts: Facts) -> StatusWord | None:
    """The status for those who send. A notice approves what was in review, perhaps an edit: until the list has told the
    content that was approved, it is in review for them. Else all that waits would go at once with values of before."""
    word, reviewed_at, content = _standing(facts), facts.reviewed_at, facts.content
    if word is None or word.status != "APPROVED" or reviewed_at is None or content is None:
        return word
    if content.at >= min(word.at, reviewed_at + NOTICE_DOUBT):
        return word
    return StatusWord(at=word.at, status="PENDING", reason=UNREAD)


def _agrees(facts: Facts, listed: StatusWord) -> bool:
    """Whether the list says what the newest notice said; where two came in one second, what either said: the list tells
    which of them was the later."""
    noticed, approved_at = facts.noticed, facts.approved_at
    if noticed is None or listed.status == noticed.status:
        return True
    return listed.status == "APPROVED" and approved_at is not None and approved_at >= noticed.at


def _held_categories(facts: Facts) -> dict[TemplateCategory, datetime]:
    """When each category was last seen to hold: by a list that lags, only until the notice that it lags behind. As of
    the status, the list tells which of two notices of one second was the later."""
    told, held = facts.told_categories, dict(facts.categories)
    told_at = max(told.values(), default=None)
    if told_at is None:
        return held
    for category, at in facts.categories.items():
        if told.get(category) != told_at and _lags(facts, category, at, told_at):
            held[category] = told_at - AN_INSTANT
    return held


def _rating(facts: Facts) -> QualityWord | None:
    """The rating that counts."""
    newest, told = facts.quality, facts.told_quality
    if newest is None or told is None or newest == told or not _lags(facts, newest.quality, newest.at, told.at):
        return newest
    return told


def _parameters(content: ContentWord, told: BodyWord | None) -> TemplateParameters:
    """The values that a send must bring: as listed, but those of the body as the notice of an edit showed them, as long
    as the list may lag behind it."""
    listed = content.parameters
    if told is None or content.at >= told.at + NOTICE_DOUBT or listed.body_values == told.values:
        return listed
    named = any(not each.isdigit() for each in (*listed.header_values, *told.values))
    return listed.model_copy(update={"body_values": told.values, "named": named})


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


def notice_doubt_ends(row: Row) -> datetime | None:
    """When the list is to be read again of a template that notices told of, whatever they said: until then it may have
    been behind. None where there was none. Looked at often, as doubt_ends."""
    noticed_at = row["facts"].get("noticed_at")
    return None if noticed_at is None else datetime.fromisoformat(noticed_at) + NOTICE_DOUBT


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
