"""By which number, in which form, when? The router's decision: an ordered plan, which a lane works off (RTW-1, RTW-3).

`plan` looks at facts that can be kept (no phone number, no text), and is a function of them, the policy and the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import Field

from harkara.contracts.event import Decision, Reason, Value
from harkara.contracts.intents import Candidate, Category, ClearedIntent, Content, Form, Template
from harkara.contracts.numbers import NumberState, Quality, QueueState, Verdict
from harkara.contracts.template_state import TemplateState
from harkara.policy.clearance import country_of
from harkara.policy.governance import Governance, Number, Profile, accounts_of
from harkara.policy.hours import zones_for
from harkara.policy.language import in_order, offered, spoken_in, wordings
from harkara.policy.opening import Opening, opening
from harkara.policy.stickiness import messages_per_minute, sticky_order
from harkara.policy.templates import (
    REFUSED,
    UNKNOWN_BUT_ALLOWED,
    TemplateFact,
    Wording,
    facts_about,
    with_backups,
    wording,
)
from harkara.policy.wordings import Repeat, Wordings, refusal_of, repeat_in

WINDOW = timedelta(hours=24)  # Meta's customer service window, from the person's last message to the number
LONG_QUEUE_MINUTES = 10.0  # beyond it a person's own number is no longer worth waiting for
SCARCE_SHARE = 0.1  # of a day's limit: what is left then is for the number's own persons
MOST_TOLD = 10  # candidates that a decision's record names; a plan of more is shown by its first
_QUALITY_RANK: dict[Quality, int] = {"GREEN": 0, "UNKNOWN": 1, "YELLOW": 2, "RED": 3}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of the home's numbers: when the person last wrote to each, what each may do now, how each queue
    stands. `templates`: what is known of each template, by its key; `wordings`: what their texts say, None: nothing."""

    last_inbound_at: Mapping[str, datetime]
    states: Mapping[str, NumberState]
    queues: Mapping[str, QueueState] = field(default_factory=dict)
    templates: Mapping[str, TemplateState] = field(default_factory=dict)
    wordings: Wordings | None = None


class Condition(Value):
    """What a plan looks at of one number: Meta's and our word on it, and its capacity. `waiting`: messages in its
    queue; `daily_left`: calls that its limit of a day still lets through, None: it has none."""

    verdict: Verdict = "open"
    until: datetime | None = None
    quality: Quality = "UNKNOWN"
    waiting: int = 0
    daily_left: int | None = None
    daily_limit: int | None = None


