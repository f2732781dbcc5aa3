"""Whom a refusal holds, and until when: a pair, a template, a number, or every number that shares what was refused.

The error policy (`graph_api.errors`) names the action and the scope; here they become holds in the lane's journal. The
other numbers of a token, account, portfolio or app may be in other lanes: those of this process are told at once (their
lanes write holds of their own, `hold_barred`), those of other processes by the number events that the hold implies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harkara.dispatcher import journal
from harkara.dispatcher.plan import PATIENCE_SECONDS, NumberFacts, Surroundings
from harkara.dispatcher.probes import wake_account
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import Hold, Message
from harkara.dispatcher.wordings import at_account
from harkara.graph_api.errors import NUMBER_PAUSE_SECONDS, Action, ErrorClass, ErrorPolicy, Scope
from harkara.graph_api.outcome import Refused

SPARED = "recipient_spared"
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


class Refusal(NamedTuple):
    """What Meta refused, as far as a hold is about it: a call of `number`, to a person (`line`), by a `template` (each
    "" where it is not known). `since`: when a status said so (Unix seconds); None: an answer says so now."""

    number: str
    home: str
    policy: ErrorPolicy
    code: int | None
    line: str = ""
    template: str = ""
    trace: str | None = None
    since: float | None = None
    asked_seconds: float = 0.0


def hold_by_policy(
    scribe: Scribe, around: Surroundings, message: Message, outcome: Refused, until: float | None = None
) -> None:
    """Hold whom the refusal of this message's call names. `until` (Unix seconds) is given for a retry."""
    refusal = Refusal(
        message.number or "",
        message.home,
        outcome.policy,
        outcome.error.code,
        line=message.line,
        template=message.template_used or "",
        trace=message.trace,
        asked_seconds=outcome.retry_after_seconds or 0.0,
    )
    hold_refused(scribe, around, refusal, until)


def hold_refused(scribe: Scribe, around: Surroundings, refusal: Refusal, until: float | None = None) -> None:
    """Hold whom the policy names. What an operator ended since, or time, is not held anew by an old status."""
    policy, number = refusal.policy, refusal.number
    said = scribe.now if refusal.since is None else refusal.since
    facts: dict[str, Any] = {"code": refusal.code, "trace": refusal.trace, "policy_version": around.policy.version}
    facts["since"] = refusal.since
    if policy.spares_recipient:
        _spare(scribe, refusal, said)
    elif policy.scope is Scope.PAIR:
        if refusal.line:
            hold(scribe, refusal.home, "pair", f"{number}/{refusal.line}", policy.reason_code, until, **facts)
    elif policy.action is Action.PAUSE_TEMPLATE:
        _hold_template(scribe, around, refusal, said, facts)
    else:
        if policy.action is Action.PAUSE:
            until = said + _pause_seconds(around, policy, refusal.asked_seconds)
        _hold_numbers(scribe, around, refusal, until, facts)


def _spare(scribe: Scribe, refusal: Refusal, said: float) -> None:
    """Meta keeps marketing from the person, and for longer with each try (131049): their marketing templates wait for a
    day after the newest refusal. In this lane: what the person gets of numbers of other lanes is theirs."""
    until = journal.to_the_microsecond(said + (refusal.policy.hold_seconds or 0.0))
    standing = scribe.state.spared.get(refusal.line)
    if not refusal.line or until <= scribe.now or (standing is not None and _covers(standing.until, until)):
        return
    facts = {"until": until, "reason": SPARED, "since": said, "code": refusal.code}
    scribe.write(journal.spared_key(refusal.line), "spared", refusal.home, facts)


def _hold_template(scribe: Scribe, around: Surroundings, refusal: Refusal, said: float, facts: dict[str, Any]) -> None:
    """In its account. Where it was held for that before, until that hold's end, or, where it is over and one message
    tries it (`probes.py`), for as long again: whoever waits for that time is not told of another one."""
    own, length = around.fleet.get(refusal.number), refusal.policy.hold_seconds or TEMPLATE_PROBE_SECONDS
    target = at_account("" if own is None else own.waba_id, refusal.template)
    word, standing = around.templates.get(target), scribe.state.holds.get(("template", target))
    if refusal.since is not None and word is not None and word.approved and word.status_at > refusal.since:
        return
    until: float | None = said + length
    if standing is not None and standing.reason == refusal.policy.reason_code:
        until = standing.tried_again_at(said)
    facts |= {"alert": refusal.policy.alert or None, "length": length}
    hold(scribe, refusal.home, "template", target, refusal.policy.reason_code, until, **facts)
    if standing is not None and standing.in_assessment and not scribe.state.in_assessment(target):
        wake_account(scribe, around, target)  # who waits for that is told of this, and until when


