"""May this message be sent at all? The guard's decision (CMP-7), the same wherever it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import phonenumbers

from harkara.contracts.consent import ConsentState, Purpose, Standing
from harkara.contracts.event import Decision, Reason, Value
from harkara.contracts.intents import Category, SendIntent
from harkara.policy.content import APPROVAL_KEY, content_problem, names_adviser
from harkara.policy.governance import Governance


@dataclass(frozen=True, slots=True)
class Word:
    """What a person last said for one purpose; `until` is the end of a pause, `then` what holds after it."""

    standing: Standing
    until: datetime | None = None
    then: Standing | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """An intent, when its record was written, for whom, and what that person said for its purpose (None: nothing).

    `answers`: it confirms a command that the person wrote then, and only the guard asks so. Whoever stopped or paused
    is told that it was heard (CMP-5); whoever is blocked is told nothing. `also_key`: the person's other name, where
    the intent gives two; `names`: all other names that are known of them (B17).
    """

    intent: SendIntent
    recorded_at: datetime
    person_key: str
    word: Word | None
    answers: datetime | None = None
    also_key: str | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cleared:
    """It may go: by which home, until when, under which policy."""

    home: str
    expires_at: datetime
    policy_version: str
    facts: Facts | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rejected:
    """It must not go. `home` is the sender's text where the sender is unknown, so that the refusal has a partition."""

    home: str
    reason: Reason
    facts: Facts | None = field(default=None, compare=False, repr=False)


def purpose_of(intent: SendIntent) -> Purpose:
    """The purpose whose consent is asked for."""
    return "marketing" if intent.marketing else "transactional"


def word_of(state: ConsentState | None, purpose: Purpose) -> Word | None:
    """The person's word for a purpose, out of the whole state."""
    said = None if state is None else state.marketing if purpose == "marketing" else state.transactional
    if state is None or said is None:
        return None
    opted = state.words(purpose).opted() if said.standing == "paused" else None
    return Word(said.standing, said.until, None if opted is None else opted.standing)


_STRICTNESS: dict[Standing, int] = {"opted_in": 0, "paused": 1, "opted_out": 2, "erased": 3, "blocked": 4}


def restricted(word: Word | None, other: Word | None) -> Word | None:
    """What holds of a person by the word under the name that is written to and by the one under another name that only
    the intent says is theirs: the stricter of the two. An opt-in under that other name permits nothing, nor does its
    pause when it has ended: a producer's word makes nobody's consent another's.
    """
    if other is None or other.standing == "opted_in":
        return word
    if word is not None and _STRICTNESS[word.standing] > _STRICTNESS[other.standing]:
        return word
    if other.standing != "paused":
        return other
    then = other.then if other.then in ("opted_out", "blocked") else None if word is None else word.standing
    if word is None or word.standing == "opted_in":
        return Word("paused", other.until, then)
    longest = None if word.until is None or other.until is None else max(word.until, other.until)
    return Word("paused", longest, then if then in ("opted_out", "blocked") else word.then)


class Facts(Value):
    """What the rules look at, and nothing that names a person or quotes a text: so that it can be kept, and the same
    verdict be reached again. `content` is what is wrong with the content; `country` is empty for a number of none;
    `names`: the person's other names, with a space between; `identified` (whether the adviser is named) is known where
    the policy asks for it. What is there whether the policy asks or not is for other policies to be tried on; None: it
    was decided before that was kept. `listed_as`, of then: the person's other name that was on the do-not-message list.
    """

    sender: str
    person_key: str
    names: str | None = None
    listed_as: str | None = None
    category: Category
    word: Word | None = None
    answers: bool = False
    recorded_at: datetime
    expires_at: datetime
    not_before: datetime | None = None
    country: str | None = None
    content: Reason | None = None
    approval: str | None = None
    identified: bool | None = None
    send_window: str | None = None

    @property
    def purpose(self) -> Purpose:
        """The purpose whose consent is asked for."""
        return "marketing" if self.category == "marketing" else "transactional"


