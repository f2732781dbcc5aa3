"""What the normaliser says of a webhook, in one line per event: for tables of expectations."""

from __future__ import annotations

from collections.abc import Iterable

from harkara.contracts.consent import ConsentEvent
from harkara.contracts.event import Event
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.numbers import NumberEvent
from harkara.contracts.persons import PersonAlias
from harkara.contracts.templates import TemplateEvent
from harkara.contracts.webhooks import InboundMessage, ServiceWindow

OF_INBOUND = (
    "subtype", "text", "button_payload", "emoji", "form", "media", "location", "contacts", "order", "referral",
    "context_wamid", "original_wamid", "forwarded", "product", "group_id", "errors",
)  # fmt: skip
OF_TEMPLATE = (
    "event", "status", "title", "until", "disable_at", "quality", "previous_quality", "category", "previous_category",
    "correct_category", "effective_at", "text", "reason",
)  # fmt: skip


def said(events: Iterable[Event | None]) -> tuple[str, ...]:
    """One line per event: its kind, and what it says or of what it says something."""
    return tuple(_line(event) for event in events)


def _line(event: Event | None) -> str:
    match event:
        case MessageLifecycle():
            return " ".join([event.status, *_code(event.error_code), *_price(event)])
        case InboundMessage():
            named = "phone" if event.from_phone else "user id"
            return " ".join([f"inbound {event.kind} by {named}", *_there(event, OF_INBOUND)])
        case ServiceWindow():
            return "window"
        case PersonAlias():
            return f"alias {event.kind}"
        case ConsentEvent():
            return f"consent {event.standing} {event.purpose} {event.source}"
        case NumberEvent():
            return " ".join([f"number {event.kind} {event.reason and event.reason.code}", *_number(event)])
        case TemplateEvent():
            return " ".join([f"template {event.kind} {event.language}", *_valued(event)])
        case _:
            return type(event).__name__


def _code(code: int | None) -> list[str]:
    return [] if code is None else [str(code)]


def _price(event: MessageLifecycle) -> list[str]:
    price = event.pricing
    if price is None:
        return []
    billed = [] if price.billable is None else ["billed" if price.billable else "free"]
    words = [each for each in (price.model, price.type, price.category) if each]
    return words + billed + (["conversation"] if price.conversation else [])


def _there(event: Event, names: Iterable[str]) -> list[str]:
    return [name for name in names if getattr(event, name)]


def _number(event: NumberEvent) -> list[str]:
    found: list[str] = [each for each in (event.availability, event.quality) if each]
    found += [] if event.messaging_limit is None else [f"limit={event.messaging_limit}"]
    found += ["until"] if event.hold_until else []
    return found + sorted(event.reason.details if event.reason else ())


def _valued(event: TemplateEvent) -> list[str]:
    told = {name: getattr(event, name) for name in OF_TEMPLATE}
    shown = {name: value for name, value in told.items() if value is not None}
    return [f"{name}={value}" if isinstance(value, str) else name for name, value in shown.items()]
