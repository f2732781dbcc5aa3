"""governance.yaml, the one policy file: what it may say, and what it means.

Everything is frozen. A `Governance` is consistent by construction: a number is in at most one pool, every name that is
used exists, no id is used twice. Its `version` is in every decision event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, PrivateAttr, StringConstraints, field_validator, model_validator

from harkara.contracts.event import Home, Phone
from harkara.contracts.intents import Category
from harkara.policy.governance_file import Inconsistent, Location, read, read_with_notes
from harkara.policy.mistakes import called
from harkara.policy.sections import Compliance, RequestSeconds, Routing, Section, Telemetry, Templates

MetaId = Annotated[str, StringConstraints(pattern=r"^[0-9]{5,20}$")]
called(MetaId, "an id of Meta's, 5 to 20 digits in quotes")
called(Phone, 'a number with + and its country code, such as "+919999900001"')
called(Home, "a name of 1 to 64 letters, digits, dashes and underscores")
Weight = Annotated[float, Field(ge=0.1, le=100)]  # a hundredth part of a number is no share worth waiting for

LONGEST_IN_DOUBT_SECONDS = 6 * 24 * 3600.0  # within the lane's memory of 7 days
InDoubtPolicy = Literal["resend", "unknown"]
IN_DOUBT_POLICY: dict[Category, InDoubtPolicy] = {
    "authentication": "resend",
    "utility": "resend",
    "marketing": "unknown",
    "service": "unknown",
}
IN_DOUBT_SECONDS: dict[Category, float] = {
    "authentication": 20.0,
    "utility": 900.0,
    "marketing": 86_400.0,
    "service": 60.0,
}


class Stage(Section):
    """Stricter limits of a young number. What is not given is the profile's."""

    until_days: Annotated[int, Field(ge=1, le=3650)]
    """They hold while the number is younger, in days of UTC since its `since`."""
    per_second: Annotated[int, Field(ge=1, le=1000)] | None = None
    per_minute: Annotated[int, Field(ge=1)] | None = None
    per_hour: Annotated[int, Field(ge=1)] | None = None
    per_day: Annotated[int, Field(ge=1)] | None = None
    media_per_hour: Annotated[int, Field(ge=1)] | None = None


