"""Strict checks of a send body: unknown keys, missing parameters, lengths (cloud-api facts, sections 1.2 and 9).

Plain checks of plain dictionaries: this is the hot path, a pydantic model of the same costs ten times as much.
Every function answers with a Refusal or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from harkara.graph_simulator.refusals import Refusal

JsonObject: TypeAlias = dict[str, Any]
"""A decoded JSON object; Any because checking is what these functions are for."""

ENVELOPE_KEYS = frozenset(
    {
        "messaging_product", "recipient_type", "to", "recipient", "type", "context", "biz_opaque_callback_data",
        "recipient_identity_key_hash", "messaging_account_id", "paid_messaging_account_id",
    }
)  # fmt: skip
TYPES = frozenset(
    {
        "text", "template", "image", "video", "audio", "document", "sticker", "location", "contacts", "interactive",
        "reaction",
    }
)  # fmt: skip
MARKETING_KEYS = frozenset({"product_policy", "message_activity_sharing"})
READ_KEYS = frozenset({"messaging_product", "status", "message_id", "typing_indicator", "recipient_type"})
MAX_CONTACTS = 257
"""Contact cards in one message (Meta recommends fewer, and refuses more)."""
MAX_OPAQUE, MAX_TEXT, MAX_CAPTION = 512, 4096, 1024
_PHONE = re.compile(r"^\+?[0-9][0-9\s()-]{5,24}$", re.ASCII)
_BSUID = re.compile(r"^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$", re.ASCII)


def unexpected(name: str, found: JsonObject, allowed: frozenset[str]) -> Refusal | None:
    """100 "Unexpected key" for the first key that Meta does not know there."""
    for key in found:
        if key not in allowed:
            return Refusal(100, f'Unexpected key "{key}" on param "{name}".')
    return None


def missing(what: str) -> Refusal:
    """131008: a required parameter is missing."""
    return Refusal(131008, f"Parameter missing: {what}")


def invalid(what: str) -> Refusal:
    """131009: a value is not valid."""
    return Refusal(131009, f"Parameter Invalid: {what}")


def too_long(name: str, limit: int) -> Refusal:
    """100: a text is longer than Meta takes."""
    return Refusal(100, f"Param {name} must be at most {limit} characters long.")


def check_envelope(body: object, *, marketing_api: bool = False) -> Refusal | None:
    """Everything outside the typed object, and that the typed object is there."""
    if not isinstance(body, dict):
        return Refusal(100, "The request body is not a JSON object.")
    if body.get("messaging_product") != "whatsapp":
        return Refusal(100, message="(#100) The parameter messaging_product is required.")
    kind = body.get("type", "text")
    if not isinstance(kind, str) or kind not in TYPES:
        return Refusal(131051, f"Unsupported message type: {str(kind)[:40]}")
    known = ENVELOPE_KEYS | {kind} | (MARKETING_KEYS if marketing_api else frozenset())
    refusal = unexpected("message", body, known) or _check_recipient(body)
    if refusal is not None:
        return refusal
    if body.get("recipient_type", "individual") not in ("individual", "group"):
        return invalid("recipient_type")
    if not isinstance(body.get(kind), list if kind == "contacts" else dict):
        return missing(kind)
    if body.get("product_policy", "STRICT") not in ("CLOUD_API_FALLBACK", "STRICT"):
        return invalid("product_policy")
    return _check_opaque(body)


def check_mark_read(body: JsonObject) -> Refusal | None:
    """`{messaging_product, status: "read", message_id}`, with `typing_indicator: {type: "text"}` or without."""
    if body.get("messaging_product") != "whatsapp":
        return Refusal(100, message="(#100) The parameter messaging_product is required.")
    if body.get("status") != "read":
        return invalid("status")
    if not isinstance(body.get("message_id"), str):
        return missing("message_id")
    indicator = body.get("typing_indicator")
    if indicator is not None and indicator != {"type": "text"}:
        return invalid("typing_indicator")
    return unexpected("message", body, READ_KEYS)


def _check_recipient(body: JsonObject) -> Refusal | None:
    to, recipient = body.get("to"), body.get("recipient")
    if to is None and recipient is None:
        return Refusal(100, message="(#100) The parameter to is required.")
    if to is not None and not (isinstance(to, str) and _PHONE.match(to)):
        return invalid("to")
    if to is None and not (isinstance(recipient, str) and _BSUID.fullmatch(recipient)):
        return invalid("recipient")
    if to is None and body.get("type") == "template" and not isinstance(body.get("template"), dict):
        return missing("template")
    return None


def _check_opaque(body: JsonObject) -> Refusal | None:
    opaque = body.get("biz_opaque_callback_data")
    if opaque is not None and not isinstance(opaque, str):
        return invalid("biz_opaque_callback_data")
    if opaque is not None and len(opaque) > MAX_OPAQUE:
        return too_long("biz_opaque_callback_data", MAX_OPAQUE)
    context = body.get("context")
    if context is not None and not (isinstance(context, dict) and isinstance(context.get("message_id"), str)):
        return invalid("context")
    return None


def check_content(body: JsonObject) -> Refusal | None:
    """The typed object of every type but templates (`template_checks.py`)."""
    kind = body.get("type", "text")
    if kind == "contacts":
        return _check_contacts(body[kind])
    return _CHECKS[kind](kind, body[kind])


def _check_contacts(cards: list[object]) -> Refusal | None:
    if not 1 <= len(cards) <= MAX_CONTACTS:
        return invalid("contacts")
    for card in cards:
        if not isinstance(card, dict):
            return invalid("contacts")
        name = card.get("name")
        if not isinstance(name, dict) or not name.get("formatted_name"):
            return missing("contacts['name']['formatted_name']")
        if len(name) < 2:
            return missing("contacts['name']: one more part of the name beside formatted_name")
        refusal = unexpected("contacts", card, _CARD_KEYS)
        if refusal is not None:
            return refusal
    return None


_CARD_KEYS = frozenset({"name", "phones", "emails", "addresses", "urls", "org", "birthday"})


def check_text_field(name: str, value: object, limit: int, *, required: bool = True) -> Refusal | None:
    """A string of 1 to `limit` characters."""
    if value is None or value == "":
        return missing(name) if required else None
    if not isinstance(value, str):
        return invalid(name)
    return too_long(name, limit) if len(value) > limit else None


def _check_text(_: str, text: JsonObject) -> Refusal | None:
    if not isinstance(text.get("preview_url", False), bool):
        return invalid("preview_url")
    return unexpected("text", text, frozenset({"body", "preview_url"})) or check_text_field(
        "text['body']", text.get("body"), MAX_TEXT
    )


_MEDIA_KEYS = {
    "image": frozenset({"id", "link", "caption"}),
    "video": frozenset({"id", "link", "caption"}),
    "document": frozenset({"id", "link", "caption", "filename"}),
    "audio": frozenset({"id", "link", "voice"}),
    "sticker": frozenset({"id", "link"}),
}


def check_media(kind: str, media: JsonObject) -> Refusal | None:
    """`id` or `link`, and what may stand beside it for this kind."""
    refusal = unexpected(kind, media, _MEDIA_KEYS[kind])
    if refusal is not None:
        return refusal
    source = media.get("id", media.get("link"))
    if not isinstance(source, str) or not source:
        return missing(f"{kind}['id'] or {kind}['link']")
    if "id" in media and "link" in media:
        return Refusal(100, f"Param {kind} takes either id or link.")
    if "link" in media and not source.startswith(("https://", "http://")):
        return invalid(f"{kind}['link']")
    return check_text_field(f"{kind}['caption']", media.get("caption"), MAX_CAPTION, required=False)


def check_location(_: str, location: JsonObject) -> Refusal | None:
    """Latitude and longitude as numbers, name and address beside them."""
    for name in ("latitude", "longitude"):
        if name not in location:
            return missing(f"location['{name}']")
        try:
            float(location[name])
        except (TypeError, ValueError):
            return invalid(f"location['{name}']")
    return unexpected("location", location, frozenset({"latitude", "longitude", "name", "address"}))


def _check_reaction(_: str, reaction: JsonObject) -> Refusal | None:
    if not isinstance(reaction.get("message_id"), str):
        return missing("reaction['message_id']")
    if not isinstance(reaction.get("emoji"), str):
        return missing("reaction['emoji']")
    return unexpected("reaction", reaction, frozenset({"message_id", "emoji"}))


def _check_interactive(_: str, interactive: JsonObject) -> Refusal | None:
    kind, action = interactive.get("type"), interactive.get("action")
    refusal = unexpected("interactive", interactive, frozenset({"type", "header", "body", "footer", "action"}))
    if refusal is not None:
        return refusal
    if not isinstance(kind, str) or kind not in _INTERACTIVE:
        return invalid("interactive['type']")
    if not isinstance(action, dict):
        return missing("interactive['action']")
    body = interactive.get("body")
    limit = MAX_TEXT if kind == "list" else 1024
    text = body.get("text") if isinstance(body, dict) else None
    return (
        check_text_field("interactive['body']['text']", text, limit)
        or _check_short_texts(interactive)
        or _INTERACTIVE[kind](action)
    )


def _check_short_texts(interactive: JsonObject) -> Refusal | None:
    for name in ("header", "footer"):
        part = interactive.get(name)
        if part is None:
            continue
        if not isinstance(part, dict):
            return invalid(f"interactive['{name}']")
        if name == "header" and part.get("type", "text") != "text":
            refusal = _check_media_header(interactive, part)
        else:
            refusal = check_text_field(f"interactive['{name}']['text']", part.get("text"), 60)
        if refusal is not None:
            return refusal
    return None


def _check_media_header(interactive: JsonObject, header: JsonObject) -> Refusal | None:
    kind = header.get("type")
    if kind not in ("image", "video", "document") or interactive.get("type") == "list":
        return invalid("interactive['header']['type']")
    media = header.get(kind)
    return check_media(kind, media) if isinstance(media, dict) else missing(f"interactive['header']['{kind}']")


def _check_buttons(action: JsonObject) -> Refusal | None:
    buttons = action.get("buttons")
    if not isinstance(buttons, list) or not buttons:
        return missing("interactive['action']['buttons']")
    if len(buttons) > 3:
        return invalid("interactive['action']['buttons']: at most 3")
    for button in buttons:
        reply = button.get("reply") if isinstance(button, dict) else None
        if not isinstance(reply, dict):
            return missing("button['reply']")
        refusal = check_text_field("reply['id']", reply.get("id"), 256) or check_text_field(
            "reply['title']", reply.get("title"), 20
        )
        if refusal is not None:
            return refusal
    return None


def _check_list(action: JsonObject) -> Refusal | None:
    sections = action.get("sections")
    if not isinstance(sections, list) or not sections or not all(isinstance(section, dict) for section in sections):
        return missing("interactive['action']['sections']")
    if not all(isinstance(section.get("rows"), list) for section in sections):
        return missing("section['rows']")
    rows = [row for section in sections for row in section["rows"]]
    if len(sections) > 10 or len(rows) > 10:
        return invalid("interactive['action']['sections']: at most 10 sections and 10 rows")
    refusal = check_text_field("action['button']", action.get("button"), 20)
    for row in rows:
        refusal = refusal or (_check_row(row) if isinstance(row, dict) else invalid("row"))
    return refusal


def _check_row(row: JsonObject) -> Refusal | None:
    return (
        check_text_field("row['id']", row.get("id"), 200)
        or check_text_field("row['title']", row.get("title"), 24)
        or check_text_field("row['description']", row.get("description"), 72, required=False)
    )


def _check_cta_url(action: JsonObject) -> Refusal | None:
    parameters = action.get("parameters")
    if action.get("name") != "cta_url" or not isinstance(parameters, dict):
        return missing("interactive['action']['parameters']")
    return check_text_field("display_text", parameters.get("display_text"), 20) or check_text_field(
        "url", parameters.get("url"), 2000
    )


def _check_location_request(action: JsonObject) -> Refusal | None:
    return None if action.get("name") == "send_location" else invalid("interactive['action']['name']")


_INTERACTIVE: dict[object, Callable[[JsonObject], Refusal | None]] = {
    "button": _check_buttons,
    "list": _check_list,
    "cta_url": _check_cta_url,
    "location_request_message": _check_location_request,
}
_CHECKS: dict[str, Callable[[str, JsonObject], Refusal | None]] = {
    "text": _check_text,
    "location": check_location,
    "reaction": _check_reaction,
    "interactive": _check_interactive,
    **dict.fromkeys(_MEDIA_KEYS, check_media),
}