def _hold_numbers(
    scribe: Scribe, around: Surroundings, refusal: Refusal, until: float | None, facts: dict[str, Any]
) -> None:
    """The numbers of this lane get a hold each; what the others must know rides with the first as `others`."""
    number, policy, since = refusal.number, refusal.policy, refusal.since
    if since is not None and resumed_after(around, number, since):
        return
    own = around.fleet.get(number)
    event = "halted" if until is None else "rate_limited" if until > scribe.now + PATIENCE_SECONDS else None
    here, elsewhere = [], list[str]()
    for each in sharing(around.fleet, number, policy):
        if since is not None and resumed_after(around, each, since):
            continue
        if each == number or (own is not None and around.fleet[each].partition == own.partition):
            here.append(each)
        else:
            elsewhere.append(each)
    for each in here:
        first = each == number
        told = {"event": event, "alert": (policy.alert and first) or None}
        untold = _untold(scribe, around, refusal, elsewhere, until) if first and event is not None else []
        others = [[other, around.fleet[other].home] for other in untold] or None
        at_home = around.fleet[each].home if each in around.fleet else refusal.home
        hold(scribe, at_home, "number", each, policy.reason_code, until, others=others, **told, **facts)


def _untold(
    scribe: Scribe, around: Surroundings, refusal: Refusal, others: list[str], until: float | None
) -> list[str]:
    """Those who do not know yet, by what is written with the number's hold, that they are held for so long. A status
    tells of a call of before: it makes no pause longer that they know of."""
    standing = scribe.state.holds.get(("number", refusal.number))
    if standing is None:
        return others
    enough = scribe.now if refusal.since is not None and until is not None else until
    return [
        each
        for each in others
        if not _covers(standing.told.get(each, 0.0), enough) or resumed_after(around, each, standing.at)
    ]


def resumed_after(around: Surroundings, number: str, at: float) -> bool:
    """Whether an operator has let the number go on since then (Unix seconds)."""
    state = around.states.get(number)
    return state is not None and state.resumed_at is not None and state.resumed_at.timestamp() > at


def _covers(standing: float | None, until: float | None) -> bool:
    """Whether a hold that stands so long (None: until it is released) is as long as one until then."""
    return standing is None or (until is not None and standing >= until)


def hold_barred(
    scribe: Scribe, around: Surroundings, number: str, outcome: Refused, *, own: bool, since: float | None = None
) -> None:
    """A number of this lane was barred: another lane's number was refused for what it shares (that lane tells the
    world), or its `own` call was, whatever became of that call's message. `since`: as in a Refusal."""
    facts, policy = around.fleet.get(number), outcome.policy
    if facts is None or (since is not None and resumed_after(around, number, since)):
        return
    asked, code = outcome.retry_after_seconds or 0.0, outcome.error.code
    if own:
        refusal = Refusal(number, facts.home, policy, code, since=since, asked_seconds=asked)
        hold_refused(scribe, around, refusal)
        return
    said = {"code": code, "policy_version": around.policy.version, "since": since}
    from_then = scribe.now if since is None else since
    until = from_then + _pause_seconds(around, policy, asked) if policy.action is Action.PAUSE else None
    hold(scribe, facts.home, "number", number, policy.reason_code, until, **said)


def _pause_seconds(around: Surroundings, policy: ErrorPolicy, asked_seconds: float) -> float:
    seconds = policy.hold_seconds or NUMBER_PAUSE_SECONDS
    if seconds == NUMBER_PAUSE_SECONDS:
        seconds = around.policy.number_pause_seconds
    return max(seconds, asked_seconds)


def hold(scribe: Scribe, home: str, scope: str, target: str, reason: str, until: float | None, **facts: Any) -> None:
    """Write a hold, if its time is not over. A longer one that stands already stays; what `others` must know of this
    one is written with it then."""
    state, since = scribe.state, facts.get("since")
    if since is not None and until is not None and until <= scribe.now:
        return
    standing = state.holds.get((scope, target))
    until = None if until is None else journal.to_the_microsecond(until)
    data = {"until": until, "reason": reason} | facts
    if standing is not None and (_covers(standing.until, until) or _is_that(standing, reason, since, scribe.now)):
        if not facts.get("others"):
            return
        said = scribe.now if since is None else since
        data |= {"until": standing.until, "reason": standing.reason, "since": max(said, standing.at)}
        data["says"] = {"until": until, "reason": reason, "since": said}
    if standing is not None and standing.told:
        data["told"] = dict(standing.told)
    if scope == "number" and "trips" not in data:
        data["trips"] = state.number(target).trips or None
    kept = {name: value for name, value in data.items() if value is not None}
    scribe.write(journal.hold_key(scope, target), "hold", home, kept)


def _is_that(standing: Hold, reason: str, since: float | None, now: float) -> bool:
    """Whether a status says again why this hold stands: it tells of a call of before, and does not make it longer."""
    return since is not None and standing.reason == reason and standing.until is not None and standing.until > now