class Facts(Value):
    """What the plan of one message is made of. `zones`: where its recipient may live, whether the hour matters or not
    (None: of before that was kept), and not as the intent says where it says none that there is (`unknown_zone`);
    `answers`: it confirms a command of theirs; `free_form`: its content is no template; `template`: there is one to
    send; `near`: of a pool of several countries the numbers of the recipient's. `template_name` and `languages`: which
    template, in which languages, the best first; `offered`, where there are several: in which, its own first; `asked`:
    the person's. `templates`: what is known of it, by account and language. `repeats`: a template's wording in its
    texts that may not go so. `numbers`: each of the home's.
    """

    home: str
    person_key: str
    sender: str
    category: Category
    free_form: bool = False
    template: bool = False
    template_name: str = ""
    languages: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    asked: str | None = None
    templates: dict[str, dict[str, TemplateFact]] = Field(default_factory=dict)
    repeats: Repeat | None = None
    near: tuple[str, ...] = ()
    zones: tuple[str, ...] | None = None
    unknown_zone: bool = False
    answers: bool = False
    send_window: str | None = None
    not_before: datetime | None = None
    expires_at: datetime
    last_inbound_at: dict[str, datetime] = Field(default_factory=dict)
    numbers: dict[str, Condition | None] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan of at least one candidate; `session` and `template` are the contents that its candidates need."""

    plan: tuple[Candidate, ...]
    session: Content | None
    template: Template | None
    opening: Opening | None = None
    facts: Facts | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class NoRoute:
    """No number may send this message in any form."""

    reason: Reason
    facts: Facts | None = field(default=None, compare=False, repr=False)


class Choice(NamedTuple):
    """The candidates in the order to try them, and when; and the language of the template, where one may go."""

    candidates: tuple[Candidate, ...]
    opening: Opening
    language: str | None = None


def plan(cleared: ClearedIntent, governance: Governance, around: Surroundings, now: datetime) -> Planned | NoRoute:
    """The plan of a cleared intent, or why there is none."""
    wanted = _wordings(cleared, governance)
    facts = facts_of(cleared, governance, around, wanted)
    choice = choose(facts, governance, now)
    if isinstance(choice, Reason):
        return NoRoute(choice, facts)
    template = with_backups(choice.language, wanted, facts.templates, facts.category, governance.templates)
    in_session = any(candidate.form == "session" for candidate in choice.candidates)
    session = cleared.intent.content if in_session else None
    return Planned(choice.candidates, session, template, choice.opening, facts)


def _wordings(cleared: ClearedIntent, governance: Governance) -> tuple[Template, ...]:
    """In the languages in which it may go; none: there is no template."""
    given = _template_of(cleared)
    return () if given is None else wordings(given, cleared.intent.language, governance.routing.language_fallback)


def _template_of(cleared: ClearedIntent) -> Template | None:
    intent = cleared.intent
    return intent.content if isinstance(intent.content, Template) else intent.fallback_template


def facts_of(cleared: ClearedIntent, governance: Governance, around: Surroundings, wanted: Sequence[Template]) -> Facts:
    """What there is to know of a cleared intent and the numbers at its home. `wanted`: its template by language."""
    intent, given = cleared.intent, _template_of(cleared)
    there = () if given is None or not given.variants else offered(given)
    spoken = [spoken_in(given, each) for each in there] if given is not None and there else wanted
    numbers = governance.numbers_of(cleared.home)
    ids = [number.phone_number_id for number in numbers]
    zones, unknown_zone = zones_for(intent.time_zone, intent.recipient)
    return Facts.built(  # every value is of its type already
        home=cleared.home,
        person_key=cleared.person_key,
        sender=intent.sender,
        category=intent.category,
        free_form=not isinstance(intent.content, Template),
        template=bool(wanted),
        template_name=wanted[0].name if wanted else "",
        languages=tuple(each.language for each in wanted),
        offered=there,
        asked=intent.language if there else None,
        templates=facts_about(spoken, accounts_of(numbers), around.templates) if spoken and around.templates else {},
        repeats=None if around.wordings is None else _repeated(cleared, around.wordings, governance),
        near=_near(intent.recipient, numbers),
        zones=zones,
        unknown_zone=unknown_zone,
        answers=cleared.answers is not None,
        send_window=intent.send_window,
        not_before=intent.not_before,
        expires_at=cleared.expires_at,
        last_inbound_at={pnid: around.last_inbound_at[pnid] for pnid in ids if pnid in around.last_inbound_at},
        numbers={pnid: _condition(around.states.get(pnid), around.queues.get(pnid)) for pnid in ids},
    )


def _repeated(cleared: ClearedIntent, wordings: Wordings, governance: Governance) -> Repeat | None:
    """Of all that the intent may become, whichever of it goes. The confirmation of a person's command is the policy's
    own text and goes in any case (CMP-5)."""
    intent = cleared.intent
    parts = (("content", intent.content), ("fallback_template", intent.fallback_template))
    common = governance.compliance.common_texts
    return None if cleared.answers is not None else repeat_in(parts, wordings, intent.category, common)


def choose(facts: Facts, governance: Governance, now: datetime) -> Choice | Reason:
    """The candidates in the order to try them, or why there is none: a function of its arguments.

    Numbers that may send the form come before paused ones, those before halted ones; then session before template
    (it is free of charge); then the number that the intent names; then those with capacity left; then the person's own
    number, unless it is poorly rated or far behind; then by capacity, quality, country, and the person's sticky order.
    A number named inside a pool is preferred, not required: the numbers of a pool are interchangeable.
    """
    numbers = governance.numbers_of(facts.home)
    if not numbers:
        return _stamped(governance, "unknown_home", "The home has no numbers in governance.yaml.", "pools")
    if facts.repeats is not None:
        return refusal_of(facts.repeats, facts.category).model_copy(update={"policy_version": governance.version})
    opened = _opened(facts, governance, max(now, facts.not_before or now))
    if isinstance(opened, Reason):
        return opened.model_copy(update={"policy_version": governance.version})
    worded = _worded(facts, governance, numbers)
    standings = worded.standings if isinstance(worded, Wording) else {}
    ranked = []
    for place, number in enumerate(sticky_order(facts.person_key, numbers, governance, facts.near)):
        pnid = number.phone_number_id
        condition = facts.numbers.get(pnid) or _UNKNOWN
        capacity = _capacity(condition, governance.profile_of(number), opened.due, facts.expires_at)
        template = standings[number.waba_id].rank if number.waba_id in standings else REFUSED
        for form, until in _forms(facts, pnid, governance, opened.due, template):
            standing = health(condition, form, now)
            order = (standing, form != "session", template, pnid != facts.sender, *_worth(place, condition, capacity))
            why = _why(standing, form, pnid == facts.sender, place, condition, capacity)
            why += (_TEMPLATE_NOTES[template] if form == "template" else "") + _ZONE_NOTES[facts.unknown_zone]
            ranked.append((order, Candidate.built(phone_number_id=pnid, form=form, valid_until=until, reason=why)))
    if not ranked and isinstance(worded, Reason):
        return worded.model_copy(update={"policy_version": governance.version})
    if not ranked:
        return _window_closed(governance, facts)
    language = worded.language if isinstance(worded, Wording) else None
    return Choice(tuple(candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0])), opened, language)


def _opened(facts: Facts, governance: Governance, earliest: datetime) -> Opening | Reason:
    """Its hours. Who wrote a command is awake and waits for the answer: that goes at any hour (CMP-5)."""
    if facts.answers:
        return Opening(earliest)
    zones, unknown = facts.zones or (), facts.unknown_zone
    return opening(facts.category, zones, facts.send_window, earliest, facts.expires_at, governance, unknown)


def _worded(facts: Facts, governance: Governance, numbers: Sequence[Number]) -> Wording | Reason | None:
    """In which language the template goes, why it may not, or None where there is none. Decisions of before templates
    were known name no languages: nothing speaks against those."""
    if not facts.template:
        return None
    accounts, chains = accounts_of(numbers), governance.routing.language_fallback
    languages = in_order(facts.offered, facts.asked, chains) if facts.offered else facts.languages
    if not languages:
        return Wording(None, dict.fromkeys(accounts, UNKNOWN_BUT_ALLOWED))
    return wording(facts.template_name, languages, accounts, facts.templates, facts.category, governance.templates)


def decision_of(outcome: Planned | NoRoute, policy_version: str, now: datetime) -> Decision | None:
    """What is kept of a plan, so that it can be explained; None for one that was made of nothing."""
    if outcome.facts is None:
        return None
    inputs = outcome.facts.model_dump(mode="json", exclude_defaults=True)
    choice: Choice | Reason
    if isinstance(outcome, NoRoute):
        choice = outcome.reason
    else:
        language = None if outcome.template is None else outcome.template.language
        choice = Choice(outcome.plan, outcome.opening or Opening(now), language)
    return Decision.built(
        step="routing", policy_version=policy_version, at=now, inputs=inputs, verdict=verdict_of(choice)
    )


def verdict_of(choice: Choice | Reason) -> dict[str, Any]:
    """A choice in a form that can be kept and compared."""
    if isinstance(choice, Reason):
        return {"outcome": "rejected", "code": choice.code, "rule": choice.rule or ""}
    told = [each.model_dump(mode="json", exclude_none=True) for each in choice.candidates[:MOST_TOLD]]
    hours = [each.model_dump(mode="json") for each in choice.opening.hours]
    verdict: dict[str, Any] = {"outcome": "routed", "plan": told, "due": choice.opening.due.isoformat()}
    more = {"candidates": len(choice.candidates)} if len(choice.candidates) > MOST_TOLD else {}
    language = {"language": choice.language} if choice.language else {}
    exception = {"exception": choice.opening.exception} if choice.opening.exception else {}
    return verdict | ({"hours": hours} if hours else {}) | language | more | exception


def window_end(last_inbound_at: datetime | None, governance: Governance) -> datetime | None:
    """When free-form messages must have left: 24 h after the person's last message, less the margin (RTW-2)."""
    if last_inbound_at is None:
        return None
    return last_inbound_at + WINDOW - timedelta(minutes=governance.routing.window_margin_minutes)


