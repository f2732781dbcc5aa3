"""The sections of governance.yaml that say who may be written to, when, and by which way.

What would be unsafe is refused with its reason, and never merely warned about: a number is lost for good sooner than
it is won back. A setting with one allowed value is here so that a file that asks for another is refused by name.
"""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import available_timezones

import phonenumbers
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from harkara.contracts.intents import Category
from harkara.policy.mistakes import Inconsistent, called
from harkara.policy.optout import BUILT_IN_OPT_IN_WORDS, normalised

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(_[A-Za-z]{2,4})?$")]
Hours = Annotated[
    str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")
]
"""A part of the day by the clock on the wall, such as 23:00-07:00; it may reach over midnight."""
PersonKey = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Proof = Annotated[str, StringConstraints(min_length=4, max_length=64)]
called(Language, "a language as Meta writes it, such as en, hi or pt_BR")
called(Hours, "hours of the day, such as 23:00-07:00")
called(PersonKey, "a person key, 32 hexadecimal characters: phone numbers have no place in this file")
called(Name, "a name of 1 to 64 letters, digits, dots, dashes and underscores")

NIGHT = "23:00-07:00"  # CMP-16
QUIET_HOURS: dict[Category, str] = {"marketing": NIGHT, "utility": NIGHT, "authentication": "none", "service": "none"}
"""Where the file says nothing. Codes that somebody just asked for and answers to what somebody just wrote have none."""
ContactPurpose = Literal["marketing", "utility", "authentication", "service", "transactional"]
MOST_PER_WINDOW = 100  # messages to one person: a cap above it caps nothing, and a lane keeps the newest 300 of a day
LONGEST_CONTACT_HOURS = 168.0  # the lane's memory of ended messages, 7 days
LONGEST_LIST = 10_000  # entries; longer lists belong on a topic, not into a file that people read


def only(allowed: object, why: str) -> BeforeValidator:
    """A setting with one safe value: another one is refused with the reason."""

    def check(given: object) -> object:
        if given != allowed or isinstance(given, bool) != isinstance(allowed, bool):
            shown = str(allowed).lower() if isinstance(allowed, bool) else allowed
            raise ValueError(f"must be {shown}: {why}")
        return given

    return BeforeValidator(check)


FEWEST_COMMON_WORDS = 4
MOST_COMMON_TEXTS = 1000


def _tells_something(text: str) -> str:
    if len(text.split()) < FEWEST_COMMON_WORDS:
        raise ValueError(f"has fewer than {FEWEST_COMMON_WORDS} words: no template is known by so few")
    return text


CommonText = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_tells_something)]


class Section(BaseModel):
    """A part of the file: an unknown key is a typing error and is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


LONGEST_REQUEST_SECONDS = 20.0
"""Whoever stops a dispatcher or takes its lanes waits for its calls. The limits of its group, its process and its pod
follow from this one."""


def _short_enough(seconds: float) -> float:
    if seconds > LONGEST_REQUEST_SECONDS:
        raise ValueError(
            f"must be {LONGEST_REQUEST_SECONDS:g} or less: a dispatcher that is stopped or gives lanes away waits for "
            "its calls, and is killed with them in doubt where they take longer"
        )
    return seconds


RequestSeconds = Annotated[
    float, Field(gt=0, json_schema_extra={"maximum": LONGEST_REQUEST_SECONDS}), AfterValidator(_short_enough)
]


class AdvisorIdentification(Section):
    """Who gives advice must be named in it (CMP-9): by one of `texts`, or by the template's own wording."""

    texts: Annotated[tuple[Proof, ...], Field(min_length=1, max_length=100)]
    """Registration numbers and the like; letter case and spaces do not count."""
    templates: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    """Templates whose approved wording names the advisor."""
    categories: Annotated[tuple[Category, ...], Field(min_length=1)] = ("utility", "marketing")
    """Of which messages it is asked."""


