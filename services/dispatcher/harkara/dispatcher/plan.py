"""Which way a message may go now: its plan against cancels, consent, deadline, holds and the numbers' states.

Asked three times: when a message is placed in a number's queue, when its attempt is journaled, and in the instant
before the call (the last gate). Pure; times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from harkara.contracts.consent import ConsentState, Purpose, Standing
from harkara.contracts.intents import Form
from harkara.contracts.numbers import NumberState
from harkara.dispatcher import causes, wordings
from harkara.dispatcher.causes import Cause
from harkara.dispatcher.links import Links
from harkara.dispatcher.message import RESEND_LOST
from harkara.dispatcher.places import Leases, no_place
from harkara.dispatcher.state import Candidate, LaneState, Message
from harkara.dispatcher.wordings import TemplateWord, at_account, template_obstacle
from harkara.policy import lane as rules
from harkara.policy.contacts import NO_RULES, ContactRules
from harkara.policy.pacing import Limits
from harkara.policy.sections import Templates

BREAKER_REASONS = frozenset({"not_reachable", "endpoint_failing", "request_impossible"})
"""Holds that the number's circuit breaker wrote (`breaker.py`)."""
RESTING_TRIPS = 5
"""Openings in a row from which on the breaker stays open for longer than PATIENCE_SECONDS: the queue moves then."""
PATIENCE_SECONDS = 5.0
"""A number that pauses no longer than this keeps its queue: moving it would cost more records than it saves time."""

NO_PRICES = Templates()


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """What governance says of a number. `capacity`: calls under way at once; `token`: a mark of its access token
    (numbers with the same one halt together), empty where there is none; `usable`: it has a token; `partition`: the
    lane in which it is at home; `limited`: its portfolio's messaging limit is kept."""

    phone_number_id: str
    home: str
    waba_id: str
    limits: Limits
    capacity: int = 20
    token: str = ""
    usable: bool = True
    portfolio_id: str = ""
    partition: int = 0
    limited: bool = False


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """The dispatch part of governance.yaml, what its compliance part says of contacts, and the templates' prices."""

    in_doubt_timeout_seconds: Mapping[str, float]
    max_attempts: int = 3
    resent_categories: frozenset[str] = frozenset({"authentication", "utility"})
    number_pause_seconds: float = 1800.0
    request_timeout_seconds: float = 10.0
    lease_seconds: float = 2.0
    weights: Mapping[str, float] = field(default_factory=dict)
    contacts: ContactRules = NO_RULES
    version: str = ""
    templates: Templates = NO_PRICES


@dataclass(slots=True)
class Surroundings:
    """What a lane sees of the world: governance, the replicas of number states, of refusals of consent and of
    templates (by their names in an account). `revision` grows whenever the limits of a number in `fleet` change.
    `fresh()`: the replicas are complete and up to date. `leases`: the portfolios'
    ledgers. `links`: which names are one person's."""

    fleet: Mapping[str, NumberFacts]
    policy: DispatchPolicy
    states: Mapping[str, NumberState] = field(default_factory=dict)
    denials: Mapping[str, ConsentState] = field(default_factory=dict)
    revision: int = 0
    templates: Mapping[str, TemplateWord] = field(default_factory=dict)
    fresh: Callable[[], bool] = lambda: True
    leases: Leases = field(default_factory=Leases)
    links: Links = field(default_factory=Links)


class Go(NamedTuple):
    """This way is open. `template`: by which of the message's templates, where the candidate's form is one."""

    candidate: Candidate
    template: str | None = None


class Wait(NamedTuple):
    """No way is open now; look again at `until` (None: when a hold is released). `by`: what decided it."""

    reason: str
    until: float | None
    by: Cause | None = None


class Over(NamedTuple):
    """The message ends without effect. `by`: what decided it."""

    status: str
    reason: str
    by: Cause | None = None


Way: TypeAlias = Go | Wait | Over


