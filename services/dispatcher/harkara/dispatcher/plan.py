"""Which way a message may go now: its plan against cancels, consent, deadline, holds and the numbers' states.

Asked three times: when a message is placed in a number's queue, when its attempt is journaled, and in the instant
before the call (the last gate). Pure; times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from harkara.contracts.consent import ConsentState, Purpose, Standing
from harkara.contracts.numbers import NumberState
from harkara.dispatcher.journal import instant
from harkara.dispatcher.links import Links
from harkara.dispatcher.places import Leases, no_place
from harkara.dispatcher.state import Candidate, LaneState, Message
from harkara.dispatcher.wordings import TemplateWord, at_account, price_told, template_obstacle
from harkara.policy.contacts import NO_RULES, ContactRules
from harkara.policy.pacing import Limits
from harkara.policy.sections import Templates

BREAKER_REASONS = frozenset({"not_reachable", "endpoint_failing"})
"""Holds that the number's circuit breaker wrote (`breaker.py`)."""
RESTING_TRIPS = 5
"""Openings in a row from which on the breaker stays open for longer than PATIENCE_SECONDS: the queue moves then."""
AUTH_FAILURES_ALLOWED = 3
"""Calls that Meta may refuse for one and the same token, an operator's resumes between them (requirement row SEC-4)."""
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
    """No way is open now; look again at `until` (None: when a hold is released)."""

    reason: str
    until: float | None


class Over(NamedTuple):
    """The message ends without effect."""

    status: str
    reason: str


Way: TypeAlias = Go | Wait | Over


def way_of(state: LaneState, around: Surroundings, message: Message, now: float) -> Way:
    """The first healthy candidate, or why there is none; one whose breaker is open counts where no other is healthy."""
    shut = over(state, around, message, now) or held_back(state, message, now)
    if shut is not None:
        return shut
    waits: list[Wait] = []
    final = Over("failed_unsent", "window_closed" if message.plan else "no_route")
    resting: Go | None = None
    for candidate in message.plan:
        if _is_closed(message, candidate, now):
            continue
        way = Go(candidate, _template_of(state, around, message, candidate, now))
        obstacle = obstacle_of(state, around, message, way, now, PATIENCE_SECONDS)
        if obstacle is None:
            return way
        if isinstance(obstacle, Over):
            final = obstacle
            continue
        if obstacle.reason in BREAKER_REASONS and resting is None:
            resting = way
        waits.append(Wait(obstacle.reason, _earlier(obstacle.until, candidate.valid_until)))
    if not waits:
        return final
    if resting is not None:
        return resting  # it keeps its place: the breaker lets its calls through one by one
    until = None
    for wait in waits:
        until = _earlier(until, wait.until)
    return Wait(waits[0].reason, until)


def _is_closed(message: Message, candidate: Candidate, now: float) -> bool:
    """Whether the candidate's time is over, or Meta wants a template and it is none."""
    expired = candidate.valid_until is not None and now >= candidate.valid_until
    return expired or (message.template_only and candidate.form == "session")


def over(state: LaneState, around: Surroundings, message: Message, now: float) -> Over | None:
    """Whether the message may not go by any way: cancelled, refused by its recipient, too late."""
    if state.cancels and is_cancelled(state, message):
        return Over("cancelled", "cancelled")
    for name in message.names:
        denial = around.denials.get(name)
        refusal = None if denial is None else refused(denial, message, now)
        if refusal is not None:
            return Over("cancelled", f"consent_{refusal}")
    if now >= message.expires_at:
        return Over("expired", "expired")
    return None


def held_back(state: LaneState, message: Message, now: float) -> Wait | Over | None:
    """Whether it may not go for now whatever its numbers can: its run is paused, or it is not the time of day."""
    if state.pauses and (word := state.pauses.get(message.run_id or "")) is not None and word.paused:
        return Wait("run_paused", None)
    return out_of_hours(message, now)


def out_of_hours(message: Message, now: float) -> Wait | Over | None:
    """Whether the hours in which its recipient may be written to are over, for now or for good; or None."""
    if not message.hours:
        return None
    following = next((hours for hours in message.hours if now < hours.end), None)
    if following is None:
        return Over("expired", "no_send_time")
    return Wait("quiet_hours", following.start) if now < following.start else None


def refused(denial: ConsentState, message: Message, now: float) -> Standing | None:
    """What the person's word says against the message. An opt-out cancels what was accepted before it for good, also
    where they opt in again a moment later; a confirmation of their own command is kept back by a block alone."""
    purpose: Purpose = "marketing" if message.marketing else "transactional"
    standing = denial.denies(purpose, instant(now))
    if message.answers:
        return standing if standing == "blocked" else None
    if standing is None and denial.revoked(purpose, instant(message.received_at)):
        return "opted_out"
    return standing