def facts_of(question: Question, governance: Governance) -> Facts:
    """What there is to know of a question."""
    intent, adviser = question.intent, governance.compliance.advisor_identification
    return Facts.built(  # every value is of its type already; checking them again would take 20 us a message
        sender=intent.sender,
        person_key=question.person_key,
        names=" ".join(question.names),
        category=intent.category,
        word=question.word,
        answers=question.answers is not None,
        recorded_at=question.recorded_at,
        expires_at=intent.resolved_expiry(question.recorded_at),
        not_before=intent.not_before,
        country=country_of(intent.recipient) or "",
        content=content_problem(intent),
        approval=intent.metadata.get(APPROVAL_KEY),
        identified=None if adviser is None else names_adviser(intent, adviser),
        send_window=intent.send_window,
    )


def decide(question: Question, governance: Governance, now: datetime) -> Cleared | Rejected:
    """Apply the rules in their order; the first that refuses gives the reason. Never raises for a valid intent."""
    return judge(facts_of(question, governance), governance, now)


def judge(facts: Facts, governance: Governance, now: datetime) -> Cleared | Rejected:
    """The verdict on these facts: a function of its arguments, so that it can be asked again."""
    home = governance.home_of(facts.sender)
    for rule in RULES:
        reason = rule(facts, governance, now)
        if reason is not None:
            stamped = reason.model_copy(update={"policy_version": governance.version})
            return Rejected(home=home or facts.sender, reason=stamped, facts=facts)
    assert home is not None, "an unknown sender is refused by the first rule"
    return Cleared(home=home, expires_at=facts.expires_at, policy_version=governance.version, facts=facts)


def inputs_of(verdict: Cleared | Rejected, policy_version: str, now: datetime) -> Decision | None:
    """What is kept of a verdict, so that it can be explained; None for one that was made of nothing."""
    if verdict.facts is None:
        return None
    inputs = verdict.facts.model_dump(mode="json", exclude_defaults=True)
    return Decision.built(
        step="clearance", policy_version=policy_version, at=now, inputs=inputs, verdict=verdict_of(verdict)
    )


def verdict_of(verdict: Cleared | Rejected) -> dict[str, Any]:
    """A verdict in a form that can be kept and compared."""
    if isinstance(verdict, Rejected):
        return {"outcome": "rejected", "code": verdict.reason.code, "rule": verdict.reason.rule or ""}
    return {"outcome": "cleared", "home": verdict.home, "expires_at": verdict.expires_at.isoformat()}


