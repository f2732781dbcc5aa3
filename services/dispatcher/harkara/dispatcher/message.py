"""A live message of a lane, and what else is known of one message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from harkara.contracts.intents import Category, Form
from harkara.dispatcher.sealed import content_in, hash_in, trace_in
from harkara.policy.template_values import Brought

WAITING = frozenset({"queued", "scheduled", "held", "retrying"})
"""Statuses in which a message may still be cancelled or expire without effect."""
DOUBTFUL = frozenset({"in_doubt", "unknown"})
RESEND_LOST = "resend_number_lost"
"""Why a message is `unknown` that was to be sent again: the next attempt is what cannot be made."""


class Candidate(NamedTuple):
    """One way of a plan: this number, this form, until then (Unix seconds; None: no end)."""

    number: str
    form: Form
    valid_until: float | None


class Hours(NamedTuple):
    """When calls may start: from `start` up to but not including `end` (Unix seconds)."""

    start: float
    end: float


class Seen(NamedTuple):
    """An attempt that Meta has, as a status showed it. `reached`: the person has it too."""

    attempt: int
    wamid: str | None
    number: str | None
    reached: bool = False


class OtherNames(NamedTuple):
    """Of a message whose person has several: the name by which their messages keep one order and share the pair limit
    (`kinship.py`), and the second name that the intent itself gives."""

    line: str
    also: str | None


def other_names(order: dict[str, Any]) -> OtherNames | None:
    """Of an order's JSON; None for most."""
    line, also = order.get("line"), order.get("also_key")
    return OtherNames(line_in(order), also) if line or also else None


def line_in(order: dict[str, Any]) -> str:
    """The line of an order's JSON, as `Message.line`."""
    return order.get("line") or str(order["person_key"])


class Taken(NamedTuple):
    """Of a message that was sent again: the attempts that Meta is known to have. `instead_of`: the attempt that its
    fallback content stands in for, `refused`: the text that its template does (0: none); of these nothing but a
    delivery is news."""

    home: str
    attempts: tuple[int, ...]
    instead_of: int = 0
    refused: int = 0


class Fallback(NamedTuple):
    """A text that Meta took, and may still refuse by a status: `order` as it was, to go on as a template. `number`: by
    which it went, and goes on where an older attempt of it is in doubt."""

    attempt: int
    spent: int
    at: float
    order: dict[str, Any]
    trace: str | None
    resent: bool
    number: str | None = None


class Probe(NamedTuple):
    """By which message, from which number's queue, a half-open template is tried, and since when (Unix seconds). Where
    `number` is empty it was tried by that message in vain, and is anybody's but the numbers' that are `passed` over."""

    message_id: str
    number: str
    since: float
    passed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Traits:
    """What the messages of a run have in common: held once for all of them, which is 80 bytes less for each.

    `hours`: when calls may start, in order; empty: at any time. `answers`: it confirms a command of the person's, whom
    an opt-out or pause does not keep from being told. `dry_run`: it is worked off without a call. `backups`: the
    template in the other languages that it may go in. `falls_back`: its order has another content, for when this is
    not delivered; `instead_of`: this is that other content, in the place of that attempt. `brings`: which values its
    template is given, and then those of each backup.
    """

    home: str
    category: Category
    producer: str
    template_key: str | None
    run_id: str | None
    duplicate_ok: bool
    policy_version: str
    media: bool
    answers: bool
    hours: tuple[Hours, ...]
    dry_run: bool = False
    backups: tuple[str, ...] = ()
    falls_back: bool = False
    instead_of: int = 0
    brings: tuple[Brought, ...] = ()


class Course(NamedTuple):
    """What its steps have made of a message; most that wait have had none and share one, which is 50 bytes less.

    `number`, `form` and `called_at` (Unix seconds) are the newest attempt's; `spent`: how many count to the three.
    `template`: by which the newest attempt went, where it was not the message's own. `refused`: the text that Meta did
    not deliver for the service window was closed, and in the place of which a template goes (0: none).
    """

    spent: int = 0
    number: str | None = None
    form: Form | None = None
    called_at: float = 0.0
    reason: str | None = None
    template_only: bool = False
    resent: bool = False
    template: str | None = None
    refused: int = 0


NOTHING_YET = Course()


