"""Meta's changes as our events (WHK-2, WHK-3). Pure: the same change gives the same events with the same ids.

Lenient in what is not needed, strict in what is used. A part that cannot be applied does not hold up the others: it is
handed back with the reason, for the DLQ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from harkara.contracts.consent import ConsentEvent, Standing
from harkara.contracts.event import Reason, event_id
from harkara.contracts.lifecycle import EFFECT_RANK, MessageLifecycle, Pricing
from harkara.contracts.numbers import NumberEvent
from harkara.contracts.topics import CONSENT_EVENTS, MESSAGE_LIFECYCLE, NUMBER_EVENTS
from harkara.contracts.webhooks import WebhookChange
from harkara.graph_api.errors import policy_for
from harkara.graph_api.opaque import parse_callback_data
from harkara.ingestion.core import Emission, phone_number_id_of
from harkara.ingestion.inbound import KINDS, inbound
from harkara.ingestion.notices import NOTICES, number_events
from harkara.ingestion.people import People, Person
from harkara.ingestion.readings import Unusable, flag, ident, instant, record, records, sentence, text, whole, word
from harkara.ingestion.template_notices import TEMPLATE_FIELDS, template_events
from harkara.policy.governance import Governance, Number

META_STATUSES = frozenset({"sent", "failed", "delivered", "read", "played"}) & EFFECT_RANK.keys()
LEGACY_STATUSES = frozenset({"deleted", "warning"})  # on-premises words that say nothing about a delivery
NOT_OF_A_MESSAGE = frozenset({"payment", "call"})
"""What has statuses of its own, in the same list and the same words; they stay on webhook-events and end no message."""
STOPPED_MARKETING = 131050  # the person told Meta to stop this business's marketing (Meta, error codes)
DASHBOARD_TEST = "0"  # entry id of the app dashboard's Test button, with an invented number
KEPT_RAW = frozenset(
    {
        "automatic_events", "calls", "group_lifecycle_update", "group_participants_update", "group_settings_update",
        "group_status_update", "history", "message_echoes", "messaging_handovers", "smb_app_state_sync",
        "smb_message_echoes", "standby", "tracking_events",
    }
)  # fmt: skip
"""Fields that Meta documents and nothing here reads: they stay on webhook-events for its 8 days."""
FIELDS = NOTICES | TEMPLATE_FIELDS | KEPT_RAW | {"messages", "user_preferences", "user_id_update"}
_VALUE_KEYS = frozenset({"messaging_product", "metadata", "contacts", "statuses", "messages", "errors"})
_LISTS = ("statuses", "messages", "errors")
_PREFERENCES: dict[str, Standing] = {"stop": "opted_out", "resume": "opted_in", "signup": "opted_in"}


@dataclass(slots=True)
class Normalised:
    """What a change becomes. `left` pairs reasons with the part of the change that could not be applied; `whole` says
    that this is all of it. `unknown` is what was met that this version does not know, to be counted."""

    emissions: list[Emission] = field(default_factory=list)
    left: list[tuple[str, WebhookChange]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    whole: bool = False

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
    if change.field in KEPT_RAW or (change.field in FIELDS and _is_dashboard_test(change, governance)):
        return found
    try:
        if change.field in NOTICES:
            found.emissions += number_events(change, governance, _of_notice(change, identity))
        elif change.field in TEMPLATE_FIELDS:
            found.emissions += template_events(change, _of_notice(change, identity))
        elif change.field == "user_preferences":
            people = People(pepper, change.value.get("contacts"))
            _each(found, change, "user_preferences", lambda item: _preference(item, people))
        elif change.field == "user_id_update":
            people = People(pepper, change.value.get("contacts"))
            _each(found, change, "user_id_update", lambda item: _other_user_id(item, people))
        elif change.field == "messages":
            _messages(found, change, identity, governance, pepper)
        else:
            raise Unusable(f"the field {word(change.field)} is not known", "field")
    except Unusable as error:
        _leave_whole(found, change, str(error), error.what)
    except ValidationError:
        _leave_whole(found, change, "the change does not make an event", "value_key")
    return found


def _is_dashboard_test(change: WebhookChange, governance: Governance) -> bool:
    """Whether somebody pressed the dashboard's Test button: of any field, about a number and an account of nobody."""
    if change.entry_id != DASHBOARD_TEST or _number_of(change, governance) is not None:
        return False
    shown = ident(change.value.get("display_phone_number"))
    return shown is None or governance.number_by_display(shown) is None


def _of_notice(change: WebhookChange, identity: str) -> str:
    """The id of a notice: its account, time and content (fact sheet 8.3), so that Meta's repetition in another webhook
    is the same event. One without a time is told apart by its webhook."""
    if change.entry_time is None:
        return identity
    content = hashlib.sha256(json.dumps(change.value, sort_keys=True).encode()).hexdigest()
    return event_id(change.entry_id, change.entry_time, change.field, content)


