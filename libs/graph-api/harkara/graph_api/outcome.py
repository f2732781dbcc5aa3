"""What the client can know of one send: a closed sum of four.

    Accepted   200 with a wamid: Meta has the message
    Refused    Meta answered that it does not have it; `policy` says what to do
    NotSent    no byte of the request left: it may be called again at once
    InDoubt    the request may have left and Meta may have the message: only an echo can tell

Both classifiers are pure. Meta has no idempotency key, so whatever is not plainly one of the first three is InDoubt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import httpx
import orjson

from harkara.graph_api.errors import UNLISTED, Action, ErrorPolicy, policy_for, policy_without_body

IMPOSSIBLE = "impossible"
"""Of NotSent: no request can be made to that address or with that token, whatever the message."""
MAX_DETAILS = 300
"""Characters kept of Meta's explanation: its longest known one has 190."""
MAX_RETRY_AFTER_SECONDS = 3600.0
"""Meta documents no Retry-After; a proxy's wish beyond an hour is not obeyed."""


@dataclass(frozen=True, slots=True)
class GraphError:
    """Meta's error as it came. `details` may repeat values of the request: not for logs, so not in the repr either."""

    http_status: int
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str | None = None
    details: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Meta has the message. `message_status` (templates): accepted, held_for_quality_assessment or paused."""

    wamid: str
    wa_id: str | None = field(default=None, repr=False)
    message_status: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Meta does not have the message. `retry_after_seconds`: what the answer asked for, at most an hour."""

    error: GraphError
    policy: ErrorPolicy
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing left: `lease`, `connect`, `pool`, `closed` or IMPOSSIBLE. (`invalid` is the caller's word where its
    message is the reason.)"""

    reason: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The request may have been accepted: `timeout`, `connection`, `answer`, `http_5xx`, `code`."""

    reason: str
    error: GraphError | None = None


Outcome: TypeAlias = Accepted | Refused | NotSent | InDoubt


class LeaseLost(Exception):
    """The caller's `before_call` said no at the last moment: nothing was written."""


def classify_response(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """The outcome of a send whose answer arrived whole. `headers` ignore case (httpx.Headers)."""
    answer = _json_object(body)
    if 200 <= status < 300:
        return _accepted(answer) if answer is not None else InDoubt("answer", GraphError(status))
    error = _graph_error(status, answer)
    if error is None:
        return _without_graph_error(status, headers)
    assert error.code is not None
    policy = policy_for(error.code, error.subcode)
    listed = policy.name != UNLISTED
    if policy.action is Action.IN_DOUBT or (status >= 500 and not listed):
        return InDoubt("code", error)
    if status in (401, 403) and not listed:  # whatever it is called: we may not, so nothing more goes by this token
        policy = replace(policy_without_body(status), code=error.code)
    return Refused(error, policy, _retry_after_seconds(headers))


def classify_exception(exc: BaseException) -> Outcome:
    """The outcome of a send that ended in an exception of httpx.

    Only what surely happens before the first byte is NotSent. The exceptions must come from a way out that tells the
    truth about that, as those of `egress.py` do: libraries report a server's disconnect like a refused connection.
    """
    if isinstance(exc, LeaseLost):
        return NotSent("lease")
    if isinstance(exc, httpx.PoolTimeout):
        return NotSent("pool")
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return NotSent("connect")
    if isinstance(exc, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.LocalProtocolError):
        return NotSent(IMPOSSIBLE)
    if isinstance(exc, httpx.TimeoutException | TimeoutError):
        return InDoubt("timeout")
    return InDoubt("connection")


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _accepted(answer: dict[str, Any]) -> Outcome:
    messages = answer.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    wamid = first.get("id") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(wamid, str) or not wamid:
        return InDoubt("answer", GraphError(200))
    contacts = answer.get("contacts")
    contact = contacts[0] if isinstance(contacts, list) and contacts and isinstance(contacts[0], dict) else {}
    return Accepted(wamid, _text(contact.get("wa_id")), _text(first.get("message_status")))


def _graph_error(status: int, answer: dict[str, Any] | None) -> GraphError | None:
    error = answer.get("error") if answer is not None else None
    if not isinstance(error, dict):
        return None
    code, subcode = error.get("code"), error.get("error_subcode")
    if not isinstance(code, int) or isinstance(code, bool):
        return None
    data = error.get("error_data")
    details = data.get("details") if isinstance(data, dict) else data
    return GraphError(
        http_status=status,
        code=code,
        subcode=subcode if isinstance(subcode, int) else None,
        fbtrace_id=_text(error.get("fbtrace_id")),
        details=str(details or error.get("message") or "")[:MAX_DETAILS],
    )


def _without_graph_error(status: int, headers: Mapping[str, str]) -> Outcome:
    error = GraphError(status)
    if status >= 500:
        return InDoubt("http_5xx", error)
    policy = policy_without_body(status)
    if policy.action is Action.IN_DOUBT:
        return InDoubt("timeout", error)
    return Refused(error, policy, _retry_after_seconds(headers))


def _retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, or the longest `estimated_time_to_regain_access` (minutes) of the usage header."""
    waits = [_number(headers.get("retry-after"))]
    usage = _json_object(headers.get("x-business-use-case-usage", "").encode())
    for rows in (usage or {}).values():
        for row in rows if isinstance(rows, list) else ():
            minutes = row.get("estimated_time_to_regain_access") if isinstance(row, dict) else None
            waits.append((_number(minutes) or 0.0) * 60)
    longest = max((wait for wait in waits if wait), default=None)
    return min(longest, MAX_RETRY_AFTER_SECONDS) if longest and longest > 0 else None


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever is not a number raises
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
