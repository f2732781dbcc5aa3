"""Strict checks of a template send against the template as it was approved."""

from __future__ import annotations

from collections.abc import Mapping

from harkara.graph_simulator.checks import JsonObject, check_location, check_media, invalid, missing, unexpected
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.world import TemplateSpec

MAX_HYDRATED = 32_768
"""Characters of a body after substitution (Meta's changelog; 1,024 is the limit at review)."""

_PARAMETER_KEYS = frozenset(
    {
        "type", "text", "parameter_name", "image", "video", "document", "location", "payload", "coupon_code",
        "currency", "date_time",
    }
)  # fmt: skip
_BUTTON_VALUE = {"url": "text", "quick_reply": "payload", "copy_code": "coupon_code"}


def check_template(template: JsonObject, known: Mapping[tuple[str, str], TemplateSpec]) -> Refusal | None:
    """Name, language, status, then every component against the approved one."""
    refusal = unexpected("template", template, frozenset({"name", "language", "components", "namespace"}))
    if refusal is not None:
        return refusal
    name, language = template.get("name"), template.get("language")
    if not isinstance(name, str) or not name:
        return missing("template['name']")
    code = language.get("code") if isinstance(language, dict) else None
    if not isinstance(code, str):
        return Refusal(100, message="(#100) The parameter template['language']['code'] is required.")
    spec = known.get((name, code))
    refusal = _check_status(spec, name, code)
    if refusal is not None or spec is None:
        return refusal
    return _check_components(spec, template.get("components", []))


def _check_status(spec: TemplateSpec | None, name: str, code: str) -> Refusal | None:
    if spec is not None and spec.status == "PAUSED":
        return Refusal(132015)
    if spec is not None and spec.status == "DISABLED":
        return Refusal(132016)
    if spec is None or spec.status != "APPROVED":
        return Refusal(132001, f"template name ({name[:60]}) does not exist in {code[:20]}")
    return None


def _check_components(spec: TemplateSpec, components: object) -> Refusal | None:
    if not isinstance(components, list) or not all(isinstance(component, dict) for component in components):
        return invalid("template['components']")
    header: list[JsonObject] = []
    body: list[JsonObject] = []
    buttons: dict[int, JsonObject] = {}
    for component in components:
        kind, parameters = kind_of(component), component.get("parameters", [])
        refusal = _check_component(component, parameters)
        if refusal is not None:
            return refusal
        if kind == "button":
            buttons[int(component["index"])] = component
        elif kind == "header":
            header = parameters
        else:
            body = parameters
    return _check_header(spec, header) or _check_body(spec, body) or _check_buttons(spec, buttons)


def kind_of(component: JsonObject) -> str:
    """header, body or button: Meta takes the word in capitals too."""
    return str(component.get("type", "")).lower()


def _check_component(component: JsonObject, parameters: object) -> Refusal | None:
    kind = kind_of(component)
    if kind not in ("header", "body", "button"):
        return invalid("component['type']")
    allowed = frozenset({"type", "parameters", "sub_type", "index"} if kind == "button" else {"type", "parameters"})
    refusal = unexpected(f"{kind} component", component, allowed)
    if refusal is not None:
        return refusal
    if kind == "button" and not str(component.get("index", "")).isdecimal():
        return missing("button['index']")
    if not isinstance(parameters, list) or not all(isinstance(parameter, dict) for parameter in parameters):
        return invalid(f"{kind}['parameters']")
    for parameter in parameters:
        refusal = unexpected("parameter", parameter, _PARAMETER_KEYS)
        if refusal is not None:
            return refusal
    return None


def _check_header(spec: TemplateSpec, parameters: list[JsonObject]) -> Refusal | None:
    wanted = spec.header_format
    if wanted is None or wanted == "TEXT":
        return _check_values("header", spec.header_variables, parameters, named=spec.named)
    kind = wanted.lower()
    if len(parameters) != 1:
        return Refusal(132012, f"header: Format mismatch, expected {wanted}, received UNKNOWN")
    found = str(parameters[0].get("type", "unknown")).upper()[:20]
    media = parameters[0].get(kind)
    if found != wanted or not isinstance(media, dict):
        return Refusal(132012, f"header: Format mismatch, expected {wanted}, received {found}")
    return check_location(kind, media) if kind == "location" else check_media(kind, media)


def _check_body(spec: TemplateSpec, parameters: list[JsonObject]) -> Refusal | None:
    refusal = _check_values("body", spec.body_variables, parameters, named=spec.named)
    if refusal is not None:
        return refusal
    size = len(spec.body) + sum(len(str(parameter.get("text", ""))) for parameter in parameters)
    return Refusal(132005) if size > MAX_HYDRATED else None


def _check_values(
    part: str, variables: tuple[str, ...], parameters: list[JsonObject], *, named: bool
) -> Refusal | None:
    if len(parameters) != len(variables):
        count = f"number of localizable_params ({len(parameters)})"
        return Refusal(132000, f"{part}: {count} does not match the expected number of params ({len(variables)})")
    for parameter in parameters:
        refusal = _check_value(part, parameter)
        if refusal is not None:
            return refusal
    if named and sorted(str(parameter.get("parameter_name")) for parameter in parameters) != sorted(variables):
        return Refusal(100, f"{part}: Parameter name is missing or empty, or not one of the template's.")
    if not named and any("parameter_name" in parameter for parameter in parameters):
        return Refusal(132012, f"{part}: parameter_name on a positional template")
    return None


def _check_value(part: str, parameter: JsonObject) -> Refusal | None:
    if parameter.get("type") not in ("text", "currency", "date_time"):
        return Refusal(132012, f"{part}: Format mismatch, expected TEXT")
    text = parameter.get("text")
    if parameter["type"] == "text" and (not isinstance(text, str) or not text):
        return missing(f"{part} parameter text")
    if isinstance(text, str) and ("\n" in text or "\t" in text or "     " in text):
        return Refusal(132018, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces")
    return None


def _check_buttons(spec: TemplateSpec, sent: dict[int, JsonObject]) -> Refusal | None:
    for index, button in enumerate(spec.buttons):
        component = sent.get(index)
        if component is None:
            if button.variable:
                kind = button.type.title()
                return Refusal(131008, f"buttons: Button at index {index} of type {kind} requires a parameter")
            continue
        refusal = _check_button(index, button.type.lower(), component)
        if refusal is not None:
            return refusal
    if any(index >= len(spec.buttons) for index in sent):
        return Refusal(132012, "buttons: no button of the template has that index")
    return None


def _check_button(index: int, kind: str, component: JsonObject) -> Refusal | None:
    if str(component.get("sub_type", "")).lower() != kind:
        return Refusal(132012, f"buttons: Button at index {index} is of type {kind}")
    parameters = component.get("parameters", [])
    wanted = _BUTTON_VALUE.get(kind)
    value = parameters[0].get(wanted) if len(parameters) == 1 and wanted is not None else None
    if not isinstance(value, str) or not value:
        return Refusal(131008, f"buttons: Button at index {index} of type {kind.title()} requires a parameter")
    return None
