"""Meta's changes as our events (WHK-2, WHK-3). Pure: the same change gives the same events with the same ids.

A part that cannot be applied does not hold up the others: it is handed back with the reason, for the DLQ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from harkara.contracts.consent import ConsentEvent, Standing
from harkara.contracts.event import Reason, event_id
from harkara.contracts.identity import person_key
from harkara.contracts.lifecycle import EFFECT_RANK, MessageLifecycle, Pricing
from harkara.contracts.numbers import NumberEvent
from harkara.contracts.topics import (
    CONSENT_EVENTS,
    INBOUND_MESSAGES,
    MESSAGE_LIFECYCLE,
    NUMBER_EVENTS,
    SERVICE_WINDOWS,
)
from harkara.contracts.webhooks import InboundMessage, ServiceWindow, WebhookChange
from harkara.graph_api.errors import policy_for
from harkara.graph_api.opaque import parse_callback_data
from harkara.ingestion.core import Emission, phone_number_id_of
from harkara.ingestion.notices import NOTICES, Unusable, instant, number_events, sentence, word
from harkara.policy.governance import Governance

META_STATUSES = frozenset({"sent", "failed", "delivered", "read", "played"}) & EFFECT_RANK.keys()
LEGACY_STATUSES = frozenset({"deleted", "warning"})  # on-premises words that say nothing about a delivery
STOPPED_MARKETING = 131050  # the person told Meta to stop this business's marketing (Meta, error codes)
DASHBOARD_TEST = "0"  # entry id of the app dashboard's Test button, with an invented number
KEPT_RAW = frozenset(
    {
        "message_template_components_update", "message_template_quality_update", "message_template_status_update",
        "template_category_update", "automatic_events", "business_username_update", "calls", "flows", "history",
        "partner_solutions", "payment_configuration_update", "smb_app_state_sync", "smb_message_echoes",
    }
)  # fmt: skip
"""Fields that Meta documents and nothing here reads: they stay on webhook-events for its 8 days."""
FIELDS = NOTICES | KEPT_RAW | {"messages", "user_preferences"}
_VALUE_KEYS = frozenset({"messaging_product", "metadata", "contacts", "statuses", "messages", "errors"})
_NOT_WRITTEN = frozenset({"system", "edit", "revoke", "reaction"})  # kinds that do not open the service window
_PREFERENCES: dict[str, Standing] = {"stop": "opted_out", "resume": "opted_in", "signup": "opted_in"}


@dataclass(slots=True)
class Normalised:
    """What a change becomes. `left` pairs reasons with the part of the change that could not be applied."""

    emissions: list[Emission] = field(default_factory=list)
    left: list[tuple[str, WebhookChange]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """applied, partly, ignored or quarantined."""
        if self.left:
            return "partly" if self.emissions else "quarantined"
        return "applied" if self.emissions else "ignored"


@dataclass(frozen=True, slots=True)
class _Number:
    """The number that a `messages` change is about."""

    phone_number_id: str
    home: str


def normalise(change: WebhookChange, identity: str, governance: Governance, pepper: bytes) -> Normalised:
    """Everything that a change says. `identity` is the record's id: the same for the same webhook body."""
    found = Normalised()
    if change.field in KEPT_RAW or change.entry_id == DASHBOARD_TEST:
        return found
    try:
        if change.field in NOTICES:
            found.emissions += number_events(change, governance, identity)
        elif change.field == "user_preferences":
            _each(found, change, "user_preferences", lambda item: [_preference(item, pepper)])
        elif change.field == "messages":
            _messages(found, change, identity, governance, pepper)
        else:
            raise Unusable(f"the field {word(change.field)} is not known", "field")
    except Unusable as error:
        found.left.append((str(error), change))
        found.unknown.append(error.what)
    return found


def _messages(found: Normalised, change: WebhookChange, identity: str, governance: Governance, pepper: bytes) -> None:
    value = change.value
    phone_number_id = phone_number_id_of(value)
    home = governance.home_of(phone_number_id) if phone_number_id else None
    if phone_number_id is None or home is None or governance.number(phone_number_id) is None:
        raise Unusable("the phone number id is not in the governance file", "number")
    number = _Number(phone_number_id, home)
    found.unknown += ["value_key"] * len(value.keys() - _VALUE_KEYS)
    if not value.keys() & {"statuses", "messages", "errors"}:
        raise Unusable("the change has neither statuses nor messages nor errors", "value_key")
    if "statuses" in value:
        _each(found, change, "statuses", lambda item: _status(item, number, pepper))
    if "messages" in value:
        _each(found, change, "messages", lambda item: _inbound(item, number, change.received_at, pepper))
    if "errors" in value:
        _each(found, change, "errors", lambda item: [_account_error(item, number, change.received_at, identity)])