class ContentApproval(Section):
    """Only content that was approved (CMP-9): an intent names its approval in `metadata.content_approval`."""

    tags: Annotated[tuple[Name, ...], Field(min_length=1, max_length=LONGEST_LIST)]
    """The approvals that hold."""
    categories: Annotated[tuple[Category, ...], Field(min_length=1)] = ("utility", "marketing")
    """Of which messages it is asked."""


class FrequencyCap(Section):
    """How often one person is written to for one purpose; counted in the lane, exactly within a home."""

    purpose: ContactPurpose
    """A category, or transactional: utility, authentication and service taken together."""
    most: Annotated[int, Field(ge=1, le=MOST_PER_WINDOW)]
    """Messages that were sent, or may have been, in any span of that length."""
    per_hours: Annotated[float, Field(ge=0.25, le=LONGEST_CONTACT_HOURS)]
    """The span; at most 168 (7 days), which is as long as a lane remembers a message that has ended."""


class DuplicateContent(Section):
    """Nobody is told the same thing twice: what was sent to a person, or may have been, is not sent to them again by
    another message that says the same. Letter case, white space and characters that show nothing make no difference."""

    within_hours: Annotated[float, Field(ge=0.25, le=LONGEST_CONTACT_HOURS)]
    """For so long after the first one; at most 168 (7 days), which is as long as a lane remembers it."""
    purposes: Annotated[tuple[Category, ...], Field(min_length=1)] = ("marketing", "utility", "service")
    """Of which categories; codes are left out unless they are named: the same one may be asked for twice."""

    @field_validator("purposes")
    @classmethod
    def _once(cls, purposes: tuple[Category, ...]) -> tuple[Category, ...]:
        if len(set(purposes)) < len(purposes):
            raise ValueError("a purpose is named twice")
        return purposes


class Compliance(Section):
    """Who may be written to, and what."""

    consent_mode: Literal["opt_out", "explicit"]
    """opt_out: everyone who has not said no (their consent is recorded upstream). explicit: only who is recorded here
    as opted in."""
    opt_out_words: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    """Added to the built-in words; none can be taken away."""
    do_not_message: Annotated[tuple[PersonKey, ...], Field(max_length=LONGEST_LIST)] = ()
    """Person keys of people who are never written to."""
    allowed_countries: tuple[str, ...] = ()
    """ISO 3166 codes of countries that may be written to; empty: every country."""
    allowed_categories: tuple[Category, ...] = ()
    """Categories that may be sent; empty: every category."""
    content_approval: ContentApproval | None = None
    """Which content was approved; left out: approval is not asked for."""
    advisor_identification: AdvisorIdentification | None = None
    """How an advisor is named in a message; left out: it is not asked for."""
    common_texts: Annotated[tuple[CommonText, ...], Field(max_length=MOST_COMMON_TEXTS)] = ()
    """What every message may say, whichever template says it too: a disclaimer, an address, a closing line."""
    frequency_caps: Annotated[tuple[FrequencyCap, ...], Field(max_length=20)] = ()
    """How often a person is written to, by purpose; several spans may be given for one. Empty: as often as is asked."""
    duplicate_content: DuplicateContent | None = None
    """The same content to one person goes once in so long; left out: as often as it is asked for."""
    hard_block: Annotated[Literal[True], only(True, "who opted out is never written to")] = True
    """Opting out is final; no other value is possible (CMP-3)."""

    @field_validator("frequency_caps")
    @classmethod
    def _caps_that_count(cls, caps: tuple[FrequencyCap, ...]) -> tuple[FrequencyCap, ...]:
        problems = [(place, problem) for place, cap in enumerate(caps) if (problem := _pointless(cap, place, caps))]
        if problems:
            raise Inconsistent([((place, "most"), problem) for place, problem in problems])
        return caps

    @field_validator("consent_mode", mode="before")
    @classmethod
    def _a_mode(cls, given: object) -> object:
        if given in (None, "none", "off", False, ""):
            raise ValueError("must be explicit or opt_out: without consent nobody is written to")
        return given

    @field_validator("opt_out_words", mode="before")
    @classmethod
    def _words_there(cls, given: object) -> object:
        if given is None or given is False or given == []:
            raise ValueError("opt-out words cannot be switched off: leave the setting out, or add words")
        return given

    @field_validator("opt_out_words")
    @classmethod
    def _words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not normalised(word) or len(word) > 64 or word.lstrip()[0] in "-!~":
                raise ValueError(f"{word!r} is not a word of 1 to 64 characters; words can only be added, not removed")
            if normalised(word) in map(normalised, BUILT_IN_OPT_IN_WORDS):
                raise ValueError(f"{word!r} is an opt-in word")
        return words

    @field_validator("allowed_countries")
    @classmethod
    def _countries(cls, countries: tuple[str, ...]) -> tuple[str, ...]:
        for country in countries:
            if country not in phonenumbers.SUPPORTED_REGIONS:
                raise ValueError(f"{country!r} is not an ISO 3166 country code in capitals, such as IN")
        return countries


