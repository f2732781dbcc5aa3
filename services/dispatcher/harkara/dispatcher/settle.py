"""What an outcome of a call means for its message, its number, pair and template: the error policy carried out.

The policy itself is data (`graph_api.errors`); this is the one place in the dispatcher that acts on it. Whom it holds
is in `holds.py`, what it says of the number's endpoint in `breaker.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harkara.dispatcher import causes, journal
from harkara.dispatcher.assessment import hold_assessed
from harkara.dispatcher.breaker import note_outcome
from harkara.dispatcher.core import place
from harkara.dispatcher.doubt import doubt
from harkara.dispatcher.evidence import note_duplicate, settle_by_evidence, take_echo
from harkara.dispatcher.fallback import end_accepted, refused_for_good
from harkara.dispatcher.holds import Refusal, hold_by_policy, hold_refused
from harkara.dispatcher.orders import order_of
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.probes import not_called, template_served
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import DOUBTFUL, Message
from harkara.dispatcher.throttle import slow_down, too_fast
from harkara.graph_api.errors import RETRY_FIRST_DELAY_SECONDS, Action, ErrorClass, ErrorPolicy, Scope, policy_for
from harkara.graph_api.outcome import Accepted, NotSent, Outcome, Refused
from harkara.policy.lane import gives_up
from harkara.policy.pacing import next_fraction

RETRY_JITTER = 0.25
LONGEST_RETRY_SECONDS = 600.0  # the third call of the slowest curve (132001) comes after ten minutes
ASSESSED, PAUSED = "held_for_quality_assessment", "paused"
HELD_BY_META = frozenset({ASSESSED, PAUSED})
"""What `message_status` says of a message that Meta took and has not sent on (cloud-api 2.4)."""
TEMPLATE_PAUSED = 132015
STOPPED_MARKETING = 131050  # the person stopped our marketing messages (Meta): their opt-out, to be recorded


def settle(scribe: Scribe, around: Surroundings, message_id: str, attempt: int, outcome: Outcome) -> None:
    """The outcome of attempt `attempt`. One that nobody waits for any more changes nothing, unless it says that Meta
    has the message: then it is evidence like a status."""
    message = scribe.state.messages.get(message_id)
    awaited = (
        message is not None
        and message.attempt == attempt
        and (message.status == "attempting" or message.status in DOUBTFUL)
    )
    if message is None or not awaited:
        if isinstance(outcome, Accepted):
            take_echo(scribe, around, message_id, attempt, outcome.wamid, None, scribe.now)
        return
    number = message.course.number
    if number is not None:
        note_outcome(scribe, number, message.traits.home, outcome)
    if isinstance(outcome, Accepted):
        _accepted(scribe, around, message, outcome)
    elif isinstance(outcome, Refused):
        _note_authentication(scribe, around, message, outcome)
        _refused(scribe, around, message, outcome)
    elif isinstance(outcome, NotSent):
        _not_sent(scribe, around, message, outcome)
    elif message.status == "attempting":
        code = None if outcome.error is None else outcome.error.code
        doubt(scribe, around, message, outcome.reason, code=code)


def _accepted(scribe: Scribe, around: Surroundings, message: Message, outcome: Accepted) -> None:
    """Meta has it, and may hold it while it tries its template out, or because the template is paused (B13): then the
    others wait here, in the second case as after a refused call."""
    seen, assessed = message.seen, None
    if outcome.message_status == ASSESSED:
        assessed = hold_assessed(scribe, around, message)
    elif outcome.message_status == PAUSED:
        refusal = Refusal(
            message.number or "",
            message.home,
            policy_for(TEMPLATE_PAUSED),
            TEMPLATE_PAUSED,
            template=message.template_used or "",
            trace=message.trace,
        )
        hold_refused(scribe, around, refusal)
    else:
        template_served(scribe, around, message)
    if scribe.state.auth_failures and message.number in scribe.state.auth_failures:
        scribe.erase(journal.auth_key(message.number))
    facts: dict[str, Any] = {"wamid": outcome.wamid, "meta_status": outcome.message_status}
    if outcome.message_status in HELD_BY_META:
        facts |= {"reason": "held_by_meta", "details": {"message_status": outcome.message_status}}
        facts["assessed"] = assessed
    if seen is not None:
        facts["resent"] = True
    end_accepted(scribe, message, **facts)
    if seen is not None:
        note_duplicate(scribe, message.message_id, seen)


def _not_sent(scribe: Scribe, around: Surroundings, message: Message, outcome: NotSent) -> None:
    """Nothing left: back to its place. Whether the far side can be reached is the breaker's matter."""
    if message.seen is not None:
        settle_by_evidence(scribe, message, message.seen, "cancelled")
    elif outcome.reason == "invalid":
        why = causes.decided(around.policy.version, causes.request(message.form or "", message.template_used))
        end = {"reason": "request_invalid", "alert": True, "order": order_of(message)} | why
        scribe.end(message, "failed_unsent", message.attempt, **end)
    else:
        not_called(scribe.state, message)
        _back_to_its_place(scribe, around, message, f"not_sent_{outcome.reason}")