def _leave_whole(found: Normalised, change: WebhookChange, reason: str, what: str) -> None:
    found.left.append((reason, change))
    found.unknown.append(what)
    found.whole = True


def _messages(found: Normalised, change: WebhookChange, identity: str, governance: Governance, pepper: bytes) -> None:
    value = change.value
    number = _known(change, governance)
    found.unknown += ["value_key"] * len(value.keys() - _VALUE_KEYS)
    if not value.keys() & set(_LISTS):
        raise Unusable("the change has neither statuses nor messages nor errors", "value_key")
    people = People(pepper, value.get("contacts"))
    pnid, home, received_at = number.phone_number_id, number.home, change.received_at
    apply: dict[str, Callable[[dict[str, Any]], list[Emission]]] = {
        "statuses": lambda item: _status(item, number, people),
        "messages": lambda item: inbound(item, pnid, home, received_at, people),
        "errors": lambda item: [_account_error(item, number, received_at, identity)],
    }
    for key in _LISTS:
        if key in value:
            _each(found, change, key, apply[key])
    if "messages" in value:
        kinds = (word(item.get("type"), "unknown") for item in records(value["messages"]) if "type" in item)
        found.unknown += ["kind" for kind in kinds if kind not in KINDS]


def _known(change: WebhookChange, governance: Governance) -> _Number:
    number = _number_of(change, governance)
    home = None if number is None else governance.home_of(number.phone_number_id)
    if number is None or home is None:
        raise Unusable("the phone number id is not in the governance file", "number")
    return _Number(number.phone_number_id, home)


def _number_of(change: WebhookChange, governance: Governance) -> Number | None:
    """By its id; without one by what people see; without that the only number of the account."""
    phone_number_id = phone_number_id_of(change.value)
    if phone_number_id is not None:
        return governance.number(phone_number_id)
    shown = ident(record(change.value.get("metadata")).get("display_phone_number"))
    if shown is not None:
        return governance.number_by_display(shown)
    of_account = [number for number in governance.numbers if number.waba_id == change.entry_id]
    return of_account[0] if len(of_account) == 1 else None


def _each(
    found: Normalised, change: WebhookChange, key: str, apply: Callable[[dict[str, Any]], list[Emission]]
) -> None:
    """Apply every item of a list; each that cannot be is left as a change of its own, so that it can be mended and
    counted alone."""
    items = change.value.get(key)
    if not isinstance(items, list):
        items = [items]  # one item without its list is taken as one; anything else is left by what follows
    for item in items:
        try:
            if not isinstance(item, dict):
                raise Unusable(f"an item of {key} is not an object", "value_key")
            found.emissions += apply(item)
        except Unusable as error:
            _leave(found, change, key, item, str(error), error.what)
        except ValidationError:
            _leave(found, change, key, item, f"an item of {key} does not make an event", "value_key")


def _leave(found: Normalised, change: WebhookChange, key: str, item: object, reason: str, what: str) -> None:
    kept = {name: part for name, part in change.value.items() if name in ("messaging_product", "metadata")}
    contacts = _contacts_of(change.value.get("contacts"), item)
    if contacts:
        kept["contacts"] = contacts
    found.left.append((reason, change.model_copy(update={"value": kept | {key: [item]}})))
    found.unknown.append(what)


def _contacts_of(contacts: object, item: object) -> list[dict[str, Any]]:
    """Those of the item, so that a thousand items do not carry a thousand contacts each."""
    names = {each for each in item.values() if isinstance(each, str)} if isinstance(item, dict) else set()
    listed = contacts if isinstance(contacts, list) else []
    return [
        each
        for each in listed
        if isinstance(each, dict)
        and names & {name for name in (each.get("wa_id"), each.get("user_id")) if isinstance(name, str)}
    ]


# --- statuses ----------------------------------------------------------------------------------------------------


def _status(item: dict[str, Any], number: _Number, people: People) -> list[Emission]:
    if "payment" in item or text(item.get("type")) in NOT_OF_A_MESSAGE:
        return []
    status = _word_of_status(item)
    if status in LEGACY_STATUSES:
        return []
    wamid, at = ident(item.get("id")), instant(item.get("timestamp"))
    mark = parse_callback_data(text(item.get("biz_opaque_callback_data")))
    if (wamid is None and mark is None) or at is None:
        raise Unusable("the status has no id or no timestamp", "status")
    message_id, attempt = mark or (None, 1)
    person = people.recipient(item)
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
            "error_code": errors[0].code if errors else None,
            "reason": _failure(errors) if status == "failed" else None,
            "pricing": _pricing(item),
            "reached_key": person.key if person is not None and person.phone is not None else None,
        }
    )
    identity = event_id("status", wamid or f"{message_id}.{attempt}", status, int(at.timestamp()))
    step = Emission(MESSAGE_LIFECYCLE, number.home, number.home, event, identity, message_id)
    return [step, *people.both_names(person, at), *_stopped(person, errors, wamid or identity, at)]


