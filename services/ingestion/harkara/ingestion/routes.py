"""The HTTP API. Answers 202 only once everything it promises is acknowledged by Kafka (acks=all)."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.routing import Route

from harkara.contracts.identity import derived_message_id, derived_run_id
from harkara.contracts.intents import person_keys
from harkara.ingestion import acceptance, core
from harkara.ingestion.acceptance import RunAcceptance
from harkara.ingestion.edge import WEBHOOK_PATH, Edge
from harkara.ingestion.effects import Appender, TooLarge, Unavailable, outputs_of
from harkara.ingestion.known import Known
from harkara.ingestion.metrics import INTENTS, REFUSALS
from harkara.ingestion.refusals import (
    DOCUMENTED,
    IdempotencyKey,
    checked,
    forbidden_sender,
    problem_answers,
    required,
    unknown_sender,
)
from harkara.ingestion.requests import BatchRequest, SendRequest
from harkara.ingestion.run_routes import RunDesk, run_router
from harkara.ingestion.runs import Caller, batch_rows, ids_key
from harkara.ingestion.standing import Joining, Standings
from harkara.ingestion.webhooks import Webhooks, unavailable
from harkara.policy.governance import Governance
from harkara.runtime.api_keys import ApiKey, ApiKeys
from harkara.runtime.clock import Clock
from harkara.runtime.problems import Problem, install, validation_problem
from harkara.runtime.telemetry import span

_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)

SEND_PROBLEMS = problem_answers(
    "SENDER_NOT_ALLOWED", "PAYLOAD_TOO_LARGE", "VALIDATION_FAILED", "UNKNOWN_SENDER", "QUEUE_FULL",
    "DAILY_LIMIT_REACHED",
)  # fmt: skip
BATCH_PROBLEMS = problem_answers(
    "IDEMPOTENCY_KEY_REQUIRED", "SENDER_NOT_ALLOWED", "IDEMPOTENCY_CONFLICT", "PAYLOAD_TOO_LARGE",
    "VALIDATION_FAILED", "UNKNOWN_SENDER",
)  # fmt: skip
Traceparent = Annotated[str | None, Header(description="W3C trace context")]


class Reply(BaseModel):
    """An answer, in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class SendReply(Reply):
    """`position` 1 is next among its priority and the higher ones; it and `estimatedDelivery`, when its number's pace
    lets it go, are null where they cannot be known (ING-11). `silentSince`: where the dispatcher has not reported on
    the number for a minute, since when; `position` is then as of that time, and there is no estimate."""

    message_id: str
    sender: str
    position: int | None
    estimated_delivery: datetime | None
    silent_since: datetime | None = None


class BatchReply(Reply):
    """`batchId` is a run's id: its progress is at `GET /api/v1/runs/{batchId}` of the console. `position` and
    `estimatedCompletion` are null where they cannot be known: while no lane reports on the sender's numbers."""

    batch_id: str
    queued: int
    message_ids: list[str]
    position: int | None
    estimated_completion: datetime | None
    repeated: bool


@dataclass
class Api:
    """What the routes work with, and the desk for runs."""

    governance: Governance
    pepper: bytes
    appender: Appender
    known: Known
    clock: Clock
    acceptance: RunAcceptance
    standings: Standings

    def __post_init__(self) -> None:
        self.desk = RunDesk(
            self.governance, self.pepper, self.appender, self.known, self.clock, self.acceptance, self.standings
        )

    def follow(self, governance: Governance) -> None:
        """Go by another policy from now on."""
        self.governance = self.desk.governance = self.standings.governance = governance

    def sender(self, key: ApiKey, session_id: str | None, phone: str | None) -> core.Sender:
        """The sender that a request means. Raises Problem 403 or 422."""
        try:
            return core.resolve_sender(self.governance, key.sender, session_id, phone)
        except core.UnknownSender as error:
            raise unknown_sender(error) from None
        except core.ForbiddenSender as error:
            raise forbidden_sender(error) from None

    async def send(self, key: ApiKey, body: SendRequest, idempotency_key: str | None, trace: str | None) -> SendReply:
        """One message to `send-intents`. Raises Problem 429 where its number has no room, 403, 422."""
        sender = self.sender(key, body.session_id, body.phone)
        fault = core.timing_fault(self.clock.now(), body.not_before, body.expires_at)
        if fault is not None:
            raise validation_problem([{"type": "value_error", "loc": ("body", "notBefore"), "msg": fault}])
        intent = core.intent_of(
            body,
            message_id=derived_message_id(key.id, idempotency_key or uuid.uuid4().hex, 0),
            sender=sender,
            producer=key.id,
            not_before=body.not_before,
        )
        now = self.clock.now()
        person, _ = person_keys(self.pepper, intent)
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
            estimated_delivery=None if standing.delivery is None else core.later(body.not_before, standing.delivery),
            silent_since=standing.silent_since,
        )

    async def batch(self, key: ApiKey, body: BatchRequest, idempotency_key: str) -> BatchReply:
        """Up to 1,000 messages, spread over time (ING-2): a run of its own, without a deadline."""
        sender = self.sender(key, body.session_id, body.phone)
        run_id = derived_run_id(key.id, idempotency_key)
        rows = batch_rows(body, run_id, Caller(key.id, key.sender, idempotency_key), sender)
        request = acceptance.Request(
            run_id,
            derived_run_id(key.id, ids_key(idempotency_key, dry_run=True)),
            f"batch of {len(rows)}",
            key.id,
            body,
            looks=lambda: rows,
            persons_once=False,
        )
        accepted = await self.acceptance.accept(request)
        now = self.clock.now()
        paced = self.standings.end_of(accepted.run.homes, run_id, now, key.id)
        INTENTS.labels("batch").inc(0 if accepted.repeated else len(rows))
        return BatchReply(
            batch_id=run_id,
            queued=len(rows),
            message_ids=[row.intent.message_id for row in rows],
            position=self.standings.last_of(sender.home, run_id, 1, now, producer=key.id).position,
            estimated_completion=core.completion(accepted.timing.last(), paced, None),
            repeated=accepted.repeated,
        )


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
    app.include_router(run_router(api.desk))

    @app.post("/api/v1/send", status_code=202, dependencies=DOCUMENTED, responses=SEND_PROBLEMS)
    async def send(
        request: Request, body: SendRequest, idempotency_key: IdempotencyKey = None, traceparent: Traceparent = None
    ) -> SendReply:
        """Send one message (ING-1). With an Idempotency-Key a repeated request names the same message."""
        request.state.caller.require("send")
        return await api.send(request.state.caller, body, checked(idempotency_key), _trace(traceparent))

    @app.post("/api/v1/send/batch", status_code=202, dependencies=DOCUMENTED, responses=BATCH_PROBLEMS)
    async def batch(request: Request, body: BatchRequest, idempotency_key: IdempotencyKey = None) -> BatchReply:
        """Send up to 1,000 messages, at once or spread over minutes (ING-2). Needs an Idempotency-Key."""
        request.state.caller.require("send")
        return await api.batch(request.state.caller, body, required(idempotency_key))

    return app


def _trace(traceparent: str | None) -> str | None:
    return traceparent if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) else None


async def _on_problem(_: Request, error: Exception) -> Any:
    assert isinstance(error, Problem)
    REFUSALS.labels(error.code).inc()
    return error.response()


async def _on_unavailable(request: Request, _: Exception) -> Any:
    return await _on_problem(request, unavailable())


async def _on_too_large(request: Request, error: Exception) -> Any:
    return await _on_problem(request, Problem(413, "PAYLOAD_TOO_LARGE", "The body is too large", str(error)))
