"""May this message be sent at all? The guard's decision (CMP-7), the same wherever it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import phonenumbers

from harkara.contracts.consent import ConsentState, Purpose, Standing
from harkara.contracts.event import Reason
from harkara.contracts.intents import SendIntent
from harkara.policy.content import content_problem
from harkara.policy.governance import Governance


@dataclass(frozen=True, slots=True)
class Word:
    """What a person last said for one purpose; `until` is the end of a pause."""

    standing: Standing
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """An intent, when its record was written, for whom, and what that person said for its purpose (None: nothing)."""

    intent: SendIntent
    recorded_at: datetime
    person_key: str
    word: Word | None


@dataclass(frozen=True, slots=True)
class Cleared:
    """It may go: by which home, until when, under which policy."""

    home: str
    expires_at: datetime
    policy_version: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """It must not go. `home` is the sender's text where the sender is unknown, so that the refusal has a partition."""

    home: str
    reason: Reason


def purpose_of(intent: SendIntent) -> Purpose:
    """The purpose whose consent is asked for."""
    return "marketing" if intent.marketing else "transactional"


def word_of(state: ConsentState | None, purpose: Purpose) -> Word | None:
    """The person's word for a purpose, out of the whole state."""
    said = None if state is None else state.marketing if purpose == "marketing" else state.transactional
    return None if said is None else Word(said.standing, said.until)


def decide(question: Question, governance: Governance, now: datetime) -> Cleared | Rejected:
    """Apply the rules in their order; the first that refuses gives the reason. Never raises for a valid intent."""
    intent = question.intent
    home = governance.home_of(intent.sender)
    for rule in RULES:
        reason = rule(question, governance, now)
        if reason is not None:
            stamped = reason.model_copy(update={"policy_version": governance.version})
            return Rejected(home=home or intent.sender, reason=stamped)
    assert home is not None, "an unknown sender is refused by the first rule"
    expires_at = intent.resolved_expiry(question.recorded_at)
    return Cleared(home=home, expires_at=expires_at, policy_version=governance.version)


def _sender_known(question: Question, governance: Governance, now: datetime) -> Reason | None:
    if governance.home_of(question.intent.sender) is not None:
        return None
    text = "The sender is neither a pool nor a phone_number_id of governance.yaml."
    return Reason(code="unknown_sender", text=text, rule="numbers", details={"sender": question.intent.sender})


def _not_blocked_by_us(question: Question, governance: Governance, now: datetime) -> Reason | None:
    if question.person_key not in governance.do_not_message:
        return None
    text = "The person is on the do-not-message list."
    return Reason(code="do_not_message", text=text, rule="compliance.do_not_message")


def _consent(question: Question, governance: Governance, now: datetime) -> Reason | None:
    """A pause ends by itself; where opt-in must be explicit, a pause that ended is no opt-in."""
    purpose, word = purpose_of(question.intent), question.word
    details = {"purpose": purpose}
    if word is not None and word.standing in ("opted_out", "blocked"):
        said = "opted out of" if word.standing == "opted_out" else "blocked"
        text = f"The person {said} {purpose} messages."
        return Reason(code=word.standing, text=text, rule="compliance.consent", details=details)
    if word is not None and word.standing == "paused" and (word.until is None or word.until > now):
        until = "until they resume" if word.until is None else f"until {word.until.isoformat()}"
        text = f"The person paused {purpose} messages {until}."
        return Reason(code="paused", text=text, rule="compliance.consent", details=details)
    if governance.compliance.consent_mode == "explicit" and (word is None or word.standing != "opted_in"):
        text = f"There is no opt-in of the person to {purpose} messages on record."
        return Reason(code="no_opt_in", text=text, rule="compliance.consent_mode", details=details)
    return None


def _in_time(question: Question, governance: Governance, now: datetime) -> Reason | None:
    intent = question.intent
    expires_at = intent.resolved_expiry(question.recorded_at)
    if expires_at <= now:
        text = f"The message's life had ended at {expires_at.isoformat()}, before it was decided on."
        return Reason(code="expired_already", text=text, rule="expires_at")
    if intent.not_before is not None and intent.not_before >= expires_at:
        text = f"The message is not due before {intent.not_before.isoformat()}, when its life has ended."
        return Reason(code="never_due", text=text, rule="not_before")
    return None


def _country(question: Question, governance: Governance, now: datetime) -> Reason | None:
    allowed = governance.compliance.allowed_countries
    if not allowed:
        return None
    country = country_of(question.intent.to)
    if country in allowed:
        return None
    text = f"Messages to {country or 'a number of no country'} are not allowed."
    return Reason(code="country_not_allowed", text=text, rule="compliance.allowed_countries")


def _content(question: Question, governance: Governance, now: datetime) -> Reason | None:
    return content_problem(question.intent)


Rule = Callable[[Question, Governance, datetime], Reason | None]
RULES: tuple[Rule, ...] = (_sender_known, _not_blocked_by_us, _consent, _in_time, _country, _content)
"""In this order: what concerns the person comes before what concerns the message, so that a refusal tells the worst."""


def country_of(phone: str) -> str | None:
    """The ISO 3166 code of an E.164 number's country, or None where there is none."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        return None
