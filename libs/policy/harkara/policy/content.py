"""What a message may look like, as far as it can be told without asking Meta: so that a refusal costs no attempt.

A refusal says in which part, in which field and at which characters (from 1), and never what stands there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from harkara.contracts.event import Reason
from harkara.contracts.intents import Category, Content, Media, SendIntent, Template, Text
from harkara.policy.disguise import Finding, disguise
from harkara.policy.sections import AdvisorIdentification

MOST_SPACES = 4  # in a row in a template variable (Meta, code 132018)
LONGEST_VALUE = 1024  # characters of a template variable (Meta); the contract says it of positional ones too
APPROVAL_KEY = "content_approval"  # in an intent's metadata
EAST_ASIAN = ("zh", "ja", "ko")  # languages in which letters may be as wide as characters
BREAKS = "\n\r\t\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def content_problem(intent: SendIntent) -> Reason | None:
    """The first thing wrong with the content, the fallback template or the fallback content, or None."""
    for part in ("content", "fallback_template", "fallback_content"):
        content: Content | None = getattr(intent, part)
        if content is None:
            continue
        if (found := _shape_problem(content, intent.category)) is not None:
            return Reason(code=found[0], text=found[1], rule="content", details={"part": part})
        east_asian = _is_east_asian(content, intent.language)
        for field, value, is_variable in shown_texts(content):
            if (finding := _field_problem(value, is_variable, east_asian)) is not None:
                return _reason(part, field, is_variable, finding)
    return None


def _is_east_asian(content: Content, language: str | None) -> bool:
    """By the language of the person, or the template's."""
    spoken = [language or ""]
    if isinstance(content, Template):
        spoken += [content.language, *(variant.language for variant in content.variants)]
    return any(each.partition("_")[0] in EAST_ASIAN for each in spoken)


def _reason(part: str, field: str, is_variable: bool, finding: Finding) -> Reason:
    at = ", ".join(map(str, finding.positions))
    where = f" at character{'s' if len(finding.positions) > 1 else ''} {at}" if at else ""
    what = f"The template's value {field}" if is_variable else f"The {field}"
    details = {"part": part, "field": field} | ({"positions": at} if at else {})
    return Reason(code=finding.code, text=f"{what} {finding.text}{where}.", rule="content", details=details)


def _shape_problem(content: Content, category: Category) -> tuple[str, str] | None:
    if isinstance(content, Template):
        return _template_problem(content)
    if category == "authentication":
        return "category_needs_template", "Codes go by an authentication template only, not as free text (Meta)."
    if isinstance(content, Text) and _shows_nothing(content.body):
        return "content_empty", "The text shows nothing."
    return None


def _template_problem(template: Template) -> tuple[str, str] | None:
    if template.body and template.named:
        return "template_values_mixed", "A template takes its values by position or by name, not both."
    for header in (template.header, *(variant.header for variant in template.variants)):
        if isinstance(header, Media) and header.type in ("audio", "sticker"):
            return (
                "template_header_refused",
                f"A template's header is a text, an image, a video or a document, never {header.type}.",
            )
    places = [button.index for button in template.buttons]
    if len(set(places)) < len(places):
        return "template_button_repeated", "Two values are given for one button of the template."
    languages = [template.language, *(variant.language for variant in template.variants)]
    if len(set(languages)) < len(languages):
        return "template_language_repeated", "The template is given twice in one language."
    for variant in template.variants:
        named = template.named if variant.named is None else variant.named
        body = template.body if variant.body is None else variant.body
        if len(body) != len(template.body) or named.keys() != template.named.keys():
            text = f"The template's values in {variant.language} are not as many, or not of the same names."
            return "template_values_differ", text
    return None


def shown_texts(content: Content) -> Iterator[tuple[str, str, bool]]:
    """(name, text, whether it is a value of a template): every text that a person will see."""
    if isinstance(content, Text):
        yield "text", content.body, False
    elif isinstance(content, Media):
        for field in ("caption", "filename"):
            if (value := getattr(content, field)) is not None:
                yield field, value, False
    else:
        yield from _values(content.header, content.body, content.named, "")
        for button in content.buttons:
            yield f"button {button.index}", button.value, True
        for variant in content.variants:
            yield from _values(variant.header, variant.body or (), variant.named or {}, f" in {variant.language}")


def _values(
    header: str | Media | None, body: tuple[str, ...], named: dict[str, str], suffix: str
) -> Iterator[tuple[str, str, bool]]:
    if isinstance(header, str):
        yield f"header{suffix}", header, True
    for place, value in enumerate(body, start=1):
        yield f"body {place}{suffix}", value, True
    for place, value in enumerate(named.values(), start=1):
        yield f"named {place}{suffix}", value, True  # the name is the producer's own text, and may be anything


def _field_problem(value: str, is_variable: bool, east_asian: bool) -> Finding | None:
    if is_variable and (finding := _variable_problem(value)) is not None:
        return finding
    return disguise(value, east_asian=east_asian)


def _variable_problem(value: str) -> Finding | None:
    code = "template_value_refused"
    if _shows_nothing(value):
        return Finding(code, "shows nothing", ())
    if len(value) > LONGEST_VALUE:
        return Finding(code, f"has more than {LONGEST_VALUE} characters", (LONGEST_VALUE + 1,))
    breaks = () if value.isprintable() else tuple(at for at, char in enumerate(value, start=1) if char in BREAKS)
    if breaks:
        return Finding(code, "has a line break or tab", breaks[:10])
    level = (
        value if value.isascii() else "".join(" " if char.isspace() else char for char in value)
    )  # NBSP, em-spaces ...
    at = level.find(" " * (MOST_SPACES + 1))
    return None if at < 0 else Finding(code, f"has more than {MOST_SPACES} spaces in a row", (at + 1,))


def _shows_nothing(text: str) -> bool:
    if text.isascii() and text.isprintable():
        return not text.strip()  # the same, said of what most texts are
    return all(char.isspace() or unicodedata.category(char) in ("Cf", "Cc") for char in text)


def names_adviser(intent: SendIntent, adviser: AdvisorIdentification) -> bool:
    """Whether every content that may go names the adviser (CMP-9): in its own text, or by its template's wording."""
    wanted = [_squeezed(text) for text in adviser.texts]
    contents = (intent.content, intent.fallback_template, intent.fallback_content)
    return all(_names(content, wanted, adviser.templates) for content in contents if content is not None)


def _names(content: Content, wanted: list[str], templates: tuple[str, ...]) -> bool:
    if isinstance(content, Template) and content.name in templates:
        return True
    said = [_squeezed(value) for _, value, _ in shown_texts(content)]
    return any(text in each for text in wanted for each in said)


def _squeezed(text: str) -> str:
    return "".join(text.casefold().split())