@dataclass(slots=True)
class Message:
    """A live message. `seq` is its place in the queue. `sealed` holds intent hash, traceparent and {to, session,
    template, ...}: looked into a few times in a message's life, and 280 bytes less than three objects.

    `attempt` is the number of the newest attempt (0: none yet). `until`: when a
    scheduled, held, retrying or doubtful message is looked at again. `placed`: the number whose queue it stands in;
    `entry` and `chained`: where it stands there, and in its recipient's line.
    `seen`: an older attempt that Meta has after all, known while the newest one's call is under way.
    """

    message_id: str
    seq: int
    person_key: str
    priority: int
    plan: tuple[Candidate, ...]
    traits: Traits
    sealed: bytes
    received_at: float
    expires_at: float
    status: str = "queued"
    attempt: int = 0
    course: Course = NOTHING_YET
    until: float | None = None
    placed: str | None = None
    due: float | None = None
    account: tuple[str, str] | None = None
    entry: tuple[float, int, Any] | None = None
    chained: tuple[str, int] | None = None
    seen: Seen | None = None
    other: OtherNames | None = None

    @property
    def line(self) -> str:
        """The name by which its recipient's messages keep one order and share the pair limit."""
        return self.person_key if self.other is None else self.other.line

    @property
    def names(self) -> tuple[str, ...]:
        """Under which names its order knows its recipient."""
        also = None if self.other is None else self.other.also
        return (self.person_key,) if also is None else (self.person_key, also)

    @property
    def home(self) -> str:
        """The home of its numbers."""
        return self.traits.home

    @property
    def category(self) -> Category:
        """Meta's category."""
        return self.traits.category

    @property
    def producer(self) -> str:
        """Who asked for it."""
        return self.traits.producer

    @property
    def template_key(self) -> str | None:
        """Template and language, where the plan has a template."""
        return self.traits.template_key

    @property
    def template_used(self) -> str | None:
        """That of its newest attempt; before the first its own."""
        return self.course.template or self.traits.template_key

    @property
    def run_id(self) -> str | None:
        """The run it belongs to."""
        return self.traits.run_id

    @property
    def duplicate_ok(self) -> bool:
        """Whether the intent would rather have it twice than not at all."""
        return self.traits.duplicate_ok

    @property
    def policy_version(self) -> str:
        """The policy by which it was cleared and routed."""
        return self.traits.policy_version

    @property
    def media(self) -> bool:
        """Whether it carries a file."""
        return self.traits.media

    @property
    def answers(self) -> bool:
        """Whether it confirms a command of the person's."""
        return self.traits.answers

    @property
    def hours(self) -> tuple[Hours, ...]:
        """When its calls may start; empty: at any time."""
        return self.traits.hours

    @property
    def spent(self) -> int:
        """How many attempts count to the three."""
        return self.course.spent

    @property
    def number(self) -> str | None:
        """The number of its newest attempt."""
        return self.course.number

    @property
    def form(self) -> Form | None:
        """The form of its newest attempt."""
        return self.course.form

    @property
    def called_at(self) -> float:
        """When the newest attempt's call was to start: at its journaling, or a moment later (Unix seconds)."""
        return self.course.called_at

    @property
    def reason(self) -> str | None:
        """Why it stands where it stands."""
        return self.course.reason

    @property
    def template_only(self) -> bool:
        """Whether Meta wants a template for it."""
        return self.course.template_only

    @property
    def undelivered(self) -> tuple[int, int]:
        """The attempts (0: none) that Meta did not deliver, and in the place of which the newest one goes."""
        return self.course.refused, self.traits.instead_of

    @property
    def resent(self) -> bool:
        """Whether it was sent again after a doubt."""
        return self.course.resent

    @property
    def pinned(self) -> str | None:
        """The number by which alone it may go: where Meta may have an older attempt of it, a repeat from another number
        would come from a stranger. A fallback content is no repeat: it goes by its own plan."""
        return self.course.number if self.course.resent else None

    @property
    def open_attempt(self) -> int:
        """Of one that is in doubt or unknown, the attempt of which that is told."""
        return self.attempt + 1 if self.reason == RESEND_LOST else self.attempt

    @property
    def intent_hash(self) -> str:
        """The hash of the upstream intent."""
        return hash_in(self.sealed)

    @property
    def trace(self) -> str | None:
        """The traceparent of the order."""
        return trace_in(self.sealed)

    @property
    def content(self) -> dict[str, Any]:
        """`to`, and as far as the order has them `session`, `template`, `answers`."""
        return content_in(self.sealed)

    @property
    def waiting(self) -> bool:
        """Whether nothing of it is under way or in doubt."""
        return self.status in WAITING

    @property
    def marketing(self) -> bool:
        """Whether consent for marketing is asked for."""
        return self.category == "marketing"

    @property
    def flow(self) -> str:
        """With whom it shares its turns: its run, or its producer's single messages."""
        return self.run_id or self.producer

    @property
    def can_reroute(self) -> bool:
        """Whether its last attempt was a text, and its plan has a template to fall back on."""
        return self.form == "session" and any(candidate.form == "template" for candidate in self.plan)
