"""governance.yaml, the one policy file: what it may say, and what it means.

Everything is frozen. A `Governance` is consistent by construction: a number is in at most one pool, every name that is
used exists, no id is used twice. Its `version` is in every decision event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import orjson
import phonenumbers
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, field_validator, model_validator

from harkara.contracts.event import Home, Phone
from harkara.contracts.intents import Category
from harkara.policy.governance_file import Inconsistent, Location, read
from harkara.policy.optout import BUILT_IN_OPT_IN_WORDS, normalised

MetaId = Annotated[str, StringConstraints(pattern=r"^[0-9]{5,20}$")]
Seconds = Annotated[float, Field(gt=0)]

LONGEST_IN_DOUBT_SECONDS = 6 * 24 * 3600.0  # within the lane's memory of 7 days
IN_DOUBT_SECONDS: dict[Category, float] = {
    "authentication": 20.0,
    "utility": 900.0,
    "marketing": 86_400.0,
    "service": 60.0,
}


class Section(BaseModel):
    """A part of the file: an unknown key is a typing error and is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Profile(Section):
    """How fast one number may send. Limits are sliding windows; None means no limit of that length.

    Between two sends of the number lie at least `base_delay_ms` plus a random part of up to `max_jitter_ms`.
    """

    per_second: Annotated[int, Field(ge=1, le=1000)]  # 1,000/s is Meta's highest throughput of a number
    per_minute: Annotated[int, Field(ge=1)] | None = None
    per_hour: Annotated[int, Field(ge=1)] | None = None
    per_day: Annotated[int, Field(ge=1)] | None = None
    base_delay_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    max_jitter_ms: Annotated[int, Field(ge=0, le=600_000)] = 0


BUILT_IN_PROFILES: dict[str, Profile] = {
    "governance": Profile(per_second=1, per_minute=20, base_delay_ms=2000, max_jitter_ms=1500),
    "conservative": Profile(per_second=5, per_minute=20, per_hour=1000, per_day=500, base_delay_ms=5000),
    "cloud-api": Profile(per_second=80, per_minute=4_800),
    "cloud-api-high": Profile(per_second=1000, per_minute=60_000),
}
"""Profiles that need no listing. `cloud-api` and `cloud-api-high` are Meta's own throughput levels."""


class Number(Section):
    """A sender number as Meta knows it. Its access token is in an environment variable or a file, never here."""

    phone_number_id: MetaId
    display_phone_number: Phone
    waba_id: MetaId
    portfolio_id: MetaId
    profile: str = "cloud-api"
    token_env: Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    token_file: Path | None = None

    @model_validator(mode="after")
    def _one_token(self) -> Number:
        if (self.token_env is None) == (self.token_file is None):
            raise ValueError("give either token_env or token_file")
        return self


class Pool(Section):
    """Interchangeable numbers: a message to the pool goes out by any of them. The name is their home."""

    name: Home
    numbers: Annotated[tuple[MetaId, ...], Field(min_length=1)]


