"""Which way a message may go now: its plan against cancels, consent, deadline, holds and the numbers' states.

Asked three times: when a message is placed in a number's queue, when its attempt is journaled, and in the instant
before the call (the last gate). Pure; times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

from harkara.contracts.consent import ConsentState
from harkara.contracts.numbers import NumberState
from harkara.dispatcher.journal import instant
from harkara.dispatcher.pacing import Limits
from harkara.dispatcher.state import Candidate, LaneState, Message

PATIENCE_SECONDS = 5.0
"""A number that pauses no longer than this keeps its queue: moving it would cost more records than it saves time."""


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """What governance says of a number. `capacity`: calls under way at once; `tokens`: numbers with the same one halt
    together; `usable`: it has a token."""

    phone_number_id: str
    home: str
    waba_id: str
    limits: Limits
    capacity: int = 20
    tokens: str = ""
    usable: bool = True


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """The dispatch part of governance.yaml."""

    in_doubt_timeout_seconds: Mapping[str, float]
    max_attempts: int = 3
    number_pause_seconds: float = 1800.0
    request_timeout_seconds: float = 10.0
    lease_seconds: float = 2.0
    version: str = ""


@dataclass(slots=True)
class Surroundings:
    """What a lane sees of the world: governance, the replicas of number states and of refusals of consent."""

    fleet: Mapping[str, NumberFacts]
    policy: DispatchPolicy
    states: Mapping[str, NumberState] = field(default_factory=dict)
    denials: Mapping[str, ConsentState] = field(default_factory=dict)


class Go(NamedTuple):
    """This way is open."""

    candidate: Candidate


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
    """The first healthy candidate, or why there is none."""
    ended = over(state, around, message, now)
    if ended is not None:
        return ended
    waits: list[Wait] = []
    for candidate in message.plan:
        if candidate.valid_until is not None and now >= candidate.valid_until:
            continue
        if message.template_only and candidate.form == "session":
            continue
        obstacle = obstacle_of(state, around, message, candidate, now, PATIENCE_SECONDS)
        if obstacle is None:
            return Go(candidate)
        waits.append(Wait(obstacle.reason, _earlier(obstacle.until, candidate.valid_until)))
    if not waits:
        return Over("failed_unsent", "window_closed" if message.plan else "no_route")
    until = None
    for wait in waits:
        until = _earlier(until, wait.until)
    return Wait(waits[0].reason, until)


def over(state: LaneState, around: Surroundings, message: Message, now: float) -> Over | None:
    """Whether the message may not go by any way: cancelled, refused by its recipient, too late."""
    if state.cancels and is_cancelled(state, message):
        return Over("cancelled", "cancelled")
    denial = around.denials.get(message.person_key)
    if denial is not None:
        standing = denial.denies("marketing" if message.marketing else "transactional", instant(now))
        if standing is not None:
            return Over("cancelled", f"consent_{standing}")
    if now >= message.expires_at:
        return Over("expired", "expired")
    return None


def is_cancelled(state: LaneState, message: Message) -> bool:
    """Whether a cancel command names the message, its run or its recipient and is not older than the intent."""
    targets = (
        ("cancel_message", message.message_id),
        ("cancel_run", message.run_id or ""),
        ("cancel_recipient", message.person_key),
    )
    return any(state.cancels.get(target, 0.0) >= message.received_at for target in targets)


def last_gate(state: LaneState, around: Surroundings, message: Message, now: float) -> str | None:
    """Why the journaled attempt may not be called after all, or None. Asked with a connection at hand."""
    ended = over(state, around, message, now)
    if ended is not None:
        return ended.reason
    for candidate in message.plan:
        if candidate.number == message.number and candidate.form == message.form:
            if candidate.valid_until is not None and now >= candidate.valid_until:
                return "window_closed"
            obstacle = obstacle_of(state, around, message, candidate, now, 0.0)
            return None if obstacle is None else obstacle.reason
    return "no_route"


def obstacle_of(
    state: LaneState, around: Surroundings, message: Message, candidate: Candidate, now: float, patience: float
) -> Wait | None:
    """What stands in this candidate's way, or None. A number's short pause is none for `patience` seconds."""
    facts = around.fleet.get(candidate.number)
    if facts is not None and facts.home != message.home:
        return Wait("number_of_another_home", None)  # its own lane has it: two lanes would share its pace
    in_general = number_obstacle(state, around, candidate.number, now)
    if in_general is not None and (in_general.until is None or in_general.until > now + patience):
        return in_general
    pair = state.holds.get(("pair", f"{candidate.number}/{message.person_key}"))
    if pair is not None and (pair.until is None or pair.until > now):
        return Wait(pair.reason, pair.until)
    if candidate.form == "session":
        return None
    number_state = around.states.get(candidate.number)
    if number_state is not None and number_state.verdict == "pause_proactive":
        until = _seconds(number_state.until)
        if until is None or until > now:
            return Wait("number_pause_proactive", until)
    template = state.holds.get(("template", message.template_key or ""))
    if template is not None and (template.until is None or template.until > now):
        return Wait(template.reason, template.until)
    return None


def number_obstacle(state: LaneState, around: Surroundings, number: str, now: float) -> Wait | None:
    """Why the number may send nothing at all now, or None. No state on the topic: nothing speaks against it."""
    facts = around.fleet.get(number)
    if facts is None:
        return Wait("number_not_configured", None)
    if not facts.usable:
        return Wait("number_without_token", None)
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


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _earlier(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)
