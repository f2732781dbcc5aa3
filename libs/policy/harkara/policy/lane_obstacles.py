"""The facts of what stood in the only ways of a message: its number, its template, its portfolio (see `lane_facts`)."""

from __future__ import annotations

from harkara.contracts.event import Instant
from harkara.contracts.intents import Category, Form
from harkara.contracts.numbers import Verdict
from harkara.contracts.template_state import TemplateCategory, TemplateStatus
from harkara.policy.governance import Governance
from harkara.policy.lane import (
    lasts,
    number_kept_back,
    place_in_time,
    template_kept_back,
    unusable,
    without_place,
)
from harkara.policy.lane_facts import Facts, Outcome, seconds


class Number(Facts):
    """Whether the number can be called: as far as governance.yaml and its token go."""

    codes = ("number_not_configured", "number_without_token", "token_refused_thrice")
    number: str
    configured: bool
    has_token: bool
    token_refusals: int

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `unusable`; by what the lane had read, which may be younger than its policy."""
        why = unusable(configured=self.configured, has_token=self.has_token, token_refusals=self.token_refusals)
        return None if why is None else Outcome("held", why)


class NumberSays(Facts):
    """The number's state, since and until when, and the form in which the message would go."""

    codes = ("number_halted", "number_paused", "number_pause_proactive")
    number: str
    verdict: Verdict
    since: Instant
    until: Instant | None = None
    form: Form | None = None

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `number_kept_back`."""
        found = number_kept_back(self.verdict, seconds(self.until), self.form, now)
        return None if found is None else Outcome("held", found.reason)


class Elsewhere(Facts):
    """The number, its home, and the message's."""

    codes = ("number_of_another_home",)
    number: str
    number_home: str
    home: str

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """Two lanes would share its pace."""
        return Outcome("held", "number_of_another_home") if self.number_home != self.home else None


class Hold(Facts):
    """A hold that a refusal of Meta's left, or one of a template that Meta tries out: of whom (`scope`: number,
    template, pair of number and person, or recipient of marketing), why, since and until when."""

    codes = ("template_in_assessment", "recipient_spared")
    scope: str
    target: str
    person_key: str = ""
    reason: str
    since: Instant
    until: Instant | None = None

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `lasts`."""
        return Outcome("held", self.reason) if lasts(seconds(self.until), now) else None


class Wording(Facts):
    """What is known of the template in the number's account, and the category that the message reckons with. `wrong`:
    what of the message's values does not fit it, which are not kept."""

    codes = (
        "template_paused", "template_in_review", "template_not_approved", "template_recategorised", "template_changed",
    )  # fmt: skip
    template: str
    waba_id: str
    status: TemplateStatus
    since: Instant | None = None
    paused_until: Instant | None = None
    category: TemplateCategory | None = None
    paid_for: Category
    wrong: str | None = None

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `template_kept_back`."""
        until = seconds(self.paused_until)
        fits = self.wrong is None
        found = template_kept_back(self.status, until, self.category, self.paid_for, now, fits=fits)
        return None if found is None else Outcome("failed_unsent" if found.final else "held", found.reason)


class Place(Facts):
    """The portfolio's ledger as the lane knew it: `limit` people in 24 hours (-1: any number), of whom so many are
    `used`, when a place may be free, and until when the message may be sent; and how it stood (see `without_place`)."""

    codes = ("portfolio_limit", "portfolio_limit_too_late", "portfolio_unanswered")
    portfolio: str
    limit: int | None = None
    used: int | None = None
    free_at: Instant | None = None
    expires_at: Instant | None = None
    first: bool
    in_hand: int | None = None
    hopeful: bool
    answered: bool

    def outcome(self, now: float, governance: Governance) -> Outcome | None:
        """See `without_place` and `place_in_time`."""
        why = without_place(first=self.first, in_hand=self.in_hand, hopeful=self.hopeful, answered=self.answered)
        if why is None:
            return None
        return Outcome("held", place_in_time(why, seconds(self.free_at), seconds(self.expires_at)))
