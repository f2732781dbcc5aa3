"""The values of management webhooks, in Meta's shapes; who sends them puts them into an envelope."""

from __future__ import annotations

from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.world import NumberSpec, TemplateSpec

STATUS_FIELD = "message_template_status_update"
PAUSE_HOURS = (3, 6)
"""First and second pause of a template; the third time it is disabled (Meta, template pausing)."""
_PAUSE_TITLES = ("FIRST_PAUSE", "SECOND_PAUSE")


def _template(spec: TemplateSpec) -> JsonObject:
    return {
        "message_template_id": int(spec.id),
        "message_template_name": spec.name,
        "message_template_language": spec.language,
    }


def template_status(spec: TemplateSpec, event: str, reason: str = "NONE", **details: JsonObject) -> JsonObject:
    """`message_template_status_update`; `details` are other_info, disable_info, rejection_info where they apply."""
    return {"event": event, **_template(spec), "reason": reason, "message_template_category": spec.category, **details}


def _because(title: str, what: str) -> JsonObject:
    return {"title": title, "description": f"Your WhatsApp message template has been {what}."}


def template_paused(spec: TemplateSpec) -> JsonObject:
    """The pause number `spec.pauses`, or one in pacing."""
    if spec.paused_in_pacing:
        return template_status(
            spec, "PAUSED", other_info=_because("RATE_LIMITING_PAUSE", "paused for negative feedback in pacing")
        )
    hours = PAUSE_HOURS[spec.pauses - 1]
    because = _because(_PAUSE_TITLES[spec.pauses - 1], f"paused for {hours} hours because it continued to have issues")
    return template_status(spec, "PAUSED", other_info=because)


def template_disabled(spec: TemplateSpec, now: float) -> JsonObject:
    """The third time."""
    because = _because("DISABLED", "disabled because it continued to have issues")
    return template_status(spec, "DISABLED", disable_info={"disable_date": int(now)}, other_info=because)


def template_unpaused(spec: TemplateSpec) -> JsonObject:
    """The end of a pause."""
    return template_status(spec, "APPROVED", other_info=_because("UNPAUSE", "unpaused"))


def template_rejected(spec: TemplateSpec, why: str, advice: str) -> JsonObject:
    """`rejection_info` comes with INVALID_FORMAT only (Meta)."""
    if spec.rejected_reason != "INVALID_FORMAT":
        return template_status(spec, "REJECTED", spec.rejected_reason)
    return template_status(
        spec, "REJECTED", spec.rejected_reason, rejection_info={"reason": why, "recommendation": advice}
    )


def template_quality(spec: TemplateSpec, before: str) -> JsonObject:
    """`message_template_quality_update`."""
    return {"previous_quality_score": before, "new_quality_score": spec.quality, **_template(spec)}


def category_notice(spec: TemplateSpec, at: float) -> JsonObject:
    """`template_category_update` as a warning: `new_category` is the present one (Meta)."""
    return {
        **_template(spec),
        "correct_category": spec.correct_category,
        "new_category": spec.category,
        "category_update_timestamp": int(at),
    }


def category_changed(spec: TemplateSpec) -> JsonObject:
    """`template_category_update` once it is done."""
    return {**_template(spec), "previous_category": spec.previous_category, "new_category": spec.category}


def components_update(spec: TemplateSpec) -> JsonObject:
    """`message_template_components_update`, sent when an edit was approved."""
    value: JsonObject = {**_template(spec), "message_template_element": spec.body}
    if spec.header_format == "TEXT":
        value["message_template_title"] = spec.header
    if spec.footer:
        value["message_template_footer"] = spec.footer
    buttons = [
        {"message_template_button_type": button.type, "message_template_button_text": button.text}
        for button in spec.buttons
    ]
    return value | ({"message_template_buttons": buttons} if buttons else {})


def number_quality(number: NumberSpec, event: str) -> JsonObject:
    """`phone_number_quality_update`: FLAGGED, UNFLAGGED, UPGRADE, DOWNGRADE (older), ONBOARDING, THROUGHPUT_UPGRADE."""
    limit = number.messaging_limit
    return {
        "display_phone_number": number.digits,
        "event": event,
        "max_daily_conversations_per_business": limit,
        "current_limit": limit,
    }


def capability(tier: str) -> JsonObject:
    """`business_capability_update`: the portfolio's new messaging limit."""
    return {"max_daily_conversations_per_business": tier, "max_phone_numbers_per_waba": 20}


def name_decision(number: NumberSpec, decision: str, reason: str | None) -> JsonObject:
    """`phone_number_name_update`."""
    return {
        "display_phone_number": number.digits,
        "decision": decision,
        "requested_verified_name": number.verified_name,
        "rejection_reason": reason,
    }


def security(number: NumberSpec, event: str, requester: str) -> JsonObject:
    """`security`: PIN_CHANGED, PIN_RESET_REQUEST, PIN_REQUEST_SUCCESS."""
    return {"display_phone_number": number.digits, "event": event, "requester": requester}


def ban(state: str, date: str) -> JsonObject:
    """`account_update` of a disabled or reinstated account; `date` as Meta writes it: "April 17, 2026"."""
    return {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": state, "waba_ban_date": date}}


def restriction(kinds: tuple[str, ...], until: float) -> JsonObject:
    """`account_update` of a restricted account."""
    found = [{"restriction_type": kind, "expiration": int(until)} for kind in kinds]
    return {"event": "ACCOUNT_RESTRICTION", "restriction_info": found}