class Profile(Section):
    """How fast one number may send. Limits hold in every span of their length, all at once; none: no such limit."""

    per_second: Annotated[int, Field(ge=1, le=1000)]
    """What people write to the number counts too (Meta's throughput; its highest is 1,000/s)."""
    per_minute: Annotated[int, Field(ge=1)] | None = None
    per_hour: Annotated[int, Field(ge=1)] | None = None
    per_day: Annotated[int, Field(ge=1)] | None = None
    """In any 24 hours."""
    media_per_hour: Annotated[int, Field(ge=1)] | None = None
    """Of messages with a picture, film, sound or document; texts go on meanwhile."""
    base_delay_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    """Between two sends of the number lies at least this."""
    max_jitter_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    """And by chance up to this much more."""
    typing_min_ms: Annotated[int, Field(ge=0, le=20_000)] = 0
    """Before an answer inside the service window the person sees for at least this long that somebody types."""
    typing_max_ms: Annotated[int, Field(ge=0, le=20_000)] = 0
    """And for at most this long, by chance; 0: nothing is shown. Meta then marks what they wrote as read."""
    gap_variation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The least coefficient of variation of the gaps under a full queue, for which the number rests now and then."""
    randomised_order: bool = False
    """Equal priorities leave in random order."""
    stages: Annotated[tuple[Stage, ...], Field(max_length=10)] = ()
    """Stricter limits while a number is young, which then needs `since`; the youngest first."""

    @field_validator("stages")
    @classmethod
    def _in_order(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        days = [stage.until_days for stage in stages]
        if days != sorted(set(days)):
            raise ValueError("stages must grow in until_days")
        return stages

    @model_validator(mode="after")
    def _stricter(self) -> Profile:
        if self.typing_max_ms < self.typing_min_ms:
            raise ValueError(f"typing_max_ms {self.typing_max_ms} is below typing_min_ms {self.typing_min_ms}")
        for stage in self.stages:
            for name, value in stage.model_dump(exclude={"until_days"}, exclude_none=True).items():
                whole = getattr(self, name)
                if whole is not None and value > whole:
                    raise ValueError(f"a stage may not be looser than its profile: {name} {value} above {whole}")
        return self

    def at_age(self, days: int) -> Profile:
        """What holds for a number of that age in whole days; without stages the profile itself."""
        if not self.stages:
            return self
        given = next((stage.model_dump(exclude_none=True) for stage in self.stages if days < stage.until_days), {})
        given.pop("until_days", None)
        return self.model_copy(update=given | {"stages": ()})


BUILT_IN_PROFILES: dict[str, Profile] = {
    "governance": Profile(
        per_second=1,
        per_minute=20,
        base_delay_ms=2000,
        max_jitter_ms=1500,
        gap_variation=0.4,
        randomised_order=True,
    ),
    "conservative": Profile(per_second=5, per_minute=20, per_hour=1000, media_per_hour=100, base_delay_ms=5000),
    "trust-level": Profile(
        per_second=1,
        per_minute=30,
        per_day=500,
        base_delay_ms=3000,
        max_jitter_ms=2000,
        stages=(
            Stage(until_days=3, per_minute=5, per_day=20),
            Stage(until_days=14, per_minute=15, per_day=100),
        ),
    ),
    "cloud-api": Profile(per_second=80),
    "cloud-api-high": Profile(per_second=1000),
}
"""Profiles that need no listing (rows DSP-3 to DSP-8). `cloud-api` and `cloud-api-high` are Meta's own throughput
levels."""


class Number(Section):
    """A sender number as Meta knows it. Its access token is in an environment variable or a file, never here.

    Its calls leave by `local_address` (an address of this machine) or by `proxy` (`http://host:port`, which tunnels
    TLS and knows us by our address: passwords have no place in this file), else as the machine sees fit.
    """

    phone_number_id: MetaId
    display_phone_number: Phone
    waba_id: MetaId
    portfolio_id: MetaId
    profile: str = "cloud-api"
    since: date | None = None
    """The day on which it began to send, for profiles with stages."""
    token_env: Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    token_file: Path | None = None
    local_address: IPv4Address | IPv6Address | None = None
    proxy: Annotated[str, StringConstraints(pattern=r"^http://[A-Za-z0-9.:\[\]-]+$")] | None = None

    @model_validator(mode="after")
    def _one_way_out(self) -> Number:
        if self.local_address is not None and self.proxy is not None:
            raise ValueError("give local_address or proxy, not both: behind a proxy the address is the proxy's")
        return self

    @model_validator(mode="after")
    def _one_token(self) -> Number:
        if (self.token_env is None) == (self.token_file is None):
            raise ValueError("give either token_env or token_file")
        return self


class Pool(Section):
    """Interchangeable numbers: a message to the pool goes out by any of them. The name is their home."""

    name: Home
    numbers: Annotated[tuple[MetaId, ...], Field(min_length=1)]


class Portfolio(Section):
    """A business portfolio whose messaging limit is kept over all its numbers, whichever process sends.

    The limit is on the people outside service windows whom the numbers with this `portfolio_id` write to in any 24
    hours (Meta, messaging limits): only templates count.
    """

    id: MetaId
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["unlimited"]
    """250, 2000, 10000, 100000 or `unlimited`; what Meta reports of the portfolio takes its place."""


class Dispatch(Section):
    """How the lanes behave. `in_doubt_timeout_seconds` and `in_doubt_policy` are per category; what is not named keeps
    its default.

    `in_doubt_policy`: what becomes of a message of which nobody knows whether Meta has it, once its time is over.
    unknown: an operator decides. resend (authentication; utility where the intent says `duplicate_ok`): sent once
    more if webhooks are seen to arrive, under a new attempt, and not before the older call has surely ended: two
    seconds after `lease_seconds` and `request_timeout_seconds`, also where `in_doubt_timeout_seconds` is shorter. The
    file can only make it stricter: resending is never by this file alone, the rules of the category and of the intent
    stand. `weights` says how many turns a producer has for one of another's where they share a number, unnamed ones
    1; its runs and single messages share them evenly.
    """

    in_doubt_timeout_seconds: dict[Category, Annotated[float, Field(ge=1, le=LONGEST_IN_DOUBT_SECONDS)]] = Field(
        default_factory=dict, validate_default=True
    )
    in_doubt_policy: dict[Category, InDoubtPolicy] = Field(default_factory=dict, validate_default=True)
    max_attempts: Annotated[int, Field(ge=1, le=3)] = 3
    number_pause_minutes: Annotated[float, Field(ge=1, le=1440)] = 30.0
    request_timeout_seconds: RequestSeconds = 10.0
    lease_seconds: Annotated[float, Field(ge=0.5, le=5)] = 2.0
    weights: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")], Weight] = Field(
        default_factory=dict
    )

    @field_validator("in_doubt_timeout_seconds")
    @classmethod
    def _every_category(cls, given: dict[Category, float]) -> dict[Category, float]:
        return IN_DOUBT_SECONDS | given

    @field_validator("in_doubt_policy")
    @classmethod
    def _only_stricter(cls, given: dict[Category, InDoubtPolicy]) -> dict[Category, InDoubtPolicy]:
        for category, word in given.items():
            if word == "resend" and IN_DOUBT_POLICY[category] == "unknown":
                raise ValueError(f"{category} messages are never sent again unasked: only unknown is possible")
        return IN_DOUBT_POLICY | given


class Governance(Section):
    """The whole policy. `profiles` holds the built-in ones too."""

    numbers: Annotated[tuple[Number, ...], Field(min_length=1)]
    compliance: Compliance
    pools: tuple[Pool, ...] = ()
    portfolios: Annotated[tuple[Portfolio, ...], Field(max_length=100)] = ()
    """Whose messaging limit is kept; of portfolios that are not listed Meta refuses what is above it."""
    profiles: dict[str, Profile] = Field(default_factory=dict, validate_default=True)
    routing: Routing = Routing()
    dispatch: Dispatch = Dispatch()
    telemetry: Telemetry = Telemetry()
    templates: Templates = Templates()

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
        problems = [*_number_problems(self), *_pool_problems(self), *_portfolio_problems(self)]
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
        members: dict[str, list[Number]] = {}
        for number in self.numbers:
            members.setdefault(self._homes[number.phone_number_id], []).append(number)
        self._members = {home: tuple(found) for home, found in members.items()}

    @property
    def version(self) -> str:
        """12 hexadecimal characters of SHA-256 over the whole content, defaults included; comments do not count."""
        version: str = self._found("_version")
        return version

    def _found(self, name: str) -> Any:
        """A private attribute, without pydantic's way to it: it takes 2 us, and a decision asks five times."""
        return (self.__pydantic_private__ or {})[name]

    def known_as(self, version: str) -> Governance:
        """This policy under the version it was put on record by: the record leaves out what explains no decision."""
        named = self.model_copy()
        named._version = version
        return named

    @property
    def do_not_message(self) -> frozenset[str]:
        """The person keys of the do-not-message list."""
        listed: frozenset[str] = self._found("_do_not_message")
        return listed

    def home_of(self, sender: str) -> str | None:
        """The home of a sender (a pool's name or a phone_number_id), or None where it is unknown."""
        homes: dict[str, str] = self._found("_homes")
        return homes.get(sender)

    @property
    def homes(self) -> list[str]:
        """Every home, by name."""
        return sorted(self._members)

    def numbers_of(self, home: str) -> tuple[Number, ...]:
        """The numbers at home there, in the file's order; empty where there is no such home."""
        members: dict[str, tuple[Number, ...]] = self._found("_members")
        return members.get(home, ())

    def number(self, phone_number_id: str) -> Number | None:
        """The number of that id."""
        return self._numbers.get(phone_number_id)

    def number_by_display(self, digits: str) -> Number | None:
        """The number that people see as `digits`, written with or without `+`, spaces and dashes."""
        return self._displayed.get("".join(char for char in digits if char in "0123456789"))

    def profile_of(self, number: Number) -> Profile:
        """The pacing profile of a number, as it is once the number has left its stages."""
        return self.profiles[number.profile]

    def profile_at(self, number: Number, now: datetime) -> Profile:
        """What the number's profile says at its age then: days of UTC since `since`."""
        profile = self.profiles[number.profile]
        return profile.at_age((now.astimezone(UTC).date() - number.since).days) if number.since else profile


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
        elif governance.profiles[number.profile].stages and number.since is None:
            yield (*at, "profile"), f"{number.profile!r} paces by the number's age: give `since: YYYY-MM-DD`"
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


def _portfolio_problems(governance: Governance) -> Iterator[tuple[Location, str]]:
    known = {number.portfolio_id for number in governance.numbers}
    seen: set[str] = set()
    for index, portfolio in enumerate(governance.portfolios):
        at: Location = ("portfolios", index, "id")
        if portfolio.id in seen:
            yield at, f"portfolio {portfolio.id} is listed twice"
        elif portfolio.id not in known:
            yield at, f"no number has the portfolio_id {portfolio.id}"
        seen.add(portfolio.id)


def accounts_of(numbers: Iterable[Number]) -> tuple[str, ...]:
    """The WhatsApp Business Accounts that these numbers belong to, each once."""
    return tuple(dict.fromkeys(number.waba_id for number in numbers))


def load(path: Path) -> Governance:
    """Read and check the file. Raises `GovernanceError` (a ValueError): one line per problem, with its line number."""
    return read(path, Governance)


def load_with_notes(path: Path) -> tuple[Governance, list[str]]:
    """As `load`, with what the file's writer should know: one sentence each. Raises `GovernanceError`."""
    return read_with_notes(path, Governance)