def _each(
    found: Normalised, change: WebhookChange, key: str, apply: Callable[[dict[str, Any]], list[Emission]]
) -> None:
    """Apply every item of a list; those that cannot be are left together, as a change of their own per reason."""
    items = change.value.get(key)
    if not isinstance(items, list):
        raise Unusable(f"{key} is not a list", "value_key")
    refused: dict[str, list[object]] = {}
    for item in items:
        try:
            if not isinstance(item, dict):
                raise Unusable(f"an item of {key} is not an object", "value_key")
            found.emissions += apply(item)
        except Unusable as error:
            refused.setdefault(str(error), []).append(item)
            found.unknown.append(error.what)
    kept = {name: part for name, part in change.value.items() if name in ("messaging_product", "metadata", "contacts")}
    for reason, parts in refused.items():
        found.left.append((reason, change.model_copy(update={"value": kept | {key: parts}})))


# --- statuses ----------------------------------------------------------------------------------------------------


def _status(item: dict[str, Any], number: _Number, pepper: bytes) -> list[Emission]:
    status, wamid, at = item.get("status"), item.get("id"), instant(item.get("timestamp"))
    if isinstance(status, str) and status in LEGACY_STATUSES:
        return []
    if not isinstance(status, str) or status not in META_STATUSES:
        raise Unusable(f"the status {word(status)} is not known", "status")
    if not isinstance(wamid, str) or not wamid or at is None:
        raise Unusable("the status has no id or no timestamp", "status")
    opaque = item.get("biz_opaque_callback_data")
    message_id, attempt = parse_callback_data(opaque if isinstance(opaque, str) else None) or (None, 1)
    errors = _errors(item.get("errors")) if status == "failed" else []
    event = MessageLifecycle.model_validate(
        {
            "message_id": message_id,
            "home": number.home,
            "status": status,
            "attempt": attempt,
            "at": at,
            "phone_number_id": number.phone_number_id,
            "wamid": wamid,
            "error_code": errors[0][0] if errors else None,
            "reason": _failure(errors) if status == "failed" else None,
            "pricing": _pricing(item.get("pricing")),
        }
    )
    identity = event_id("status", wamid, status, int(at.timestamp()))
    step = Emission(MESSAGE_LIFECYCLE, number.home, number.home, event, identity, message_id)
    return [step, *_stopped(item, errors, wamid, at, pepper)]


def _errors(listed: object) -> list[tuple[int, str]]:
    """(code, title) of each error, the one that holds up most first."""
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    found = [
        (row["code"], sentence(row.get("title"), "Meta gave no title")) for row in rows if _is_code(row.get("code"))
    ]
    return sorted(found, key=lambda each: (not policy_for(each[0]).keeps_message, not policy_for(each[0]).alert))


