"""Consent by the API (CMP-4): what somebody recorded elsewhere, with its proof; and what is on record of a person."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from harkara.contracts.audit import AuditRecord
from harkara.contracts.consent import (
    PURPOSES,
    Change,
    ConsentEvent,
    ConsentState,
    Language,
    Origin,
    Proof,
    Purpose,
    Recordable,
    Standing,
    advance_consent,
    incomplete,
)
from harkara.contracts.event import Instant, UserId, epoch_ms, event_id
from harkara.contracts.identity import is_user_id, person_key
from harkara.contracts.topics import AUDIT_LOG, CONSENT_EVENTS
from harkara.ingestion.core import Emission
from harkara.ingestion.effects import Appender, outputs_of
from harkara.ingestion.metrics import CONSENT
from harkara.ingestion.requests import PhoneNumber, Shape, e164
from harkara.policy.recording import recorded
from harkara.runtime.api_keys import ApiKey
from harkara.runtime.clock import Clock
from harkara.runtime.problems import Problem, validation_problem

_PERSON_KEY = re.compile(r"[0-9a-f]{32}", re.ASCII)
_LONGEST_NAME = 140  # a user id has up to 135 characters
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


class ConsentBody(Shape):
    """`POST /api/v1/consent`. An opt-in needs `purpose`, `at` (when it was given), `origin` (where: web-form, branch),
    `proof` (a reference to it, without personal data) and `language`. `blocked` is lifted by an opt-in here alone.
    The person is named by `phone`, by `userId` (Meta's business-scoped user id), or by both: then the word is recorded
    under each, and makes no link between them, as only Meta knows whose they are."""

    phone: PhoneNumber | None = None
    user_id: UserId | None = None
    standing: Recordable
    purpose: Purpose | Literal["all"] | None = None
    at: Instant | None = None
    until: Instant | None = None
    origin: Origin = ""
    proof: Proof = ""
    language: Language | None = None

    @model_validator(mode="after")
    def _complete(self) -> ConsentBody:
        fault = incomplete(self.standing, self)
        if fault is not None:
            raise ValueError(fault)
        return self


class Reply(BaseModel):
    """An answer, in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class RecordedReply(Reply):
    """It is on record; `personKey` is what the person is called from here on, `alsoKey` under the other name given."""

    event_id: str
    person_key: str
    also_key: str | None = None
    at: datetime


class PurposeReply(Reply):
    """What holds for a purpose: `denied` says why nothing may go now, null that consent does not stand against it."""

    standing: Standing
    at: datetime
    until: datetime | None
    source: str
    denied: Standing | None


class HistoryReply(Reply):
    """One event of the history, as it was recorded."""

    event_id: str
    standing: Change
    purpose: Purpose | None
    source: str
    at: datetime
    until: datetime | None
    origin: str
    proof: str
    language: str | None
    actor: str


class ConsentReply(Reply):
    """All that is on record: what holds by purpose (null: nothing was said), and every event, the newest first."""

    person_key: str
    language: str | None
    marketing: PurposeReply | None
    transactional: PurposeReply | None
    history: list[HistoryReply]


class History(Protocol):
    """Where the events are."""

    async def of(self, person: str) -> list[ConsentEvent]:
        """A person's events in the order of their record. Raises Unavailable."""
        ...


Names = Callable[[str], Mapping[bytes, int]]
"""The other names of a person, packed, and until when (ms) what is said under each counts."""


def no_names(_: str) -> Mapping[bytes, int]:
    """Where nobody follows who is whose."""
    return {}


@dataclass(frozen=True)
class ConsentDesk:
    """What the routes work with."""

    pepper: bytes
    appender: Appender
    history: History
    clock: Clock
    names: Names = no_names

    async def record(self, key: ApiKey, body: ConsentBody, idempotency_key: str | None) -> RecordedReply:
        """Write the event and who recorded it. The same request again, with its key, is the same event."""
        now = self.clock.now()
        people = [person_key(self.pepper, name) for name in (body.phone, body.user_id) if name is not None]
        asked = body.model_dump_json(exclude={"user_id"} if body.user_id is None else None)
        identity = event_id("consent-api", key.id, idempotency_key or uuid.uuid4().hex, asked)
        emissions: list[Emission] = []
        for number, person in enumerate(people):
            own = identity if number == 0 else event_id(identity, number)
            event = recorded(body, identity=own, person_key=person, source="api", actor=key.id, received_at=now)
            emissions += self._recorded(event, now)
        await self.appender.write(outputs_of(emissions, now))
        CONSENT.labels(body.standing).inc()
        also = people[1] if len(people) > 1 else None
        return RecordedReply(event_id=identity, person_key=people[0], also_key=also, at=event.at)

    def _recorded(self, event: ConsentEvent, now: datetime) -> list[Emission]:
        person = event.person_key
        audit = AuditRecord(
            audit_id=event_id("audit", event.event_id),
            actor=event.actor,
            action="consent_recorded",
            subject=person,
            at=now,
            details={"standing": event.standing, "purpose": event.purpose or "all", "origin": event.origin},
        )
        return [
            Emission(CONSENT_EVENTS, person, person, event, event.event_id),
            Emission(AUDIT_LOG, person, person, audit, audit.audit_id),
        ]

    async def look(self, person: str) -> ConsentReply:
        """Everything on record of a person, named by phone, user id or key. Raises Problem 422.

        Of whoever was erased nothing from before is shown, though `consent-events` has it (docs/privacy.md).
        """
        phone = e164(person)
        if isinstance(phone, str) and _PHONE.fullmatch(phone):
            person = person_key(self.pepper, phone)
        elif is_user_id(person):
            person = person_key(self.pepper, person)
        elif not _PERSON_KEY.fullmatch(person):
            row = {"type": "value_error", "loc": ("path", "person"), "msg": "a personKey, a phone number or a user id"}
            raise validation_problem([row])
        events = await self._said_by(person)
        if not events:
            raise Problem(404, "NOT_FOUND", "Nothing is on record of this person")
        state = ConsentState(person_key=person)
        for event in events:
            state = advance_consent(state, event)
        erased_at = state.words("marketing").erased_at
        shown = [each for each in events if erased_at is None or each.at > erased_at or each.standing == "erased"]
        return self._shown(state, shown)

    async def _said_by(self, person: str) -> list[ConsentEvent]:
        """What was said under every name of the person (B17), each word once: the guard writes some under several."""
        events = await self.history.of(person)
        names = self.names(person)
        if not names:
            return events
        for name, until_ms in names.items():
            told = await self.history.of(name.hex())
            events += [event for event in told if epoch_ms(event.at) <= until_ms]
        said = [event for event in events if event.source != "identity"]
        once = {
            (each.proof, each.actor, each.standing, each.purpose, each.at, each.source): each for each in said[::-1]
        }
        return list(once.values())[::-1]

    def _shown(self, state: ConsentState, events: list[ConsentEvent]) -> ConsentReply:
        now = self.clock.now()
        holds: dict[Purpose, PurposeReply | None] = {}
        for purpose in PURPOSES:
            word = state.marketing if purpose == "marketing" else state.transactional
            denied = state.denies(purpose, now)
            holds[purpose] = (
                None if word is None else PurposeReply(**word.model_dump(exclude={"event_id"}), denied=denied)
            )
        newest_first = sorted(events, key=lambda event: (event.at, event.event_id), reverse=True)
        history = [HistoryReply(**event.model_dump(include=set(HistoryReply.model_fields))) for event in newest_first]
        return ConsentReply(person_key=state.person_key, language=state.language, history=history, **holds)


def consent_router(desk: ConsentDesk) -> APIRouter:
    """The two routes."""
    router = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False, description="an API key; or in X-API-Key"))])

    @router.post("/api/v1/consent", status_code=202)
    async def record(
        request: Request,
        body: ConsentBody,
        idempotency_key: Annotated[
            str | None, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,200}$", description="visible ASCII")
        ] = None,
    ) -> RecordedReply:
        """Record what a person said of being written to (CMP-4). An opt-out also cancels what waits for them."""
        request.state.caller.require("consent")
        return await desk.record(request.state.caller, body, idempotency_key)

    @router.get("/api/v1/consent/{person}")
    async def look(request: Request, person: Annotated[str, Path(max_length=_LONGEST_NAME)]) -> ConsentReply:
        """What is on record of a person, by their `personKey`, phone number or user id, with the whole history."""
        request.state.caller.require("read")
        return await desk.look(person)

    return router