_UNKNOWN = Condition()
_TEMPLATE_NOTES = ("", "; of the template nothing is known", "; the template is paused", "")
"""By its standing's rank."""
_ZONE_NOTES = ("", "; there is no time zone of the name given")
_country = lru_cache(maxsize=10_000)(country_of)
"""Of our own numbers."""


def _near(recipient: str, numbers: Sequence[Number]) -> tuple[str, ...]:
    countries = {number.phone_number_id: _country(number.display_phone_number) for number in numbers}
    if len(set(countries.values())) < 2:
        return ()
    own = country_of(recipient)
    return tuple(pnid for pnid, country in countries.items() if country == own)


def _condition(state: NumberState | None, queue: QueueState | None) -> Condition | None:
    if state is None and queue is None:
        return None
    left = None if queue is None or queue.daily_limit is None else max(0, queue.daily_limit - queue.daily_used)
    return Condition.built(
        verdict="open" if state is None else state.verdict,
        until=None if state is None else state.until,
        quality="UNKNOWN" if state is None else state.quality,
        waiting=0 if queue is None else queue.queued,
        daily_left=left,
        daily_limit=None if queue is None else queue.daily_limit,
    )


def _forms(
    facts: Facts, pnid: str, governance: Governance, due: datetime, template: int
) -> list[tuple[Form, datetime | None]]:
    forms: list[tuple[Form, datetime | None]] = []
    if facts.free_form:
        until = window_end(facts.last_inbound_at.get(pnid), governance)
        if until is not None and until > due:
            forms.append(("session", until))
    if facts.template and template != REFUSED:
        forms.append(("template", None))
    return forms


