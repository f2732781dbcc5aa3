"""How many people a business portfolio may write to outside service windows in 24 hours: what was used, what is leased.

(Meta, messaging limits: unique people in a moving 24 hours, over all numbers of the portfolio.)
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harkara.contracts.event import Event, Home, Instant, Value

UNLIMITED = -1
MOST_PERSONS = 2000  # in one event: a round of a lane decides on at most 500 messages

Count = Annotated[int, Field(ge=0, le=2**53)]
Limit = Annotated[int, Field(ge=UNLIMITED, le=2**53)]
"""People in 24 hours; -1: as many as one likes."""


class PortfolioEvent(Event):
    """What a home did with its units (one unit: one more person), or what the limit is. Counters only grow, so an
    event that comes again changes nothing.

    spent: `persons` were written to for the first time in a day, a unit each; `again` without one, for they count
    already; `returned` units are given back. `sequence`: all units of the home that are used up by now, with these.
    wanted: the home would like to have `wanted` units in hand beyond its `sequence`; some of the `persons` it waits
    for are named, for they may count already by another number.
    limit: what governance.yaml (`policy`) or Meta (`meta`) says, since `at`.
    """

    ce_type: ClassVar[str] = "harkara.portfolio-event.v1"
    portfolio_id: str
    kind: Literal["spent", "wanted", "limit"]
    at: Instant
    home: Home | None = None
    sequence: Count = 0
    persons: Annotated[tuple[str, ...], Field(max_length=MOST_PERSONS)] = ()
    again: Annotated[tuple[str, ...], Field(max_length=MOST_PERSONS)] = ()
    returned: Count = 0
    wanted: Count = 0
    limit: Limit | None = None
    source: Literal["policy", "meta"] | None = None


class LeaseAccount(Value):
    """A home's units: all that were ever `granted`, all that it has `reported` as used (`beyond`: parts, each from and
    to, that came before what lies in between), and up to where it would like to have some (`target`)."""

    granted: Count = 0
    reported: Count = 0
    beyond: tuple[tuple[int, int], ...] = ()
    target: Count = 0


class PortfolioLease(Event):
    """The ledger of a portfolio after the record `version` (an offset) of portfolio-events; a reader keeps the highest.

    A lane spends as long as it has used fewer units than its home was `granted`. `used`: people who count now; places
    get free as `frees` says: so many by then. `known`: some of the people that lanes asked about, and until when they
    count. `policy_limit` and `meta_limit` are the words that `limit` follows from: Meta's where it is known.
    """

    ce_type: ClassVar[str] = "harkara.portfolio-lease.v1"
    portfolio_id: str
    version: Count
    at: Instant
    limit: Limit | None = None
    used: Count = 0
    outstanding: Count = 0
    homes: dict[Home, LeaseAccount] = Field(default_factory=dict)
    frees: tuple[tuple[int, Instant], ...] = ()
    known: dict[str, Instant] = Field(default_factory=dict)
    policy_limit: Limit | None = None
    meta_limit: Limit | None = None
    meta_limit_at: Instant | None = None
