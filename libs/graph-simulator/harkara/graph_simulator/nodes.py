"""What a GET shows of a number, an account, a template: fields, health_status, paged lists."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from starlette.requests import Request

from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.subscriptions import Routes
from harkara.graph_simulator.world import NumberSpec, TemplateButton, TemplateSpec, WabaSpec, World

_SEVERITY = ("AVAILABLE", "LIMITED", "BLOCKED")
MAX_PAGE = 1000
_INNER = re.compile(r"\{[^{}]*\}|\([^()]*\)")
_ABSENT_OF_NUMBER = frozenset(
    {
        "certificate", "new_certificate", "new_name_status", "new_display_name", "search_visibility", "username",
        "conversational_automation", "eligibility_for_api_business_global_search", "is_preverified_number",
    }
)  # fmt: skip
_ABSENT_OF_TEMPLATE = frozenset(
    {
        "correct_category", "previous_category", "sub_category", "library_template_name", "message_send_ttl_seconds",
        "cta_url_link_tracking_opted_out", "degrees_of_freedom_spec", "message_type", "specific_rejection_reason",
    }
)  # fmt: skip
_ABSENT_OF_ACCOUNT = frozenset(
    {
        "primary_business_location", "on_behalf_of_business_info", "primary_funding_id", "is_enabled_for_insights",
        "marketing_messages_onboarding_status", "marketing_messages_lite_api_status", "linked_commerce_account",
        "business_verification_date", "creation_time", "subscribed_apps", "assigned_users", "owner_business_info",
        "message_templates", "auth_international_rate_eligibility", "purchase_order_number",
    }
)  # fmt: skip


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
    business = _entity("BUSINESS", waba.portfolio, "AVAILABLE")
    if not waba.verified:
        business = _entity(
            "BUSINESS", waba.portfolio, "LIMITED", 141010, "The Business has not passed business verification."
        )
    entities = [*first, _account(waba), business, _entity("APP", world.app_id, "AVAILABLE")]
    worst = max((str(entity["can_send_message"]) for entity in entities), key=_SEVERITY.index)
    return {"can_send_message": worst, "entities": entities}


def _account(waba: WabaSpec) -> JsonObject:
    reasons = []
    if waba.status != "ACTIVE":
        reasons.append((141014, "The WABA is banned."))
    if not waba.payment_method:
        reasons.append((141006, "There is an error with the payment method."))
    if not reasons:
        return _entity("WABA", waba.id, "AVAILABLE")
    found = [_entity("WABA", waba.id, "BLOCKED", code, text) for code, text in reasons]
    return found[0] | {"errors": [error for entity in found for error in entity["errors"]]}


def _selected(
    node: JsonObject, fields: Sequence[str], default: Sequence[str], absent: frozenset[str] = frozenset()
) -> JsonObject | Refusal:
    """The fields asked for; `absent` are fields that Meta has and this node has no value of: they are left out."""
    for field in fields:
        if field not in node and field not in absent:
            return Refusal(100, message=f"(#100) Tried accessing nonexisting field ({field[:60]})")
    wanted = fields or default
    return {"id": node["id"], **{field: node[field] for field in wanted if field in node}}


def fields_of(query: str) -> tuple[str, ...]:
    """The names of `fields=a,b{c,d},e.limit(3)`; what stands in braces or brackets is not looked at."""
    while (shorter := _INNER.sub("", query)) != query:
        query = shorter
    return tuple(name for part in query.split(",") if (name := part.split(".")[0].strip()))


def number_node(
    world: World, waba: WabaSpec, number: NumberSpec, fields: Sequence[str], routes: Routes | None = None
) -> JsonObject | Refusal:
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
        "name_status": number.name_status,
        "code_verification_status": "VERIFIED",
        "throughput": {"level": level},
        "platform_type": "CLOUD_API",
        "account_mode": "LIVE",
        "quality_score": {"score": number.quality},
        "whatsapp_business_manager_messaging_limit": number.messaging_limit,
        "is_official_business_account": False,
        "is_pin_enabled": True,
        "is_on_biz_app": number.coexistence,
        "country_code": "IN",
        "country_dial_code": number.digits[:2],
        "last_onboarded_time": "2026-03-02T09:14:11+0000",
        "webhook_configuration": _configuration(routes or Routes(), waba, number),
        "health_status": health(world, waba, [own]),
    }
    return _selected(node, fields, ("display_phone_number", "verified_name", "quality_rating"), _ABSENT_OF_NUMBER)


def _configuration(routes: Routes, waba: WabaSpec, number: NumberSpec) -> JsonObject:
    found = {
        "application": routes.app_url,
        "whatsapp_business_account": routes.accounts.get(waba.id),
        "phone_number": routes.numbers.get(number.phone_number_id),
    }
    return {name: url for name, url in found.items() if url is not None}


def waba_node(world: World, waba: WabaSpec, fields: Sequence[str]) -> JsonObject | Refusal:
    """An account."""
    node: JsonObject = {
        "id": waba.id,
        "name": waba.name,
        "timezone_id": "71",
        "currency": waba.currency,
        "country": "IN",
        "message_template_namespace": f"{int(waba.id):032x}",
        "account_review_status": "APPROVED",
        "business_verification_status": "verified" if waba.verified else "not_verified",
        "ownership_type": "CLIENT_OWNED",
        "disable_marketing_messages_on_cloud_api": waba.marketing_disabled,
        "status": waba.status,
        "health_status": health(world, waba, []),
    }
    return _selected(node, fields, ("name", "timezone_id", "message_template_namespace"), _ABSENT_OF_ACCOUNT)


def template_node(world: World, waba: WabaSpec, template: TemplateSpec, fields: Sequence[str]) -> JsonObject | Refusal:
    """A template in one language, with the components it was approved with."""
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
        "quality_score": {"score": template.quality, "date": template.quality_at},
        "rejected_reason": template.rejected_reason,
        "components": list(template.components) or _components(template),
        "health_status": health(world, waba, [own]),
    }
    optional = {
        "correct_category": template.correct_category,
        "previous_category": template.previous_category,
        "message_send_ttl_seconds": template.ttl_seconds,
    }
    node |= {name: value for name, value in optional.items() if value is not None}
    return _selected(
        node, fields, [field for field in node if field not in ("id", "health_status")], _ABSENT_OF_TEMPLATE
    )


def _components(template: TemplateSpec) -> list[JsonObject]:
    """Meta's components of a template that the world file gives in short."""
    components: list[JsonObject] = []
    if template.header_format is not None:
        header: JsonObject = {"type": "HEADER", "format": template.header_format}
        if template.header_format == "TEXT":
            header |= {"text": template.header} | _example("header_text", template.header_variables, template.named)
        elif template.header_format != "LOCATION":
            header["example"] = {"header_handle": ["https://scontent.example.test/header"]}
        components.append(header)
    body: JsonObject = {"type": "BODY", "text": template.body}
    components.append(body | _example("body_text", template.body_variables, template.named))
    if template.footer:
        components.append({"type": "FOOTER", "text": template.footer})
    if template.buttons:
        components.append({"type": "BUTTONS", "buttons": [_button(button) for button in template.buttons]})
    return components