class Compliance(Section):
    """Who may be written to.

    consent_mode `opt_out`: everyone who has not said no (their consent is recorded upstream); `explicit`: only who is
    recorded here as opted in. Opt-out words are added to the built-in ones; none can be taken away.
    `do_not_message` lists person keys. An empty `allowed_countries` allows every country.
    """

    consent_mode: Literal["opt_out", "explicit"]
    opt_out_words: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    do_not_message: tuple[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")], ...] = ()
    allowed_countries: tuple[str, ...] = ()

    @field_validator("opt_out_words")
    @classmethod
    def _words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not normalised(word) or len(word) > 64 or word.lstrip()[0] in "-!~":
                raise ValueError(f"{word!r} is not a word of 1 to 64 characters; words can only be added, not removed")
            if normalised(word) in BUILT_IN_OPT_IN_WORDS:
                raise ValueError(f"{word!r} is an opt-in word")
        return words

    @field_validator("allowed_countries")
    @classmethod
    def _countries(cls, countries: tuple[str, ...]) -> tuple[str, ...]:
        for country in countries:
            if country not in phonenumbers.SUPPORTED_REGIONS:
                raise ValueError(f"{country!r} is not an ISO 3166 country code in capitals, such as IN")
        return countries


class Routing(Section):
    """How a form and a number are chosen. The margin is taken off the end of the customer service window."""

    window_margin_minutes: Annotated[float, Field(ge=0, le=720)] = 10.0


class Dispatch(Section):
    """How the lanes behave. `in_doubt_timeout_seconds` is per category; what is not named keeps its default.

    Resending is never by this file alone: the rules of the category and of the intent stand.
    """

    in_doubt_timeout_seconds: dict[Category, Annotated[float, Field(ge=1, le=LONGEST_IN_DOUBT_SECONDS)]] = Field(
        default_factory=dict, validate_default=True
    )
    max_attempts: Annotated[int, Field(ge=1, le=3)] = 3
    number_pause_minutes: Annotated[float, Field(ge=1, le=1440)] = 30.0
    request_timeout_seconds: Annotated[Seconds, Field(le=60)] = 10.0
    lease_seconds: Annotated[float, Field(ge=0.5, le=5)] = 2.0

    @field_validator("in_doubt_timeout_seconds")
    @classmethod
    def _every_category(cls, given: dict[Category, float]) -> dict[Category, float]:
        return IN_DOUBT_SECONDS | given


class Telemetry(Section):
    """How often Meta is asked how the numbers are."""

    health_poll_seconds: Annotated[float, Field(ge=5, le=3600)] = 300.0


class Governance(Section):
    """The whole policy. `profiles` holds the built-in ones too."""

    numbers: Annotated[tuple[Number, ...], Field(min_length=1)]
    compliance: Compliance
    pools: tuple[Pool, ...] = ()
    profiles: dict[str, Profile] = Field(default_factory=dict, validate_default=True)
    routing: Routing = Routing()
    dispatch: Dispatch = Dispatch()
    telemetry: Telemetry = Telemetry()

    _version: str = PrivateAttr("")
    _do_not_message: frozenset[str] = PrivateAttr(default=frozenset())
    _numbers: dict[str, Number] = PrivateAttr(default_factory=dict)
    _displayed: dict[str, Number] = PrivateAttr(default_factory=dict)
    _homes: dict[str, str] = PrivateAttr(default_factory=dict)
    _members: dict[str, tuple[Number, ...]] = PrivateAttr(default_factory=dict)

    @field_validator("profiles")
    @classmethod
    def _with_built_in(cls, given: dict[str, Profile]) -> dict[str, Profile]:
        for name, profile in given.items():
            if name in BUILT_IN_PROFILES and profile != BUILT_IN_PROFILES[name]:
                raise ValueError(f"{name!r} is a built-in profile and cannot be changed; choose another name")
        return BUILT_IN_PROFILES | given

    @model_validator(mode="after")
    def _consistent(self) -> Governance:
        problems = [*_number_problems(self), *_pool_problems(self)]
        if problems:
            raise Inconsistent(problems)
        return self

    def model_post_init(self, context: object, /) -> None:
        """Derive what is looked up often: the version and where each number is at home."""
        content = orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        self._version = hashlib.sha256(content).hexdigest()[:12]
        self._do_not_message = frozenset(self.compliance.do_not_message)
        self._numbers = {number.phone_number_id: number for number in self.numbers}
        self._displayed = {number.display_phone_number.lstrip("+"): number for number in self.numbers}
        pooled = {member: pool.name for pool in self.pools for member in pool.numbers}
        self._homes = {pnid: pooled.get(pnid, pnid) for pnid in self._numbers} | {p.name: p.name for p in self.pools}
        self._members = {home: self._at_home_in(home) for home in set(self._homes.values())}

    @property
    def version(self) -> str:
        """12 hexadecimal characters of SHA-256 over the whole content, defaults included; comments do not count."""
        return self._version

    @property
    def do_not_message(self) -> frozenset[str]:
        """The person keys of the do-not-message list."""
        return self._do_not_message

    def home_of(self, sender: str) -> str | None:
        """The home of a sender (a pool's name or a phone_number_id), or None where it is unknown."""
        return self._homes.get(sender)

    def numbers_of(self, home: str) -> tuple[Number, ...]:
        """The numbers at home there, in the file's order; empty where there is no such home."""
        return self._members.get(home, ())

    def number(self, phone_number_id: str) -> Number | None:
        """The number of that id."""
        return self._numbers.get(phone_number_id)

    def number_by_display(self, digits: str) -> Number | None:
        """The number that people see as `digits`, written with or without `+`, spaces and dashes."""
        return self._displayed.get("".join(char for char in digits if char in "0123456789"))

    def profile_of(self, number: Number) -> Profile:
        """The pacing profile of a number."""
        return self.profiles[number.profile]

    def _at_home_in(self, home: str) -> tuple[Number, ...]:
        return tuple(number for number in self.numbers if self._homes[number.phone_number_id] == home)


def _number_problems(governance: Governance) -> Iterator[tuple[Location, str]]:
    ids: set[str] = set()
    displayed: set[str] = set()
    for index, number in enumerate(governance.numbers):
        at: Location = ("numbers", index)
        if number.phone_number_id in ids:
            yield (*at, "phone_number_id"), f"{number.phone_number_id} is listed twice"
        if number.display_phone_number in displayed:
            yield (*at, "display_phone_number"), "another number is displayed the same"
        if number.profile not in governance.profiles:
            known = ", ".join(sorted(governance.profiles))
            yield (*at, "profile"), f"there is no profile {number.profile!r}; there are {known}"
        ids.add(number.phone_number_id)
        displayed.add(number.display_phone_number)


def _pool_problems(governance: Governance) -> Iterator[tuple[Location, str]]:
    ids = {number.phone_number_id for number in governance.numbers}
    taken: dict[str, str] = {}
    names: set[str] = set()
    for index, pool in enumerate(governance.pools):
        at: Location = ("pools", index)
        if pool.name in names:
            yield (*at, "name"), f"pool {pool.name!r} is listed twice"
        if pool.name in ids:
            yield (*at, "name"), f"{pool.name} is a phone_number_id; a pool needs a name of its own"
        names.add(pool.name)
        for place, member in enumerate(pool.numbers):
            if member not in ids:
                yield (*at, "numbers", place), f"{member} is not among the numbers"
            elif member in taken:
                yield (*at, "numbers", place), f"{member} is in pool {taken[member]!r} already"
            taken[member] = pool.name


def load(path: Path) -> Governance:
    """Read and check the file. Raises `GovernanceError` (a ValueError): one line per problem, with its line number."""
    return read(path, Governance)
