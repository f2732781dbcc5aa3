"""By which number and in which form? The router's decision: an ordered plan, which a lane works off (RTW-1, RTW-3)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from harkara.contracts.event import Reason
from harkara.contracts.intents import Candidate, ClearedIntent, Content, Form, Template
from harkara.contracts.numbers import NumberState
from harkara.policy.governance import Governance, Number, Profile

WINDOW = timedelta(hours=24)  # Meta's customer service window, from the person's last message to the number


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of the home's numbers: when the person last wrote to each, and what each may do now."""

    last_inbound_at: Mapping[str, datetime]
    states: Mapping[str, NumberState]


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan of at least one candidate; `session` and `template` are the contents that its candidates need."""

    plan: tuple[Candidate, ...]
    session: Content | None
    template: Template | None


@dataclass(frozen=True, slots=True)
class NoRoute:
    """No number may send this message in any form."""

    reason: Reason


def plan(cleared: ClearedIntent, governance: Governance, around: Surroundings, now: datetime) -> Planned | NoRoute:
    """The candidates in the order to try them.

    Numbers that may send the form come before paused ones, those before halted ones; then session before template
    (it is free of charge); then the number that the intent names, then the person's sticky order. A number named
    inside a pool is preferred, not required: the numbers of a pool are interchangeable.
    """
    intent = cleared.intent
    numbers = governance.numbers_of(cleared.home)
    if not numbers:
        return NoRoute(_reason(governance, "unknown_home", "The home has no numbers in governance.yaml.", "pools"))
    template = intent.content if isinstance(intent.content, Template) else intent.fallback_template
    ranked: list[tuple[tuple[int, int, int, int], Candidate]] = []
    for place, number in enumerate(sticky_order(cleared.person_key, numbers, governance)):
        pnid = number.phone_number_id
        forms: list[tuple[Form, datetime | None]] = []
        if not isinstance(intent.content, Template):
            until = window_end(around.last_inbound_at.get(pnid), governance)
            if until is not None and until > max(now, intent.not_before or now):
                forms.append(("session", until))
        if template is not None:
            forms.append(("template", None))
        for form, until in forms:
            health = _health(around.states.get(pnid), form, now)
            named = pnid == intent.sender
            order = (health, 0 if form == "session" else 1, 0 if named else 1, place)
            reason = _why(health, form, named, place)
            ranked.append((order, Candidate(phone_number_id=pnid, form=form, valid_until=until, reason=reason)))
    if not ranked:
        return NoRoute(_window_closed(governance, around))
    candidates = tuple(candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0]))
    in_session = any(candidate.form == "session" for candidate in candidates)
    return Planned(plan=candidates, session=intent.content if in_session else None, template=template)


def window_end(last_inbound_at: datetime | None, governance: Governance) -> datetime | None:
    """When free-form messages must have left: 24 h after the person's last message, less the margin (RTW-2)."""
    if last_inbound_at is None:
        return None
    return last_inbound_at + WINDOW - timedelta(minutes=governance.routing.window_margin_minutes)


def sticky_order(person_key: str, numbers: Sequence[Number], governance: Governance) -> list[Number]:
    """Weighted rendezvous hashing: a person keeps their number, and a number that comes or goes moves only its own.

    Numbers get persons in proportion to how fast their profile lets them send.
    """
    if len(numbers) == 1:
        return list(numbers)
    return sorted(numbers, key=lambda number: -_score(person_key, number, governance.profile_of(number)))


def _score(person_key: str, number: Number, profile: Profile) -> float:
    digest = hashlib.sha256(f"{person_key}\x1f{number.phone_number_id}".encode()).digest()
    share = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 2)  # strictly between 0 and 1
    return -messages_per_minute(profile) / math.log(share)


def messages_per_minute(profile: Profile) -> float:
    """How many messages a profile lets through in a minute in the long run."""
    rates = [profile.per_second * 60.0]
    per_window = ((profile.per_minute, 1), (profile.per_hour, 60), (profile.per_day, 1440))
    rates += [limit / minutes for limit, minutes in per_window if limit is not None]
    gap_ms = profile.base_delay_ms + profile.max_jitter_ms / 2
    if gap_ms > 0:
        rates.append(60_000 / gap_ms)
    return min(rates)


def _health(state: NumberState | None, form: Form, now: datetime) -> int:
    """0 may send this form now, 1 paused, 2 halted. A number of which nothing is known is taken as open."""
    if state is None or state.verdict == "open":
        return 0
    if state.verdict == "halted":
        return 2
    if state.verdict == "pause_proactive":
        return 0 if form == "session" else 1
    return 0 if state.until is not None and state.until <= now else 1


def _why(health: int, form: Form, named: bool, place: int) -> str:
    window = "customer service window open" if form == "session" else "by template"
    choice = "named by the intent" if named else "the person's number" if place == 0 else "another number of the pool"
    return f"{window}; {choice}" + ("", "; paused", "; halted")[health]


def _window_closed(governance: Governance, around: Surroundings) -> Reason:
    text = (
        "The person has not written to the sender in the last 24 hours, so only a template may go, and there is none."
        if not around.last_inbound_at
        else "The customer service window is closed, or closes before the message is due, and there is no template."
    )
    return _reason(governance, "window_closed", text, "routing.window_margin_minutes")


def _reason(governance: Governance, code: str, text: str, rule: str) -> Reason:
    return Reason(code=code, text=text, rule=rule, policy_version=governance.version)
