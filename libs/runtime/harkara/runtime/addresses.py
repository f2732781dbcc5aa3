"""Addresses in settings: one that is none is said at the start, not found out call by call."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints, ValidationInfo
from pydantic_core import PydanticCustomError


def _address(given: str, info: ValidationInfo) -> str:
    wrong = _mistake(given)
    if wrong is None:
        return given
    # Not the address itself: somebody may have put a password into it.
    name = f"HARKARA_{(info.field_name or '').upper()}"
    raise PydanticCustomError("address", "{name} must be an address such as https://graph.facebook.com: {wrong}",
                              {"name": name, "wrong": wrong})  # fmt: skip


def _mistake(given: str) -> str | None:
    """What is wrong with it, or None."""
    if not given.isascii() or any(each.isspace() or not each.isprintable() for each in given):
        return "it has white space or a character that is not ASCII"
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "its host or its port is none"
    if parts.scheme not in ("http", "https"):
        return "it begins with neither https:// nor http://"
    if not host or port == 0:
        return "it names no host" if not host else "its host or its port is none"
    if parts.username is not None or parts.password is not None:
        return "a user name or a password has no place in it"
    return "nothing may follow a ? or #" if parts.query or parts.fragment else None


HttpAddress = Annotated[str, AfterValidator(_address)]
"""http:// or https://, a host, perhaps a port and a path. Where it is not, the service does not start and says why."""

GraphVersion = Annotated[str, StringConstraints(pattern=r"^v[0-9]{1,3}\.[0-9]{1,2}$")]
"""Of Meta's Graph API, such as v26.0: a part of each address that is asked."""
