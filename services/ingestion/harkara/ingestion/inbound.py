"""What people write, as events: every kind of message of Meta's reference. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from harkara.contracts.event import Reason, event_id
from harkara.contracts.topics import INBOUND_MESSAGES, SERVICE_WINDOWS
from harkara.contracts.webhooks import (
    InboundContact,
    InboundLocation,
    InboundMedia,
    InboundMessage,
    InboundOrder,
    OrderItem,
    ProductAsked,
    Referral,
    ServiceWindow,
)
from harkara.ingestion.core import Emission
from harkara.ingestion.people import People, Person
from harkara.ingestion.readings import (
    Unusable,
    amount,
    flag,
    ident,
    instant,
    record,
    records,
    sentence,
    text,
    whole,
    word,
)

_NOT_WRITTEN = frozenset({"system", "edit", "revoke", "reaction", "request_welcome", "ephemeral"})
"""Kinds that do not open the service window: nobody wrote."""
MEDIA = frozenset({"image", "video", "audio", "document", "sticker"})
KINDS = MEDIA | {
    "text", "button", "interactive", "reaction", "location", "contacts", "order", "system", "edit", "revoke",
    "unsupported", "request_welcome",
}  # fmt: skip
MOST_PARTS = 100  # of an order's lines, of shared contacts, of errors: more than a phone shows
LONGEST = 4096  # characters of what is taken over besides the text; Meta's own limit of a text


def inbound(
    item: dict[str, Any], phone_number_id: str, home: str, received_at: datetime, people: People
) -> list[Emission]:
    """The events of one message: itself, the window it opens, what it says of its sender's names. Raises Unusable."""
    wamid, sent_at, person = ident(item.get("id")), instant(item.get("timestamp")), people.sender(item)
    kind = _kind(item)
    if wamid is None or sent_at is None or person is None:
        raise Unusable("the message has no id, no timestamp or no sender", "value_key")
    event = InboundMessage(
        wamid=wamid,
        phone_number_id=phone_number_id,
        home=home,
        from_phone=f"+{person.phone}" if person.phone else None,
        user_id=person.user_id,
        person_key=person.key,
        kind=kind,
        sent_at=sent_at,
        received_at=received_at,
        context_wamid=_context(item, kind),
        forwarded=_forwarded(item),
        referral=_referral(item.get("referral")) or _referral(record(item.get("context")).get("referral")),
        product=_product(item),
        group_id=ident(item.get("group_id")),
        errors=tuple(_errors(item.get("errors"))),
        **_content(item, kind),
    )
    found = [Emission(INBOUND_MESSAGES, home, home, event, event_id("inbound", wamid))]
    if kind not in _NOT_WRITTEN and event.group_id is None:
        found.append(_window(event, person, phone_number_id, home))
    return found + (people.changes(item, sent_at) if kind == "system" else people.both_names(person, sent_at))


def _product(item: dict[str, Any]) -> ProductAsked | None:
    part = record(record(item.get("context")).get("referred_product"))
    product = ident(part.get("product_retailer_id"))
    return None if product is None else ProductAsked(catalog_id=ident(part.get("catalog_id")), product=product)


def _window(event: InboundMessage, person: Person, phone_number_id: str, home: str) -> Emission:
    """Open as of when it was written, never of later than we got it: a clock ahead would keep it open too long."""
    at = min(event.sent_at, event.received_at)
    window = ServiceWindow(phone_number_id=phone_number_id, person_key=person.key, last_inbound_at=at)
    key = f"{phone_number_id}:{person.key}"
    return Emission(SERVICE_WINDOWS, home, key, window, event_id("window", event.wamid))


def _kind(item: dict[str, Any]) -> str:
    """Meta's word; without one, that of the part which is there. A recording had a word of its own once."""
    if "type" in item:
        kind = word(item["type"], "unknown")
        return "audio" if kind == "voice" else kind
    return next((kind for kind in sorted(KINDS) if isinstance(item.get(kind), dict | list)), "unknown")


def _context(item: dict[str, Any], kind: str) -> str | None:
    if kind == "reaction":
        return ident(record(item.get("reaction")).get("message_id"))
    context = record(item.get("context"))
    return ident(context.get("id")) or ident(context.get("message_id"))


def _forwarded(item: dict[str, Any]) -> bool:
    context = record(item.get("context"))
    return bool(flag(context.get("forwarded")) or flag(context.get("frequently_forwarded")))


