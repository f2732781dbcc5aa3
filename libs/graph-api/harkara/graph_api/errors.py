"""The error policy: what one refusal of Meta does to the message, whom it holds and for how long.

The table is made of `error_codes.json` (Meta's error page of 11 September 2026; classes and retries are ours) by the
rules below; every departure from the file's own word is in `_EXCEPTIONS` with its reason. Decide by code, then by
subcode, never by HTTP status or title (Meta removed the statuses from its page; 130429 has been seen with 400 and
429). The HTTP status counts only where there is no Graph body: `policy_without_body`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Literal

MAX_ATTEMPTS = 3
"""In all, the first included; then the message has failed."""

NUMBER_PAUSE_SECONDS = 1800.0
"""The pause after a rate error of a whole number, account or app; the dispatcher may set another."""


class ErrorClass(StrEnum):
    """`class` of the file."""

    ACCOUNT_BLOCKED = "account_blocked"
    AUTHENTICATION = "authentication"
    MEDIA = "media"
    PAIR_RATE_LIMIT = "pair_rate_limit"
    PERMISSION = "permission"
    POLICY_QUALITY = "policy/quality"
    RATE_LIMIT = "rate_limit"
    RECIPIENT = "recipient"
    TEMPLATE = "template"
    TEMPORARY = "temporary"
    UNKNOWN = "unknown"
    VALIDATION = "validation"
    WINDOW = "window"


class Scope(StrEnum):
    """Whom the error is about, so whom a hold holds."""

    MESSAGE = "message"
    PAIR = "pair"
    RECIPIENT = "recipient"
    TEMPLATE = "template"
    NUMBER = "number"
    WABA = "waba"
    PORTFOLIO = "portfolio"
    APP = "app"


class Action(StrEnum):
    """What is done.

    fail: this message has failed for good. retry: this message again after `retry_delay_seconds`, at most MAX_ATTEMPTS
    in all. reroute_template: the next candidate of the plan with a template; failed where there is none. pause: `scope`
    sends nothing for `hold_seconds`. pause_template: as pause, for one template and language; without `hold_seconds`
    until Meta says APPROVED or UNPAUSE. halt_number, halt_waba (`scope`: the account, or its whole portfolio): nothing
    more until an operator resumes. in_doubt: the call may have been accepted; never resend by this policy.
    """

    FAIL = "fail"
    RETRY = "retry"
    REROUTE_TEMPLATE = "reroute_template"
    PAUSE = "pause"
    PAUSE_TEMPLATE = "pause_template"
    HALT_NUMBER = "halt_number"
    HALT_WABA = "halt_waba"
    IN_DOUBT = "in_doubt"


OtherContent = Literal["no", "yes", "template", "if_asked"]
"""Whether another content may go where Meta did not deliver one: `template`: if it is a template; `if_asked`: where the
intent says so."""

_KEEPS_MESSAGE = frozenset({Action.PAUSE, Action.PAUSE_TEMPLATE, Action.HALT_NUMBER, Action.HALT_WABA})


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """One row of the table.

    `hold_seconds`: for retry the first delay, for pauses their length, for a failed recipient how long not to try that
    person again with marketing; None: no time ends it. `backoff_factor` multiplies the delay of each further retry.
    `processed`: whether Meta can have taken the message although it answered so. `other_content`: whether another
    content can mend it, where this one was not delivered for that code (`OTHER_CONTENT`).
    """

    code: int | None
    name: str
    error_class: ErrorClass
    scope: Scope
    action: Action
    hold_seconds: float | None = None
    backoff_factor: float = 4.0
    alert: bool = False
    processed: Literal["no", "unknown"] = "no"
    other_content: OtherContent = "no"

    @property
    def reason_code(self) -> str:
        """The refusal's code in reasons: the same whether Meta said it in an answer or in a webhook."""
        return "meta_without_code" if self.code is None else f"meta_{self.code}"

    @property
    def keeps_message(self) -> bool:
        """Whether the message goes back to its place: the error is not its own (cloud-api section 3, rule 1)."""
        return self.action in _KEEPS_MESSAGE

    @property
    def stops_numbers(self) -> bool:
        """Whether a whole number, or all that share its token or account, must stop at once."""
        return self.keeps_message and self.action is not Action.PAUSE_TEMPLATE

    @property
    def spares_recipient(self) -> bool:
        """Whether the person gets no marketing for `hold_seconds`, although only this message fails."""
        return self.action is Action.FAIL and self.scope is Scope.RECIPIENT and self.hold_seconds is not None

    @property
    def spends_attempt(self) -> bool:
        """Whether the call counts to MAX_ATTEMPTS: not where the message is kept for a halt or a wider pause."""
        return not (self.keeps_message and (self.hold_seconds is None or self.action is Action.PAUSE))


