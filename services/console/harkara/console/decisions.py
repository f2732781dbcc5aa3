"""The policy's decisions as they were recorded, to be made again under another policy."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from harkara.console.answers import Answer
from harkara.console.routes import LONGEST_ID, PROBLEMS, AsCaller, AtDesk
from harkara.policy.reload import content_of
from harkara.runtime.problems import Problem

deciding = APIRouter(prefix="/api/v1/decisions", responses=PROBLEMS)
LONGEST_CURSOR = 3 * LONGEST_ID


class Recorded(Answer):
    """One decision on a message: its step, inputs, verdict, policy version and time, as they were written."""

    message_id: str
    decision: dict[str, Any]


class PolicyThen(Answer):
    """A policy as it was put on record, JSON; None: it is not on record here."""

    version: str
    content: str | None = None


class Decisions(Answer):
    """Decisions by their time; `next` asks for those after them, None: these were the last."""

    decisions: list[Recorded]
    next: str | None = None


def place_of(cursor: str) -> tuple[str, str, str]:
    """(at, source, event id) of the decision after which an answer's `next` goes on. Raises Problem 422."""
    place, _, event_id = cursor.partition(" ")
    at, _, source = place.partition("|")
    try:
        known = datetime.fromisoformat(at).tzinfo is not None and bool(source and event_id) and "\x00" not in cursor
    except ValueError:
        known = False
    if not known:
        raise Problem(422, "CURSOR_UNKNOWN", "`after` is no answer's `next`", "Begin again without it.")
    return at, source, event_id


@deciding.get("", response_model_exclude_none=True)
async def decisions(
    desk: AtDesk,
    caller: AsCaller,
    since: AwareDatetime,
    after: Annotated[str | None, Query(max_length=LONGEST_CURSOR)] = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> Decisions:
    """What was decided from `since` on. A decision that was made twice is here once; where a hop that was
    killed came to another one when it ran again, both are."""
    caller.require_everything()
    rows = await desk.queries.decisions(since, None if after is None else place_of(after), limit)
    found = [Recorded(message_id=row["message_id"], decision=row["decision"]) for row in rows]
    last = rows[-1] if len(rows) == limit else None
    cursor = None if last is None else f"{last['at'].isoformat()}|{last['source']} {last['event_id']}"
    return Decisions(decisions=found, next=cursor)


@deciding.get("/policies/{version}")
async def policy(version: Annotated[str, Path(max_length=LONGEST_ID)], desk: AtDesk, caller: AsCaller) -> PolicyThen:
    """The policy of a decision: what it asked of a message, and so what was kept of it."""
    caller.require_everything()
    if version == desk.governance.version:
        return PolicyThen(version=version, content=content_of(desk.governance))
    return PolicyThen(version=version, content=await desk.queries.policy(version))
