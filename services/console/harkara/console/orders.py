"""Commands on messages, runs and recipients, for programs. Each is audited before it is answered; what comes of it is
seen on the message and, from its lane, in the audit log. Repeating one does no harm."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from harkara.console.access import Caller
from harkara.console.answers import Accepted, AllAccepted
from harkara.console.core import Row
from harkara.console.routes import (
    BEYOND_CANCELLING,
    PROBLEMS,
    AsCaller,
    AtDesk,
    Desk,
    bounded,
    find_message,
    not_found,
    resolve_sender,
)
from harkara.contracts.commands import RunWord
from harkara.contracts.event import Phone, event_id
from harkara.contracts.identity import person_key
from harkara.contracts.intents import Priority
from harkara.runtime.problems import Problem

IN_DOUBT = frozenset({"in_doubt", "unknown"})

orders = APIRouter(prefix="/api/v1", responses=PROBLEMS)


class Order(BaseModel):
    """`note` says why; it stands in the audit log, so no personal data."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[str, Field(max_length=500)] = ""


class PriorityOrder(Order):
    """1 normal, 2 high, 3 urgent: the next slot of its number."""

    priority: Priority


class Resolution(Order):
    """What an operator knows of a message in doubt: `sent` (Meta has it), `resend` (at the risk of a second one), or
    `drop`."""

    resolution: Literal["sent", "resend", "drop"]
    wamid: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _wamid_of_a_sent_one(self) -> Resolution:
        if self.wamid is not None and self.resolution != "sent":
            raise ValueError("a wamid belongs to `sent`")
        return self


class RecipientOrder(Order):
    """Whose messages: `to` in E.164, or the person key. `sender` narrows it to one number or pool."""

    to: Phone | None = None
    person_key: Annotated[
        str | None, Field(pattern=r"^[0-9a-f]{32}$", validation_alias=AliasChoices("personKey", "person_key"))
    ] = None
    sender: Annotated[str, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _one_person(self) -> RecipientOrder:
        if (self.to is None) == (self.person_key is None):
            raise ValueError("give either `to` or `personKey`")
        return self


@orders.post("/messages/{message_id}/priority", status_code=202)
async def prioritise_message(message_id: str, order: PriorityOrder, desk: AtDesk, caller: AsCaller) -> Accepted:
    """Give a waiting message another priority. 409 ALREADY_BEYOND once Meta has it or it has ended."""
    state, _ = await find_message(desk, caller, message_id)
    if state.status in BEYOND_CANCELLING:
        raise Problem(409, "ALREADY_BEYOND", "The message does not wait any more", f"It is {state.status}.")
    told = await desk.commands.tell(
        "prioritise_message", state.message_id, state.home, caller.key.id, order.note, priority=order.priority
    )
    return Accepted(command_id=told)


@orders.post("/messages/{message_id}/resolve", status_code=202)
async def resolve_in_doubt(message_id: str, order: Resolution, desk: AtDesk, caller: AsCaller) -> Accepted:
    """Settle a message in doubt. 409 NOT_IN_DOUBT for any other. The same word on the same attempt counts once."""
    state, _ = await find_message(desk, caller, message_id)
    if state.status not in IN_DOUBT:
        raise Problem(409, "NOT_IN_DOUBT", "The message is not in doubt", f"It is {state.status}.")
    told = await desk.commands.tell(
        "resolve_in_doubt",
        state.message_id,
        state.home,
        caller.key.id,
        order.note,
        command_id=event_id("resolve_in_doubt", state.message_id, state.attempt, order.resolution, caller.key.id),
        resolution=order.resolution,
        wamid=order.wamid,
    )
    return Accepted(command_id=told)


@orders.delete("/runs/{run_id}", status_code=202)
async def cancel_run(run_id: str, desk: AtDesk, caller: AsCaller) -> AllAccepted:
    """Cancel what of a run has not been sent, also what has not reached its lane yet; one command per home."""
    return AllAccepted(command_ids=await tell_run(desk, caller, "cancel_run", run_id))


@orders.post("/runs/{run_id}/pause", status_code=202)
async def pause_run(run_id: str, desk: AtDesk, caller: AsCaller, order: Order | None = None) -> AllAccepted:
    """Hold what of a run has not been sent, also what has not reached its lane yet, until it is resumed."""
    note = "" if order is None else order.note
    return AllAccepted(command_ids=await tell_run(desk, caller, "pause_run", run_id, note))


@orders.post("/runs/{run_id}/resume", status_code=202)
async def resume_run(run_id: str, desk: AtDesk, caller: AsCaller, order: Order | None = None) -> AllAccepted:
    """Let a paused run go on where it stopped."""
    note = "" if order is None else order.note
    return AllAccepted(command_ids=await tell_run(desk, caller, "resume_run", run_id, note))


@orders.post("/runs/{run_id}/priority", status_code=202)
async def prioritise_run(run_id: str, order: PriorityOrder, desk: AtDesk, caller: AsCaller) -> AllAccepted:
    """Give every waiting message of a run another priority; one command per home."""
    return AllAccepted(
        command_ids=[
            await desk.commands.tell("prioritise_run", run_id, home, caller.key.id, order.note, priority=order.priority)
            for home in sorted((await _run(desk, caller, run_id))["homes"])
        ]
    )


@orders.post("/recipients/cancel", status_code=202)
async def cancel_recipient(order: RecipientOrder, desk: AtDesk, caller: AsCaller) -> AllAccepted:
    """Cancel what waits for one person, by one sender or by all. It is no opt-out: what comes later is sent."""
    person = order.person_key or person_key(desk.pepper, order.to or "")
    if order.sender is not None:
        homes = [resolve_sender(desk, caller, order.sender)[0]]
    elif caller.home is not None:
        homes = [caller.home]
    else:
        homes = desk.governance.homes
    return AllAccepted(
        command_ids=[
            await desk.commands.tell("cancel_recipient", person, home, caller.key.id, order.note) for home in homes
        ]
    )


async def tell_run(desk: Desk, caller: Caller, kind: RunWord, run_id: str, note: str = "") -> list[str]:
    """Write the command for each of the run's lanes; their ids. Raises Problem 404 and 503."""
    run = await _run(desk, caller, run_id)
    return [
        await desk.commands.tell(kind, run_id, home, caller.key.id, note, since=run["created_at"])
        for home in sorted(run["homes"])
    ]


async def _run(desk: Desk, caller: Caller, run_id: str) -> Row:
    found = await desk.queries.run(bounded(run_id), caller.home)
    if found is None:
        raise not_found("run")
    return found
