"""The query API and the operators' commands, for programs: an API key in a header, problems as RFC 9457."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from harkara.console.access import Access, Caller
from harkara.console.answers import (
    Accepted,
    MessageAnswer,
    NumberAnswer,
    NumberStats,
    RecipientsAnswer,
    RunAnswer,
    RunsAnswer,
    SenderQueue,
    SenderStats,
    message_answer,
    number_answers,
    queue_answer,
    recipient_answer,
    run_answer,
)
from harkara.console.commands import Commands
from harkara.console.core import percent
from harkara.console.queries import Queries
from harkara.console.settings import Settings
from harkara.contracts.lifecycle import ENDS, REACHED, MessageState
from harkara.policy.governance import Governance
from harkara.runtime.clock import Clock
from harkara.runtime.problems import Problem

BEYOND_CANCELLING = ENDS | {"submitted", "sent"}
LONGEST_ID = 200  # of a message, run or wamid (Meta's have about 60 characters)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes and the pages work with; made in app.py, found at `app.state.desk`."""

    access: Access
    queries: Queries
    commands: Commands
    governance: Governance
    clock: Clock
    pepper: bytes
    settings: Settings


def desk_of(request: Request) -> Desk:
    """The desk of the app that got the request."""
    desk: Desk = request.app.state.desk
    return desk


def caller_of(request: Request) -> Caller:
    """The authenticated caller; raises Problem 401 or 403."""
    return desk_of(request).access.caller(request)


AtDesk = Annotated[Desk, Depends(desk_of)]
AsCaller = Annotated[Caller, Depends(caller_of)]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": why, "content": {"application/problem+json": {}}}
    for status, why in {401: "No valid API key", 404: "Not known", 503: "Postgres or Kafka does not answer"}.items()
}
router = APIRouter(prefix="/api/v1", responses=PROBLEMS)


class NumberOrder(BaseModel):
    """Why a number is halted or resumed; it stands in the audit log, so no personal data."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[str, Field(max_length=500)] = ""


@router.get("/messages/{message_id}/status", response_model_exclude_none=True)
async def message_status(message_id: str, desk: AtDesk, caller: AsCaller) -> MessageAnswer:
    """Where a message is, every attempt, and its history with times and reasons. A wamid may be given for the id."""
    return message_answer(*await find_message(desk, caller, message_id))


@router.delete("/messages/{message_id}", status_code=202)
async def cancel_message(message_id: str, desk: AtDesk, caller: AsCaller) -> Accepted:
    """Ask the message's lane to cancel it. 409 ALREADY_BEYOND once Meta has it or it has ended."""
    state, _ = await find_message(desk, caller, message_id)
    return await cancel(desk, caller, state)


@router.get("/queue/{sender}")
async def sender_queue(sender: str, desk: AtDesk, caller: AsCaller) -> SenderQueue:
    """The queue of a number, or of each number of a pool: how many wait, who is next, and when (ING-4)."""
    home, numbers = resolve_sender(desk, caller, sender)
    reported = await desk.queries.numbers(home)
    rows = {pnid: reported.get(pnid, {}).get("queue") for pnid in numbers}
    now = desk.clock.now()
    queues = [answer for row in rows.values() if (answer := queue_answer(row, now)) is not None]
    return SenderQueue(
        sender=sender,
        home=home,
        queued=sum(each.queued for each in queues),
        numbers=queues,
        not_reported=[pnid for pnid, row in rows.items() if row is None],
    )


@router.delete("/queue/{sender}/{message_id}", status_code=202)
async def cancel_queued(sender: str, message_id: str, desk: AtDesk, caller: AsCaller) -> Accepted:
    """Cancel one message of a sender's queue; as DELETE /messages/{id}, and 404 if it belongs to another sender."""
    home, _ = resolve_sender(desk, caller, sender)
    state, _ = await find_message(desk, caller, message_id)
    if state.home != home:
        raise not_found("message")
    return await cancel(desk, caller, state)


@router.get("/stats/{sender}")
async def sender_stats(
    sender: str, desk: AtDesk, caller: AsCaller, hours: Annotated[int, Query(ge=1, le=744)] = 24
) -> SenderStats:
    """How the messages of a number or pool stand that changed in the last `hours` (at most 31 days)."""
    home, numbers = resolve_sender(desk, caller, sender)
    since = desk.clock.now() - timedelta(hours=hours)
    of_number = [sender] if desk.governance.number(sender) is not None and sender != home else None
    by_status = await desk.queries.statuses(of_number, home, since)
    reported = await desk.queries.numbers(home)
    queues = [queue for pnid in numbers if (queue := reported.get(pnid, {}).get("queue"))]
    total = sum(by_status.values())
    delivered = sum(count for status, count in by_status.items() if status in REACHED)
    return SenderStats(
        sender=sender,
        home=home,
        hours=hours,
        by_status=by_status,
        total=total,
        delivered=delivered,
        percent_delivered=percent(delivered, total),
        sent_last_minute=sum(queue["sent_last_minute"] for queue in queues),
        sent_today=sum(queue["sent_today"] for queue in queues),
        queued=sum(queue["queued"] + queue["held"] for queue in queues),
        numbers=[NumberStats.model_validate(queue) for queue in queues],
    )


