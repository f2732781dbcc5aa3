"""What a message may look like, as far as it can be told without asking Meta: so that a refusal costs no attempt."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from harkara.contracts.event import Reason
from harkara.contracts.intents import Content, Media, SendIntent, Template, Text

MOST_SPACES = 4  # in a row in a template variable (Meta, code 132018)


def content_problem(intent: SendIntent) -> Reason | None:
    """The first thing wrong with the content or the fallback template, or None."""
    for where, content in (("content", intent.content), ("fallback_template", intent.fallback_template)):
        if content is not None and (found := _problem(content)) is not None:
            code, text = found
            return Reason(code=code, text=text, rule="content", details={"part": where})
    return None


def _problem(content: Content) -> tuple[str, str] | None:
    if isinstance(content, Text):
        return ("content_empty", "The text shows nothing.") if _shows_nothing(content.body) else None
    if isinstance(content, Template):
        return _template_problem(content)
    return None


def _template_problem(template: Template) -> tuple[str, str] | None:
    if template.body and template.named:
        return "template_values_mixed", "A template takes its values by position or by name, not both."
    if isinstance(template.header, Media) and template.header.type == "audio":
        return "template_header_refused", "A template's header is a text, an image, a video or a document, never audio."
    places = [button.index for button in template.buttons]
    if len(set(places)) < len(places):
        return "template_button_repeated", "Two values are given for one button of the template."
    for name, value in _values(template):
        if why := _value_problem(value):
            return "template_value_refused", f"The template's value {name} {why}."
    return None


def _values(template: Template) -> Iterator[tuple[str, str]]:
    if isinstance(template.header, str):
        yield "header", template.header
    for place, value in enumerate(template.body, start=1):
        yield f"body {place}", value
    for place, value in enumerate(template.named.values(), start=1):
        yield f"named {place}", value  # the name is the producer's own text, and may be anything


def _value_problem(value: str) -> str | None:
    if _shows_nothing(value):
        return "shows nothing"
    for position, char in enumerate(value):
        if char in "\n\r\t\v\f\u2028\u2029":
            return f"has a line break or tab at character {position + 1}"
    at = value.find(" " * (MOST_SPACES + 1))
    return None if at < 0 else f"has more than {MOST_SPACES} spaces in a row at character {at + 1}"


def _shows_nothing(text: str) -> bool:
    return all(char.isspace() or unicodedata.category(char) in ("Cf", "Cc") for char in text)