def way_of(state: LaneState, around: Surroundings, message: Message, now: float) -> Way:
    """The first healthy candidate, or why there is none; one whose breaker is open counts where no other is healthy."""
    shut = over(state, around, message, now) or held_back(state, message, now)
    if shut is None and message.course.resent:
        shut = lost_for_resend(state, around, message, now)
    if shut is not None:
        return shut
    waits: list[Wait] = []
    final: Over | None = None
    resting: Go | None = None
    for candidate in _ways_left(message, now):
        way = Go(candidate, _template_of(state, around, message, candidate, now))
        obstacle = obstacle_of(state, around, message, way, now, PATIENCE_SECONDS)
        if obstacle is None:
            return way
        if isinstance(obstacle, Over):
            final = obstacle
            continue
        if obstacle.reason in BREAKER_REASONS and resting is None:
            resting = way
        waits.append(Wait(obstacle.reason, _earlier(obstacle.until, candidate.valid_until), obstacle.by))
    if not waits:
        return final or Over("failed_unsent", "window_closed" if message.plan else "no_route", causes.ways)
    if resting is not None:
        return resting  # it keeps its place: the breaker lets its calls through one by one
    until = None
    for wait in waits:
        until = _earlier(until, wait.until)
    return Wait(waits[0].reason, until, waits[0].by)


def _ways_left(message: Message, now: float) -> list[Candidate]:
    """Those of its plan that time has not closed, and where it is sent again those by the same number."""
    only, pinned = message.course.template_only, message.pinned if message.course.resent else None
    return [
        each
        for each in message.plan
        if not rules.is_closed(each.form, each.valid_until, now, template_only=only) and pinned in (None, each.number)
    ]


def lost_for_resend(state: LaneState, around: Surroundings, message: Message, now: float) -> Over | None:
    """Whether the number of its older attempt cannot send it again: then an operator must decide anew."""
    number = message.pinned
    if number is None:
        return None
    facts = around.fleet.get(number)
    planned = bool(_ways_left(message, now)) and (facts is None or facts.home == message.home)
    obstacle = number_obstacle(state, around, number, now)
    why, until = (None, None) if obstacle is None else (obstacle.reason, obstacle.until)
    if not rules.lost_for_resend(planned=planned, obstacle=why, until=until):
        return None
    return Over("unknown", RESEND_LOST, partial(causes.resend, planned, why, until))


def over(state: LaneState, around: Surroundings, message: Message, now: float) -> Over | None:
    """Whether the message may not go by any way: cancelled, refused by its recipient, too late."""
    if state.cancels and (word := cancel_of(state, message)) is not None:
        return Over("cancelled", "cancelled", partial(causes.cancelled, *word))
    for name in message.names if around.denials else ():
        denial = around.denials.get(name)
        if denial is not None and (standing := refused(denial, message, now)) is not None:
            return Over("cancelled", f"consent_{standing}", partial(causes.consent, name, denial, _purpose(message)))
    if rules.expired(message.expires_at, now):
        return Over("expired", "expired", causes.life)
    return None


def held_back(state: LaneState, message: Message, now: float) -> Wait | Over | None:
    """Whether it may not go for now whatever its numbers can: its run is paused, or it is not the time of day."""
    if state.pauses and (word := state.pauses.get(message.run_id or "")) is not None and word.paused:
        return Wait("run_paused", None, partial(causes.run, word))
    return out_of_hours(message, now) if message.traits.hours else None


def out_of_hours(message: Message, now: float) -> Wait | Over | None:
    """Whether the hours in which its recipient may be written to are over, for now or for good; or None."""
    if not message.hours:
        return None
    shut = rules.out_of_hours(message.hours, now)
    if shut is None:
        return None
    by = partial(causes.hours, now)
    return Over("expired", shut.reason, by) if shut.final else Wait(shut.reason, shut.until, by)


def refused(denial: ConsentState, message: Message, now: float) -> Standing | None:
    """What the person's word says against the message."""
    answers, received_at = message.answers, message.received_at
    return rules.refused(denial, _purpose(message), answers=answers, received_at=received_at, now=now)


def _purpose(message: Message) -> Purpose:
    return "marketing" if message.marketing else "transactional"


