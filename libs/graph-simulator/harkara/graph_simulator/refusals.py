"""How Meta says no: error bodies, HTTP statuses and headers, by code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from importlib import resources

import orjson

from harkara.graph_api.errors import codes_of

MESSAGES = {
    0: ("(#0) AuthException", "We were unable to authenticate the app user."),
    1: ("(#1) API Unknown", "Invalid request or possible server error."),
    100: ("(#100) Invalid parameter", ""),
    131047: ("(#131047) Re-engagement message", "More than 24 hours have passed since the recipient last replied."),
    131049: (
        "(#131049) This message was not delivered to maintain healthy ecosystem engagement.",
        "In order to maintain a healthy ecosystem engagement, the message failed to be delivered.",
    ),
    131056: (
        "(#131056) (Business Account, Consumer Account) pair rate limit hit",
        "Too many messages sent from the sender phone number to the same recipient phone number in a short period.",
    ),
    130429: ("(#130429) Rate limit hit", "Cloud API message throughput has been reached."),
    80007: (
        "(#80007) There have been too many calls to this WhatsApp Business account. Wait a bit and try again.",
        "The WhatsApp Business Account has reached its rate limit.",
    ),
    133016: (
        "(#133016) Account register deregister rate limit exceeded",
        "Registration or deregistration failed because there were too many attempts.",
    ),
    132001: ("(#132001) Template name does not exist in the translation", ""),
    132000: ("(#132000) Number of parameters does not match the expected number of params", ""),
    132012: ("(#132012) Parameter format does not match format in the created template", ""),
    132015: ("(#132015) Template is paused", "Template is paused due to low quality."),
}
"""Wording where it differs from the code's name; it is Meta's no more than in meaning, and nobody may match on it."""

WITHOUT_DATA = frozenset({2, 3, 4, 10, 190, 200})
"""Codes that Meta sends without `error_data` (as sampled)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused call. `http_status` None: as Meta documented it for the code, else 400.

    `user_title` and `user_text` are those of management calls; `usage` is X-Business-Use-Case-Usage.
    """

    code: int
    details: str = ""
    subcode: int | None = None
    http_status: int | None = None
    message: str | None = None
    type: str = "OAuthException"
    retry_after_seconds: int | None = None
    user_title: str | None = None
    user_text: str | None = None
    usage: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status that goes out."""
        return self.http_status or documented_status(self.code)

    def body(self) -> bytes:
        """Meta's error body; `fbtrace_id` is new each time."""
        message, details = MESSAGES.get(self.code, (f"(#{self.code}) {title(self.code)}", title(self.code) + "."))
        error: dict[str, object] = {"message": self.message or message, "type": self.type, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.code == 2 or self.user_title is not None:
            error["is_transient"] = self.code == 2
        if self.user_title is not None:
            error |= {"error_user_title": self.user_title, "error_user_msg": self.user_text}
        if self.code not in WITHOUT_DATA and self.message is None and (self.details or details):
            error["error_data"] = {"messaging_product": "whatsapp", "details": self.details or details}
        error["fbtrace_id"] = trace_id()
        return orjson.dumps({"error": error})

    def headers(self) -> dict[str, str]:
        """The headers of an error answer; Retry-After on some 429s only, as Meta documents none."""
        headers = {"Cache-Control": "no-store", "WWW-Authenticate": 'OAuth "Facebook Platform" "invalid_request"'}
        if self.usage is not None:
            headers["X-Business-Use-Case-Usage"] = self.usage
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.retry_after_seconds)
        return headers


_TEMPLATE_TEXTS = {
    2388019: ("Message Template Limit Exceeded", "You have exceeded the maximum number of message templates."),
    2388023: (
        "Message Template Language Is Being Deleted",
        "The existing content is being deleted. Try again in 4 weeks.",
    ),
    2388024: (
        "Content in This Language Already Exists",
        "There is already content in this language for this template.",
    ),
    2388039: ("Message template status can't be changed", "The status for this message template can't be changed."),
    2388040: ("Character limit exceeded", "A field in your template has exceeded the maximum character limit."),
    2388047: ("Message header format is incorrect", "The message header contains invalid formatting."),
    2388072: ("Message body format is incorrect", "The message body contains invalid formatting."),
    2388073: ("Message footer format is incorrect", "The message footer contains invalid formatting."),
    2388293: ("Parameters words ratio exceeds limit", "This template has too many variables for its length."),
    2388299: (
        "Leading or trailing parameters not allowed",
        "Variables can't be at the start or end of the template.",
    ),
}


def template_refusal(subcode: int, text: str | None = None) -> Refusal:
    """100 with a 2388xxx subcode, as calls on templates are refused; `text` in place of the usual `error_user_msg`."""
    title_of, usual = _TEMPLATE_TEXTS[subcode]
    return Refusal(100, subcode=subcode, message="Invalid parameter", user_title=title_of, user_text=text or usual)


def trace_id() -> str:
    """A `fbtrace_id` as Meta's look: 23 characters."""
    return "A" + os.urandom(11).hex()


def unknown_object(node: str, method: str) -> Refusal:
    """100/33: the id does not exist, or the token cannot see it."""
    message = (
        f"Unsupported {method.lower()} request. Object with ID '{node}' does not exist, cannot be loaded due to "
        "missing permissions, or does not support this operation"
    )
    return Refusal(100, subcode=33, message=message, type="GraphMethodException")


@cache
def _table() -> dict[int, tuple[str, int]]:
    text = resources.files("harkara.graph_api").joinpath("error_codes.json").read_text(encoding="utf-8")
    return {
        code: (entry["name"], entry["http_documented_2025_12"] or 400)
        for entry in json.loads(text)["errors"]
        for code in codes_of(entry["code"])
    }


def title(code: int) -> str:
    """The code's name on Meta's page; "Unknown error" for one it does not have."""
    return _table().get(code, ("Unknown error", 400))[0]


def documented_status(code: int) -> int:
    """The HTTP status of Meta's table of December 2025; 400 where it names none."""
    return _table().get(code, ("", 400))[1]
