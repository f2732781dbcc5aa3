"""What holds a message in its lane, or ends it there: each rule as a function of plain values (times: Unix seconds).

The lane asks these functions; with each hold and each end it keeps what it asked them, a few hundred bytes without a
phone number or a text, so that the decision can be made again (B11). `KINDS` says which facts belong to which rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from harkara.contracts.consent import ConsentState, Purpose, Standing
from harkara.contracts.event import Value
from harkara.contracts.intents import Category, Form
from harkara.contracts.numbers import Verdict as NumberVerdict
from harkara.contracts.template_state import TemplateCategory, TemplateStatus
from harkara.policy.templates import IN_REVIEW, dearer_than_paid_for

GONE: frozenset[TemplateStatus] = frozenset({"DISABLED", "REJECTED", "DELETED", "PENDING_DELETION", "ARCHIVED"})
"""What comes back by somebody's work alone, if at all; LOCKED and LIMIT_EXCEEDED may pass."""
AUTH_FAILURES_ALLOWED = 3
"""Calls that Meta may refuse for one and the same token, an operator's resumes between them (requirement row SEC-4)."""
AWAITED = frozenset({"number_paused", "number_without_token", "number_not_configured"})
"""What passes by itself, or is what a token or a policy that is being replaced looks like for a moment."""


class Obstacle(NamedTuple):
    """Why a way is closed now; `until` None: until something else changes. `final`: it never opens again."""

    reason: str
    until: float | None = None
    final: bool = False


def cancels(said_at: float, received_at: float) -> bool:
    """Whether a cancel command of that time names what was accepted then: it does not reach what comes after it."""
    return said_at >= received_at


def refused(
    denial: ConsentState, purpose: Purpose, *, answers: bool, received_at: float, now: float
) -> Standing | None:
    """What the person's word says against the message. An opt-out cancels what was accepted before it for good, also
    where they opt in again a moment later; a confirmation of their own command is kept back by a block alone."""
    standing = denial.denies(purpose, _at(now))
    if answers:
        return standing if standing == "blocked" else None
    if standing is None and denial.revoked(purpose, _at(received_at)):
        return "opted_out"
    return standing


def expired(expires_at: float, now: float) -> bool:
    """Whether its life is over."""
    return now >= expires_at


def out_of_hours(hours: Iterable[tuple[float, float]], now: float) -> Obstacle | None:
    """Whether the hours (from, up to but not including) in which its recipient may be written to are over, for now or
    for good. There are some."""
    following = next((start for start, end in hours if now < end), None)
    if following is None:
        return Obstacle("no_send_time", None, final=True)
    return Obstacle("quiet_hours", following) if now < following else None


def is_closed(form: Form, valid_until: float | None, now: float, *, template_only: bool) -> bool:
    """Whether a way's time is over, or Meta wants a template and it is none."""
    return (valid_until is not None and now >= valid_until) or (template_only and form == "session")


def lasts(until: float | None, now: float) -> bool:
    """Whether a hold stands; None: no time ends it."""
    return until is None or until > now


def unusable(*, configured: bool, has_token: bool, token_refusals: int) -> str | None:
    """Why a number cannot be called at all. `token_refusals`: how often Meta refused its present token."""
    if not configured:
        return "number_not_configured"
    if not has_token:
        return "number_without_token"
    return "token_refused_thrice" if token_refusals >= AUTH_FAILURES_ALLOWED else None


def number_kept_back(verdict: NumberVerdict, until: float | None, form: Form | None, now: float) -> Obstacle | None:
    """What the number's state says against a call in this form; None: against any call."""
    if verdict == "halted":
        return Obstacle("number_halted")
    if verdict == "paused" and lasts(until, now):
        return Obstacle("number_paused", until)
    if verdict == "pause_proactive" and form == "template" and lasts(until, now):
        return Obstacle("number_pause_proactive", until)
    return None


def template_kept_back(
    status: TemplateStatus,
    paused_until: float | None,
    category: TemplateCategory | None,
    paid_for: Category,
    now: float,
    *,
    fits: bool = True,
) -> Obstacle | None:
    """What stands in a template's way. Where nothing is known, Meta decides. `fits`: it takes the values that the
    message brings, as far as is known.

    A pause that was announced until a time is over then, whether its end has been told or not. A dearer category holds
    whatever the status: nobody agreed to its price, and it asks for another consent.
    """
    if status == "UNKNOWN":
        return None
    if status == "PAUSED":
        if lasts(paused_until, now):
            return Obstacle("template_paused", paused_until)
    elif status in IN_REVIEW:
        return Obstacle("template_in_review")
    elif status != "APPROVED":
        return Obstacle("template_not_approved", final=status in GONE)
    if dearer_than_paid_for(category, paid_for) is not None:
        return Obstacle("template_recategorised")
    return None if fits else Obstacle("template_changed")


def without_place(*, first: bool, in_hand: int | None, hopeful: bool, answered: bool) -> str | None:
    """Why a message to a person who does not count yet has no place of its portfolio. `first`: nobody of its home waits
    before it; `in_hand`: units that its home may spend, None where it never asked for one; `hopeful`: one may come at
    once; `answered`: the ledger knows what was asked for last."""
    if first and (in_hand is None or in_hand > 0 or hopeful):
        return None
    if in_hand is None:
        return "portfolio_limit"
    return "portfolio_limit" if answered else "portfolio_unanswered"


def place_in_time(why: str, free_at: float | None, expires_at: float | None) -> str:
    """The reason `why` of a message without a place; another one where a place is free only when its life is over.
    None: that is not known."""
    if why != "portfolio_limit" or free_at is None or expires_at is None or free_at < expires_at:
        return why
    return "portfolio_limit_too_late"


def gives_up(*, action: str, keeps: bool, spends: bool, reroutes: bool, slows: bool, spent: int, most: int) -> bool:
    """Whether Meta's refusal is the message's end. `action` is the error policy's; `keeps`: the message goes back to
    its place; `spends`: the call counts to the `most` attempts, of which so many are `spent` with it; `reroutes`: it
    goes on as its template; `slows`: it came too fast, which is no matter of the message."""
    if slows or reroutes:
        return False
    if keeps:
        return spends and spent >= most
    return action != "retry" or spent >= most


class Doubt(Value):
    """Of a message whose time in doubt is over. `quiet`: its call has surely ended; `heard`: statuses come, so one of
    it would have."""

    category: Category
    duplicate_ok: bool
    lives: bool
    quiet: bool
    resent: bool
    cancelled: bool
    spent: int
    heard: bool


def sent_again(doubt: Doubt, resent_categories: Iterable[str], most: int) -> bool:
    """Whether it is sent once more, at most `most` times in all. Marketing and service never are by the clock."""
    wanted = doubt.category == "authentication" or doubt.duplicate_ok
    may = doubt.category in resent_categories and wanted and not (doubt.resent or doubt.cancelled)
    return may and doubt.lives and doubt.quiet and doubt.spent < most and doubt.heard


def lost_for_resend(*, planned: bool, obstacle: str | None, until: float | None) -> bool:
    """Whether the number of an attempt of unknown fate cannot make the next one, nor will by itself: its plan has no
    open way by it any more (`planned`), or what stands in the number's way ends at no time. What is AWAITED does."""
    return not planned or (obstacle is not None and obstacle not in AWAITED and until is None)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