def cancel_of(state: LaneState, message: Message) -> tuple[str, float] | None:
    """The kind and time of a cancel command that names the message, its run or its recipient, and is not older than the
    intent."""
    targets = (
        ("cancel_message", message.message_id),
        ("cancel_run", message.run_id or ""),
        *[("cancel_recipient", name) for name in message.names],
    )
    for target in targets:
        said_at = state.cancels.get(target)
        if said_at is not None and rules.cancels(said_at, message.received_at):
            return target[0], said_at
    return None


def last_gate(state: LaneState, around: Surroundings, message: Message, now: float) -> str | None:
    """Why the journaled attempt may not be called after all, or None. Asked with a connection at hand."""
    if message.seen is not None:
        return "seen_in_status"
    shut = over(state, around, message, now) or held_back(state, message, now)
    if shut is not None:
        return shut.reason
    for candidate in message.plan:
        if candidate.number == message.number and candidate.form == message.form:
            if candidate.valid_until is not None and now >= candidate.valid_until:
                return "window_closed"
            template = None if candidate.form == "session" else message.template_used
            obstacle = obstacle_of(state, around, message, Go(candidate, template), now, 0.0)
            return None if obstacle is None else obstacle.reason
    return "no_route"


def obstacle_of(
    state: LaneState, around: Surroundings, message: Message, way: Go, now: float, patience: float
) -> Wait | Over | None:
    """What stands in this way, or None. A number's short pause is none for `patience` seconds. Over: what became of its
    template closes it for good."""
    candidate = way.candidate
    number, facts = candidate.number, around.fleet.get(candidate.number)
    wording = _template_obstacle(state, around, facts, message, way, now)
    if isinstance(wording, Over):
        return wording
    if facts is not None and facts.home != message.traits.home:
        by = partial(causes.elsewhere, number, facts.home)
        return Wait("number_of_another_home", None, by)  # its own lane has it: two lanes would share its pace
    in_general = number_obstacle(state, around, number, now)
    if in_general is not None and (in_general.until is None or in_general.until > now + patience):
        return in_general
    if state.holds and patience and _is_shunned(state, message, number):  # a breaker that opened is a hold
        return Wait("endpoint_failing", None)
    pair = _held(state, "pair", f"{number}/{message.line}", now) if state.holds else None
    if pair is not None or candidate.form == "session":
        return pair
    if state.spared and message.marketing and (kept := _held(state, "recipient", message.line, now)) is not None:
        return kept
    number_state = around.states.get(number)
    if number_state is not None and (kept := _kept_back(number_state, "template", now)) is not None:
        return kept
    if wording is None and facts is not None and facts.limited and patience:  # the last gate: its place is taken
        full = no_place(state.places, around.leases, facts.portfolio_id, message, now)
        return None if full is None else Wait(*full)
    return wording


def _template_of(
    state: LaneState, around: Surroundings, message: Message, candidate: Candidate, now: float
) -> str | None:
    """By which template this candidate would go: the message's own, or while that may not go, or Meta tries it out, the
    first of its other languages that Meta is known to let through."""
    if candidate.form == "session":
        return None
    own, backups = message.traits.template_key, message.traits.backups
    facts = around.fleet.get(candidate.number) if backups else None
    if facts is None:
        return own
    tried_out = state.holds and state.in_assessment(at_account(facts.waba_id, own or ""))
    if not tried_out and _template_obstacle(state, around, facts, message, Go(candidate, own), now) is None:
        return own
    for each in backups:
        word = around.templates.get(at_account(facts.waba_id, each))
        approved = word is not None and word.approved
        if approved and _template_obstacle(state, around, facts, message, Go(candidate, each), now) is None:
            return each
    return own


