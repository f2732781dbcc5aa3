"""Meta's notices about templates, as template events (TPL-3). Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from harkara.contracts.event import Reason, event_id
from harkara.contracts.numbers import Quality
from harkara.contracts.templates import TemplateButton, TemplateEvent, TemplateText
from harkara.contracts.topics import TEMPLATE_EVENTS
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.core import Emission
from harkara.ingestion.readings import Unusable, ident, instant, record, records, sentence, text, word

STATUS_OF: dict[str, str | None] = {
    "APPROVED": "APPROVED", "REJECTED": "REJECTED", "PENDING": "PENDING", "PAUSED": "PAUSED", "DISABLED": "DISABLED",
    "IN_APPEAL": "IN_APPEAL", "LIMIT_EXCEEDED": "LIMIT_EXCEEDED", "LOCKED": "LOCKED", "DELETED": "DELETED",
    "PENDING_DELETION": "PENDING_DELETION", "ARCHIVED": "ARCHIVED", "REINSTATED": "APPROVED", "UNARCHIVED": "APPROVED",
    "UNPAUSED": "APPROVED", "FLAGGED": None,
}  # fmt: skip
"""What a template is after each event; FLAGGED only warns that it may be disabled."""
PAUSE_HOURS = {"FIRST_PAUSE": 3, "SECOND_PAUSE": 6}  # Meta, template pausing; other pauses say no end
QUALITIES: dict[str, Quality] = {"GREEN": "GREEN", "YELLOW": "YELLOW", "RED": "RED", "UNKNOWN": "UNKNOWN"}
LONGEST_NAME = 512  # characters, as Meta's
MOST_BUTTONS = 20  # Meta's templates have at most 10


def template_events(change: WebhookChange, identity: str) -> list[Emission]:
    """The event of a notice. Raises Unusable where it names no template or says nothing that is known."""
    value = change.value
    name, language = text(value.get("message_template_name")), text(value.get("message_template_language"))
    if not name or not language or len(name) > LONGEST_NAME or len(language) > LONGEST_NAME:
        raise Unusable("the notice names no template and language", "value_key")
    language = language.replace("-", "_")
    waba_id = ident(record(value.get("waba_info")).get("waba_id")) or change.entry_id
    at = instant(change.entry_time) or change.received_at
    event = TemplateEvent(
        waba_id=waba_id,
        template_id=ident(value.get("message_template_id")),
        name=name,
        language=language,
        at=at,
        **_TOLD[change.field](value, at),
    )
    return [Emission(TEMPLATE_EVENTS, waba_id, event.key, event, event_id("template", identity))]


def _status(value: dict[str, Any], at: datetime) -> dict[str, Any]:
    if "event" not in value and "new_quality_score" in value:
        return _quality(value, at)  # older documents show it under this field
    event = value.get("event")
    if not isinstance(event, str) or event.upper() not in STATUS_OF:
        raise Unusable(f"the template event {word(event)} is not known", "status")
    event = event.upper()
    title = word(record(value.get("other_info")).get("title"), "") or None
    status = STATUS_OF[event]
    hours = PAUSE_HOURS.get(title or "") if status == "PAUSED" else None
    return {
        "kind": "status",
        "event": event,
        "status": status,
        "title": title,
        "until": None if hours is None else at + timedelta(hours=hours),
        "disable_at": instant(record(value.get("disable_info")).get("disable_date")),
        "category": word(value.get("message_template_category"), "") or None,
        "reason": _reason(value),
    }


def _reason(value: dict[str, Any]) -> Reason | None:
    code = word(value.get("reason"), "NONE")
    told, other = record(value.get("rejection_info")), record(value.get("other_info"))
    details = {
        name: sentence(found, "")
        for name, found in (("reason", told.get("reason")), ("recommendation", told.get("recommendation")))
        if isinstance(found, str) and found
    }
    if code == "NONE" and not details and not other:
        return None
    said = sentence(other.get("description") or told.get("reason"), f"Meta gives the reason {code}.")
    return Reason(code=code, text=said, details=details)


def _quality(value: dict[str, Any], at: datetime) -> dict[str, Any]:
    score = _score(value.get("new_quality_score"))
    if score is None:
        raise Unusable(f"the quality {word(value.get('new_quality_score'))} is not known", "status")
    return {"kind": "quality", "quality": score, "previous_quality": _score(value.get("previous_quality_score"))}


def _score(value: object) -> Quality | None:
    return QUALITIES.get(value.upper()) if isinstance(value, str) else None


def _category(value: dict[str, Any], at: datetime) -> dict[str, Any]:
    """In a notice of a change to come, Meta's `new_category` is the one now (webhook reference); where only a doubt is
    told, that is `category`."""
    category = next((found for name in ("new_category", "category") if (found := word(value.get(name), ""))), None)
    correct = word(value.get("correct_category"), "") or None
    if category is None and correct is None:
        raise Unusable("the notice names no category", "value_key")
    return {
        "kind": "category",
        "category": category,
        "previous_category": word(value.get("previous_category"), "") or None,
        "correct_category": correct,
        "effective_at": instant(value.get("category_update_timestamp")),
    }


def _components(value: dict[str, Any], at: datetime) -> dict[str, Any]:
    buttons = tuple(_button(each) for each in records(value.get("message_template_buttons"))[:MOST_BUTTONS])
    content = TemplateText(
        body=text(value.get("message_template_element")),
        title=text(value.get("message_template_title")),
        footer=text(value.get("message_template_footer")),
        buttons=buttons,
    )
    return {"kind": "components", "text": content}


def _button(row: dict[str, Any]) -> TemplateButton:
    return TemplateButton(
        type=word(row.get("message_template_button_type")),
        text=text(row.get("message_template_button_text")) or "",
        url=text(row.get("message_template_button_url")),
        phone_number=ident(row.get("message_template_button_phone_number")),
    )


_TOLD: dict[str, Callable[[dict[str, Any], datetime], dict[str, Any]]] = {
    "message_template_status_update": _status,
    "message_template_quality_update": _quality,
    "template_category_update": _category,
    "template_correct_category_detection": _category,
    "message_template_components_update": _components,
}
TEMPLATE_FIELDS = frozenset(_TOLD)