def _example(key: str, variables: tuple[str, ...], named: bool) -> JsonObject:
    """`example` of a text: named as objects, positional of a body as rows, of a header as one row."""
    if not variables:
        return {}
    if named:
        rows = [{"param_name": name, "example": name} for name in variables]
        return {"example": {f"{key}_named_params": rows}}
    values = [f"value {name}" for name in variables]
    return {"example": {key: [values] if key == "body_text" else values}}


def _button(button: TemplateButton) -> JsonObject:
    found: JsonObject = {"type": button.type, "text": button.text}
    if button.type == "URL" and button.variable:
        found |= {"url": "https://shop.example.test/{{1}}", "example": ["https://shop.example.test/value"]}
    elif button.type == "URL":
        found["url"] = "https://shop.example.test/"
    elif button.type == "PHONE_NUMBER":
        found["phone_number"] = "+919999900000"
    elif button.type == "COPY_CODE":
        found["example"] = ["CODE"]
    return found


def listed(request: Request, rows: Sequence[JsonObject]) -> JsonObject | Refusal:
    """One page: `limit` rows after the cursor `after`; `next` only where there is more, no paging on an empty list."""
    query = request.query_params
    try:
        limit = min(int(query.get("limit", "25")), MAX_PAGE)
        start = int(base64.urlsafe_b64decode(query["after"])) if "after" in query else 0
        end = int(base64.urlsafe_b64decode(query["before"])) if "before" in query else None
    except (ValueError, binascii.Error):
        return Refusal(131059)
    if limit < 1 or start < 0:
        return Refusal(100, message="(#100) Param limit must be at least 1.")
    if end is not None:
        start, limit = max(0, end - limit), min(limit, max(0, end))
    page = rows[start : start + limit]
    if not page:
        return {"data": []}
    after = base64.urlsafe_b64encode(b"%d" % (start + len(page))).decode()
    paging: JsonObject = {"cursors": {"before": base64.urlsafe_b64encode(b"%d" % start).decode(), "after": after}}
    if start + len(page) < len(rows):
        paging["next"] = str(request.url.include_query_params(after=after))
    return {"data": list(page), "paging": paging}
