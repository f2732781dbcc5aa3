"""Webhook bodies in the shape of v24.0 and later, and the bytes that are signed and sent."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import Any, TypeAlias

from harkara.graph_simulator.refusals import title
from harkara.graph_simulator.world import NumberSpec

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object in Meta's nested shapes."""

_SIMULATED_ID = re.compile(r"IN\.2045(0[0-9]{15})", re.ASCII)  # what `user_id` makes
_HREF = "https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes/"


def wire_bytes(body: JsonObject) -> bytes:
    """The body as Meta escapes it: ASCII, \\uXXXX in lower-case hexadecimal, slashes as \\/."""
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def envelope(waba_id: str, changes: list[JsonObject], time_seconds: int | None = None) -> JsonObject:
    """One entry of one account; `time` is there on management fields only."""
    entry: JsonObject = {"id": waba_id, "changes": changes}
    if time_seconds is not None:
        entry["time"] = time_seconds
    return {"object": "whatsapp_business_account", "entry": [entry]}


def messages_change(number: NumberSpec, field: str = "messages", **parts: list[JsonObject]) -> JsonObject:
    """One change of the field `messages` or user_preferences; of `parts` the empty ones are left out."""
    value: JsonObject = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": number.digits, "phone_number_id": number.phone_number_id},
    }
    value.update({name: found for name, found in parts.items() if found})
    return {"value": value, "field": field}


def new_wamid(digits: str, *, inbound: bool = False) -> str:
    """A wamid in the layout that is observed: 18 random hexadecimal characters outbound, 20 inbound."""
    phone = digits.encode("ascii", "replace")[:64]
    unique = os.urandom(10 if inbound else 9).hex().upper().encode()
    head = b"\x1c\x18" + bytes([len(phone)]) + phone + b"\x15\x02\x00"
    tail = (b"\x12\x18" if inbound else b"\x11\x18") + bytes([len(unique)]) + unique + b"\x00"
    return "wamid." + base64.b64encode(head + tail).decode()


def user_id(digits: str) -> str:
    """The business-scoped user id that the simulated user of this number has."""
    return f"IN.2045{digits:0>16}"


def digits_of(name: str) -> str:
    """The number of the simulated user who has this user id; any other id stays what it is."""
    found = _SIMULATED_ID.fullmatch(name)
    return name if found is None else found[1].lstrip("0") or name


def contact(digits: str, name: str) -> JsonObject:
    """One element of `contacts`."""
    return {"profile": {"name": name}, "wa_id": digits, "user_id": user_id(digits)}


def error_object(code: int) -> JsonObject:
    """One element of `errors` of a failed status."""
    name = title(code)
    return {"code": code, "title": name, "message": name, "error_data": {"details": name + "."}, "href": _HREF}


def pricing(category: str, *, free: bool = False) -> JsonObject:
    """`pricing` as charged per message; `category` in lower case: service, utility, marketing ...

    `free`: a service message among the first 1,000 delivered of the number's month (since 1 October 2026).
    """
    kind = "free_customer_service" if free else "regular"
    return {"billable": not free, "pricing_model": "PMP", "type": kind, "category": category}
