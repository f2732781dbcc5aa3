"""Meta's notices about numbers and accounts, as number events. Pure.

The words are Meta's (Cloud API, webhook reference).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from harkara.contracts.event import Reason, event_id
from harkara.contracts.numbers import Availability, NumberEvent, Quality
from harkara.contracts.topics import NUMBER_EVENTS
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.core import Emission, phone_number_id_of
from harkara.ingestion.readings import Unusable, ident, instant, messaging_limit, record, records, sentence, word
from harkara.policy.governance import Governance, Number

Kind = Literal["health", "quality", "status", "halted", "rate_limited", "throughput", "other"]


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notice means for a number. `availability` and `quality` None: the notice does not say."""

    kind: Kind
    code: str
    text: str
    availability: Availability | None = None
    quality: Quality | None = None
    hold_until: datetime | None = None
    connection: str | None = None
    messaging_limit: int | None = None
    details: dict[str, str] = field(default_factory=dict)


def _quality_update(value: dict[str, Any]) -> Notice:
    event = word(value.get("event"))
    named = value.get("max_daily_conversations_per_business", value.get("current_limit"))
    limit = messaging_limit(named)
    said = _limit_said(limit)
    details = _words(value, "current_limit", "old_limit")
    if event == "FLAGGED":
        text = f"Meta flagged the number for low quality; {said}."
        return Notice("quality", event, text, quality="RED", messaging_limit=limit, details=details)
    if event == "THROUGHPUT_UPGRADE":
        text = f"Meta raised the number's throughput; {said}."
        return Notice("throughput", event, text, messaging_limit=limit, details=details)
    if event in ("UNFLAGGED", "UPGRADE", "DOWNGRADE"):
        text = f"Meta changed the number's standing: {event}; {said}."
        return Notice("quality", event, text, messaging_limit=limit, details=details)
    return Notice(
        "other", event, f"Meta reports {event} for the number; {said}.", messaging_limit=limit, details=details
    )


def _limit_said(limit: int | None) -> str:
    if limit is None:
        return "limit not stated"
    return "no limit" if limit < 0 else f"limit {limit}"


def _words(value: dict[str, Any], *names: str) -> dict[str, str]:
    """The named constants of Meta's that are there and are one word."""
    found = {name: word(str(value[name]), "") for name in names if isinstance(value.get(name), str | int)}
    return {name: text for name, text in found.items() if text}


def _name_update(value: dict[str, Any]) -> Notice:
    decision, why = word(value.get("decision")), word(value.get("rejection_reason"), "none given")
    text = f"Meta decided on the display name: {decision}, reason {why}."
    name = sentence(value.get("requested_verified_name"), "")
    details = _words(value, "decision", "rejection_reason") | ({"requested_verified_name": name} if name else {})
    return Notice("other", f"NAME_{decision}", text, details=details)


def _security(value: dict[str, Any]) -> Notice:
    event = word(value.get("event"))
    return Notice("other", event, f"Two-step verification of the number: {event}. Was it one of us?")


def _account_update(value: dict[str, Any]) -> Notice:
    event = word(value.get("event"))
    if event == "DISABLED_UPDATE":
        return _ban(value)
    if event == "ACCOUNT_RESTRICTION":
        return _restriction(value)
    if event == "ACCOUNT_DELETED":
        text = "The WhatsApp Business Account was deleted."
        return Notice("health", event, text, availability="BLOCKED", connection="DISCONNECTED")
    if event == "ACCOUNT_VIOLATION":
        return _violation(value)
    text = f"Meta reports {event} for the account."
    return Notice("other", event, text, connection=_CONNECTIONS.get(event), details=_told_inside(value))


_CONNECTIONS = {"ACCOUNT_OFFBOARDED": "DISCONNECTED", "ACCOUNT_RECONNECTED": "CONNECTED"}
_INSIDE = {
    "volume_tier_info": ("pricing_category", "tier", "effective_month", "region"),
    "disconnection_info": ("reason", "initiated_by"),
    "partner_client_certification_info": ("status",),
}
"""What of an event's own part somebody should see."""


