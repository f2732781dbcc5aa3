"""What a lane keeps of a decision against a message, so that it can be made again (B11): the facts of each rule.

A few hundred bytes without a phone number or a text. Each kind of facts puts them to the function that the lane asked
(`lane`) and says what becomes of the message. Those about a way that is closed for now are in `lane_obstacles`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import ClassVar, NamedTuple

from harkara.contracts.consent import ConsentState, Heard, Purpose, PurposeConsent, Standing
from harkara.contracts.event import Instant, Value
from harkara.contracts.intents import Form
from harkara.policy.governance import Governance
from harkara.policy.lane import (
    Doubt,
    cancels,
    expired,
    gives_up,
    is_closed,
    lost_for_resend,
    out_of_hours,
    refused,
    sent_again,
)
from harkara.policy.lane_reasons import META


class Outcome(NamedTuple):
    """What becomes of the message, and why: the status of its event, and the code of its reason. `name`: of Meta's
    error, where the code is one."""

    status: str
    code: str
    name: str = ""


class Facts(Value, ABC):
    """What a decision against a message went by. `codes`: the reasons that it can give."""

    kind: str
    codes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """What becomes of the message; None: nothing speaks against it."""


class Cancel(Facts):
    """A cancel command: what kind of it, when it was said, and when the message was accepted."""

    codes = ("cancelled",)
    command: str
    said_at: Instant
    received_at: Instant

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `cancels`."""
        named = cancels(self.said_at.timestamp(), self.received_at.timestamp())
        return Outcome("cancelled", "cancelled") if named else None


class Consent(Facts):
    """The person's word for the purpose, its event's time, and until when what was accepted is revoked by it."""

    codes = ("consent_opted_out", "consent_paused", "consent_blocked", "consent_erased")
    purpose: Purpose
    received_at: Instant
    standing: Standing | None = None
    said_at: Instant | None = None
    until: Instant | None = None
    source: str = ""
    revoked_until: Instant | None = None
    answers: bool = False
    person_key: str = ""

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `refused`."""
        word = None
        if self.standing is not None and self.said_at is not None:
            word = PurposeConsent(standing=self.standing, at=self.said_at, event_id="", until=self.until)
        heard = {self.purpose: Heard(revoked_until=self.revoked_until)}
        denial = ConsentState(person_key=self.person_key, heard=heard).model_copy(update={self.purpose: word})
        received_at = self.received_at.timestamp()
        standing = refused(denial, self.purpose, answers=self.answers, received_at=received_at, now=now)
        return None if standing is None else Outcome("cancelled", f"consent_{standing}")


class Life(Facts):
    """Until when it may be sent."""

    codes = ("expired",)
    expires_at: Instant

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `expired`."""
        return Outcome("expired", "expired") if expired(self.expires_at.timestamp(), now) else None


class Run(Facts):
    """The run, and since when somebody has it paused."""

    codes = ("run_paused",)
    run_id: str
    paused: bool
    since: Instant

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """Whoever paused it resumes it: no time does."""
        return Outcome("held", "run_paused") if self.paused else None


class Hours(Facts):
    """The hours that follow, or were the last, in which its recipient may be written to: in UTC; which wall clock they
    are of is in the inputs of its routing."""

    codes = ("quiet_hours", "no_send_time")
    opens_at: Instant
    closes_at: Instant

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `out_of_hours`."""
        found = out_of_hours([(self.opens_at.timestamp(), self.closes_at.timestamp())], now)
        return None if found is None else Outcome("expired" if found.final else "held", found.reason)


class Way(Value):
    """One way of a plan, and when it closes."""

    number: str
    form: Form
    closes_at: Instant | None = None


class Ways(Facts):
    """The plan's first ways, and how many more it has: all of them are closed, or there is none."""

    codes = ("window_closed", "no_route")
    ways: tuple[Way, ...] = ()
    more: int = 0
    template_only: bool = False

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `is_closed`."""
        if not self.ways:
            return Outcome("failed_unsent", "no_route")
        closed = (
            is_closed(each.form, seconds(each.closes_at), now, template_only=self.template_only) for each in self.ways
        )
        return Outcome("failed_unsent", "window_closed") if all(closed) else None


class Refusal(Facts):
    """Meta's refusal of an attempt, and how the error policy takes it (see `gives_up`): not as one that slows the
    number, nor as one after which a template goes."""

    codes = (META,)
    code: int | None = None
    error: str
    action: str
    keeps: bool
    spends: bool
    spent: int

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """By the `dispatch.max_attempts` of the policy."""
        over = gives_up(
            action=self.action, keeps=self.keeps, spends=self.spends, reroutes=False, slows=False, spent=self.spent,
            most=governance.dispatch.max_attempts,
        )  # fmt: skip
        code = "meta_without_code" if self.code is None else f"{META}{self.code}"
        return Outcome("failed_unsent", code, self.error) if over else None


class Echoless(Facts, Doubt):
    """A message whose time in doubt is over; `called_at` and `heard_at`: when its call was to start, and the newest
    status of its account."""

    codes = ("no_echo",)
    called_at: Instant
    heard_at: Instant | None = None

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """By the `dispatch.in_doubt_policy` and `max_attempts` of the policy."""
        dispatch = governance.dispatch
        resent = {category for category, word in dispatch.in_doubt_policy.items() if word == "resend"}
        return None if sent_again(self, resent, dispatch.max_attempts) else Outcome("unknown", "no_echo")


class Resend(Facts):
    """A message to be sent again by the `number` of its older attempt: whether its plan has an open way by it
    (`planned`), and what stands in the number's way, until when."""

    codes = ("resend_number_lost",)
    number: str
    planned: bool
    obstacle: str | None = None
    until: Instant | None = None

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `lost_for_resend`."""
        lost = lost_for_resend(planned=self.planned, obstacle=self.obstacle, until=seconds(self.until))
        return Outcome("unknown", "resend_number_lost") if lost else None


class Unresolved(Facts):
    """Until when somebody could have said whether Meta has it."""

    codes = ("nobody_resolved_it",)
    kept_until: Instant

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """Nobody has."""
        return Outcome("unknown", "nobody_resolved_it") if expired(self.kept_until.timestamp(), now) else None


class Resolved(Facts):
    """An operator's word on a message in doubt."""

    codes = ("dropped_by_operator",)
    resolution: str
    said_at: Instant

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """Only one of the words ends it."""
        return Outcome("unknown", "dropped_by_operator") if self.resolution == "drop" else None


class Conflict(Facts):
    """The same message id again: whether its intent is the same (hashes are compared, and not kept), and whether the
    first one `lives` in the lane yet."""

    codes = ("idempotency_conflict",)
    same_intent: bool
    lives: bool

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """The same intent is a repeat, of which nothing comes."""
        return None if self.same_intent else Outcome("rejected", "idempotency_conflict")


class Request(Facts):
    """Whether the order's content could be made into a request in this form."""

    codes = ("request_invalid",)
    form: str
    valid: bool
    template: str | None = None

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """The content itself is not kept."""
        return None if self.valid else Outcome("failed_unsent", "request_invalid")


def seconds(at: datetime | None) -> float | None:
    """Of a time that need not be there."""
    return None if at is None else at.timestamp()
