"""Whom a refusal holds, and until when: a pair, a template, a number, or every number that shares what was refused.

The error policy (`graph_api.errors`) names the action and the scope; here they become holds in the lane's journal. The
other numbers of a token, account, portfolio or app may be in other lanes: those of this process are told at once (their
lanes write holds of their own, `hold_barred`), those of other processes by the number events that the hold implies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harkara.dispatcher import journal
from harkara.dispatcher.plan import PATIENCE_SECONDS, NumberFacts, Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import Message
from harkara.dispatcher.wordings import at_account
from harkara.graph_api.errors import NUMBER_PAUSE_SECONDS, Action, ErrorClass, ErrorPolicy, Scope
from harkara.graph_api.outcome import Refused

TEMPLATE_PROBE_SECONDS = 3600.0  # a template paused without a time is tried again hourly by one message


def sharing(fleet: Mapping[str, NumberFacts], number: str, policy: ErrorPolicy) -> list[str]:
    """The number first; then every number that shares what was refused: the token, account, portfolio or app."""
    own = fleet.get(number)
    if own is None or policy.action is Action.RETRY:
        return [number]
    return [number, *(each for each, other in fleet.items() if each != number and _shares(own, other, policy))]


def _shares(own: NumberFacts, other: NumberFacts, policy: ErrorPolicy) -> bool:
    match policy.scope:
        case Scope.APP:
            return True
        case Scope.PORTFOLIO:
            return other.portfolio_id == own.portfolio_id
        case Scope.WABA:
            return other.waba_id == own.waba_id
        case Scope.NUMBER:
            refused_token = policy.error_class is ErrorClass.AUTHENTICATION and policy.action is Action.HALT_NUMBER
            return refused_token and bool(own.token) and other.token == own.token
        case _:
            return False


def hold_by_policy(
    scribe: Scribe, around: Surroundings, message: Message, outcome: Refused, until: float | None = None
) -> None:
    """Hold whom the refusal of this message's call names. `until` (Unix seconds) is given for a retry."""
    policy, number = outcome.policy, message.number or ""
    facts: dict[str, Any] = {"code": outcome.error.code, "trace": message.trace}
    if policy.scope is Scope.PAIR:
        hold(scribe, message.home, "pair", f"{number}/{message.line}", policy.reason_code, until, **facts)
    elif policy.action is Action.PAUSE_TEMPLATE:
        until = scribe.now + (policy.hold_seconds or TEMPLATE_PROBE_SECONDS)
        facts["alert"] = policy.alert or None
        own = around.fleet.get(number)
        target = at_account("" if own is None else own.waba_id, message.template_used or "")
        hold(scribe, message.home, "template", target, policy.reason_code, until, **facts)
    else:
        if policy.action is Action.PAUSE:
            until = _pause_until(scribe, around, outcome)
        _hold_numbers(scribe, around, number, message.home, policy, until, facts)


def _hold_numbers(
    scribe: Scribe,
    around: Surroundings,
    number: str,
    home: str,
    policy: ErrorPolicy,
    until: float | None,
    facts: dict[str, Any],
) -> None:
    """The numbers of this lane get a hold each; what the others must know rides with the first as `others`."""
    own = around.fleet.get(number)
    event = "halted" if until is None else "rate_limited" if until > scribe.now + PATIENCE_SECONDS else None
    here, elsewhere = [number], []
    for each in sharing(around.fleet, number, policy)[1:]:
        if own is not None and around.fleet[each].partition == own.partition:
            here.append(each)
        else:
            elsewhere.append([each, around.fleet[each].home])
    for each in here:
        first = each == number
        told = {"event": event, "alert": (policy.alert and first) or None}
        others = elsewhere if first and elsewhere and event is not None else None
        at_home = around.fleet[each].home if each in around.fleet else home
        hold(scribe, at_home, "number", each, policy.reason_code, until, others=others, **told, **facts)


def hold_barred(scribe: Scribe, around: Surroundings, number: str, outcome: Refused, *, own: bool) -> None:
    """A number of this lane was barred: another lane's number was refused for what it shares (that lane tells the
    world), or its `own` call was, whatever became of that call's message."""
    facts = around.fleet.get(number)
    if facts is None:
        return
    policy, code = outcome.policy, outcome.error.code
    until = _pause_until(scribe, around, outcome) if policy.action is Action.PAUSE else None
    if own:
        _hold_numbers(scribe, around, number, facts.home, policy, until, {"code": code})
    else:
        hold(scribe, facts.home, "number", number, policy.reason_code, until, code=code)


def _pause_until(scribe: Scribe, around: Surroundings, outcome: Refused) -> float:
    seconds = outcome.policy.hold_seconds or NUMBER_PAUSE_SECONDS
    if seconds == NUMBER_PAUSE_SECONDS:
        seconds = around.policy.number_pause_seconds
    return scribe.now + max(seconds, outcome.retry_after_seconds or 0.0)


def hold(scribe: Scribe, home: str, scope: str, target: str, reason: str, until: float | None, **facts: Any) -> None:
    """Write a hold; a longer one that stands already stays."""
    standing = scribe.state.holds.get((scope, target))
    if standing is not None and (standing.until is None or (until is not None and standing.until >= until)):
        return
    data = {"until": until, "reason": reason} | facts
    kept = {name: value for name, value in data.items() if value is not None}
    scribe.write(journal.hold_key(scope, target), "hold", home, kept)