def _template_obstacle(
    state: LaneState, around: Surroundings, facts: NumberFacts | None, message: Message, way: Go, now: float
) -> Wait | Over | None:
    """What is known of the template in the account of the way's number (`facts`), or what Meta's refusal of another
    message by it holds it for."""
    if way.candidate.form == "session" or facts is None:
        return None
    name = at_account(facts.waba_id, way.template or "")
    word = around.templates.get(name)
    shut = None if word is None else template_obstacle(word, message, way.template, now)
    if word is not None and shut is not None:
        by = partial(causes.template, facts.waba_id, way.template, word)
        return Over("failed_unsent", shut.reason, by) if shut.final else Wait(shut.reason, shut.until, by)
    return _held(state, "template", name, now, message, way.candidate.number) if state.holds else None


def _held(
    state: LaneState, scope: str, target: str, now: float, message: Message | None = None, number: str = ""
) -> Wait | None:
    """A hold that stands, as `LaneState.standing` has it."""
    hold = state.standing(scope, target, now, message, number)
    if hold is None:
        return None
    return Wait(hold.reason, hold.until, partial(causes.hold, scope, target, hold))


def _kept_back(number_state: NumberState, form: Form | None, now: float) -> Wait | None:
    """What the state of the number says against a call in this form (None: against any call)."""
    if number_state.verdict == "open":
        return None
    shut = rules.number_kept_back(number_state.verdict, _seconds(number_state.until), form, now)
    return None if shut is None else Wait(shut.reason, shut.until, partial(causes.number_state, number_state, form))


def decided(around: Surroundings, message: Message, shut: Wait | Over) -> dict[str, Any]:
    """What the entry of a hold or an end says of its decision: the policy's version, and what decided it."""
    return {} if shut.by is None else causes.decided(around.policy.version, shut.by(message))


def told_of(around: Surroundings, message: Message, wait: Wait) -> dict[str, Any]:
    """What an operator has to know of a wait besides its reason."""
    accounts = (around.fleet[each.number].waba_id for each in message.plan if each.number in around.fleet)
    return wordings.told_of(wait.reason, around.templates, accounts, message, around.policy.templates)


def number_obstacle(state: LaneState, around: Surroundings, number: str, now: float) -> Wait | None:
    """Why the number may send nothing at all now, or None. No state on the topic: nothing speaks against it."""
    facts = around.fleet.get(number)
    if facts is None or not facts.usable or (state.auth_failures and token_used_up(state, facts)):
        return _unusable(state, facts, number)
    if state.holds and (held := _held(state, "number", number, now)) is not None:
        return held
    number_state = around.states.get(number)
    return None if number_state is None else _kept_back(number_state, None, now)


def _unusable(state: LaneState, facts: NumberFacts | None, number: str) -> Wait | None:
    """Why the number cannot be called at all."""
    refusals = 0 if facts is None else _token_refusals(state, facts)
    found = {"configured": facts is not None, "has_token": facts is not None and facts.usable}
    why = rules.unusable(**found, token_refusals=refusals)
    by = partial(causes.number, number, found | {"token_refusals": refusals})
    return None if why is None else Wait(why, None, by)


def _is_shunned(state: LaneState, message: Message, number: str) -> bool:
    """Whether the number's endpoint has failed for so long that messages with another way take that one; but for one
    message at a time, by which it is found out that it works again."""
    lane = state.numbers.get(number)
    if lane is None or lane.trips < RESTING_TRIPS or message.placed == number:
        return False
    return not lane.idle or state.tally(number, "attempting") > 0


def token_used_up(state: LaneState, facts: NumberFacts) -> bool:
    """Whether Meta refused the number's present token so often that only another one is tried again."""
    return _token_refusals(state, facts) >= rules.AUTH_FAILURES_ALLOWED


def _token_refusals(state: LaneState, facts: NumberFacts) -> int:
    """How often Meta refused the number's present token."""
    failures, token = state.auth_failures.get(facts.phone_number_id, (0, ""))
    return failures if token == facts.token else 0


def calls_allowed(state: LaneState, facts: NumberFacts) -> int:
    """Calls of a number that may be under way at once: one while its breaker is half-open."""
    lane = state.numbers.get(facts.phone_number_id)
    return 1 if lane is not None and lane.trips else facts.capacity


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _earlier(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)
