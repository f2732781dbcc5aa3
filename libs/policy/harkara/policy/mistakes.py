"""What is wrong with a file, in words for whoever wrote it: pydantic's errors are for who wrote the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import StringConstraints
from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]
"""Where in the file: keys and positions, from the top."""

_SHAPES: dict[str, str] = {}
"""By pattern, what a text of that shape is called."""


class Inconsistent(ValueError):
    """Raised by a model whose parts contradict each other: pairs of where and what."""

    def __init__(self, problems: list[tuple[Location, str]]) -> None:
        super().__init__("; ".join(what for _, what in problems))
        self.problems = problems


def called(shape: Any, words: str) -> None:
    """What a text with a pattern (an `Annotated` alias) is called where a file has another one."""
    for each in get_args(shape)[1:]:
        if isinstance(each, StringConstraints) and each.pattern is not None:
            _SHAPES[str(each.pattern)] = words


def told(errors: Sequence[ErrorDetails]) -> list[tuple[Location, str]]:
    """Where and what, of each error. Where a value may be one of several kinds, the file sees one mistake; a list that
    is too short because nothing in it is right is no mistake besides those in it."""
    found: dict[Location, list[str]] = {}
    for error in errors:
        for where, what in _mistakes(error):
            words = found.setdefault(where, [])
            words += [] if what in words else [what]
    short = {_place(error) for error in errors if error["type"] == "too_short"}
    around = {where[:depth] for where in found for depth in range(len(where))}
    return [(where, ", or ".join(words)) for where, words in found.items() if where not in short & around]


def _mistakes(error: ErrorDetails) -> list[tuple[Location, str]]:
    where, cause = _place(error), error.get("ctx", {}).get("error")
    if isinstance(cause, Inconsistent):
        return [((*where, *inner), what) for inner, what in cause.problems]
    return [(where, str(cause) if isinstance(cause, ValueError) else _words(error))]


def _place(error: ErrorDetails) -> Location:
    """Without what pydantic adds: which of several kinds a value was tried as, and that a key is meant."""
    return tuple(part for part in error["loc"] if isinstance(part, int) or not (part == "[key]" or _is_a_kind(part)))


def _is_a_kind(part: str) -> bool:
    return part in ("str", "int", "float") or part.startswith(("constrained-", "literal["))


def _words(error: ErrorDetails) -> str:
    limits, kind = error.get("ctx", {}), error["type"]
    if kind == "string_type" and isinstance(error["input"], int | float):
        return "must be text: put it in quotes"
    if kind == "string_pattern_mismatch":
        return f"must be {_SHAPES.get(limits['pattern']) or 'a text like ' + limits['pattern']}"
    return _WORDS[kind].format(**limits) if kind in _WORDS else error["msg"]


_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "there is no such setting",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be {ge:g} or more",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be {le:g} or less",
    "too_short": "must hold {min_length} or more",
    "too_long": "must hold {max_length} or fewer",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_type": "must be text",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
    **dict.fromkeys(("date_from_datetime_parsing", "date_parsing", "date_type"), "must be a day, such as 2026-11-01"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "must hold settings"),
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
}
"""By pydantic's type of error, with its limits."""