def _errors(listed: object) -> list[Reason]:
    found = []
    for row in records(listed)[:MOST_PARTS]:
        code = whole(row.get("code"))
        if code is not None:
            found.append(Reason(code=f"meta_{code}", text=sentence(row.get("title"), "Meta gave no title")))
    return found


def _content(item: dict[str, Any], kind: str) -> dict[str, Any]:
    """The typed part of a message, by its kind; what is not known of it is left out."""
    part = _part(item, kind)
    match kind:
        case "text":
            return {"text": text(part.get("body"))}
        case "button":
            return {"text": text(part.get("text")), "button_payload": text(part.get("payload"))}
        case "interactive":
            return _reply(part)
        case "reaction":
            return {"emoji": text(part.get("emoji")) or None}
        case "location":
            return {"location": _location(part)}
        case "contacts":
            return {"contacts": tuple(_contact(each) for each in records(item.get(kind))[:MOST_PARTS])}
        case "order":
            return {"text": text(part.get("text")), "order": _order(part)}
        case "edit" | "revoke":
            return _revised(part)
        case "system" | "unsupported":
            return {"subtype": word(part.get("type"))}
        case _:
            return _file(part)


def _part(item: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"voice": True} | record(item.get("voice")) if item.get("type") == "voice" else record(item.get(kind))


def _file(part: dict[str, Any]) -> dict[str, Any]:
    """A media message, or a kind never seen: its caption and its file, where it has them."""
    found: dict[str, Any] = {"text": text(part.get("caption"))}
    media_id = ident(part.get("id"))
    if media_id is not None:
        found["media"] = InboundMedia(
            id=media_id,
            mime_type=text(part.get("mime_type")),
            sha256=text(part.get("sha256")),
            filename=text(part.get("filename")),
            voice=bool(flag(part.get("voice"))),
            animated=bool(flag(part.get("animated"))),
        )
    return found


def _reply(part: dict[str, Any]) -> dict[str, Any]:
    """A tap on a button or a row, or a form that was filled in."""
    subtype = word(part.get("type"))
    reply = record(part.get(subtype))
    if subtype == "nfm_reply":
        return {"subtype": subtype, "text": text(reply.get("body")), "form": _json(reply.get("response_json"))}
    if subtype == "call_permission_reply":
        return {"subtype": subtype, "form": _json(reply)}
    return {"subtype": subtype, "text": text(reply.get("title")), "button_payload": ident(reply.get("id"))}


def _json(value: object) -> str | None:
    """JSON as a text: Meta's own, or what came as an object."""
    if isinstance(value, dict | list) and value:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text(value)


def _revised(part: dict[str, Any]) -> dict[str, Any]:
    """What an edit puts in the place of the original; a revocation puts nothing there."""
    message = record(part.get("message"))
    kind = word(message.get("type"))
    inner = _content(message, kind) if kind not in ("edit", "revoke", "UNKNOWN") else {}
    kept = {name: inner[name] for name in ("text", "button_payload", "media") if name in inner}
    return kept | {"original_wamid": ident(part.get("original_message_id"))}


def _location(part: dict[str, Any]) -> InboundLocation | None:
    latitude, longitude = _degrees(part.get("latitude")), _degrees(part.get("longitude"))
    if latitude is None or longitude is None:
        return None
    name, address = text(part.get("name")), text(part.get("address"))
    return InboundLocation(latitude=latitude, longitude=longitude, name=name, address=address)


def _degrees(value: object) -> float | None:
    """Degrees, also as a text with a sign."""
    if isinstance(value, str) and value.startswith("-"):
        found = amount(value[1:])
        return None if found is None else -found
    return amount(value)


def _contact(part: dict[str, Any]) -> InboundContact:
    phones = (text(each.get("phone")) or text(each.get("wa_id")) for each in records(part.get("phones"))[:MOST_PARTS])
    name = text(record(part.get("name")).get("formatted_name"))
    return InboundContact(name=name, phones=tuple(phone for phone in phones if phone))


def _order(part: dict[str, Any]) -> InboundOrder:
    items = []
    for row in records(part.get("product_items"))[:MOST_PARTS]:
        product = ident(row.get("product_retailer_id"))
        if product is not None:
            price, quantity = amount(row.get("item_price")), amount(row.get("quantity"))
            items.append(OrderItem(product=product, quantity=quantity, price=price, currency=text(row.get("currency"))))
    return InboundOrder(catalog_id=ident(part.get("catalog_id")), items=tuple(items))


def _referral(value: object) -> Referral | None:
    part = record(value)
    kept = {name: found[:LONGEST] for name in Referral.model_fields if (found := text(part.get(name)))}
    return Referral(**kept) if kept else None
