"""The shapes of the HTTP API (ING-1, ING-2): camelCase or snake_case, an unknown key is refused.

`sessionId` names the sender: a phone_number_id or a pool. `phone` is the sender's display number instead (ING-10).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from harkara.contracts.event import Home, Instant, Phone, UserId
from harkara.contracts.intents import (
    Category,
    Content,
    FallbackAfter,
    Language,
    Media,
    Priority,
    Template,
    Text,
    WindowName,
    addressing_problem,
    fallback_problem,
)
from harkara.graph_api.media_kinds import file_problem
from harkara.ingestion.zones import Guesses, Zone

MOST_BATCH_MESSAGES = 1_000  # one request's worth; a larger audience is a run, which is streamed
MOST_RUN_ROWS = 100_000  # about 30 MB of NDJSON, written to Kafka in some 10 s: within any client's patience
MOST_SENDERS = 1_000  # as many numbers as one portfolio may reasonably hold
LONGEST_SPREAD_MINUTES = 24 * 60  # so the last message of a spread batch is within the default life of an intent

_SEPARATORS = re.compile(r"[\s().-]+")
_BARE = re.compile(r"[1-9][0-9]{10,14}", re.ASCII)


def e164(value: object) -> object:
    """`+` and digits. Separators are dropped; without a plus at least 11 digits are needed, so that a local number of
    10 digits is never taken for another country's (ING-8)."""
    if not isinstance(value, str) or len(value) > 40:
        return value
    text = _SEPARATORS.sub("", value)
    return f"+{text}" if _BARE.fullmatch(text) else text