UNLISTED = "Unlisted code"
"""The name of a policy for a code that the table does not have."""

RETRY_FIRST_DELAY_SECONDS = 1.0
"""With the factor 4 and MAX_ATTEMPTS 3: calls at 0 s, 1 s and 5 s. The dispatcher adds its jitter (0 to 25 %)."""


def retry_delay_seconds(policy: ErrorPolicy, refusals: int) -> float | None:
    """The wait before the next call after `refusals` refusals (from 1), without jitter; None: no further call.

    The pair limit's 4^X s, X = 0, 1, 2 ... (Meta, messaging limits) is this curve with a first delay of 1 s.
    """
    if policy.action is not Action.RETRY or refusals >= MAX_ATTEMPTS:
        return None
    first = RETRY_FIRST_DELAY_SECONDS if policy.hold_seconds is None else policy.hold_seconds
    return float(first * policy.backoff_factor ** (refusals - 1))


_SCOPE_OF_CLASS = {
    ErrorClass.ACCOUNT_BLOCKED: Scope.WABA,
    ErrorClass.AUTHENTICATION: Scope.NUMBER,
    ErrorClass.MEDIA: Scope.MESSAGE,
    ErrorClass.PAIR_RATE_LIMIT: Scope.PAIR,
    ErrorClass.PERMISSION: Scope.WABA,
    ErrorClass.POLICY_QUALITY: Scope.RECIPIENT,
    ErrorClass.RATE_LIMIT: Scope.NUMBER,
    ErrorClass.RECIPIENT: Scope.RECIPIENT,
    ErrorClass.TEMPLATE: Scope.TEMPLATE,
    ErrorClass.TEMPORARY: Scope.MESSAGE,
    ErrorClass.UNKNOWN: Scope.MESSAGE,
    ErrorClass.VALIDATION: Scope.MESSAGE,
    ErrorClass.WINDOW: Scope.PAIR,
}

_TEN_MINUTES, _HOUR, _DAY = 600.0, 3600.0, 86_400.0

