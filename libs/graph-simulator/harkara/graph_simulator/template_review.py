"""What Meta says of a submitted template: refusals at once (code 100 with a 2388xxx subcode), and the review's verdict.

Sizes and counts are Meta's (templates overview and components). What is not published is the simulator's own: the share
of variables to words, and by which words a utility template is taken for marketing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from harkara.graph_simulator.checks import JsonObject, unexpected
from harkara.graph_simulator.refusals import Refusal, template_refusal
from harkara.graph_simulator.world import Category, TemplateButton, TemplateSpec

CATEGORIES = ("MARKETING", "UTILITY", "AUTHENTICATION")
TTL_SECONDS = {"AUTHENTICATION": (30, 900), "UTILITY": (30, 43_200), "MARKETING": (43_200, 2_592_000)}
"""`message_send_ttl_seconds` by category; -1 is 30 days (Meta, time to live)."""
_NAME = re.compile(r"[a-z0-9_]{1,512}", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Z]{2,3})?", re.ASCII)
_VARIABLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAMED = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_PROMOTION = re.compile(r"\b(offers?|sale|discount|coupon|cashback|% off|buy now|limited time)\b|% off", re.IGNORECASE)
_SHORTENED = re.compile(r"\b(bit\.ly|tinyurl\.com|goo\.gl|wa\.me)/", re.IGNORECASE)
_BUTTON_LIMITS = {"URL": 2, "PHONE_NUMBER": 1, "COPY_CODE": 1, "OTP": 1}
_MEDIA_HEADERS = ("IMAGE", "VIDEO", "DOCUMENT")
_KEYS = {
    "HEADER": frozenset({"type", "format", "text", "example"}),
    "BODY": frozenset({"type", "text", "example", "add_security_recommendation"}),
    "FOOTER": frozenset({"type", "text", "code_expiration_minutes"}),
    "BUTTONS": frozenset({"type", "buttons"}),
}
_TOP = frozenset(
    {
        "name", "language", "category", "parameter_format", "components", "message_send_ttl_seconds",
        "allow_category_change", "sub_category", "cta_url_link_tracking_opted_out", "library_template_name",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a review: a status, and for a rejection the reason, why, and what to do."""

    status: str
    reason: str = "NONE"
    why: str = ""
    advice: str = ""


def check_submission(body: object) -> Refusal | None:
    """The first thing that Meta refuses at once in `POST /{waba}/message_templates`."""
    if not isinstance(body, dict):
        return Refusal(100, message="(#100) The request body is not a JSON object.")
    refusal = unexpected("message_templates", body, _TOP)
    if refusal is not None:
        return refusal
    for key in ("name", "language", "category"):
        if not isinstance(body.get(key), str):
            return Refusal(100, message=f"(#100) The parameter {key} is required.")
    if not _NAME.fullmatch(body["name"]):
        return Refusal(100, message="(#100) Param name must be lower-case letters, digits and underscores.")
    if not _LANGUAGE.fullmatch(body["language"]):
        return Refusal(100, message="(#100) Param language must be one of the supported languages.")
    if body["category"] not in CATEGORIES:
        return Refusal(100, message="(#100) Param category must be one of {MARKETING, UTILITY, AUTHENTICATION}.")
    if body.get("parameter_format", "POSITIONAL") not in ("POSITIONAL", "NAMED"):
        return Refusal(100, message="(#100) Param parameter_format must be one of {POSITIONAL, NAMED}.")
    return check_ttl(body) or check_components(body)


def check_ttl(body: JsonObject) -> Refusal | None:
    """`message_send_ttl_seconds` within its category's range."""
    ttl = body.get("message_send_ttl_seconds")
    if ttl is None or ttl == -1:
        return None
    least, most = TTL_SECONDS.get(str(body.get("category")), (30, 2_592_000))
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not least <= ttl <= most:
        return Refusal(100, message=f"(#100) Param message_send_ttl_seconds must be {least} to {most}, or -1.")
    return None


