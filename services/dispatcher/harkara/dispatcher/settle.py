"""What an outcome of a call means for its message, its number, pair and template: the error policy carried out.

The policy itself is data (`graph_api.errors`); this is the one place in the dispatcher that acts on it.
"""

from __future__ import annotations

from typing import Any

from harkara.dispatcher import journal
from harkara.dispatcher.core import doubt, place, take_echo
from harkara.dispatcher.pacing import next_fraction
from harkara.dispatcher.plan import PATIENCE_SECONDS, NumberFacts, Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import DOUBTFUL, Message
from harkara.graph_api.errors import (
    NUMBER_PAUSE_SECONDS,
    RETRY_FIRST_DELAY_SECONDS,
    Action,
    ErrorPolicy,
    Scope,
)
from harkara.graph_api.outcome import Accepted, InDoubt, NotSent, Outcome, Refused

RETRY_JITTER = 0.25
LONGEST_RETRY_SECONDS = 600.0  # the third call of the slowest curve (132001) comes after ten minutes
LONGEST_RECONNECT_SECONDS = 30.0  # a far side that is back is found within this time
TEMPLATE_PROBE_SECONDS = 3600.0  # a template paused without a time is tried again hourly by one message
STOPPED_MARKETING = 131050  # the person stopped our marketing messages (Meta): their opt-out, to be recorded


def settle(scribe: Scribe, around: Surroundings, message_id: str, attempt: int, outcome: Outcome) -> None:
    """The outcome of attempt `attempt`. One that nobody waits for any more changes nothing, unless it says that Meta
    has the message: then it is evidence like a status."""
    message = scribe.state.messages.get(message_id)
    if message is None:
        return
    awaited = message.attempt == attempt and (message.status == "attempting" or message.status in DOUBTFUL)
    if not awaited:
        if isinstance(outcome, Accepted):
            take_echo(scribe, message_id, attempt, outcome.wamid, None, scribe.now)
        return
    lane = scribe.state.number(message.number or "")
    if isinstance(outcome, Accepted):
        lane.failures_in_a_row = 0
        scribe.end(message, "submitted", attempt, wamid=outcome.wamid, meta_status=outcome.message_status)
    elif isinstance(outcome, Refused):
        lane.failures_in_a_row = 0
        _refused(scribe, around, message, outcome)
    elif isinstance(outcome, InDoubt):
        if message.status == "attempting":
            code = None if outcome.error is None else outcome.error.code
            doubt(scribe, around, message, outcome.reason, code=code)
    else:
        _not_sent(scribe, around, message, outcome)


def _not_sent(scribe: Scribe, around: Surroundings, message: Message, outcome: NotSent) -> None:
    """Nothing left: back to its place. A far side that cannot be reached pauses the number, not the message."""
    if outcome.reason == "invalid":
        scribe.end(message, "failed_unsent", message.attempt, reason="request_invalid", alert=True, **_order(message))
        return
    if outcome.reason in ("connect", "pool", "closed") and message.number is not None:
        lane = scribe.state.number(message.number)
        held = scribe.state.holds.get(("number", message.number))
        if held is None or (held.until is not None and held.until <= scribe.now):
            lane.failures_in_a_row = min(lane.failures_in_a_row + 1, 10)
            delay = min(0.25 * 2**lane.failures_in_a_row, LONGEST_RECONNECT_SECONDS)
            _hold(scribe, message, "number", message.number, "not_reachable", scribe.now + delay)
    _back_to_its_place(scribe, around, message, f"not_sent_{outcome.reason}")


def _refused(scribe: Scribe, around: Surroundings, message: Message, outcome: Refused) -> None:
    policy, code = outcome.policy, outcome.error.code
    spent = message.spent + (1 if policy.spends_attempt else 0)
    facts: dict[str, Any] = {"spent": spent, "code": code}
    if policy.action is Action.REROUTE_TEMPLATE:
        _back_to_its_place(scribe, around, message, policy.reason_code, template_only=True, **facts)
    elif policy.keeps_message:
        _hold_by_policy(scribe, around, message, policy, outcome)
        if spent >= around.policy.max_attempts:
            _fail(scribe, message, policy, code)
        else:
            _back_to_its_place(scribe, around, message, policy.reason_code, **facts)
    elif policy.action is Action.RETRY and spent < around.policy.max_attempts:
        until = scribe.now + _delay_seconds(scribe, policy, spent, outcome.retry_after_seconds)
        if policy.scope in (Scope.NUMBER, Scope.PAIR):
            _hold_by_policy(scribe, around, message, policy, outcome, until)
        scribe.step(message, "retrying", until=until, reason=policy.reason_code, **facts)
    else:
        _fail(scribe, message, policy, code)