_EXCEPTIONS: dict[int, dict[str, object]] = {
    # Cannot be told apart from a failure after the message was taken (cloud-api 3 and 8.1).
    1: {"action": Action.IN_DOUBT, "processed": "unknown"},
    2: {"action": Action.IN_DOUBT, "processed": "unknown"},
    131000: {"action": Action.IN_DOUBT, "processed": "unknown"},
    # The limit is the app's or the account's, so a retry of one message only feeds it.
    4: {"action": Action.PAUSE, "scope": Scope.APP, "hold_seconds": NUMBER_PAUSE_SECONDS, "alert": True},
    17: {"action": Action.PAUSE, "scope": Scope.APP, "hold_seconds": NUMBER_PAUSE_SECONDS, "alert": True},
    341: {"action": Action.PAUSE, "scope": Scope.APP, "hold_seconds": NUMBER_PAUSE_SECONDS, "alert": True},
    613: {"action": Action.PAUSE, "scope": Scope.APP, "hold_seconds": NUMBER_PAUSE_SECONDS, "alert": True},
    80007: {"action": Action.PAUSE, "scope": Scope.WABA, "hold_seconds": NUMBER_PAUSE_SECONDS, "alert": True},
    # The file says halt; our rule for rate errors of a number is a pause of 30 minutes and an alert.
    131048: {"action": Action.PAUSE, "scope": Scope.NUMBER, "hold_seconds": NUMBER_PAUSE_SECONDS, "alert": True},
    # A throughput upgrade takes up to a minute (Meta, throughput): twice that.
    131057: {"action": Action.PAUSE, "scope": Scope.NUMBER, "hold_seconds": 120.0},
    2494100: {"action": Action.PAUSE, "scope": Scope.NUMBER, "hold_seconds": 120.0},
    # The number's rate is too high, not the message wrong: short first, and the dispatcher slows the number.
    130429: {"scope": Scope.NUMBER, "hold_seconds": 1.0, "backoff_factor": 2.0},
    2494055: {"scope": Scope.NUMBER, "hold_seconds": 1.0, "backoff_factor": 2.0},
    132069: {"action": Action.PAUSE_TEMPLATE, "scope": Scope.TEMPLATE, "hold_seconds": _HOUR},
    # Appears for minutes after creation or edit; MM API synchronises within ten.
    132001: {"hold_seconds": _TEN_MINUTES},
    134101: {"action": Action.PAUSE_TEMPLATE, "scope": Scope.TEMPLATE, "hold_seconds": _TEN_MINUTES},
    133015: {"scope": Scope.NUMBER, "hold_seconds": 300.0, "backoff_factor": 1.0},
    # Wait at least a day, a loop makes the person unreachable for longer (Meta, per-user marketing limit).
    131049: {"action": Action.FAIL, "scope": Scope.RECIPIENT, "hold_seconds": _DAY},
    131047: {"action": Action.REROUTE_TEMPLATE},
    # An edit of a template, never a send.
    2388039: {"action": Action.FAIL},
    # Operators must act, although only this message fails.
    130497: {"alert": True},
    134011: {"alert": True},
    # A messaging limit, and since October 2025 those are the portfolio's, for all its numbers together.
    131064: {"scope": Scope.PORTFOLIO},
    # Rows that name the number although their class is the account's.
    133000: {"scope": Scope.NUMBER},
    # A token is what a number sends with: other numbers with the same token halt with it (dispatcher).
    0: {"action": Action.HALT_NUMBER, "scope": Scope.NUMBER},
    102: {"action": Action.HALT_NUMBER, "scope": Scope.NUMBER},
    104: {"action": Action.HALT_NUMBER, "scope": Scope.NUMBER},
    190: {"action": Action.HALT_NUMBER, "scope": Scope.NUMBER},
    # The one retry that the file speaks of ("one retry at most") is not worth a second rule.
    135000: {"alert": True},
}

OTHER_CONTENT: dict[int, OtherContent] = {
    # The request's own values are refused, and all of them but the recipient are the content's.
    100: "yes",
    131008: "yes",
    131009: "yes",
    # The file of this content could not be fetched or taken; another content has another file, or none. 131052 is told
    # of files that people send (Meta), so of a message of ours it can mean its file alone.
    131014: "yes",
    131052: "yes",
    131053: "yes",
    # This kind of message is not taken.
    131051: "yes",
    # The service window is closed: only a template goes.
    131047: "template",
    # The template: its values, its text, its state, its Flow.
    132000: "yes",
    132001: "yes",
    132005: "yes",
    132007: "yes",
    132008: "yes",
    132012: "yes",
    132015: "yes",
    132016: "yes",
    132018: "yes",
    132068: "yes",
    132069: "yes",
    # Not on WhatsApp, an old app, terms not accepted: mostly the person, who gets no content at all; but an old app may
    # take a text where it does not take a carousel, which the producer may know.
    131026: "if_asked",
}
"""Whether a code says that another content can mend it; of a code that is not here it does not (requirement RTW-7).

Not here, of those that a webhook brings: 131049 and 130472 (Meta keeps marketing from this person; whatever follows
makes that last longer), 131050 (their opt-out), 131030, 130403, 137000 (the person, not the content), 131048, 131042
and all others of numbers and accounts (every content fails), 131000 (says nothing of the content), 131063 (the
account's setting), 134100 and later (another API).
"""

_SUBCODES: dict[tuple[int, int], ErrorPolicy] = {
    (100, 33): ErrorPolicy(
        100,
        "Object missing or not visible to the token",
        ErrorClass.VALIDATION,
        Scope.NUMBER,
        Action.HALT_NUMBER,
        alert=True,
    ),
}


