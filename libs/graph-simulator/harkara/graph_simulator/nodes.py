"""What a GET shows of a number, an account, a template: fields, health_status, paged lists."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from starlette.requests import Request

from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.world import NumberSpec, TemplateSpec, WabaSpec, World

_SEVERITY = ("AVAILABLE", "LIMITED", "BLOCKED")
MAX_PAGE = 1000


def _entity(kind: str, node: str, availability: str, code: int | None = None, text: str = "") -> JsonObject:
    entity: JsonObject = {"entity_type": kind, "id": node, "can_send_message": availability}
    if availability == "LIMITED" and code is None:
        entity["additional_info"] = ["Your display name has not been approved yet."]
    if code is not None:
        solution = "See Business Support Home."
        entity["errors"] = [{"error_code": code, "error_description": text, "possible_solution": solution}]
    return entity


def health(world: World, waba: WabaSpec, first: Sequence[JsonObject]) -> JsonObject:
    """`health_status`: the node's own entity first, then account, portfolio and app; the overall value is the worst."""
    if waba.status == "ACTIVE":
        account = _entity("WABA", waba.id, "AVAILABLE")
    else:
        account = _entity("WABA", waba.id, "BLOCKED", 141014, "The WABA is banned.")
    entities = [
        *first,
        account,
        _entity("BUSINESS", waba.portfolio, "AVAILABLE"),
        _entity("APP", world.app_id, "AVAILABLE"),
    ]
    worst = max((str(entity["can_send_message"]) for entity in entities), key=_SEVERITY.index)
    return {"can_send_message": worst, "entities": entities}


def _selected(node: JsonObject, fields: Sequence[str], default: Sequence[str]) -> JsonObject | Refusal:
    for field in fields:
        if field not in node:
            return Refusal(100, message=f"(#100) Tried accessing nonexisting field ({field[:60]})")
    wanted = fields or default
    return {"id": node["id"], **{field: node[field] for field in wanted}}


def number_node(world: World, waba: WabaSpec, number: NumberSpec, fields: Sequence[str]) -> JsonObject | Refusal:
    """A phone number: the fields asked for, or Meta's default four."""
    blocked = number.health == "BLOCKED"
    own = _entity(
        "PHONE_NUMBER", number.phone_number_id, number.health, *((131031, "The number is blocked.") if blocked else ())
    )
    level = "HIGH" if number.throughput_per_second >= 1000 else "STANDARD"
    node: JsonObject = {
        "id": number.phone_number_id,
        "display_phone_number": number.display_phone_number,
        "verified_name": number.verified_name,
        "quality_rating": number.quality,
        "status": number.status,
        "name_status": "APPROVED",
        "code_verification_status": "VERIFIED",
        "throughput": {"level": level},
        "platform_type": "CLOUD_API",
        "account_mode": "LIVE",
        "quality_score": {"score": number.quality},
        "whatsapp_business_manager_messaging_limit": number.messaging_limit,
        "is_official_business_account": False,
        "is_pin_enabled": True,
        "is_on_biz_app": False,
        "health_status": health(world, waba, [own]),
    }
    return _selected(node, fields, ("display_phone_number", "verified_name", "quality_rating"))


def waba_node(world: World, waba: WabaSpec, fields: Sequence[str]) -> JsonObject | Refusal:
    """An account."""
    node: JsonObject = {
        "id": waba.id,
        "name": waba.name,
        "timezone_id": "71",
        "currency": waba.currency,
        "country": "IN",
        "account_review_status": "APPROVED",
        "business_verification_status": "verified",
        "ownership_type": "CLIENT_OWNED",
        "status": waba.status,
        "health_status": health(world, waba, []),
    }
    return _selected(node, fields, ("name", "timezone_id"))


def template_node(world: World, waba: WabaSpec, template: TemplateSpec, fields: Sequence[str]) -> JsonObject | Refusal:
    """A template in one language, with the components it was approved with."""
    components: list[JsonObject] = []
    if template.header_format is not None:
        header: JsonObject = {"type": "HEADER", "format": template.header_format}
        components.append(header | ({"text": template.header} if template.header_format == "TEXT" else {}))
    components.append({"type": "BODY", "text": template.body})
    if template.buttons:
        components.append({"type": "BUTTONS", "buttons": [{"type": b.type, "text": b.text} for b in template.buttons]})
    if template.status == "APPROVED":
        own = _entity("MESSAGE_TEMPLATE", template.id, "AVAILABLE")
    else:
        text = "Message templates can only be sent out if they are approved."
        own = _entity("MESSAGE_TEMPLATE", template.id, "BLOCKED", 141002, text)
    node: JsonObject = {
        "id": template.id,
        "name": template.name,
        "language": template.language,
        "status": template.status,
        "category": template.category,
        "parameter_format": "NAMED" if template.named else "POSITIONAL",
        "quality_score": {"score": "UNKNOWN"},
        "rejected_reason": "NONE",
        "components": components,
        "health_status": health(world, waba, [own]),
    }
    return _selected(node, fields, [field for field in node if field not in ("id", "health_status")])


def listed(request: Request, rows: Sequence[JsonObject]) -> JsonObject | Refusal:
    """One page: `limit` rows after the cursor `after`; `next` only where there is more, no paging on an empty list."""
    query = request.query_params
    try:
        limit = min(int(query.get("limit", "25")), MAX_PAGE)
        start = int(base64.urlsafe_b64decode(query["after"])) if "after" in query else 0
    except (ValueError, binascii.Error):
        return Refusal(131059)
    page = rows[start : start + limit]
    if not page:
        return {"data": []}
    after = base64.urlsafe_b64encode(b"%d" % (start + len(page))).decode()
    paging: JsonObject = {"cursors": {"before": base64.urlsafe_b64encode(b"%d" % start).decode(), "after": after}}
    if start + len(page) < len(rows):
        paging["next"] = str(request.url.include_query_params(after=after))
    return {"data": list(page), "paging": paging}