PhoneNumber = Annotated[Phone, BeforeValidator(e164)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
CountryCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
OneOf = Annotated[tuple[Annotated[str, StringConstraints(max_length=256)], ...], Field(min_length=1, max_length=1000)]
ContentHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Metadata = Annotated[dict[str, Annotated[str, StringConstraints(max_length=256)]], Field(max_length=16)]


class Shape(BaseModel):
    """Input of a client's."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class MediaBody(Shape):
    """A file by the id of an upload or by a link; `mimeType` and `sizeBytes`, where the client knows them, are checked
    at once against what Meta takes of that type (MED-1) and our 16 MB (MED-2). Meta checks the bytes themselves.
    """

    type: Literal["image", "video", "audio", "document", "sticker"]
    id: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    link: str | None = None
    caption: str | None = None
    filename: str | None = None
    mime_type: Annotated[str, StringConstraints(max_length=200)] | None = None
    size_bytes: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _meta_takes_it(self) -> MediaBody:
        problem = file_problem(self.type, link=self.link, mime_type=self.mime_type, size_bytes=self.size_bytes)
        if problem is not None:
            raise ValueError(problem)
        self.content()  # the contract's own rules: one source, no caption for audio, lengths
        return self

    def content(self) -> Media:
        """The file as intents carry it."""
        return Media(type=self.type, id=self.id, link=self.link, caption=self.caption, filename=self.filename)


class MessageBody(Shape):
    """What is said, and how: exactly one of `message` (free text, ING-9), `template` and `media`.

    `category` may be left out for free text and media only (then: service). `notBefore` and `expiresAt` need a zone.
    `fallbackContent` goes where Meta did not deliver this, for a reason that another content can mend (RTW-7).
    """

    message: ShortText | None = Field(default=None, validation_alias=AliasChoices("message", "text"))
    template: Template | None = None
    media: MediaBody | None = None
    category: Category | None = None
    fallback_template: Template | None = None
    fallback_content: Content | None = None
    fallback_after_seconds: FallbackAfter | None = None
    fallback_if_undeliverable: bool = False
    priority: Priority = 1
    expires_at: Instant | None = None
    duplicate_ok: bool = False
    language: Language | None = None
    time_zone: Zone | None = None
    send_window: WindowName | None = None
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_content(self) -> MessageBody:
        if sum(part is not None for part in (self.message, self.template, self.media)) != 1:
            raise ValueError("give exactly one of message, template and media")
        if self.template is not None and self.category is None:
            raise ValueError("a template needs its category: authentication, utility or marketing")
        for template in (self.template, self.fallback_template):
            if template is not None and (problem := header_problem(template)) is not None:
                raise ValueError(problem)
        check_fallback(
            self.fallback_content,
            self.fallback_after_seconds,
            if_undeliverable=self.fallback_if_undeliverable,
            duplicate_ok=self.duplicate_ok,
        )
        return self

    def content(self) -> Content:
        """The content as intents carry it."""
        if self.message is not None:
            return Text(body=self.message)
        if self.media is not None:
            return self.media.content()
        assert self.template is not None  # _one_content
        return self.template


def check_fallback(
    content: Content | None, after_seconds: int | None, *, if_undeliverable: bool, duplicate_ok: bool
) -> None:
    """Raises ValueError where Meta would not take the fallback's file, or its conditions do not agree (RTW-7)."""
    problem = fallback_problem(
        given=content is not None,
        after_seconds=after_seconds,
        if_undeliverable=if_undeliverable,
        duplicate_ok=duplicate_ok,
    )
    if problem is None and isinstance(content, Template):
        problem = header_problem(content)
    elif problem is None and isinstance(content, Media):
        problem = file_problem(content.type, link=content.link)
    if problem is not None:
        raise ValueError(problem)


def header_problem(template: Template) -> str | None:
    """Why Meta would not take the file in the header of a template or of its variants, as far as its link tells."""
    for header in (template.header, *(variant.header for variant in template.variants)):
        if isinstance(header, Media) and (problem := file_problem(header.type, link=header.link)) is not None:
            return f"template header: {problem}"
    return None


class Recipient(Shape):
    """Whom it is for: `to` (a phone number), `userId` (a business-scoped user id of Meta's), or both: then the phone is
    written to, and what was said under either counts."""

    user_id: UserId | None = None
    to: PhoneNumber | None = Field(default=None, validate_default=True)

    @field_validator("to")
    @classmethod
    def _somebody(cls, to: str | None, info: ValidationInfo) -> str | None:
        """Said of the field, so that whoever forgot it is told its name; of a user id that is none it says nothing."""
        problem = addressing_problem(to, info.data.get("user_id"), None) if "user_id" in info.data else None
        if problem is not None:
            raise ValueError(problem.replace("user_id", "userId"))
        return to

    @model_validator(mode="after")
    def _may_be_written_to(self) -> Recipient:
        problem = addressing_problem(self.to, self.user_id, getattr(self, "category", None))
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are given, the one that is written to first."""
        return tuple(name for name in (self.to, self.user_id) if name is not None)


class NamedSender(Shape):
    """Who sends: one of the two, or neither where the API key has a fixed sender."""

    session_id: Home | None = None
    phone: PhoneNumber | None = None

    @model_validator(mode="after")
    def _one_sender(self) -> NamedSender:
        if self.session_id is not None and self.phone is not None:
            raise ValueError("give sessionId or phone, not both")
        return self


_TEMPLATE_EXAMPLE: JsonDict = {"name": "daily_update", "language": "en", "body": ["Asha", "fund update"]}
_SENDER_EXAMPLE: JsonDict = {"sessionId": "100000000000001", "category": "utility"}
_SEND_EXAMPLE: JsonDict = _SENDER_EXAMPLE | {"to": "+919999900011", "template": _TEMPLATE_EXAMPLE}
_BY_USER_ID_EXAMPLE: JsonDict = _SENDER_EXAMPLE | {
    "userId": "IN.20450000919999900011",
    "template": _TEMPLATE_EXAMPLE,
}
_BATCH_EXAMPLE: JsonDict = {
    "sessionId": "100000000000001",
    "spreadMinutes": 30,
    "messages": [{"to": "+919999900011", "category": "utility", "template": _TEMPLATE_EXAMPLE}],
}
_RUN_EXAMPLE: JsonDict = _SENDER_EXAMPLE | {
    "name": "morning update",
    "template": _TEMPLATE_EXAMPLE,
    "deadline": "2026-11-21T06:05:00+05:30",
    "filters": {"languages": ["en"]},
    "audience": [{"to": "+919999900011", "language": "en"}, {"to": "+919999900012", "params": ["Ravi", "SIP"]}],
}


class SendRequest(MessageBody, NamedSender, Recipient):
    """`POST /api/v1/send`: one message."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SEND_EXAMPLE, _BY_USER_ID_EXAMPLE]})
    not_before: Instant | None = None


class BatchMessage(MessageBody, Recipient):
    """One message of a batch."""


class Spread(Shape):
    """When the messages go: message i of n at `startAt` (default: now) + i x spreadMinutes / n (ING-2)."""

    spread_minutes: Annotated[float, Field(ge=0, le=LONGEST_SPREAD_MINUTES)] = 0.0
    start_at: Instant | None = None


class BatchRequest(NamedSender, Spread):
    """`POST /api/v1/send/batch`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_BATCH_EXAMPLE]})
    messages: Annotated[tuple[BatchMessage, ...], Field(min_length=1, max_length=MOST_BATCH_MESSAGES)]

    @model_validator(mode="wrap")
    @classmethod
    def _bounded(cls, given: Any, handler: ModelWrapValidatorHandler[BatchRequest], info: ValidationInfo) -> Any:
        """Its messages share the near names that a request is told; only a validation that starts anew can say so."""
        if info.context is None and not isinstance(given, cls):
            return cls.model_validate(given, context=Guesses())
        return handler(given)


class AudienceFilters(Shape):
    """Which of the recipients that are given belong to the audience: those who meet every filter that is named.

    `countries` of their numbers (ISO 3166), `languages` and `metadata` as their rows have them (one of the values).
    """

    countries: Annotated[tuple[CountryCode, ...], Field(max_length=250)] = ()
    languages: Annotated[tuple[Language, ...], Field(max_length=100)] = ()
    metadata: Annotated[dict[str, OneOf], Field(max_length=16)] = Field(default_factory=dict)

    def told(self) -> dict[str, tuple[str, ...]]:
        """Those that are named, as the run keeps them."""
        found = {"countries": self.countries, "languages": self.languages}
        found |= {f"metadata.{name}": values for name, values in self.metadata.items()}
        return {name: values for name, values in found.items() if values}


class RunRequest(NamedSender, Spread):
    """`POST /api/v1/runs`: one template (or text) to an audience, until a deadline.

    With several `senders` each person goes to one of them, the same in every run. `deadline` is what on time is
    measured by; a message that is late is still sent, until `expiresAt`. The audience is inline, or the other part of
    a multipart upload. `audienceHash` and `verdictHash` are what a preview or precheck said: with them the run is
    accepted only if they still hold. `dryRun`: the whole way is gone, nobody is called.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN_EXAMPLE]})
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    senders: Annotated[tuple[Home, ...], Field(max_length=MOST_SENDERS)] = ()
    template: Template | None = None
    message: ShortText | None = None
    category: Category | None = None
    fallback_template: Template | None = None
    fallback_content: Content | None = None
    fallback_if_undeliverable: bool = False
    priority: Priority = 1
    deadline: Instant | None = None
    expires_at: Instant | None = None
    send_window: WindowName | None = None
    metadata: Metadata = Field(default_factory=dict)
    filters: AudienceFilters = AudienceFilters()
    dry_run: bool = False
    audience_hash: ContentHash | None = None
    verdict_hash: ContentHash | None = None
    audience: Annotated[list[Any], Field(max_length=MOST_RUN_ROWS)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> RunRequest:
        if self.senders and (self.session_id or self.phone):
            raise ValueError("give senders, sessionId or phone")
        if self.template is not None and self.message is not None:
            raise ValueError("give template or message, not both")
        check_fallback(self.fallback_content, None, if_undeliverable=self.fallback_if_undeliverable, duplicate_ok=False)
        return self


class AudienceEntry(Recipient):
    """One recipient of a run; what is left out is the run's.

    `template` is a template's name or a whole template; `params` its positional values, `named` its named ones.
    `language` is the person's: of a template with variants it chooses the one, else it is the template's.
    """

    params: tuple[str, ...] | None = None
    named: dict[str, str] | None = None
    template: str | Template | None = None
    language: Language | None = None
    time_zone: Zone | None = None
    message: ShortText | None = None
    sender: Home | None = None
    category: Category | None = None
    priority: Priority | None = None
    metadata: Metadata | None = None


def entry_content(run: RunRequest, entry: AudienceEntry) -> Content:
    """What this person is told. Raises ValueError (pydantic's too) where the run and the row do not make a message."""
    if isinstance(entry.template, Template):
        return entry.template
    text = entry.message or (run.message if entry.template is None else None)
    if text is not None:
        return Text(body=text)
    given = {} if run.template is None else dict(run.template)
    changed = {"name": entry.template, "language": entry.language, "body": entry.params, "named": entry.named}
    if run.template is not None and run.template.variants:
        del changed["language"]
    changed = {key: value for key, value in changed.items() if value is not None}
    if run.template is not None and not changed:
        return run.template  # most rows of most runs: made once, not 10,000 times
    merged = given | changed
    if "name" not in merged or "language" not in merged:
        raise ValueError("neither the run nor the row says which template, in which language, or which message")
    return Template(**merged)


def entry_category(run: RunRequest, entry: AudienceEntry, content: Content) -> Category:
    """The row's category, else the run's; free text is a service message. Raises ValueError for a template without."""
    category = entry.category or run.category
    if category is None and content.type == "template":
        raise ValueError("a template needs its category: authentication, utility or marketing")
    return category or "service"
