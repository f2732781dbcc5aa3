"""The send path: what upstream wants sent, cleared, and planned. These events carry personal data and live 7 days."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

import orjson
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from harkara.contracts.event import Event, Home, Instant, MessageId, Phone, UserId, Value
from harkara.contracts.identity import person_key

DEFAULT_LIFE = timedelta(hours=26)
"""Longer than a place of the messaging limit is taken (24 h and 70 s): by an hour that clocks may be apart, and by an
hour to be sent in. So whoever waits for a place goes (docs/adr/0018)."""
LONGEST_LIFE = timedelta(days=6)  # so nothing outlives the lane's dedupe horizon of 7 days
LATEST_START = timedelta(days=5)
"""From now. A message that starts later would not have a day to be sent in."""

Category = Literal["authentication", "utility", "marketing", "service"]
Priority = Literal[1, 2, 3]
Form = Literal["session", "template"]


class Strict(Value):
    """Input written by people outside: an unknown key is a typing error and is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(Strict):
    """Free text; only inside the customer service window. At most 4,096 characters (Meta)."""

    type: Literal["text"] = "text"
    body: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    preview_url: bool = False


class Media(Strict):
    """An uploaded media id or a link; `filename` for documents only, no caption for audio and stickers (Meta)."""

    type: Literal["image", "video", "audio", "document", "sticker"]
    id: str | None = None
    link: Annotated[str, StringConstraints(pattern=r"^https://", max_length=2048)] | None = None
    caption: Annotated[str, StringConstraints(max_length=1024)] | None = None
    filename: Annotated[str, StringConstraints(max_length=240)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Media:
        if (self.id is None) == (self.link is None):
            raise ValueError("give either id or link")
        if self.type in ("audio", "sticker") and self.caption is not None:
            raise ValueError(f"{self.type} takes no caption")
        if self.type != "document" and self.filename is not None:
            raise ValueError("filename is for documents")
        return self


class Button(Strict):
    """The value of one template button: `index` is its position from 0."""

    sub_type: Literal["url", "quick_reply", "copy_code"]
    index: Annotated[int, Field(ge=0, le=9)]
    value: Annotated[str, StringConstraints(min_length=1, max_length=2000)]


Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(_[A-Za-z]{2,4})?$")]
"""A language as Meta writes it: en, hi, pt_BR."""
ZoneName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")]
"""A time zone of the IANA database, such as Asia/Kolkata."""
WindowName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
"""A send window of governance.yaml."""
TemplateValue = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Variant(Strict):
    """The same template in another language. Values that are not given are those of the template."""

    language: Language
    header: Annotated[str, StringConstraints(max_length=60)] | Media | None = None
    body: tuple[TemplateValue, ...] | None = None
    named: dict[str, str] | None = None


class Template(Strict):
    """An approved template with its values: `body` in order for positional, `named` for named ones.

    `variants` are the other languages it is approved in; which one goes follows the intent's `language`.
    """

    type: Literal["template"] = "template"
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Language
    header: Annotated[str, StringConstraints(max_length=60)] | Media | None = None
    body: tuple[TemplateValue, ...] = ()
    named: dict[str, str] = Field(default_factory=dict)
    buttons: tuple[Button, ...] = ()
    variants: Annotated[tuple[Variant, ...], Field(max_length=20)] = ()


Content = Annotated[Text | Media | Template, Field(discriminator="type")]
FallbackAfter = Annotated[int, Field(ge=30, le=5 * 86_400)]
"""Seconds without a delivery. Half a minute: most are delivered within seconds, and reported within ten. Five days: a
message lives for six."""


def fallback_problem(
    *, given: bool, after_seconds: int | None, if_undeliverable: bool, duplicate_ok: bool
) -> str | None:
    """What of an intent's fallback does not agree, or None. A time without news does not show that a content was not
    delivered: who wants another one then takes it that a person may get both."""
    if not given and (after_seconds is not None or if_undeliverable):
        return "fallback_after_seconds and fallback_if_undeliverable need a fallback_content"
    if after_seconds is not None and not duplicate_ok:
        return "fallback_after_seconds needs duplicate_ok: the person may get both contents"
    return None


def addressing_problem(to: str | None, user_id: str | None, category: str | None) -> str | None:
    """Why nobody can be written to by these names, or None: a phone, a business-scoped user id, or both. The codes of
    authentication go to phones alone (Meta, 131062)."""
    if to is None and user_id is None:
        return "name the recipient: to (a phone number), user_id (a business-scoped user id), or both"
    if to is None and category == "authentication":
        return "authentication goes to phone numbers alone (Meta, 131062): give to"
    return None


class SendIntent(Strict, Event):
    """What a producer wants said to one person. `sender` is a pool or a phone_number_id; the record's key is it.

    The person is named by phone (`to`), by business-scoped user id, or by both: then the phone is written to, and what
    was said under either name counts.
    `message_id` is the producer's own: writing the same id with the same intent again is harmless, with another
    intent it is refused as `idempotency_conflict`. `fallback_template` is used when the service window is closed.
    `language` is the person's, `time_zone` theirs (an IANA name; else their number's); `send_window` names hours of the
    policy file in which alone it may go. `dry_run`: it goes the whole way to its lane, which writes down what it would
    have sent, and when, and calls nobody.

    `fallback_content` is sent in its place where Meta says that the first was not delivered, for a reason that another
    content can mend: once, by the same sender, before `expires_at`. With `duplicate_ok` also where nothing was
    delivered `fallback_after_seconds` after it was sent. `fallback_if_undeliverable`: also where Meta calls the
    recipient undeliverable (131026).
    """

    ce_type: ClassVar[str] = "harkara.send-intent.v1"
    model_config = ConfigDict(frozen=True, extra="forbid")  # restated: of two bases the last one's config wins
    message_id: MessageId
    sender: Home
    to: Phone | None = None
    user_id: UserId | None = None
    category: Category
    content: Content
    fallback_template: Template | None = None
    fallback_content: Content | None = None
    fallback_after_seconds: FallbackAfter | None = None
    fallback_if_undeliverable: bool = False
    priority: Priority = 1
    producer: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "kafka"
    run_id: str | None = None
    row: int | None = None
    not_before: Instant | None = None
    expires_at: Instant | None = None
    duplicate_ok: bool = False
    language: Language | None = None
    time_zone: ZoneName | None = None
    send_window: WindowName | None = None
    dry_run: bool = False
    metadata: Annotated[dict[str, Annotated[str, StringConstraints(max_length=256)]], Field(max_length=16)] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _addressed(self) -> SendIntent:
        problem = addressing_problem(self.to, self.user_id, self.category)
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def recipient(self) -> str:
        """The name that is written to: the phone where there is one (with both Meta takes it too), else the user id."""
        return self.to or self.user_id or ""

    @model_validator(mode="after")
    def _fallback_agrees(self) -> SendIntent:
        if problem := fallback_problem(
            given=self.fallback_content is not None,
            after_seconds=self.fallback_after_seconds,
            if_undeliverable=self.fallback_if_undeliverable,
            duplicate_ok=self.duplicate_ok,
        ):
            raise ValueError(problem)
        return self

    @property
    def marketing(self) -> bool:
        """Whether consent for marketing is asked for; every other category is transactional."""
        return self.category == "marketing"

    def hash(self) -> str:
        """SHA-256 of the intent with sorted keys and without defaults: equal intents, whatever their key order and
        however much they spell out, hash the same, and a field added later changes no hash of an older intent."""
        return hashlib.sha256(
            orjson.dumps(
                self.__pydantic_serializer__.to_python(self, mode="json", exclude_defaults=True),
                option=orjson.OPT_SORT_KEYS,
            )
        ).hexdigest()[:32]

    def resolved_expiry(self, recorded_at: datetime) -> datetime:
        """`expires_at`, or the record's timestamp + 26 h; never later than the record's timestamp + 6 days."""
        return min(self.expires_at or recorded_at + DEFAULT_LIFE, recorded_at + LONGEST_LIFE)


ContentMark = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class ContentMarks(Value):
    """By what a content is known again as said to this person already: keyed digests of the session message and of the
    template that an intent may become, and of its fallback content. Nobody without the key can tell what was said."""

    session: ContentMark | None = None
    template: ContentMark | None = None
    fallback: ContentMark | None = None


def person_keys(pepper: bytes, intent: SendIntent) -> tuple[str, str | None]:
    """The person's pseudonym: of the name that is written to; and of the user id where both names are given."""
    also = person_key(pepper, intent.user_id) if intent.to is not None and intent.user_id is not None else None
    return person_key(pepper, intent.recipient), also


class ClearedIntent(Event):
    """An intent that the guard let pass, under which policy, with its pseudonym and its final deadline.

    `answers`: it confirms a command that the person wrote to its sender then. Only the guard writes it; neither an
    opt-out nor a pause stops a confirmation, a block does. `also_key`: the pseudonym of the user id where the intent
    names its person by phone and by user id. `step_key`: what the ids of its events are made of (`identity.step_key`);
    None in records of before there was one: the hash.
    """

    ce_type: ClassVar[str] = "harkara.cleared-intent.v1"
    intent: SendIntent
    intent_hash: str
    home: Home
    person_key: str
    also_key: str | None = None
    received_at: Instant
    expires_at: Instant
    policy_version: str
    answers: Instant | None = None
    marks: ContentMarks | None = None
    step_key: str | None = None

    @property
    def steps(self) -> str:
        """What the ids of its events are made of."""
        return self.step_key or self.intent_hash


class Candidate(Value):
    """One way to send: this number, this form, until then (the service window's end less a margin)."""

    phone_number_id: str
    form: Form
    valid_until: Instant | None = None
    reason: str = ""


class Span(Value):
    """From `start` up to but not including `end`."""

    start: Instant
    end: Instant


class FallbackPlan(Value):
    """What goes in an order's place where Meta did not deliver it: its own candidates and contents, as in the order;
    `after_seconds` and `if_undeliverable` as in the intent."""

    plan: tuple[Candidate, ...]
    session: Content | None = None
    template: Template | None = None
    after_seconds: int | None = None
    if_undeliverable: bool = False


class DispatchOrder(Event):
    """A route plan: the lane of `home` tries the candidates in order. `session` and `template` are the two contents.

    `to` or, where there is none, `user_id` is written to. `also_key` as in ClearedIntent.
    `answers`: it confirms what the person wrote then (see ClearedIntent). `hours`: when calls may start, in order and
    apart; empty: at any time. `dry_run`: it is worked off without a call. `redrive` is set in the copy on the DLQ where
    Meta surely has no attempt: the attempt after which the message ended. Written to its topic again, the copy lets the
    message go on from there; if it lives, or has ended after a later attempt, nothing happens.

    `fallback`: what goes where Meta did not deliver this. `instead_of`: this is a message's fallback already, in the
    place of that attempt; only its lane writes it.
    """

    ce_type: ClassVar[str] = "harkara.dispatch-order.v1"
    message_id: MessageId
    home: Home
    intent_hash: str
    to: Phone | None = None
    user_id: UserId | None = None
    person_key: str
    also_key: str | None = None
    category: Category
    priority: Priority
    producer: str
    plan: tuple[Candidate, ...]
    session: Content | None = None
    template: Template | None = None
    run_id: str | None = None
    not_before: Instant | None = None
    expires_at: Instant
    received_at: Instant
    duplicate_ok: bool = False
    dry_run: bool = False
    hours: tuple[Span, ...] = ()
    policy_version: str
    answers: Instant | None = None
    redrive: int | None = None
    marks: ContentMarks | None = None
    fallback: FallbackPlan | None = None
    instead_of: int | None = None