def is_cancelled(state: LaneState, message: Message) -> bool:
    """Whether a cancel command names the message, its run or its recipient and is not older than the intent."""
    targets = (
        ("cancel_message", message.message_id),
        ("cancel_run", message.run_id or ""),
        *[("cancel_recipient", name) for name in message.names],
    )
    return any(state.cancels.get(target, 0.0) >= message.received_at for target in targets)


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
    wording = _template_obstacle(state, around, message, way, now)
    if isinstance(wording, Over):
        return wording
    facts = around.fleet.get(candidate.number)
    if facts is not None and facts.home != message.home:
        return Wait("number_of_another_home", None)  # its own lane has it: two lanes would share its pace
    in_general = number_obstacle(state, around, candidate.number, now)
    if in_general is not None and (in_general.until is None or in_general.until > now + patience):
        return in_general
    if patience and _is_shunned(state, message, candidate.number):
        return Wait("endpoint_failing", None)
    pair = state.holds.get(("pair", f"{candidate.number}/{message.line}"))
    if pair is not None and (pair.until is None or pair.until > now):
        return Wait(pair.reason, pair.until)
    if candidate.form == "session":
        return None
    number_state = around.states.get(candidate.number)
    if number_state is not None and number_state.verdict == "pause_proactive":
        until = _seconds(number_state.until)
        if until is None or until > now:
            return Wait("number_pause_proactive", until)
    if wording is None and facts is not None and facts.limited and patience:  # the last gate: its place is taken
        full = no_place(state.places, around.leases, facts.portfolio_id, message, now)
        return None if full is None else Wait(*full)
    return wording


def _template_of(
    state: LaneState, around: Surroundings, message: Message, candidate: Candidate, now: float
) -> str | None:
    """By which template this candidate would go: the message's own, or while that may not go, the first of its other
    languages that Meta is known to let through."""
    own, facts = message.template_key, around.fleet.get(candidate.number)
    if candidate.form == "session":
        return None
    backups = message.traits.backups
    if not backups or facts is None or _template_obstacle(state, around, message, Go(candidate, own), now) is None:
        return own
    for each in backups:
        word = around.templates.get(at_account(facts.waba_id, each))
        approved = word is not None and word.approved
        if approved and _template_obstacle(state, around, message, Go(candidate, each), now) is None:
            return each
    return own


def _template_obstacle(
    state: LaneState, around: Surroundings, message: Message, way: Go, now: float
) -> Wait | Over | None:
    """What is known of the template in the account of the way's number, or what Meta's refusal of another message by it
    holds it for."""
    facts = around.fleet.get(way.candidate.number)
    if way.candidate.form == "session" or facts is None:
        return None
    word = template_obstacle(around.templates, facts.waba_id, way.template, message.category, now)
    if word is not None:
        return Over("failed_unsent", word.reason) if word.final else Wait(word.reason, word.until)
    hold = state.holds.get(("template", at_account(facts.waba_id, way.template or "")))
    return Wait(hold.reason, hold.until) if hold is not None and (hold.until is None or hold.until > now) else None


def told_of(around: Surroundings, message: Message, wait: Wait) -> dict[str, Any]:
    """What an operator has to know of a wait besides its reason: what it would cost to go on (B12)."""
    if wait.reason != "template_recategorised":
        return {}
    accounts = [around.fleet[each.number].waba_id for each in message.plan if each.number in around.fleet]
    policy, words = around.policy.templates, around.templates
    told = (price_told(words, waba, message.template_key, message.category, policy) for waba in accounts)
    return next(filter(None, told), {})


def number_obstacle(state: LaneState, around: Surroundings, number: str, now: float) -> Wait | None:
    """Why the number may send nothing at all now, or None. No state on the topic: nothing speaks against it."""
    facts = around.fleet.get(number)
    if facts is None:
        return Wait("number_not_configured", None)
    if not facts.usable:
        return Wait("number_without_token", None)
    if token_used_up(state, facts):
        return Wait("token_refused_thrice", None)
    hold = state.holds.get(("number", number))
    if hold is not None and (hold.until is None or hold.until > now):
        return Wait(hold.reason, hold.until)
    number_state = around.states.get(number)
    if number_state is None or number_state.verdict in ("open", "pause_proactive"):
        return None
    until = _seconds(number_state.until)
    if number_state.verdict == "halted":
        return Wait("number_halted", None)
    return Wait("number_paused", until) if until is None or until > now else None


def _is_shunned(state: LaneState, message: Message, number: str) -> bool:
    """Whether the number's endpoint has failed for so long that messages with another way take that one; but for one
    message at a time, by which it is found out that it works again."""
    lane = state.numbers.get(number)
    if lane is None or lane.trips < RESTING_TRIPS or message.placed == number:
        return False
    return not lane.idle or state.tally(number, "attempting") > 0


def token_used_up(state: LaneState, facts: NumberFacts) -> bool:
    """Whether Meta refused the number's present token so often that only another one is tried again."""
    failures, token = state.auth_failures.get(facts.phone_number_id, (0, ""))
    return failures >= AUTH_FAILURES_ALLOWED and token == facts.token


def calls_allowed(state: LaneState, facts: NumberFacts) -> int:
    """Calls of a number that may be under way at once: one while its breaker is half-open."""
    lane = state.numbers.get(facts.phone_number_id)
    return 1 if lane is not None and lane.trips else facts.capacity


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _earlier(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)
