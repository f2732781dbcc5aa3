"""The HTTP API. Answers 202 only once everything it promises is acknowledged by Kafka (acks=all)."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.routing import Route

from harkara.contracts.identity import derived_message_id, derived_run_id, person_key
from harkara.ingestion import acceptance, core
from harkara.ingestion.acceptance import Accepted, RunAcceptance
from harkara.ingestion.edge import WEBHOOK_PATH, Edge
from harkara.ingestion.effects import Appender, TooLarge, Unavailable, outputs_of
from harkara.ingestion.known import Known
from harkara.ingestion.metrics import INTENTS, REFUSALS
from harkara.ingestion.requests import BatchRequest, SendRequest
from harkara.ingestion.runs import Caller, batch_rows, plan_run
from harkara.ingestion.standing import Joining, Standings
from harkara.ingestion.upload import RUN_BODY, run_and_rows
from harkara.ingestion.webhooks import Webhooks, unavailable
from harkara.policy.governance import Governance
from harkara.runtime.api_keys import ApiKey, ApiKeys
from harkara.runtime.clock import Clock
from harkara.runtime.problems import Problem, install, validation_problem
from harkara.runtime.telemetry import span

_KEY = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)

IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", description="1 to 200 visible characters")]
Traceparent = Annotated[str | None, Header(description="W3C trace context")]


class Reply(BaseModel):
    """An answer, in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class SendReply(Reply):
    """`position` 1 is next among its priority and the higher ones; it and `estimatedDelivery`, when its number's pace
    lets it go, are null where the queue is not known (ING-11)."""

    message_id: str
    sender: str
    position: int | None
    estimated_delivery: datetime | None


class RunReply(Reply):
    """`repeated`: the same request had been accepted before; nothing was written again."""

    run_id: str
    accepted: int
    homes: dict[str, int]
    audience_hash: str
    estimated_completion: datetime | None
    repeated: bool


class BatchReply(Reply):
    """`batchId` is a run's id: its progress is at `GET /api/v1/runs/{batchId}` of the console."""

    batch_id: str
    queued: int
    message_ids: list[str]
    position: int | None
    estimated_completion: datetime | None
    repeated: bool


@dataclass(frozen=True)
class Api:
    """What the routes work with."""

    governance: Governance
    pepper: bytes
    appender: Appender
    known: Known
    clock: Clock
    acceptance: RunAcceptance
    standings: Standings

    def sender(self, key: ApiKey, session_id: str | None, phone: str | None) -> core.Sender:
        """The sender that a request means. Raises Problem 403 or 422."""
        try:
            return core.resolve_sender(self.governance, key.sender, session_id, phone)
        except core.UnknownSender as error:
            raise _unknown_sender(error) from None
        except core.ForbiddenSender as error:
            raise _forbidden_sender(error) from None

    async def send(self, key: ApiKey, body: SendRequest, idempotency_key: str | None, trace: str | None) -> SendReply:
        """One message to `send-intents`. Raises Problem 429 where its number has no room, 403, 422."""
        sender = self.sender(key, body.session_id, body.phone)
        fault = core.timing_fault(self.clock.now(), body.not_before, body.expires_at)
        if fault is not None:
            raise validation_problem([{"type": "value_error", "loc": ("body", "notBefore"), "msg": fault}])
        intent = core.intent_of(
            body,
            message_id=derived_message_id(key.id, idempotency_key or uuid.uuid4().hex, 0),
            to=body.to,
            sender=sender,
            producer=key.id,
            not_before=body.not_before,
        )
        now = self.clock.now()
        person = person_key(self.pepper, intent.to)
        joining = Joining(sender.home, sender.name, person, intent.message_id, intent.producer, intent.priority)
        standing = self.standings.of(joining, now)
        self.standings.check_room(joining, standing, now)
        with span("POST /api/v1/send", trace) as running:
            emission = core.emission_of(intent, sender.home)
            await self.appender.write(outputs_of([emission], self.clock.now(), running.traceparent))
        self.standings.joined(joining, standing.number, now)
        INTENTS.labels("send").inc()
        return SendReply(
            message_id=intent.message_id,
            sender=sender.name,
            position=standing.position,
            estimated_delivery=core.later(body.not_before, standing.delivery),
        )

    async def batch(self, key: ApiKey, body: BatchRequest, idempotency_key: str) -> BatchReply:
        """Up to 1,000 messages, spread over time (ING-2): a run of its own, without a deadline."""
        sender = self.sender(key, body.session_id, body.phone)
        run_id = derived_run_id(key.id, idempotency_key)
        rows = batch_rows(body, run_id, Caller(key.id, key.sender, idempotency_key), sender)
        request = acceptance.Request(
            run_id, f"batch of {len(rows)}", key.id, body, looks=lambda: rows, persons_once=False
        )
        accepted = await self.acceptance.accept(request)
        INTENTS.labels("batch").inc(0 if accepted.repeated else len(rows))
        return BatchReply(
            batch_id=run_id,
            queued=len(rows),
            message_ids=[row.intent.message_id for row in rows],
            position=self.standings.last_of(sender.home, run_id, 1, self.clock.now()).position,
            estimated_completion=self._completion(accepted),
            repeated=accepted.repeated,
        )

    async def run(self, key: ApiKey, request: Request, idempotency_key: str) -> RunReply:
        """A run with its whole audience."""
        async with run_and_rows(request) as upload:
            caller = Caller(key.id, key.sender, idempotency_key)
            run_id = derived_run_id(key.id, idempotency_key)
            try:
                plan = plan_run(upload.run, run_id, caller, self.governance, self.pepper)
            except core.UnknownSender as error:
                raise _unknown_sender(error) from None
            except core.ForbiddenSender as error:
                raise _forbidden_sender(error) from None
            accepted = await self.acceptance.accept(
                acceptance.Request(
                    run_id,
                    upload.run.name,
                    key.id,
                    upload.run,
                    looks=lambda: map(plan.frozen, upload.rows()),
                    persons_once=True,
                )
            )
        run = accepted.run
        INTENTS.labels("runs").inc(0 if accepted.repeated else run.expected)
        return RunReply(
            run_id=run_id,
            accepted=run.expected,
            homes=run.homes,
            audience_hash=run.audience_hash,
            estimated_completion=self._completion(accepted),
            repeated=accepted.repeated,
        )

    def _completion(self, accepted: Accepted) -> datetime | None:
        """When the last message goes: in its slot, or when the slowest home's pace lets it; None where not known."""
        run, now = accepted.run, self.clock.now()
        ends = [self.standings.last_of(home, run.run_id, count, now).delivery for home, count in run.homes.items()]
        paced = None if None in ends else max((end for end in ends if end is not None), default=None)
        last = accepted.timing.last()
        return last if paced is None else core.later(last, paced)