def _pointless(cap: FrequencyCap, place: int, caps: tuple[FrequencyCap, ...]) -> str | None:
    """Why this cap never decides anything beside the others of its purpose, or None."""
    for other_place, other in enumerate(caps):
        if other_place == place or other.purpose != cap.purpose:
            continue
        if other.per_hours == cap.per_hours and other_place < place:
            return f"there is a cap of {cap.purpose} per {cap.per_hours:g} hours already"
        if other.per_hours > cap.per_hours and other.most <= cap.most:
            return (
                f"is never reached: of {cap.purpose} no more than {other.most} go in {other.per_hours:g} hours, "
                f"so the {cap.most} in {cap.per_hours:g} hours say nothing"
            )
    return None


class SendWindow(Section):
    """A named part of the day; an intent that names it goes in these hours only, in its recipient's zone.

    With `contract` it is the exception class of the quiet hours: what people contracted for goes in its hours even
    where they are quiet, only to who is on record as opted in, and each use is in the audit log.
    """

    hours: Hours
    time_zone: str | None = None
    """Whose clock the hours are of; left out: the recipient's."""
    categories: Annotated[tuple[Category, ...], Field(min_length=1)] = ("utility",)
    """Which messages may name it."""
    contract: Annotated[str, StringConstraints(min_length=8, max_length=200)] | None = None
    """Where it stands that people want to be written to in these hours."""

    @field_validator("hours")
    @classmethod
    def _some(cls, hours: str) -> str:
        return some_hours(hours)

    @field_validator("time_zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        return known_zone(zone)


class Routing(Section):
    """How a form, a number, a language and a time are chosen."""

    window_margin_minutes: Annotated[float, Field(ge=0, le=720)] = 10.0
    """Taken off the end of the customer service window, so that nothing reaches Meta after it (131047)."""
    window_hours: Annotated[Literal[24], only(24, "the customer service window is Meta's")] = 24
    """Meta's customer service window; no other value is possible."""
    fallback_to_template: Annotated[
        Literal[True], only(True, "outside the window Meta takes nothing but templates (131047)")
    ] = True
    """Outside the window an intent's fallback template goes; no other value is possible (RTW-2)."""
    quiet_hours: dict[Category, Hours | Literal["none"]] = Field(default_factory=dict, validate_default=True)
    """When nothing is sent, by the recipient's clock (CMP-16); per category, `none`: at any hour. What is not named
    keeps its default."""
    send_windows: Annotated[dict[Name, SendWindow], Field(max_length=100)] = Field(default_factory=dict)
    """Hours that an intent can ask for by name (`send_window`)."""
    default_time_zone: str | None = None
    """The clock of recipients whose number does not tell their zone; left out: such messages are refused where the hour
    matters."""
    language_fallback: Annotated[dict[Language, tuple[Language, ...]], Field(max_length=200)] = Field(
        default_factory=lambda: {"mr": ("hi", "en"), "hi": ("en",)}, validate_default=True
    )
    """In which languages, in this order, a person is written to where the template is not in their own (RTW-8)."""

    @field_validator("quiet_hours")
    @classmethod
    def _every_category(cls, given: dict[Category, str]) -> dict[Category, str]:
        for hours in given.values():
            if hours != "none":
                some_hours(hours)
        return QUIET_HOURS | given

    @field_validator("default_time_zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        return known_zone(zone)

    @field_validator("language_fallback")
    @classmethod
    def _others(cls, chains: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for language, chain in chains.items():
            if language in chain or len(set(chain)) < len(chain):
                raise ValueError(f"the chain of {language!r} names a language twice")
        return chains


TemplateCategory = Literal["marketing", "utility", "authentication"]


class Templates(Section):
    """What is known of Meta's templates, and what is done where nothing is known."""

    unknown: Literal["allow", "refuse"] = "allow"
    """A template whose account's list has not been read, or does not have it: allow lets Meta decide, and says so in
    the plan; refuse sends only what is known to be approved."""
    sync_minutes: Annotated[float, Field(ge=1, le=1440)] = 15.0
    """How often each account's list of templates is read; besides, soon after each notice of Meta's."""
    prices: dict[TemplateCategory, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """What one message of a category costs where most recipients are, for whoever reads what a dearer category would
    cost; nothing is decided by it."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "INR"
    """Of the prices."""


class CircuitBreaker(Section):
    """What Meta's word on a number's health does. It is the same for everybody: asking again makes a ban permanent."""

    on_limited: Annotated[Literal["pause_proactive"], only("pause_proactive", "a limited number only answers")] = (
        "pause_proactive"
    )
    on_blocked: Annotated[Literal["halt_all"], only("halt_all", "a blocked number sends nothing")] = "halt_all"
    retry_policy: Annotated[
        Literal["none"], only("none", "a call that Meta refused for its token or health is never tried again")
    ] = "none"


TIME_TO_LIVE_MINUTES: dict[Category, float] = {
    "authentication": 10.0,
    "utility": 34_560.0,
    "marketing": 34_560.0,
    "service": 34_560.0,
}
"""Meta drops an undelivered message after 10 minutes (authentication) or 30 days; a state is kept 25 days at rest, so
the longest time that can be waited for is 24."""


class Silence(Section):
    """When it is said that nothing is heard of a message or a number. Nothing is sent again for it.

    `time_to_live_minutes` is per category: give what the templates' `message_send_ttl_seconds` says.
    """

    status_minutes: Annotated[float, Field(ge=1, le=1440)] = 15.0
    """Meta accepted a message and no status came for so long: it is marked, once, with what explains it."""
    number_minutes: Annotated[float, Field(ge=1, le=1440)] = 10.0
    """No status of any message of a number came for so long while some waits: its webhooks do not arrive."""
    time_to_live_minutes: dict[Category, Annotated[float, Field(ge=0.5, le=34_560)]] = Field(
        default_factory=dict, validate_default=True
    )

    @field_validator("time_to_live_minutes")
    @classmethod
    def _every_category(cls, given: dict[Category, float]) -> dict[Category, float]:
        return TIME_TO_LIVE_MINUTES | given

    def time_to_live(self, category: str | None) -> float:
        """Minutes after which an undelivered message is presumed dropped; of an unknown category the longest."""
        found = next((minutes for each, minutes in self.time_to_live_minutes.items() if each == category), None)
        return max(self.time_to_live_minutes.values()) if found is None else found


class Telemetry(Section):
    """How often Meta is asked how the numbers are, and when its silence is noticed."""

    health_poll_seconds: Annotated[float, Field(ge=5, le=3600)] = 300.0
    silence: Silence = Silence()
    circuit_breaker: CircuitBreaker = CircuitBreaker()


def some_hours(hours: str) -> str:
    """The hours; raises ValueError where they are empty."""
    start, end = hours.split("-")
    if start == end:
        raise ValueError(f"{hours} is no time at all")
    return hours


def known_zone(zone: str | None) -> str | None:
    """The zone; raises ValueError where the time zone database does not have it."""
    if zone is not None and zone not in available_timezones():
        raise ValueError(f"{zone!r} is not a time zone such as Asia/Kolkata")
    return zone