def _is_code(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _failure(errors: list[tuple[int, str]]) -> Reason:
    if not errors:
        return Reason(code="meta_unstated", text="Meta reports a failure without saying why.")
    code, title = errors[0]
    details = {"errors": ",".join(str(each) for each, _ in errors[:20])} if len(errors) > 1 else {}
    return Reason(code=f"meta_{code}", text=title, rule=policy_for(code).name, details=details)


def _pricing(given: object) -> Pricing | None:
    if not isinstance(given, dict):
        return None
    billable = given.get("billable")
    texts = {
        name: given.get(key) for name, key in (("category", "category"), ("type", "type"), ("model", "pricing_model"))
    }
    known = {name: text for name, text in texts.items() if isinstance(text, str)}
    return Pricing(**known, billable=billable if isinstance(billable, bool) else None)


def _stopped(
    item: dict[str, Any], errors: list[tuple[int, str]], wamid: str, at: datetime, pepper: bytes
) -> list[Emission]:
    """The opt-out that a failed 131050 tells of (CMP-6)."""
    person = _person(pepper, item.get("recipient_id"), item.get("recipient_user_id"))
    if person is None or STOPPED_MARKETING not in (code for code, _ in errors):
        return []
    identity = event_id("stopped", wamid, person)
    event = ConsentEvent(
        event_id=identity,
        person_key=person,
        standing="opted_out",
        purpose="marketing",
        source="meta_error",
        at=at,
        proof=wamid,
    )
    return [Emission(CONSENT_EVENTS, person, person, event, identity)]


def _person(pepper: bytes, phone: object, user_id: object) -> str | None:
    """The pseudonym of whom Meta names, by phone where it does, else by the business-scoped user id."""
    named = next((each for each in (phone, user_id) if isinstance(each, str) and each), None)
    return None if named is None else person_key(pepper, named)


# --- what people write -------------------------------------------------------------------------------------------


def _inbound(item: dict[str, Any], number: _Number, received_at: datetime, pepper: bytes) -> list[Emission]:
    wamid, sent_at = item.get("id"), instant(item.get("timestamp"))
    phone, user_id = item.get("from"), item.get("from_user_id")
    person = _person(pepper, phone, user_id)
    if not isinstance(wamid, str) or not wamid or sent_at is None or person is None:
        raise Unusable("the message has no id, no timestamp or no sender", "value_key")
    kind = word(item.get("type"), "unknown")
    text, payload = _words_of(item, kind)
    event = InboundMessage(
        wamid=wamid,
        phone_number_id=number.phone_number_id,
        home=number.home,
        from_phone=_e164(phone),
        person_key=person,
        kind=kind,
        text=text,
        button_payload=payload,
        sent_at=sent_at,
        received_at=received_at,
    )
    found = [Emission(INBOUND_MESSAGES, number.home, number.home, event, event_id("inbound", wamid))]
    if kind not in _NOT_WRITTEN:
        window = ServiceWindow(phone_number_id=number.phone_number_id, person_key=person, last_inbound_at=sent_at)
        key = f"{number.phone_number_id}:{person}"
        found.append(Emission(SERVICE_WINDOWS, number.home, key, window, event_id("window", wamid)))
    return found


def _e164(phone: object) -> str | None:
    digits = phone if isinstance(phone, str) and phone.isascii() and phone.isdigit() else ""
    return f"+{digits}" if 7 <= len(digits) <= 15 and not digits.startswith("0") else None


def _words_of(item: dict[str, Any], kind: str) -> tuple[str | None, str | None]:
    """The text that a person wrote or tapped, and a button's payload."""
    part = item.get(kind)
    if not isinstance(part, dict):
        return None, None
    if kind == "edit":
        message = part.get("message")
        return _words_of(message, word(message.get("type"))) if isinstance(message, dict) else (None, None)
    if kind == "interactive":
        reply = part.get(str(part.get("type")))
        return (_text(reply.get("title")), _text(reply.get("id"))) if isinstance(reply, dict) else (None, None)
    if kind == "button":
        return _text(part.get("text")), _text(part.get("payload"))
    return _text(part.get("body") if kind == "text" else part.get("caption")), None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _preference(item: dict[str, Any], pepper: bytes) -> Emission:
    """A person's own word to Meta about marketing (CMP-6)."""
    standing = _PREFERENCES.get(str(item.get("value")))
    person, at = _person(pepper, item.get("wa_id"), item.get("user_id")), instant(item.get("timestamp"))
    if standing is None or item.get("category") != "marketing_messages":
        raise Unusable(f"the preference {word(item.get('value'))} or its category is not known", "status")
    if person is None or at is None:
        raise Unusable("the preference names no person or no time", "value_key")
    name = event_id("preference", person, standing, int(at.timestamp()))
    event = ConsentEvent(
        event_id=name, person_key=person, standing=standing, purpose="marketing", source="meta_preference", at=at
    )
    return Emission(CONSENT_EVENTS, person, person, event, name)


def _account_error(item: dict[str, Any], number: _Number, at: datetime, identity: str) -> Emission:
    """An error of the account that belongs to no message."""
    code = item.get("code")
    if not _is_code(code):
        raise Unusable("the error has no code", "value_key")
    event = NumberEvent(
        phone_number_id=number.phone_number_id,
        home=number.home,
        kind="other",
        source="webhook",
        at=at,
        reason=Reason(code=f"meta_{code}", text=sentence(item.get("title"), "Meta gave no title")),
    )
    return Emission(NUMBER_EVENTS, number.home, number.home, event, event_id("error", identity, code))