class Capacity(NamedTuple):
    """0 enough, 1 scarce, 2 none within the message's life; and how long its queue takes, in minutes."""

    rank: int
    minutes: float


def _capacity(condition: Condition, profile: Profile, due: datetime, expires_at: datetime) -> Capacity:
    minutes = condition.waiting / messages_per_minute(profile)
    if condition.daily_left == 0 or due + timedelta(minutes=minutes) >= expires_at:
        return Capacity(2, minutes)
    scarce = condition.daily_left is not None and condition.daily_left < SCARCE_SHARE * (condition.daily_limit or 0)
    return Capacity(1 if scarce or minutes > LONG_QUEUE_MINUTES else 0, minutes)


def _worth(place: int, condition: Condition, capacity: Capacity) -> tuple[bool, bool, int, int, int]:
    """Capacity at all, the person's own number, capacity left, quality; the sticky order holds the countries."""
    own = place == 0 and condition.quality != "RED" and capacity.minutes <= LONG_QUEUE_MINUTES
    return capacity.rank == 2, not own, capacity.rank, _QUALITY_RANK[condition.quality], place


def health(condition: Condition, form: Form, now: datetime) -> int:
    """0 may send this form now, 1 paused, 2 halted. A number of which nothing is known is taken as open."""
    if condition.verdict == "open":
        return 0
    if condition.verdict == "halted":
        return 2
    if condition.verdict == "pause_proactive":
        return 0 if form == "session" else 1
    return 0 if condition.until is not None and condition.until <= now else 1


def _why(health: int, form: Form, named: bool, place: int, condition: Condition, capacity: Capacity) -> str:
    window = "customer service window open" if form == "session" else "by template"
    choice = "named by the intent" if named else "the person's number" if place == 0 else "another number of the pool"
    notes = [window, choice]
    if condition.quality in ("YELLOW", "RED"):
        notes.append(f"quality {condition.quality}")
    if capacity.rank and condition.daily_left is not None:
        notes.append(f"{condition.daily_left} of {condition.daily_limit} left today")
    if capacity.rank and capacity.minutes > LONG_QUEUE_MINUTES:
        notes.append(f"a queue of {capacity.minutes:.0f} minutes")
    return "; ".join(notes) + ("", "; paused", "; halted")[health]


def _window_closed(governance: Governance, facts: Facts) -> Reason:
    text = (
        "The person has not written to the sender in the last 24 hours, so only a template may go, and there is none."
        if not facts.last_inbound_at
        else "The customer service window is closed, or closes before the message is due, and there is no template."
    )
    return _stamped(governance, "window_closed", text, "routing.window_margin_minutes")


def _stamped(governance: Governance, code: str, text: str, rule: str) -> Reason:
    return Reason(code=code, text=text, rule=rule, policy_version=governance.version)
