"""`biz_opaque_callback_data`: the mark by which every status names our message and attempt.

Meta does not interpret it and returns it in each status of the message (Cloud API changelog: at most 512 characters).
"""

from __future__ import annotations

import re

MAX_LENGTH = 512
_MARK = re.compile(r"^([A-Za-z0-9_-]{8,64})\.([1-9][0-9]{0,5})$", re.ASCII)
"""A message id of ours, a dot, an attempt number: a million attempts of one message are not ours."""


def callback_data(message_id: str, attempt: int) -> str:
    """`<message_id>.<attempt>`; attempts count from 1. Raises ValueError for what could not be read back."""
    data = f"{message_id}.{attempt}"
    if _MARK.match(data) is None:
        raise ValueError("a message id of 8 to 64 letters, digits, - or _ and an attempt from 1 are needed")
    return data


def parse_callback_data(data: str | None) -> tuple[str, int] | None:
    """(message_id, attempt), or None for anything that is not ours (another system may send from the same number)."""
    if data is None or len(data) > MAX_LENGTH:
        return None
    mark = _MARK.fullmatch(data)
    return (mark[1], int(mark[2])) if mark else None
