"""Message templates as Meta lists them: the nodes, and what each asks of a send (cloud-api 6)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, get_args

import orjson
from pydantic import Field

from harkara.contracts.numbers import Quality
from harkara.contracts.template_state import (
    LONGEST_WORDING,
    ButtonParameter,
    HeaderFormat,
    TemplateCategory,
    TemplateParameters,
    TemplateStatus,
)
from harkara.graph_api.wire import Answer

TEMPLATE_FIELDS = (
    "id", "name", "language", "status", "category", "parameter_format", "components", "quality_score",
    "rejected_reason",
)  # fmt: skip
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z0-9_]{1,64})\s*\}\}")
_STATUSES: frozenset[str] = frozenset(get_args(TemplateStatus))
_CATEGORIES: frozenset[str] = frozenset(get_args(TemplateCategory))
_QUALITIES: frozenset[str] = frozenset(get_args(Quality))
_HEADERS: frozenset[str] = frozenset(get_args(HeaderFormat))
_STILL_APPROVED = frozenset({"FLAGGED", "REINSTATED", "UNPAUSED"})
"""FLAGGED: at risk of a pause, and sent as before."""
_WITHOUT_VALUES = frozenset({"HEADER", "BODY", "FOOTER", "BUTTONS"})
_BUTTON_VALUES = {"URL": "url", "QUICK_REPLY": "quick_reply", "COPY_CODE": "copy_code", "OTP": "url"}
"""Under which `sub_type` a send gives the value; a one-time code is given as that of a URL button (cloud-api 2)."""
_CANNOT_CARRY = frozenset({"MPM", "SPM", "CATALOG", "ORDER_DETAILS"})


class QualityScore(Answer):
    """`quality_score` of a template."""

    score: str | None = None


class TemplateNode(Answer):
    """One template in one language. `components` are Meta's, as they came."""

    id: str | None = None
    name: str
    language: str
    status: str = "UNKNOWN"
    category: str | None = None
    parameter_format: str | None = None
    components: tuple[dict[str, Any], ...] = ()
    quality_score: QualityScore | None = None
    rejected_reason: str | None = None


class Cursors(Answer):
    """Where a page begins and ends."""

    after: str | None = None


class Paging(Answer):
    """`next` is absent on the last page; an empty list has no paging at all."""

    cursors: Cursors = Cursors()
    next: str | None = None


class TemplatePage(Answer):
    """One page of `GET /{waba}/message_templates`. Nodes are read one by one (`node_of`): one odd node is no reason to
    know nothing of the others."""

    data: tuple[dict[str, Any], ...] = ()
    paging: Paging = Field(default_factory=Paging)

    @property
    def following(self) -> str | None:
        """The cursor of the next page, or None."""
        return self.paging.cursors.after if self.paging.next is not None else None


def status_of(word: str | None) -> TemplateStatus:
    """Meta's word as ours: UNKNOWN where it does not say whether the template may be sent."""
    if word in _STILL_APPROVED:
        return "APPROVED"
    return word if word in _STATUSES else "UNKNOWN"  # type: ignore[return-value]  # one of the literals


def category_of(word: str | None) -> TemplateCategory | None:
    """Meta's category, or None for a word that is not one of the three."""
    return word if word in _CATEGORIES else None  # type: ignore[return-value]  # one of the literals


def quality_of(word: str | None) -> Quality:
    """Meta's score; UNKNOWN for everything else."""
    return word if word in _QUALITIES else "UNKNOWN"  # type: ignore[return-value]  # one of the literals


def content_hash(node: TemplateNode) -> str:
    """16 hexadecimal characters of SHA-256 over what people see and what a send must bring; examples do not count."""
    seen = [_without_examples(component) for component in node.components]
    told = {"components": seen, "format": node.parameter_format or "POSITIONAL"}
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def wording_of(node: TemplateNode) -> str | None:
    """The text of its body, with the variables; None where it has none. Headers and footers are too short to tell one
    template from another."""
    bodies = (each.get("text") for each in node.components if str(each.get("type", "")).upper() == "BODY")
    return next((text[:LONGEST_WORDING] for text in bodies if isinstance(text, str)), None)


def parameters_of(node: TemplateNode) -> TemplateParameters:
    """Which values a send of this template must bring."""
    header: HeaderFormat | None = None
    header_values, body_values = tuple[str, ...](), tuple[str, ...]()
    buttons: list[dict[str, Any]] = []
    other: list[str] = []
    for component in node.components:
        kind = str(component.get("type", "")).upper()
        if kind == "HEADER":
            word = str(component.get("format", "TEXT")).upper()
            header = word if word in _HEADERS else None  # type: ignore[assignment]  # one of the literals
            header_values = variables(component.get("text")) if header == "TEXT" else ()
        elif kind == "BODY":
            body_values = variables(component.get("text"))
        elif kind == "BUTTONS":
            buttons += [each for each in component.get("buttons") or () if isinstance(each, dict)]
        if kind not in _WITHOUT_VALUES:
            other.append(kind[:40])
    other += sorted({word for each in buttons if (word := str(each.get("type", "")).upper()) in _CANNOT_CARRY})
    named = any(not each.isdigit() for each in (*header_values, *body_values))
    return TemplateParameters(
        named=named or node.parameter_format == "NAMED",
        header=header,
        header_values=header_values,
        body_values=body_values,
        buttons=tuple(_buttons(buttons)),
        button_count=len(buttons),
        other=tuple(other),
    )


def variables(text: object) -> tuple[str, ...]:
    """The variables of a text in the order of their first appearance: ("1", "2") or ("first_name",)."""
    return tuple(dict.fromkeys(_VARIABLE.findall(text))) if isinstance(text, str) else ()


def _buttons(buttons: Iterable[dict[str, Any]]) -> Iterable[ButtonParameter]:
    for index, button in enumerate(buttons):
        kind = str(button.get("type", "")).upper()
        sub_type = _BUTTON_VALUES.get(kind)
        if sub_type is not None:
            required = kind in ("COPY_CODE", "OTP") or bool(variables(button.get("url")))
            yield ButtonParameter(index=index, sub_type=sub_type, required=required)


def _without_examples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_examples(each) for key, each in value.items() if key != "example"}
    return [_without_examples(each) for each in value] if isinstance(value, list) else value