def _delay_seconds(scribe: Scribe, policy: ErrorPolicy, spent: int, retry_after_seconds: float | None) -> float:
    """The policy's curve with up to a quarter more, never sooner than the answer asked for."""
    first = RETRY_FIRST_DELAY_SECONDS if policy.hold_seconds is None else policy.hold_seconds
    delay = min(first * policy.backoff_factor ** (max(spent, 1) - 1), LONGEST_RETRY_SECONDS)
    scribe.state.seed, fraction = next_fraction(scribe.state.seed)
    return max(delay * (1 + RETRY_JITTER * fraction), retry_after_seconds or 0.0)


def _back_to_its_place(scribe: Scribe, around: Surroundings, message: Message, reason: str, **changes: Any) -> None:
    """Waiting again with its old place in the queue; held or ended at once where no way is open."""
    scribe.step(message, "queued", reason=reason, **changes)
    place(scribe, around, message)


def _fail(scribe: Scribe, message: Message, policy: ErrorPolicy, code: int | None) -> None:
    opted_out = True if code == STOPPED_MARKETING else None
    scribe.end(
        message,
        "failed_unsent",
        message.attempt,
        code=code,
        reason=policy.reason_code,
        error_class=policy.error_class.value,
        alert=policy.alert or None,
        opted_out=opted_out,
        **_order(message),
    )


def _order(message: Message) -> dict[str, Any]:
    """What a failed message's DLQ record and consent event need; kept with its end, as the order itself is gone."""
    return {
        "person_key": message.person_key,
        "content": message.content.decode(),
        "category": message.category,
        "producer": message.producer,
        "priority": message.priority,
        "duplicate_ok": message.duplicate_ok,
        "received_at": message.received_at,
        "expires_at": message.expires_at,
        "policy_version": message.policy_version,
        "plan": [list(candidate) for candidate in message.plan],
    }


def _hold_by_policy(
    scribe: Scribe,
    around: Surroundings,
    message: Message,
    policy: ErrorPolicy,
    outcome: Refused,
    until: float | None = None,
) -> None:
    """Hold whom the policy names: the pair, the template, the number, or every number of its token or account."""
    number = message.number or ""
    if policy.scope is Scope.PAIR:
        _hold(scribe, message, "pair", f"{number}/{message.person_key}", policy.reason_code, until, outcome)
        return
    if policy.action is Action.PAUSE_TEMPLATE:
        seconds = policy.hold_seconds or TEMPLATE_PROBE_SECONDS
        _hold(
            scribe, message, "template", message.template_key or "", policy.reason_code, scribe.now + seconds, outcome
        )
        return
    if policy.action is Action.PAUSE:
        seconds = policy.hold_seconds or NUMBER_PAUSE_SECONDS
        if seconds == NUMBER_PAUSE_SECONDS:
            seconds = around.policy.number_pause_seconds
        until = scribe.now + max(seconds, outcome.retry_after_seconds or 0.0)
    for each in _whom(scribe, around, number, policy):
        version = around.states[each].version if each in around.states else 0
        _hold(scribe, message, "number", each, policy.reason_code, until, outcome, version, alert=policy.alert)


def _whom(scribe: Scribe, around: Surroundings, number: str, policy: ErrorPolicy) -> list[str]:
    """The number first; with it what shares its token, account or app, as far as this lane has them."""
    own = around.fleet.get(number)
    if own is None or policy.action is Action.RETRY:
        return [number]

    def shares(other: NumberFacts) -> bool:
        if policy.scope is Scope.APP:
            return True
        if policy.scope is Scope.WABA:
            return other.waba_id == own.waba_id
        return policy.action is Action.HALT_NUMBER and bool(own.tokens) and other.tokens == own.tokens

    others = (each for each in scribe.state.numbers if each != number and each in around.fleet)
    return [number, *(each for each in others if shares(around.fleet[each]))]


def _hold(
    scribe: Scribe,
    message: Message,
    scope: str,
    target: str,
    reason: str,
    until: float | None,
    outcome: Refused | None = None,
    version: int = 0,
    *,
    alert: bool = False,
) -> None:
    """A hold; a longer one that stands already stays. Number holds longer than a moment are a number event too."""
    standing = scribe.state.holds.get((scope, target))
    if standing is not None and (standing.until is None or (until is not None and standing.until >= until)):
        return
    event = None
    if scope == "number" and outcome is not None:
        event = "halted" if until is None else "rate_limited" if until > scribe.now + PATIENCE_SECONDS else None
    code = None if outcome is None else outcome.error.code
    data = {
        "until": until,
        "reason": reason,
        "version": version,
        "event": event,
        "code": code,
        "alert": alert or None,
        "trace": message.trace,
    }
    home = message.home
    scribe.write(journal.hold_key(scope, target), "hold", home, {k: v for k, v in data.items() if v is not None})
