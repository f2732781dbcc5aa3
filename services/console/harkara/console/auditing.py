"""The audit for whoever proves it: the ends of its chains, and its records in their order."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from harkara.console.routes import PROBLEMS, AsCaller, AtDesk
from harkara.runtime.problems import Problem

MOST_DECISIONS = 50_000  # of one answer: 30 MB; `harkara audit verify` asks for far fewer

auditing = APIRouter(prefix="/api/v1/audit", responses=PROBLEMS)


class Head(BaseModel):
    """A chain's end: how many records it has, and the hash of the last (64 zeros: it has none)."""

    chain: int
    link: int
    hash: str


class Heads(BaseModel):
    """`unlinked`: records from before there were chains; `unwitnessed`: decisions from before they were in one."""

    chains: list[Head]
    unlinked: int
    unwitnessed: int


class Link(BaseModel):
    """A record in its chain. `salts`: of the fields in which a person may be named; where one is gone, what stands in
    the field is a hash of who it was (`contracts.audit.linked_hash`)."""

    chain: int
    link: int
    hash: str
    audit_id: str
    actor: str
    action: str
    subject: str
    at: datetime
    details: dict[str, str]
    salts: dict[str, str] | None


class Links(BaseModel):
    """Some records of a chain, in order."""

    links: list[Link]


class Witnessed(BaseModel):
    """A decision, and the number of the record that stands for it in its chain."""

    link: int
    source: str
    event_id: str
    message_id: str | None
    decision: Any


class WitnessedDecisions(BaseModel):
    """By the records that stand for them."""

    decisions: list[Witnessed]


@auditing.get("/heads")
async def heads(desk: AtDesk, caller: AsCaller) -> Heads:
    """Where the chains end: keep it where nobody writes to the database, and compare later."""
    caller.require_everything()
    found, unlinked, unwitnessed = await desk.queries.audit_heads()
    return Heads(chains=[Head.model_validate(row) for row in found], unlinked=unlinked, unwitnessed=unwitnessed)


@auditing.get("/chains/{chain}")
async def links(
    chain: int,
    desk: AtDesk,
    caller: AsCaller,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> Links:
    """The records of a chain after the `after`-th."""
    caller.require_everything()
    return Links(links=[Link.model_validate(row) for row in await desk.queries.audit_links(chain, after, limit)])


@auditing.get("/chains/{chain}/decisions")
async def witnessed(
    chain: int,
    desk: AtDesk,
    caller: AsCaller,
    after: Annotated[int, Query(ge=0, le=2**62)],
    until: Annotated[int, Query(ge=0, le=2**62)],
) -> WitnessedDecisions:
    """What the chain's records after the `after`-th until the `until`-th stand for. Each says how many: ask for as many
    records as an answer is to be long, 50,000 decisions at most."""
    caller.require_everything()
    rows = await desk.queries.audit_decisions(chain, after, until, MOST_DECISIONS + 1)
    if len(rows) > MOST_DECISIONS:
        detail = f"They stand for more than {MOST_DECISIONS} decisions: ask for fewer at once."
        raise Problem(422, "TOO_MANY_RECORDS", "Too many records", detail)
    return WitnessedDecisions(decisions=[Witnessed.model_validate(row) for row in rows])