def _sender_known(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    if governance.home_of(facts.sender) is not None:
        return None
    text = "The sender is neither a pool nor a phone_number_id of governance.yaml."
    return Reason(code="unknown_sender", text=text, rule="numbers", details={"sender": facts.sender})


def _not_blocked_by_us(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    listed = governance.do_not_message
    if not listed or listed.isdisjoint((facts.person_key, facts.listed_as, *(facts.names or "").split())):
        return None
    text = "The person is on the do-not-message list."
    return Reason(code="do_not_message", text=text, rule="compliance.do_not_message")


def _consent(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    """A pause ends by itself, and what held before it holds again. A confirmation asks for no more than that the
    person is not blocked."""
    purpose, word = facts.purpose, in_force(facts.word, now)
    standing = None if word is None else word.standing
    details = {"purpose": purpose}
    if standing == "blocked":
        text = f"The person is blocked from {purpose} messages."
        return Reason(code="blocked", text=text, rule="compliance.consent", details=details)
    if facts.answers:
        return None
    if standing == "erased":
        text = "The person asked to be forgotten; nothing goes to them until they opt in again."
        return Reason(code="erased", text=text, rule="compliance.consent", details=details)
    if standing == "opted_out":
        text = f"The person opted out of {purpose} messages."
        return Reason(code="opted_out", text=text, rule="compliance.consent", details=details)
    if word is not None and standing == "paused":
        until = "until they resume" if word.until is None else f"until {word.until.isoformat()}"
        text = f"The person paused {purpose} messages {until}."
        return Reason(code="paused", text=text, rule="compliance.consent", details=details)
    if standing == "opted_in":
        return None
    text = f"There is no opt-in of the person to {purpose} messages on record."
    if governance.compliance.consent_mode == "explicit":
        return Reason(code="no_opt_in", text=text, rule="compliance.consent_mode", details=details)
    window = governance.routing.send_windows.get(facts.send_window or "")
    if window is not None and window.contract is not None:
        text += " The send window's contract asks for one."
        return Reason(code="no_opt_in", text=text, rule=_window_rule(facts), details=details)
    return None


def in_force(word: Word | None, now: datetime) -> Word | None:
    """The word that holds at `now`: after a pause's end what was said besides it, if anything was."""
    if word is None or word.standing != "paused" or word.until is None or word.until > now:
        return word
    return None if word.then is None else Word(word.then)


def _in_time(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    if facts.expires_at <= now:
        text = f"The message's life had ended at {facts.expires_at.isoformat()}, before it was decided on."
        return Reason(code="expired_already", text=text, rule="expires_at")
    if facts.not_before is not None and facts.not_before >= facts.expires_at:
        text = f"The message is not due before {facts.not_before.isoformat()}, when its life has ended."
        return Reason(code="never_due", text=text, rule="not_before")
    return None


def _country(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    allowed = governance.compliance.allowed_countries
    if not allowed or facts.country in allowed:
        return None
    text = f"Messages to {facts.country or 'a number of no country'} are not allowed."
    return Reason(code="country_not_allowed", text=text, rule="compliance.allowed_countries")


def _category(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    allowed = governance.compliance.allowed_categories
    if not allowed or facts.category in allowed or facts.answers:
        return None
    text = f"Messages of the category {facts.category} are not allowed."
    return Reason(code="category_not_allowed", text=text, rule="compliance.allowed_categories")


def _window(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    if facts.send_window is None:
        return None
    window = governance.routing.send_windows.get(facts.send_window)
    if window is None:
        text = f"There is no send window {facts.send_window!r} in governance.yaml."
        return Reason(code="send_window_unknown", text=text, rule="routing.send_windows")
    if facts.category not in window.categories:
        text = f"The send window {facts.send_window!r} is not for messages of the category {facts.category}."
        return Reason(code="send_window_not_for_category", text=text, rule=_window_rule(facts))
    return None


def _window_rule(facts: Facts) -> str:
    return f"routing.send_windows.{facts.send_window}"


def _content(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    return facts.content


def _approval(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    approval = governance.compliance.content_approval
    if approval is None or facts.category not in approval.categories or facts.answers:
        return None
    if facts.approval in approval.tags:
        return None
    said = "names no approval" if facts.approval is None else "names an approval that does not hold"
    text = f"The message {said} of its content (metadata.{APPROVAL_KEY})."
    return Reason(code="content_not_approved", text=text, rule="compliance.content_approval")


def _adviser(facts: Facts, governance: Governance, now: datetime) -> Reason | None:
    adviser = governance.compliance.advisor_identification
    if adviser is None or facts.category not in adviser.categories or facts.answers or facts.identified:
        return None
    text = "The message does not name the adviser, and its template is none that does."
    return Reason(code="advisor_not_identified", text=text, rule="compliance.advisor_identification")


Rule = Callable[[Facts, Governance, datetime], Reason | None]
RULES: tuple[Rule, ...] = (
    _sender_known, _not_blocked_by_us, _consent, _in_time, _country, _category, _window, _content, _approval, _adviser,
)  # fmt: skip
"""In this order: what concerns the person comes before what concerns the message, so that a refusal tells the worst."""


def country_of(recipient: str) -> str | None:
    """The ISO 3166 code of the country of an E.164 number, or of a user id, which begins with it (Meta); or None."""
    if recipient[2:3] == ".":
        return recipient[:2] if recipient[:2] in phonenumbers.SUPPORTED_REGIONS else None
    if (sole := _sole_country(recipient[1:4])) is not None:
        return sole
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(recipient))
    except phonenumbers.NumberParseException:
        return None


@lru_cache(maxsize=1000)  # there are no more beginnings of three digits
def _sole_country(begins: str) -> str | None:
    """The country of all numbers that begin so, where their calling code is of one country alone: to parse a number for
    it takes 18 us, of the 160 that an intent takes."""
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    regions = next((codes[int(begins[:n])] for n in (1, 2, 3) if begins.isdecimal() and int(begins[:n]) in codes), ())
    return regions[0] if len(regions) == 1 else None