def _action_of(retry: str) -> Action:
    """The file's `retry` word as an action, before the exceptions."""
    return {
        "never": Action.FAIL,
        "backoff": Action.RETRY,
        "after_window": Action.FAIL,
        "halt_number": Action.HALT_NUMBER,
        "halt_waba": Action.HALT_WABA,
        "template_pause": Action.PAUSE_TEMPLATE,
    }[retry]


def _row(code: int, entry: dict[str, object]) -> ErrorPolicy:
    error_class = ErrorClass(str(entry["class"]))
    action = _action_of(str(entry["retry"]))
    halts = {Action.HALT_NUMBER: Scope.NUMBER, Action.HALT_WABA: Scope.WABA, Action.PAUSE_TEMPLATE: Scope.TEMPLATE}
    row = ErrorPolicy(
        code=code,
        name=str(entry["name"]),
        error_class=error_class,
        scope=halts.get(action, _SCOPE_OF_CLASS[error_class]),
        action=action,
        hold_seconds=RETRY_FIRST_DELAY_SECONDS if action is Action.RETRY else None,
        alert=action in halts or error_class is ErrorClass.UNKNOWN,
        other_content=OTHER_CONTENT.get(code, "no"),
    )
    return replace(row, **_EXCEPTIONS.get(code, {}))  # type: ignore[arg-type]  # a table of known field names


def codes_of(entry_code: int | str) -> tuple[int, ...]:
    """The codes of one row of the file: one number, a range "201-299", or a choice "2388091/2388093"."""
    if isinstance(entry_code, int):
        return (entry_code,)
    if "/" in entry_code:
        return tuple(int(part) for part in entry_code.split("/"))
    first, last = entry_code.split("-")
    return tuple(range(int(first), int(last) + 1))


@cache
def error_table() -> dict[int, ErrorPolicy]:
    """Every code that the file names (ranges expanded, about 300 rows) with its policy. Treat it as constant."""
    text = resources.files("harkara.graph_api").joinpath("error_codes.json").read_text(encoding="utf-8")
    return {code: _row(code, entry) for entry in json.loads(text)["errors"] for code in codes_of(entry["code"])}


def policy_for(code: int, subcode: int | None = None) -> ErrorPolicy:
    """The policy of a Graph error body. An unknown code is never retried and raises an alert.

    A code of template management comes as subcode of 100 and has its own row; any other subcode is ignored (Meta
    declares them deprecated).
    """
    if subcode is not None:
        known = _SUBCODES.get((code, subcode))
        if known is not None:
            return known
        if code == 100 and subcode in error_table():
            return error_table()[subcode]
    return error_table().get(code) or ErrorPolicy(
        code, UNLISTED, ErrorClass.UNKNOWN, Scope.MESSAGE, Action.FAIL, alert=True
    )


def policy_without_body(http_status: int) -> ErrorPolicy:
    """The policy of an answer below 500 without a readable Graph error, by its HTTP status alone.

    401 and 403: the credentials; 3xx, 404, 405, 407: a wrong base URL or a proxy in between, so no message of this
    number would pass: the number halts and loses none. 429: the number is too fast. 408 was given up by somebody while
    the request was under way: in doubt. Any other 4xx: this request was refused.
    """
    name = f"HTTP {http_status} without a Graph error"
    if http_status in (401, 403):
        return ErrorPolicy(None, name, ErrorClass.AUTHENTICATION, Scope.NUMBER, Action.HALT_NUMBER, alert=True)
    if http_status == 429:
        return replace(error_table()[130429], code=None, name=name)
    if http_status == 408:
        return ErrorPolicy(
            None, name, ErrorClass.UNKNOWN, Scope.MESSAGE, Action.IN_DOUBT, alert=True, processed="unknown"
        )
    if http_status < 400 or http_status in (404, 405, 407):
        return ErrorPolicy(None, name, ErrorClass.UNKNOWN, Scope.NUMBER, Action.HALT_NUMBER, alert=True)
    return ErrorPolicy(None, name, ErrorClass.UNKNOWN, Scope.MESSAGE, Action.FAIL, alert=True)
