"""Do the values of a message fit a template? What it takes and what is brought, compared without the values themselves.

The router asks where it plans a message, the lane again before each call: Meta lets an approved template be edited, and
what waited for hours may not fit any more (132000, 132012, 131008).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from harkara.contracts.intents import Media, Template
from harkara.contracts.template_state import TemplateParameters

_FILES = ("IMAGE", "VIDEO", "DOCUMENT")
_TEXT, _EMPTY = "a text", "an empty text"


class Taken(NamedTuple):
    """Which values a template takes: `header_values` their count, `body` their names or positions, `buttons` (index,
    type, whether a send without it is refused), `other` the first component that takes what nobody can bring."""

    named: bool
    header: str | None
    header_values: int
    body: tuple[str, ...]
    buttons: tuple[tuple[int, str, bool], ...]
    other: str | None


class Brought(NamedTuple):
    """Which values a message brings: the kind of its header (None: none), how many by position, the names of the named
    ones, and (index, type) of each button's."""

    header: str | None
    body: int
    named: tuple[str, ...]
    buttons: tuple[tuple[int, str], ...]


@lru_cache(maxsize=4096)
def _one(each: Any) -> Any:
    """One object for all that are equal: thousands of templates differ in their texts, and take the same."""
    return each


def taken_by(parameters: TemplateParameters) -> Taken:
    """What the account's list says that a send must bring."""
    buttons = tuple((each.index, each.sub_type, each.required) for each in parameters.buttons)
    other = parameters.other[0] if parameters.other else None
    body, header = parameters.body_values, parameters.header
    taken: Taken = _one(Taken(parameters.named, header, len(parameters.header_values), body, buttons, other))
    return taken


def brought_by(template: Template) -> Brought:
    """What the template of an intent brings."""
    header = template.header.type if isinstance(template.header, Media) else _text(template.header)
    buttons = tuple((each.index, each.sub_type) for each in template.buttons)
    return Brought(header, len(template.body), tuple(sorted(template.named)), buttons)


def brought_in(template: dict[str, Any]) -> tuple[Brought, ...]:
    """The same of an order's JSON (without what is None): of the template itself, then of each of its variants, which
    take over what they do not say."""
    get = template.get
    if get("header") is None and not (get("named") or get("buttons") or get("variants")):
        return _body_alone(len(template.get("body") or ()))  # most of them, and a million when a journal is read
    variants = get("variants") or ()
    return tuple(_told(each) for each in (template, *[template | variant for variant in variants]))


@lru_cache(maxsize=64)
def _body_alone(values: int) -> tuple[Brought, ...]:
    return (Brought(None, values, (), ()),)


def _told(template: dict[str, Any]) -> Brought:
    header = template.get("header")
    kind = header["type"] if isinstance(header, dict) else _text(header)
    buttons = tuple([(button["index"], button["sub_type"]) for button in template.get("buttons") or ()])
    named = tuple(sorted(template.get("named") or ()))
    found: Brought = _one(Brought(kind, len(template.get("body") or ()), named, buttons))
    return found


def _text(header: str | None) -> str | None:
    return None if header is None else _TEXT if header else _EMPTY


@lru_cache(maxsize=4096)  # a run's messages bring the same
def values_problem(taken: Taken, brought: Brought) -> str | None:
    """What of the values does not fit what Meta approved, or None."""
    if taken.other is not None:
        return f"it has a {taken.other.lower()} component, which an intent cannot carry"
    return _header_problem(taken, brought) or _body_problem(taken, brought) or _button_problem(taken, brought)


def _header_problem(taken: Taken, brought: Brought) -> str | None:
    given = brought.header or "none"
    if taken.header in _FILES:
        kind = taken.header.lower()
        return None if given == kind else f"its header takes a value of type {kind}, given is {given}"
    if taken.header == "LOCATION":
        return "its header takes a location, which an intent cannot carry"
    if taken.header_values == 0:
        return None if brought.header is None else f"its header takes no value, given is {given}"
    return None if given == _TEXT else f"its header takes a text, given is {given}"


def _body_problem(taken: Taken, brought: Brought) -> str | None:
    if taken.named:
        lacking = [name for name in taken.body if name not in brought.named]
        extra = len(set(brought.named) - set(taken.body)) + brought.body
        if lacking:
            return f"its body takes {len(taken.body)} named values, and {lacking[0]} is not given"
        return f"its body does not take {extra} of the values that are given" if extra else None
    if brought.named:
        return f"its body takes {len(taken.body)} values by position, given are named ones"
    if brought.body != len(taken.body):
        return f"its body takes {len(taken.body)} values, given are {brought.body}"
    return None


def _button_problem(taken: Taken, brought: Brought) -> str | None:
    takes = {index: sub_type for index, sub_type, _ in taken.buttons}
    for index, sub_type in brought.buttons:
        if index not in takes:
            return f"its button {index} takes no value, or is not there"
        if takes[index] != sub_type:
            return f"its button {index} takes a value of type {takes[index]}, given is {sub_type}"
    given = {index for index, _ in brought.buttons}
    lacking = next((index for index, _, required in taken.buttons if required and index not in given), None)
    return None if lacking is None else f"its button {lacking} takes a value, and none is given"