def build_app(api: Api, webhooks: Webhooks, keys: ApiKeys) -> FastAPI:
    """The application: the API under /api/v1, Meta's webhook, and the problems of both."""
    app = FastAPI(title="Harkara ingestion", version="1", description=__doc__)
    install(app)
    app.add_exception_handler(Unavailable, _on_unavailable)
    app.add_exception_handler(TooLarge, _on_too_large)
    app.add_exception_handler(Problem, _on_problem)
    app.add_middleware(Edge, keys=keys)
    app.router.routes.append(Route(WEBHOOK_PATH, webhooks.challenge, methods=["GET"]))
    app.router.routes.append(Route(WEBHOOK_PATH, webhooks.receive, methods=["POST"]))
    documented = [Depends(HTTPBearer(auto_error=False, description="an API key; or in X-API-Key"))]

    @app.post("/api/v1/send", status_code=202, dependencies=documented)
    async def send(
        request: Request, body: SendRequest, idempotency_key: IdempotencyKey = None, traceparent: Traceparent = None
    ) -> SendReply:
        """Send one message (ING-1). With an Idempotency-Key a repeated request names the same message."""
        return await api.send(request.state.caller, body, _checked(idempotency_key), _trace(traceparent))

    @app.post("/api/v1/send/batch", status_code=202, dependencies=documented)
    async def batch(request: Request, body: BatchRequest, idempotency_key: IdempotencyKey = None) -> BatchReply:
        """Send up to 1,000 messages, at once or spread over minutes (ING-2). Needs an Idempotency-Key."""
        return await api.batch(request.state.caller, body, _required(idempotency_key))

    @app.post("/api/v1/runs", status_code=202, dependencies=documented, openapi_extra={"requestBody": RUN_BODY})
    async def runs(request: Request, idempotency_key: IdempotencyKey = None) -> RunReply:
        """Send a template to an audience of up to 100,000, inline or uploaded. Needs an Idempotency-Key."""
        return await api.run(request.state.caller, request, _required(idempotency_key))

    return app


def _checked(idempotency_key: str | None) -> str | None:
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        row = {"type": "value_error", "loc": ("header", "Idempotency-Key"), "msg": "1 to 200 visible ASCII characters"}
        raise validation_problem([row])
    return idempotency_key


def _required(idempotency_key: str | None) -> str:
    checked = _checked(idempotency_key)
    if checked is None:
        raise Problem(
            400,
            "IDEMPOTENCY_KEY_REQUIRED",
            "An Idempotency-Key header is needed",
            "Without one, a request repeated after a lost answer would send every message twice.",
        )
    return checked


def _trace(traceparent: str | None) -> str | None:
    return traceparent if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) else None


def _unknown_sender(error: core.UnknownSender) -> Problem:
    return Problem(422, "UNKNOWN_SENDER", "The sender is not known", str(error))


def _forbidden_sender(error: core.ForbiddenSender) -> Problem:
    return Problem(403, "SENDER_NOT_ALLOWED", "The API key may not use this sender", str(error))


async def _on_problem(_: Request, error: Exception) -> Any:
    assert isinstance(error, Problem)
    REFUSALS.labels(error.code).inc()
    return error.response()


async def _on_unavailable(request: Request, _: Exception) -> Any:
    return await _on_problem(request, unavailable())


async def _on_too_large(request: Request, error: Exception) -> Any:
    return await _on_problem(request, Problem(413, "PAYLOAD_TOO_LARGE", "The body is too large", str(error)))