def _told_inside(value: dict[str, Any]) -> dict[str, str]:
    told = {name: record(value.get(place)).get(name) for place, names in _INSIDE.items() for name in names}
    told["country"] = value.get("country")
    why = record(value.get("partner_client_certification_info")).get("rejection_reasons")
    if isinstance(why, list):
        told["rejection_reasons"] = ",".join(each for each in why if isinstance(each, str))
    return {name: sentence(str(each), "") for name, each in told.items() if isinstance(each, str | int) and each != ""}


def _violation(value: dict[str, Any]) -> Notice:
    kind = word(record(value.get("violation_info")).get("violation_type"))
    text = f"Meta reports a violation of its policy: {kind}."
    return Notice("other", "ACCOUNT_VIOLATION", text, details={"violation_type": kind})


def _ban(value: dict[str, Any]) -> Notice:
    info = record(value.get("ban_info"))
    state = word(info.get("waba_ban_state"))
    meaning: dict[str, Availability] = {"DISABLE": "BLOCKED", "REINSTATE": "AVAILABLE"}
    availability = meaning.get(state)
    date = sentence(info.get("waba_ban_date"), "")
    return Notice(
        "other" if availability is None else "health",
        f"BAN_{state}",
        f"The account's ban state is {state}.",
        availability,
        connection={"DISABLE": "BANNED", "REINSTATE": "CONNECTED"}.get(state),
        details={"waba_ban_date": date} if date else {},
    )


def _restriction(value: dict[str, Any]) -> Notice:
    rows = records(value.get("restriction_info"))
    kinds = sorted({word(row.get("restriction_type")) for row in rows})
    until = max((at for row in rows if (at := instant(row.get("expiration"))) is not None), default=None)
    text = f"Meta restricted the account: {', '.join(kinds) or 'not stated'}."
    details = {"restrictions": ",".join(kinds)} if kinds else {}
    proactive = "RESTRICTED_BIZ_INITIATED_MESSAGING" in kinds
    availability: Availability | None = "LIMITED" if proactive else None
    if proactive and "RESTRICTED_CUSTOMER_INITIATED_MESSAGING" in kinds:
        availability = "BLOCKED"
    kind: Kind = "health" if proactive else "other"
    return Notice(kind, "ACCOUNT_RESTRICTION", text, availability=availability, hold_until=until, details=details)


def _review(value: dict[str, Any]) -> Notice:
    decision = word(value.get("decision"))
    return Notice("other", f"REVIEW_{decision}", f"Meta reviewed the account: {decision}.")


def _alert(value: dict[str, Any]) -> Notice:
    told = record(value.get("alert_info")) or value  # seen without the inner object
    kind, severity = word(told.get("alert_type")), word(told.get("alert_severity"))
    details = _words(told, "alert_status", "alert_severity") | _words(value, "entity_type")
    text = f"{severity}: {sentence(told.get('alert_description'), kind)}"
    return Notice("other", kind, text, details=details)


def _capability(value: dict[str, Any]) -> Notice:
    """v24 on: of the business; until v23 of each number."""
    named = ("max_daily_conversations_per_business", "max_daily_conversation_per_phone")
    limit = next((found for name in named if (found := messaging_limit(value.get(name))) is not None), None)
    details = _words(value, "max_phone_numbers_per_business", "max_phone_numbers_per_waba")
    text = f"Conversations the business may start a day: {_limit_said(limit)}."
    return Notice("other", "BUSINESS_CAPABILITY", text, messaging_limit=limit, details=details)