def check_components(body: JsonObject) -> Refusal | None:
    """Every component, each at most once, the body among them."""
    components = body.get("components")
    if not isinstance(components, list) or not all(isinstance(one, dict) for one in components):
        return Refusal(100, message="(#100) The parameter components is required.")
    kinds = [str(component.get("type", "")).upper() for component in components]
    if "BODY" not in kinds or len(set(kinds)) != len(kinds):
        return template_refusal(2388072)
    authentication = body.get("category") == "AUTHENTICATION"
    named = body.get("parameter_format") == "NAMED"
    for kind, component in zip(kinds, components, strict=True):
        if kind not in _KEYS:
            return Refusal(100, message=f"(#100) Param components has an unknown type {kind[:20]!r}.")
        refusal = unexpected(f"components[{kind}]", component, _KEYS[kind])
        if refusal is None and kind == "HEADER":
            refusal = _check_header(component, named)
        elif refusal is None and kind == "BODY":
            refusal = _check_auth_body(component) if authentication else _check_body(component, named)
        elif refusal is None and kind == "FOOTER":
            refusal = _check_footer(component, authentication)
        elif refusal is None:
            refusal = _check_buttons(component)
        if refusal is not None:
            return refusal
    return None


def variables(text: str) -> list[str]:
    """Names in order of first appearance."""
    return list(dict.fromkeys(_VARIABLE.findall(text)))


def _check_header(component: JsonObject, named: bool) -> Refusal | None:
    kind, text = component.get("format"), component.get("text")
    example = component.get("example")
    example = example if isinstance(example, dict) else {}
    if kind == "LOCATION":
        return None
    if kind in _MEDIA_HEADERS:
        handles = example.get("header_handle")
        good = isinstance(handles, list) and len(handles) == 1 and str(handles[0]).startswith("4::")
        return None if good else template_refusal(2388047, "An example handle of an uploaded file is missing.")
    if kind != "TEXT" or not isinstance(text, str) or not text:
        return template_refusal(2388047)
    if len(text) > 60:
        return template_refusal(2388040)
    found = variables(text)
    key = "header_text_named_params" if named else "header_text"
    if len(found) > 1 or not _well_named(found, named) or (found and not example.get(key)):
        return template_refusal(2388047)
    return None


def _check_auth_body(component: JsonObject) -> Refusal | None:
    wanted = component.get("add_security_recommendation", False)
    if component.get("text") is not None or not isinstance(wanted, bool):
        return template_refusal(2388072, "The text of an authentication template is given by Meta.")
    return None


def _check_body(component: JsonObject, named: bool) -> Refusal | None:
    text = component.get("text")
    if not isinstance(text, str) or not text.strip():
        return template_refusal(2388072)
    if len(text) > 1024:
        return template_refusal(2388040)
    found = variables(text)
    if not _well_named(found, named) or text.count("{{") != len(_VARIABLE.findall(text)):
        return template_refusal(2388072)
    if text.strip().startswith("{{") or text.strip().endswith("}}"):
        return template_refusal(2388299)
    if len(re.findall(r"\w+", _VARIABLE.sub(" ", text))) < len(found) + 1:
        return template_refusal(2388293)
    return _check_body_example(component.get("example"), found, named)


def _check_body_example(example: object, found: list[str], named: bool) -> Refusal | None:
    if not found:
        return None
    given = example if isinstance(example, dict) else {}
    if named:
        rows = given.get("body_text_named_params")
        names = {row.get("param_name") for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
        return None if names == set(found) else template_refusal(2388072, "An example of each variable is needed.")
    rows = given.get("body_text")
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], list) else []
    return None if len(first) == len(found) else template_refusal(2388072, "An example of each variable is needed.")


def _well_named(found: list[str], named: bool) -> bool:
    if named:
        return all(_NAMED.fullmatch(name) for name in found)
    return found == [str(place) for place in range(1, len(found) + 1)]


def _check_footer(component: JsonObject, authentication: bool) -> Refusal | None:
    text = component.get("text")
    if authentication:
        minutes = component.get("code_expiration_minutes")
        return None if isinstance(minutes, int) and 1 <= minutes <= 90 else template_refusal(2388073)
    if not isinstance(text, str) or not text or variables(text):
        return template_refusal(2388073)
    return template_refusal(2388040) if len(text) > 60 else None


def _check_buttons(component: JsonObject) -> Refusal | None:
    buttons = component.get("buttons")
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= 10 or not all(isinstance(b, dict) for b in buttons):
        return Refusal(100, message="(#100) Param buttons must be a list of 1 to 10 buttons.")
    kinds = [str(button.get("type", "")).upper() for button in buttons]
    for kind, most in _BUTTON_LIMITS.items():
        if kinds.count(kind) > most:
            return Refusal(100, message=f"(#100) Param buttons may have at most {most} of type {kind}.")
    if [kind for kind, _ in groupby(kinds, key=lambda kind: kind == "QUICK_REPLY")].count(True) > 1:
        return Refusal(100, message="(#100) Quick replies must stand together.")
    return next((refusal for button in buttons if (refusal := _check_button(button)) is not None), None)


