"""What the law lets a person ask for: what is held of them, and to be forgotten (CMP-12).

Both need a key with every role that speaks for no single sender. The person is named in the body, so that no number
stands in a URL, and with it in a proxy's log.
"""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from harkara.console.access import Caller
from harkara.console.held import Held, names_of, page_of
from harkara.console.routes import PROBLEMS, AsCaller, AtDesk
from harkara.contracts.event import Phone, UserId
from harkara.contracts.identity import person_key
from harkara.contracts.person_export import KEPT, ErasureReceipt, PersonExport
from harkara.contracts.retention import copies
from harkara.runtime.api_keys import EVERY_ROLE

PAGE = 100  # messages of a page, with up to 500 steps each: 5 MB where all have as many, 100 kB as they are

persons = APIRouter(prefix="/api/v1/persons", responses=PROBLEMS)


class Named(BaseModel):
    """Of whom: by phone number in E.164, by business-scoped user id, or by the person key; one of them."""

    model_config = ConfigDict(extra="forbid")

    phone: Phone | None = None
    user_id: Annotated[UserId | None, Field(validation_alias=AliasChoices("userId", "user_id"))] = None
    person_key: Annotated[
        str | None, Field(pattern=r"^[0-9a-f]{32}$", validation_alias=AliasChoices("personKey", "person_key"))
    ] = None

    @model_validator(mode="after")
    def _one_name(self) -> Named:
        if sum(name is not None for name in (self.phone, self.user_id, self.person_key)) != 1:
            raise ValueError("name the person by one of `phone`, `userId` and `personKey`")
        return self

    def key(self, pepper: bytes) -> str:
        """The pseudonym."""
        return self.person_key or person_key(pepper, self.phone or self.user_id or "")


class ExportOrder(Named):
    """`after` is the `next` of the page before."""

    after: Annotated[str | None, Field(max_length=300)] = None
    limit: Annotated[int, Field(ge=1, le=500)] = PAGE


class ErasureOrder(Named):
    """`reason` says why; it stands in the audit log, so no personal data."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


@persons.post("/export", response_model_exclude_none=True)
async def export_person(order: ExportOrder, desk: AtDesk, caller: AsCaller) -> PersonExport:
    """Everything on the read side and in the consent record about a person, in pages: first who they are and what they
    said, then messages, then the audit. The first page is audited."""
    _may_do_anything(caller)
    asked = order.key(desk.pepper)
    if order.after is None:
        await desk.commands.tell_exported(asked, caller.key.id)
    return await page_of(Held(desk.queries.pool), asked, order.after, order.limit, desk.clock.now())


@persons.post("/erase", status_code=202, response_model_exclude_none=True)
async def erase_person(order: ErasureOrder, desk: AtDesk, caller: AsCaller) -> ErasureReceipt:
    """Forget a person: what waits for them is cancelled on every number, they are written to no more, and their
    pseudonym goes out of Postgres, all within seconds. The answer says what is left, where, and until when.

    They can come back by their own START, or by an opt-in with its proof that is recorded later. Repeating it does no
    harm."""
    _may_do_anything(caller)
    held, now, erasure_id = Held(desk.queries.pool), desk.clock.now(), uuid.uuid4().hex
    names = await names_of(held, order.key(desk.pepper))
    given_up = sum(name.until is not None for name in names)
    keys = [name.person_key for name in names if name.until is None]
    unsealed = await held.unsealed_audit(keys)
    await desk.commands.erase(keys, erasure_id, caller.key.id, order.reason, now)
    return ErasureReceipt(
        erasure_id=erasure_id,
        erased_at=now,
        names=len(keys),
        given_up=given_up,
        sealed_before=unsealed,
        copies=copies(now),
        kept=KEPT,
    )


def _may_do_anything(caller: Caller) -> None:
    """Raises Problem 403."""
    caller.require_everything()
    for role in sorted(EVERY_ROLE):
        caller.key.require(role)
