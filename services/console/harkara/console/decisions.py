"""The policy's decisions as they were recorded, to be made again under another policy."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from harkara.console.answers import Answer
from harkara.console.routes import LONGEST_ID, PROBLEMS, AsCaller, AtDesk
from harkara.runtime.problems import Problem

deciding = APIRouter(prefix="/api/v1/decisions", responses=PROBLEMS)
LONGEST_CURSOR = 3 * LONGEST_ID


class Recorded(Answer):
    """One decision on a message: its step, inputs, verdict, policy version and time, as they were written."""

    message_id: str
    decision: dict[str, Any]


class Decisions(Answer):
    """Decisions by their time; `next` asks for those after them, None: these were the last."""

    decisions: list[Recorded]
    next: str | None = None


@deciding.get("", response_model_exclude_none=True)
async def decisions(
    desk: AtDesk,
    caller: AsCaller,
    since: AwareDatetime,
    after: Annotated[str | None, Query(max_length=LONGEST_CURSOR)] = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> Decisions:
    """What was decided from `since` on. A hop that was killed and ran again may show a decision twice."""
    caller.require_everything()
    source, _, event_id = (after or "").partition(" ")
    at, _, source = source.partition("|")
    if after is not None and not (event_id and at and source):
        raise Problem(422, "CURSOR_UNKNOWN", "`after` is no answer's `next`", "Begin again without it.")
    rows = await desk.queries.decisions(since, (at, source, event_id) if after else None, limit)
    found = [Recorded(message_id=row["message_id"], decision=row["decision"]) for row in rows]
    last = rows[-1] if len(rows) == limit else None
    cursor = None if last is None else f"{last['at'].isoformat()}|{last['source']} {last['event_id']}"
    return Decisions(decisions=found, next=cursor)