def _told_of(field_name: str) -> Callable[[dict[str, Any]], Notice]:
    """A notice that changes nothing for us and that somebody should see."""

    def told(value: dict[str, Any]) -> Notice:
        named = next((value[name] for name in ("event", "status", "decision", "type") if name in value), None)
        said = word(named.replace(" ", "_") if isinstance(named, str) else named)  # "Needs Testing", of a payment's
        return Notice("other", f"{field_name}_{said}".upper()[:64], f"Meta reports {said} in {field_name}.")

    return told


_OF_A_NUMBER: dict[str, Callable[[dict[str, Any]], Notice]] = {
    "phone_number_quality_update": _quality_update,
    "phone_number_name_update": _name_update,
    "security": _security,
    "business_username_update": _told_of("business_username_update"),
    "account_settings_update": _told_of("account_settings_update"),
}
_OF_AN_ACCOUNT: dict[str, Callable[[dict[str, Any]], Notice]] = {
    "account_update": _account_update,
    "account_review_update": _review,
    "account_alerts": _alert,
    "business_capability_update": _capability,
    **{
        name: _told_of(name)
        for name in ("business_status_update", "flows", "partner_solutions", "payment_configuration_update")
    },
}
NOTICES = frozenset(_OF_A_NUMBER) | frozenset(_OF_AN_ACCOUNT)


def number_events(change: WebhookChange, governance: Governance, identity: str) -> list[Emission]:
    """The events of a notice, one per number it is about. Raises Unusable where it is about none of ours."""
    of_number = _OF_A_NUMBER.get(change.field)
    numbers = _displayed(change, governance) if of_number else _of_account(change, governance)
    decide = of_number or _OF_AN_ACCOUNT[change.field]
    notice = decide(change.value)
    at = instant(change.entry_time) or change.received_at
    return [_emission(notice, number, governance, at, event_id(identity, number.phone_number_id)) for number in numbers]


def _displayed(change: WebhookChange, governance: Governance) -> list[Number]:
    """By what people see; by its id where a notice names that after all."""
    shown = ident(change.value.get("display_phone_number"))
    number = governance.number_by_display(shown) if shown else None
    if number is None:
        named = ident(change.value.get("phone_number_id")) or phone_number_id_of(change.value)
        number = governance.number(named) if named else None
    if number is None:
        raise Unusable("the notice is about a number that the governance file does not know", "number")
    return [number]


def _of_account(change: WebhookChange, governance: Governance) -> list[Number]:
    """The numbers of the account that the notice names inside (partners' events have the business as entry), else of
    the entry's; of one number or of the whole business where an alert says so."""
    value = change.value
    waba_id = ident(record(value.get("waba_info")).get("waba_id"))
    if value.get("entity_type") == "PHONE_NUMBER":
        found = governance.number(ident(value.get("entity_id")) or "")
        return _some([found] if found else [])
    named = {waba_id or change.entry_id}
    if value.get("entity_type") == "BUSINESS":
        named.add(ident(value.get("entity_id")) or change.entry_id)
    if (business := ident(value.get("business_id"))) is not None:
        named.add(business)
    return _some(number for number in governance.numbers if {number.waba_id, number.portfolio_id} & named)


def _some(numbers: Iterable[Number]) -> list[Number]:
    found = list(numbers)
    if not found:
        raise Unusable("the notice is about an account that the governance file does not know", "number")
    return found


def _emission(notice: Notice, number: Number, governance: Governance, at: datetime, identity: str) -> Emission:
    home = governance.home_of(number.phone_number_id) or number.phone_number_id
    event = NumberEvent(
        phone_number_id=number.phone_number_id,
        home=home,
        kind=notice.kind,
        source="webhook",
        at=at,
        availability=notice.availability,
        quality=notice.quality,
        hold_until=notice.hold_until,
        connection=notice.connection,
        messaging_limit=notice.messaging_limit,
        reason=Reason(code=notice.code, text=notice.text, details=notice.details),
    )
    return Emission(NUMBER_EVENTS, home, home, event, identity)