def _check_button(button: JsonObject) -> Refusal | None:
    kind, text = str(button.get("type", "")).upper(), button.get("text")
    if kind not in ("QUICK_REPLY", "URL", "PHONE_NUMBER", "COPY_CODE", "OTP"):
        return Refusal(100, message=f"(#100) Param buttons has an unknown type {kind[:20]!r}.")
    if kind not in ("COPY_CODE", "OTP") and (not isinstance(text, str) or not text):
        return Refusal(100, message="(#100) A button needs a text.")
    if isinstance(text, str) and len(text) > 25:
        return template_refusal(2388040)
    if kind == "URL":
        return _check_url(button)
    if kind == "PHONE_NUMBER" and not 1 <= len(str(button.get("phone_number") or "")) <= 20:
        return Refusal(100, message="(#100) Param phone_number must have 1 to 20 characters.")
    if kind == "COPY_CODE" and not 1 <= len(_first_text(button.get("example"))) <= 15:
        return Refusal(100, message="(#100) A copy code needs an example of at most 15 characters.")
    return None


def _check_url(button: JsonObject) -> Refusal | None:
    url = button.get("url")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        return Refusal(100, message="(#100) Param url is not a URL.")
    if len(url) > 2_000:
        return template_refusal(2388040)
    found = _VARIABLE.findall(url)
    if len(found) > 1 or (found and not url.endswith("}}")):
        return Refusal(100, message="(#100) A URL takes one variable, at its very end.")
    if found and not _first_text(button.get("example")):
        return Refusal(100, message="(#100) A URL with a variable needs an example.")
    return None


def _first_text(example: object) -> str:
    first = example[0] if isinstance(example, list) and example else example
    return first if isinstance(first, str) else ""


def specification(body: JsonObject, category: Category) -> TemplateSpec:
    """The template of a body that `check_submission` let pass."""
    found = {str(component["type"]).upper(): component for component in body["components"]}
    header, buttons = found.get("HEADER", {}), found.get("BUTTONS", {}).get("buttons", [])
    text = found["BODY"].get("text") or "{{1}} is your verification code."
    return TemplateSpec(
        name=body["name"],
        language=body["language"],
        category=category,
        status="PENDING",
        body=text,
        header_format=header.get("format"),
        header=header.get("text", ""),
        footer=found.get("FOOTER", {}).get("text") or "",
        buttons=tuple(_button_spec(button) for button in buttons),
        components=tuple(body["components"]),
        ttl_seconds=body.get("message_send_ttl_seconds"),
    )


def _button_spec(button: JsonObject) -> TemplateButton:
    kind = str(button["type"]).upper()
    if kind == "OTP":  # a code's button is sent as a url button with the code (Meta, authentication templates)
        return TemplateButton.model_validate(
            {"type": "URL", "text": button.get("text") or "Copy code", "variable": True}
        )
    variable = kind == "COPY_CODE" or (kind == "URL" and "{{" in str(button.get("url", "")))
    return TemplateButton.model_validate(
        {"type": kind, "text": button.get("text") or "Copy code", "variable": variable}
    )


def category_found(body: JsonObject) -> Category:
    """The category that Meta gives: a utility template that promotes is marketing (guidelines, April 2025)."""
    category: Category = body["category"]
    if category != "UTILITY":
        return category
    texts = [str(one.get("text", "")) for one in body["components"] if isinstance(one.get("text"), str)]
    promotes = body["name"].endswith("_recategorise") or any(_PROMOTION.search(text) for text in texts)
    return "MARKETING" if promotes else category


def verdict(spec: TemplateSpec, others: Iterable[TemplateSpec]) -> Verdict:
    """The review of a template, beside the account's others. Names ending in _reject and _slow decide it too."""
    if spec.name.endswith("_slow"):
        return Verdict("PENDING")
    if spec.name.endswith("_reject"):
        return Verdict("REJECTED", "PROMOTIONAL")
    if re.search(r"\}\}\s*\{\{", spec.body):
        why = "Two variables are placed next to each other without text between them."
        return Verdict("REJECTED", "INVALID_FORMAT", why, "Add descriptive text between the variables.")
    if _SHORTENED.search(spec.body):
        return Verdict("REJECTED", "ABUSIVE_CONTENT")
    twins = (one for one in others if one is not spec and one.category != "AUTHENTICATION")
    if any((one.body, one.footer, one.language) == (spec.body, spec.footer, spec.language) for one in twins):
        why = "Another template of the account has the same body and footer."
        return Verdict("REJECTED", "INVALID_FORMAT", why, "Change the body or the footer.")
    return Verdict("APPROVED")