def _refused(scribe: Scribe, around: Surroundings, message: Message, outcome: Refused) -> None:
    policy, code = outcome.policy, outcome.error.code
    spent = message.spent + (1 if policy.spends_attempt else 0)
    facts: dict[str, Any] = {"spent": spent, "code": code}
    slows, reroutes = too_fast(policy), policy.action is Action.REROUTE_TEMPLATE and message.can_reroute
    if policy.keeps_message or policy.spares_recipient:
        hold_by_policy(scribe, around, message, outcome)
    elif slows:
        slow_down(scribe, around, message, outcome)
    if message.seen is not None:
        settle_by_evidence(scribe, message, message.seen, "cancelled")
    elif gives_up(
        action=policy.action.value,
        keeps=policy.keeps_message,
        spends=policy.spends_attempt,
        reroutes=reroutes,
        slows=slows,
        spent=spent,
        most=around.policy.max_attempts,
    ):
        _fail(scribe, around, message, policy, facts)
    elif slows:
        _back_to_its_place(scribe, around, message, policy.reason_code, code=code)
    elif reroutes:
        facts |= {"template_only": True, "refused": message.attempt}
        _back_to_its_place(scribe, around, message, policy.reason_code, **facts)
    elif policy.keeps_message:
        _back_to_its_place(scribe, around, message, policy.reason_code, **facts)
    else:
        delay = _delay_seconds(scribe, policy, spent, outcome.retry_after_seconds)
        until = journal.to_the_microsecond(scribe.now + delay)
        if policy.scope in (Scope.NUMBER, Scope.PAIR):
            hold_by_policy(scribe, around, message, outcome, until)
        scribe.step(message, "retrying", until=until, reason=policy.reason_code, **facts)


def _note_authentication(scribe: Scribe, around: Surroundings, message: Message, outcome: Refused) -> None:
    """Count how often Meta refused the number's present token (requirement row SEC-4). Calls that were under way when
    the first was refused count as that one."""
    facts = around.fleet.get(message.number or "")
    standing = scribe.state.holds.get(("number", message.number or ""))
    halted = standing is not None and standing.until is None
    refused_token = outcome.policy.error_class is ErrorClass.AUTHENTICATION and outcome.policy.stops_numbers
    if not refused_token or facts is None or halted:
        return
    failures, token = scribe.state.auth_failures.get(facts.phone_number_id, (0, ""))
    data = {"failures": failures + 1 if token == facts.token else 1, "token": facts.token}
    scribe.write(journal.auth_key(facts.phone_number_id), "auth", facts.home, data)


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


def _fail(
    scribe: Scribe, around: Surroundings, message: Message, policy: ErrorPolicy, refusal: Mapping[str, Any]
) -> None:
    """For good: to the DLQ, unless its fallback goes. Somebody is told where the policy says so, and where the retries
    were used up. `refusal`: Meta's `code`, and how many attempts are `spent` with this one."""
    used_up, code = policy.action in (Action.RETRY, Action.PAUSE_TEMPLATE), refusal["code"]
    facts: dict[str, Any] = {
        "code": code,
        "reason": policy.reason_code,
        "error_class": policy.error_class.value,
        "alert": policy.alert or used_up or None,
        "opted_out": True if code == STOPPED_MARKETING else None,
        "person_key": message.person_key,
    } | causes.decided(around.policy.version, causes.refusal(policy, refusal["spent"]))
    if not refused_for_good(scribe, message, policy, facts):
        scribe.end(message, "failed_unsent", message.attempt, order=order_of(message), **facts)
