"""Meta's notices about numbers and accounts, as number events. Pure.

The words are Meta's (Cloud API, webhook reference).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from harkara.contracts.event import Reason, event_id
from harkara.contracts.numbers import Availability, NumberEvent, Quality
from harkara.contracts.topics import NUMBER_EVENTS
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.core import Emission
from harkara.policy.governance import Governance, Number

Kind = Literal["health", "quality", "status", "halted", "rate_limited", "throughput", "other"]

_WORD = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
_DIGITS = re.compile(r"\d[\d \-]{5,}\d")  # anything that may be a phone number or an id, in a text of Meta's


class Unusable(Exception):
    """A part of a change that cannot be applied; `str()` is the reason, without a value that may be personal."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(reason)
        self.what = what


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notice means for a number. `availability` and `quality` None: the notice does not say."""

    kind: Kind
    code: str
    text: str
    availability: Availability | None = None
    quality: Quality | None = None
    hold_until: datetime | None = None


def word(value: object, otherwise: str = "UNKNOWN") -> str:
    """A constant of Meta's as it may be shown and counted; anything that is not one word is not repeated."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else otherwise


def sentence(value: object, otherwise: str) -> str:
    """A text of Meta's, at most 300 characters, with every run of digits that could be a number taken out."""
    return _DIGITS.sub("#", value)[:300] if isinstance(value, str) and value else otherwise


def instant(value: object) -> datetime | None:
    """Meta's timestamps: seconds, as a number or a text; more than 10 digits are milliseconds. None if neither."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**14:
        return None
    return datetime.fromtimestamp(value / 1000 if value >= 10**10 else value, UTC)


def _quality_update(value: dict[str, Any]) -> Notice:
    event = word(value.get("event"))
    limit = word(value.get("current_limit", value.get("max_daily_conversations_per_business")), "not stated")
    if event == "FLAGGED":
        return Notice("quality", event, f"Meta flagged the number for low quality; limit {limit}.", quality="RED")
    if event == "THROUGHPUT_UPGRADE":
        return Notice("throughput", event, f"Meta raised the number's throughput; limit {limit}.")
    if event in ("UNFLAGGED", "UPGRADE", "DOWNGRADE"):
        return Notice("quality", event, f"Meta changed the number's standing: {event}; limit {limit}.")
    return Notice("other", event, f"Meta reports {event} for the number; limit {limit}.")


def _name_update(value: dict[str, Any]) -> Notice:
    decision, why = word(value.get("decision")), word(value.get("rejection_reason"), "none given")
    return Notice("other", f"NAME_{decision}", f"Meta decided on the display name: {decision}, reason {why}.")


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
        return Notice("health", event, "The WhatsApp Business Account was deleted.", availability="BLOCKED")
    return Notice("other", event, f"Meta reports {event} for the account.")


def _ban(value: dict[str, Any]) -> Notice:
    info = value.get("ban_info")
    state = word(info.get("waba_ban_state") if isinstance(info, dict) else None)
    meaning: dict[str, Availability] = {"DISABLE": "BLOCKED", "REINSTATE": "AVAILABLE"}
    availability = meaning.get(state)
    return Notice(
        "other" if availability is None else "health",
        f"BAN_{state}",
        f"The account's ban state is {state}.",
        availability,
    )


def _restriction(value: dict[str, Any]) -> Notice:
    listed = value.get("restriction_info")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    kinds = sorted({word(row.get("restriction_type")) for row in rows})
    until = max((at for row in rows if (at := instant(row.get("expiration"))) is not None), default=None)
    text = f"Meta restricted the account: {', '.join(kinds) or 'not stated'}."
    proactive = "RESTRICTED_BIZ_INITIATED_MESSAGING" in kinds
    if proactive and "RESTRICTED_CUSTOMER_INITIATED_MESSAGING" in kinds:
        return Notice("health", "ACCOUNT_RESTRICTION", text, availability="BLOCKED", hold_until=until)
    if proactive:
        return Notice("health", "ACCOUNT_RESTRICTION", text, availability="LIMITED", hold_until=until)
    return Notice("other", "ACCOUNT_RESTRICTION", text, hold_until=until)


def _review(value: dict[str, Any]) -> Notice:
    decision = word(value.get("decision"))
    return Notice("other", f"REVIEW_{decision}", f"Meta reviewed the account: {decision}.")


def _alert(value: dict[str, Any]) -> Notice:
    info = value.get("alert_info")
    details = info if isinstance(info, dict) else {}
    kind, severity = word(details.get("alert_type")), word(details.get("alert_severity"))
    return Notice("other", kind, f"{severity}: {sentence(details.get('alert_description'), kind)}")


def _capability(value: dict[str, Any]) -> Notice:
    limit = word(str(value.get("max_daily_conversations_per_business", "")), "not stated")
    return Notice("other", "BUSINESS_CAPABILITY", f"Conversations the business may start a day: {limit}.")


_OF_A_NUMBER: dict[str, Callable[[dict[str, Any]], Notice]] = {
    "phone_number_quality_update": _quality_update,
    "phone_number_name_update": _name_update,
    "security": _security,
}
_OF_AN_ACCOUNT: dict[str, Callable[[dict[str, Any]], Notice]] = {
    "account_update": _account_update,
    "account_review_update": _review,
    "account_alerts": _alert,
    "business_capability_update": _capability,
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
    digits = change.value.get("display_phone_number")
    number = governance.number_by_display(digits) if isinstance(digits, str) and digits else None
    if number is None:
        raise Unusable("the notice is about a number that the governance file does not know", "number")
    return [number]


def _of_account(change: WebhookChange, governance: Governance) -> list[Number]:
    value = change.value
    info = value.get("waba_info")
    named = {change.entry_id, str(info.get("waba_id")) if isinstance(info, dict) else ""}
    if value.get("entity_type") == "PHONE_NUMBER":
        found = governance.number(str(value.get("entity_id")))
        return _some([found] if found else [])
    if value.get("entity_type") == "BUSINESS":
        named.add(str(value.get("entity_id")))
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
        reason=Reason(code=notice.code, text=notice.text),
    )
    return Emission(NUMBER_EVENTS, home, home, event, identity)