@router.get("/runs")
async def runs(
    desk: AtDesk,
    caller: AsCaller,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    before: Annotated[AwareDatetime | None, Query()] = None,
) -> RunsAnswer:
    """The newest runs and how they stand; page on with `before`."""
    found = await desk.queries.runs(limit, before, caller.home)
    oldest: datetime | None = found[-1]["created_at"] if len(found) == limit else None
    return RunsAnswer(runs=[run_answer(each) for each in found], before=oldest)


@router.get("/runs/{run_id}")
async def run(run_id: str, desk: AtDesk, caller: AsCaller) -> RunAnswer:
    """One run: expected, delivered, on time, ended, by status and by reason."""
    found = await desk.queries.run(bounded(run_id), caller.home)
    if found is None:
        raise not_found("run")
    return run_answer(found)


@router.get("/runs/{run_id}/recipients")
async def run_recipients(
    run_id: str,
    desk: AtDesk,
    caller: AsCaller,
    status: Annotated[str | None, Query(max_length=32)] = None,
    after: Annotated[str, Query(max_length=LONGEST_ID)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> RecipientsAnswer:
    """What became of each recipient: of one status, or of all; page on with `after` (ING-16, CMP-8)."""
    if await desk.queries.run(bounded(run_id), caller.home) is None:
        raise not_found("run")
    rows = await desk.queries.run_messages(run_id, status and bounded(status), bounded(after), limit)
    following = rows[-1]["message_id"] if len(rows) == limit else None
    return RecipientsAnswer(recipients=[recipient_answer(each) for each in rows], after=following)


@router.get("/numbers")
async def numbers(desk: AtDesk, caller: AsCaller) -> list[NumberAnswer]:
    """Every sender number: verdict, quality, why and by whom, and its queue."""
    return number_answers(desk.governance, await desk.queries.numbers(caller.home), caller.home, desk.clock.now())


@router.post("/numbers/{phone_number_id}/halt", status_code=202)
async def halt_number(
    phone_number_id: str, desk: AtDesk, caller: AsCaller, order: NumberOrder | None = None
) -> Accepted:
    """Stop a number at once; its messages wait, or go by another number of its pool."""
    home = home_of_number(desk, caller, phone_number_id)
    note = order.note if order else ""
    return Accepted(command_id=await desk.commands.number("halt", phone_number_id, home, caller.key.id, note))


@router.post("/numbers/{phone_number_id}/resume", status_code=202)
async def resume_number(
    phone_number_id: str, desk: AtDesk, caller: AsCaller, order: NumberOrder | None = None
) -> Accepted:
    """Let a number send again, after a halt of ours, of Meta's or of the dispatcher's."""
    home = home_of_number(desk, caller, phone_number_id)
    note = order.note if order else ""
    return Accepted(command_id=await desk.commands.number("resume", phone_number_id, home, caller.key.id, note))


async def find_message(desk: Desk, caller: Caller, name: str) -> tuple[MessageState, list[dict[str, Any]]]:
    """A message by its id or wamid; raises Problem 404, for another sender's message too."""
    found = await desk.queries.message(bounded(name), caller.home)
    if found is None and (message_id := await desk.queries.message_of(name, caller.home)):
        found = await desk.queries.message(message_id, caller.home)
    if found is None:
        raise not_found("message")
    return found


async def cancel(desk: Desk, caller: Caller, state: MessageState) -> Accepted:
    """Write the cancel command; raises Problem 409 where it would come too late for certain."""
    if state.status in BEYOND_CANCELLING:
        raise Problem(409, "ALREADY_BEYOND", "The message cannot be cancelled any more", f"It is {state.status}.")
    told = await desk.commands.tell("cancel_message", state.message_id, state.home, caller.key.id)
    return Accepted(command_id=told)


def resolve_sender(desk: Desk, caller: Caller, sender: str) -> tuple[str, list[str]]:
    """A sender's home and the numbers meant: one, or all of a pool. Raises Problem 404 if unknown or foreign."""
    home = desk.governance.home_of(sender)
    if home is None or caller.home not in (None, home):
        raise not_found("sender")
    if desk.governance.number(sender) is not None:
        return home, [sender]
    return home, [number.phone_number_id for number in desk.governance.numbers_of(home)]


def home_of_number(desk: Desk, caller: Caller, phone_number_id: str) -> str:
    """A number's home; raises Problem 404 for one that is no number of the policy file, or not this caller's."""
    home = desk.governance.home_of(phone_number_id) if desk.governance.number(phone_number_id) else None
    if home is None or caller.home not in (None, home):
        raise not_found("number")
    return home


def bounded(name: str) -> str:
    """The name as given; raises Problem 404 for one that is too long to be ours, or that Postgres cannot hold."""
    if len(name) > LONGEST_ID or "\x00" in name:
        raise not_found("entry")
    return name


def not_found(what: str) -> Problem:
    """404, in the same words whether it does not exist, has not been seen yet, or is another sender's."""
    return Problem(404, "NOT_FOUND", f"No such {what}", f"No {what} of that name is known here (yet).")
