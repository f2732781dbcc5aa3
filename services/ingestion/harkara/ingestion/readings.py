"""How Meta's values are read: leniently where they differ only in form, and without repeating what may be personal."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from harkara.contracts.event import EARLIEST, LATEST

_WORD = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
_DIGITS = re.compile(r"\d[\d \-]{5,}\d")  # anything that may be a phone number or an id, in a text of Meta's
_NUMBER = re.compile(r"[0-9]{1,16}(\.[0-9]{1,9})?", re.ASCII)
_TIER = re.compile(r"(?:TIER_)?([0-9]{1,9})(K?)", re.ASCII)
_EARLIEST, _LATEST = EARLIEST.timestamp(), LATEST.timestamp()
UNLIMITED = -1


class Unusable(Exception):
    """A part of a change that cannot be applied; `str()` is the reason, without a value that may be personal."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(reason)
        self.what = what


def word(value: object, otherwise: str = "UNKNOWN") -> str:
    """A constant of Meta's as it may be shown and counted; anything that is not one word is not repeated."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else otherwise


def sentence(value: object, otherwise: str) -> str:
    """A text of Meta's, at most 300 characters, with every run of digits that could be a number taken out."""
    return _DIGITS.sub("#", value)[:300] if isinstance(value, str) and value else otherwise


def text(value: object) -> str | None:
    """A text as it came; None for anything else."""
    return value if isinstance(value, str) else None


def ident(value: object) -> str | None:
    """An id: a text, or the number that it is in some webhooks (a template's). None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def flag(value: object) -> bool | None:
    """A boolean, also as a text."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def whole(value: object) -> int | None:
    """A whole number, also as a text."""
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 16:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def amount(value: object) -> float | None:
    """A number, also as a text; None beyond any real amount."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and -1e15 < value < 1e15
    return float(value) if usable else None  # type: ignore[arg-type]  # narrowed by `usable`


def record(value: object) -> dict[str, Any]:
    """An object; {} for anything else."""
    return value if isinstance(value, dict) else {}


def records(value: object) -> list[dict[str, Any]]:
    """The objects of a list; one alone where Meta left out the list."""
    if isinstance(value, dict):
        return [value]
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def instant(value: object) -> datetime | None:
    """Meta's timestamps: seconds, as a number or a text; more than 10 digits are milliseconds. None if neither, or if
    it is no time of this age."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
        value = float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**14:
        return None
    seconds = value / 1000 if value >= 10**10 else value
    return datetime.fromtimestamp(seconds, UTC) if _EARLIEST <= seconds <= _LATEST else None


def messaging_limit(value: object) -> int | None:
    """Meta's limit as a number: 250, TIER_2K, "10000", UNLIMITED or -1 (no limit). None where none is said."""
    if value in ("TIER_UNLIMITED", "UNLIMITED") or whole(value) == UNLIMITED:
        return UNLIMITED
    found = whole(value)
    if found is not None:
        return found if found >= 0 else None
    tier = _TIER.fullmatch(value) if isinstance(value, str) else None
    return int(tier[1]) * (1000 if tier[2] else 1) if tier else None