def _word_of_status(item: dict[str, Any]) -> str:
    given = item.get("status")
    status = given.lower() if isinstance(given, str) else ""
    if status not in META_STATUSES and status not in LEGACY_STATUSES:
        raise Unusable(f"the status {word(given)} is not known", "status")
    return status


@dataclass(frozen=True, slots=True)
class _Error:
    """One error of a status."""

    code: int
    title: str
    details: str


def _errors(listed: object) -> list[_Error]:
    """Each error that has a code, the one that holds up most first."""
    found = [each for row in records(listed) if (each := _error(row)) is not None]
    return sorted(found, key=lambda each: (not policy_for(each.code).keeps_message, not policy_for(each.code).alert))


def _error(row: dict[str, Any]) -> _Error | None:
    code = whole(row.get("code"))
    if code is None:
        return None
    data = row.get("error_data")
    details = sentence(data if isinstance(data, str) else record(data).get("details"), "")
    return _Error(code, sentence(row.get("title") or row.get("message"), "Meta gave no title"), details)


def _failure(errors: list[_Error]) -> Reason:
    if not errors:
        return Reason(code="meta_unstated", text="Meta reports a failure without saying why.")
    first = errors[0]
    details = {"errors": ",".join(str(each.code) for each in errors[:20])} if len(errors) > 1 else {}
    if first.details and first.details != first.title:
        details["said"] = first.details
    return Reason(code=f"meta_{first.code}", text=first.title, rule=policy_for(first.code).name, details=details)


def _pricing(item: dict[str, Any]) -> Pricing | None:
    """What was charged; until v23 and for free entry points the conversation too."""
    given, conversation = record(item.get("pricing")), record(item.get("conversation"))
    texts = {
        "category": given.get("category"),
        "type": given.get("type"),
        "model": given.get("pricing_model"),
        "conversation": ident(conversation.get("id")),
        "origin": record(conversation.get("origin")).get("type"),
    }
    known = {name: found for name, found in texts.items() if isinstance(found, str)}
    billable = flag(given.get("billable"))
    return Pricing(**known, billable=billable) if known or billable is not None else None


def _stopped(person: Person | None, errors: list[_Error], proof: str, at: datetime) -> list[Emission]:
    """The opt-out that a failed 131050 tells of (CMP-6)."""
    if person is None or STOPPED_MARKETING not in (each.code for each in errors):
        return []
    identity = event_id("stopped", proof, person.key)
    event = ConsentEvent(
        event_id=identity,
        person_key=person.key,
        standing="opted_out",
        purpose="marketing",
        source="meta_error",
        at=at,
        proof=proof[:200],
    )
    return [Emission(CONSENT_EVENTS, person.key, person.key, event, identity)]


# --- preferences and errors --------------------------------------------------------------------------------------


def _preference(item: dict[str, Any], people: People) -> list[Emission]:
    """A person's own word to Meta about marketing (CMP-6)."""
    standing = _PREFERENCES.get(str(item.get("value")).lower())
    person = people.named(item.get("wa_id"), item.get("user_id"), item.get("parent_user_id"))
    at = instant(item.get("timestamp"))
    if standing is None or item.get("category") not in (None, "marketing_messages"):
        raise Unusable(f"the preference {word(item.get('value'))} or its category is not known", "status")
    if person is None or at is None:
        raise Unusable("the preference names no person or no time", "value_key")
    name = event_id("preference", person.key, standing, int(at.timestamp()))
    event = ConsentEvent(
        event_id=name, person_key=person.key, standing=standing, purpose="marketing", source="meta_preference", at=at
    )
    return [Emission(CONSENT_EVENTS, person.key, person.key, event, name), *people.both_names(person, at)]


def _other_user_id(item: dict[str, Any], people: People) -> list[Emission]:
    """Another user id of the same person, as Meta's pages had it before it came as a `system` message."""
    ids, at = record(item.get("user_id")), instant(item.get("timestamp"))
    told = {"previous_user_id": ids.get("previous"), "user_id": ids.get("current")}
    if at is None or not all(text(each) for each in told.values()):
        raise Unusable("the change of a user id names no time or not both ids", "value_key")
    return people.changes({"from": item.get("wa_id"), "system": told}, at)


def _account_error(item: dict[str, Any], number: _Number, at: datetime, identity: str) -> Emission:
    """An error of the account that belongs to no message."""
    error = _error(item)
    if error is None:
        raise Unusable("the error has no code", "value_key")
    event = NumberEvent(
        phone_number_id=number.phone_number_id,
        home=number.home,
        kind="other",
        source="webhook",
        at=at,
        reason=Reason(code=f"meta_{error.code}", text=error.title),
    )
    return Emission(NUMBER_EVENTS, number.home, number.home, event, event_id("error", identity, error.code))
