"""The root of every event on the wire."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

MessageId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
"""A message's id, chosen once by whoever writes the intent; every retry of the same message carries the same id.
No dot: `biz_opaque_callback_data` is `<message_id>.<attempt>`."""

Home = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""What partitions the message path: a pool's name, or the phone_number_id of a number outside any pool."""

Phone = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")]
"""E.164 with the plus sign."""

UserId = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$")]
"""A business-scoped user id of Meta's, verbatim: the country's two letters, a dot, up to 128 letters and digits; `ENT.`
before these in a parent id (Meta, business-scoped user ids)."""


def plausible(at: datetime) -> datetime:
    """The time itself. Raises ValueError for one that no event may have."""
    surely = 2000 < at.year < 2199  # in whatever zone; to compare it takes longer than everything else of a time
    if not surely and not EARLIEST <= at <= LATEST:
        raise ValueError("the time must be between the years 2000 and 2200")
    return at


EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
Instant = Annotated[AwareDatetime, AfterValidator(plausible)]
"""A time with its zone, so far from the calendar's ends that adding days or changing zones never overflows."""


class Value(BaseModel):
    """A part of an event: immutable; a reader ignores keys it does not know, so that writers can add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def built(cls, **fields: Any) -> Self:
        """One of values that are of their types already: nothing is checked or converted, which takes most of the time.

        Only for what comes out of checked events or is a literal of ours. Raises TypeError where fields are missing or
        unknown.
        """
        return cls.built_of(fields)

    @classmethod
    def built_of(cls, fields: Mapping[str, Any]) -> Self:
        """As `built`, of fields that are put together already."""
        required, blank, made_anew = _shape(cls)
        values = {**blank, **fields}
        if len(values) > len(blank) or not required <= fields.keys():
            raise TypeError(f"{cls.__name__} has other fields than {', '.join(fields)}")
        for name, make in made_anew:
            if name not in fields:
                values[name] = make()
        built = cls.__new__(cls)
        _set(built, "__dict__", values)
        _set(built, "__pydantic_fields_set__", set(fields))
        _set(built, "__pydantic_extra__", None)
        _set(built, "__pydantic_private__", None)
        return built


_set = object.__setattr__  # a frozen value has no other way


@cache  # as many as there are classes
def _shape(kind: type[Value]) -> tuple[frozenset[str], dict[str, Any], tuple[tuple[str, Callable[[], Any]], ...]]:
    """The required fields; all fields in their order with their defaults; and those whose default is made anew."""
    made_anew = []
    for name, each in kind.model_fields.items():
        if each.default_factory is not None:
            made_anew.append((name, cast("Callable[[], Any]", each.default_factory)))
    required = frozenset(name for name, each in kind.model_fields.items() if each.is_required())
    return required, {name: each.default for name, each in kind.model_fields.items()}, tuple(made_anew)


class Event(Value):
    """One fact on a topic. `ce_type` is its CloudEvents type, with the version of its schema at the end."""

    ce_type: ClassVar[str]


class Reason(Value):
    """Why something was decided, for machines (`code`) and for people (`text`, one sentence, no personal data)."""

    code: str
    text: str
    rule: str | None = None
    policy_version: str | None = None
    details: dict[str, str] = Field(default_factory=dict)


class Decision(Value):
    """What a decision went by, so that it can be made again: policy, time and inputs, without personal data.

    `step`: clearance (guard), routing (router), contact (lane: caps and repeats) or lane (whatever else holds or ends a
    message there). `verdict`: what came of it, in the step's own words.
    """

    step: Literal["clearance", "routing", "contact", "lane"]
    policy_version: str
    at: Instant
    inputs: dict[str, Any]
    verdict: dict[str, Any] = Field(default_factory=dict)


def event_id(*parts: object) -> str:
    """A deterministic id: the same input and step give the same id, so a repeated hop writes the same events.

    32 hexadecimal characters of SHA-256 over the parts joined by a unit separator (which none of them contains).
    """
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


def epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970 in UTC, as Kafka's record timestamps are."""
    return int(at.timestamp() * 1000)
