"""Runs over HTTP: what would become of one, sending it, and pause, resume and cancel at any moment (B15).

Preview, precheck and send take the same body and resolve it by the same function; a run's commands go to its lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from harkara.contracts.audit import AuditRecord
from harkara.contracts.commands import RunWord, run_commands
from harkara.contracts.event import event_id
from harkara.contracts.identity import derived_run_id
from harkara.contracts.runs import SendRun
from harkara.contracts.topics import AUDIT_LOG, SEND_COMMANDS
from harkara.ingestion import core
from harkara.ingestion.acceptance import Accepted, Resolved, RunAcceptance
from harkara.ingestion.acceptance import Request as Asked
from harkara.ingestion.core import Emission
from harkara.ingestion.effects import Appender, outputs_of
from harkara.ingestion.known import Known
from harkara.ingestion.metrics import INTENTS
from harkara.ingestion.portfolios import Forecast
from harkara.ingestion.refusals import (
    DOCUMENTED,
    IdempotencyKey,
    forbidden_sender,
    problem_answers,
    required,
    unknown_sender,
)
from harkara.ingestion.resolution import MOST_ROWS_KEPT, RowVerdict
from harkara.ingestion.run_replies import (
    CommandReply,
    PrecheckReply,
    PreviewReply,
    RunReply,
    certain_end,
    portfolio_reply,
    row_reply,
    warnings_of,
)
from harkara.ingestion.runs import Caller, RunPlan, ids_key, plan_run
from harkara.ingestion.standing import Standings
from harkara.ingestion.upload import RUN_BODY, RunUpload, run_and_rows
from harkara.policy.governance import Governance
from harkara.policy.resolve import OUTCOMES
from harkara.runtime.api_keys import ApiKey
from harkara.runtime.clock import Clock
from harkara.runtime.problems import Problem

UNSENT = "preview"  # the idempotency key of what is not sent: ids are made with it and thrown away
Word = Literal["pause", "resume", "cancel"]
WORDS: dict[Word, RunWord] = {"pause": "pause_run", "resume": "resume_run", "cancel": "cancel_run"}


class CommandNote(BaseModel):
    """Why; it stands in the audit log, so no personal data."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[str, Field(max_length=500)] = ""


@dataclass
class RunDesk:
    """What the routes work with."""

    governance: Governance
    pepper: bytes
    appender: Appender
    known: Known
    clock: Clock
    acceptance: RunAcceptance
    standings: Standings

    async def send(self, key: ApiKey, request: Request, idempotency_key: str) -> RunReply:
        """Accept a run with its whole audience."""
        async with run_and_rows(request) as upload:
            accepted = await self.acceptance.accept(self._request(key, upload, idempotency_key))
        run = accepted.run
        INTENTS.labels("runs").inc(0 if accepted.repeated else run.expected)
        return RunReply(
            run_id=run.run_id,
            accepted=run.expected,
            left_out=run.left_out,
            homes=run.homes,
            audience_hash=run.audience_hash,
            verdict_hash=run.verdict_hash,
            verdicts=run.verdicts,
            portfolios=[portfolio_reply(each) for each in _portfolios(accepted)],
            estimated_completion=self._completion(accepted),
            dry_run=run.dry_run,
            repeated=accepted.repeated,
        )

    async def preview(self, key: ApiKey, request: Request, rows: int) -> PreviewReply:
        """What it would lead to, with the first rows of the audience."""
        resolved, _ = await self._resolved(key, request)
        shown = sorted((each for found in resolved.resolution.shown.values() for each in found), key=_row)
        return PreviewReply(**self._facts(resolved, key.id), rows=[row_reply(each) for each in shown[:rows]])

    async def precheck(self, key: ApiKey, request: Request) -> PrecheckReply:
        """What it would lead to, and what stands against sending it."""
        resolved, upload = await self._resolved(key, request)
        facts, shown = self._facts(resolved, key.id), resolved.resolution.shown
        told = sorted([*shown.get("refused", ()), *shown.get("held", ())], key=_row)
        warnings = list(warnings_of(resolved, upload.run.deadline, facts["estimated_completion"]))
        return PrecheckReply(
            **facts,
            rows=[row_reply(each) for each in told],
            ready=not any(each.blocking for each in warnings),
            warnings=warnings,
        )

    async def tell(self, key: ApiKey, word: Word, run_id: str, note: str) -> CommandReply:
        """Write the command for each of the run's lanes, and that it was given."""
        run, now = self._run(key, run_id), self.clock.now()
        commands = run_commands(
            WORDS[word], run_id, run.homes, accepted_at=run.created_at, actor=key.id, note=note, now=now
        )
        written = [Emission(SEND_COMMANDS, each.home, each.home, each, each.command_id) for each in commands]
        ids = [each.command_id for each in commands]
        record = AuditRecord(
            audit_id=event_id("audit", *ids),
            actor=key.id,
            action=WORDS[word],
            subject=run_id,
            at=now,
            details={"command_ids": ",".join(ids)[:1000]} | ({"note": note} if note else {}),
        )
        audit = Emission(AUDIT_LOG, run_id, run_id, record, record.audit_id)
        await self.appender.write(outputs_of([audit], now))  # first: an action without its record must not exist
        await self.appender.write(outputs_of(written, now))
        return CommandReply(run_id=run_id, command_ids=ids)

    def _run(self, key: ApiKey, run_id: str) -> SendRun:
        run = self.known.runs.get(run_id)
        home = None if key.sender is None else self.governance.home_of(key.sender)
        if run is None or (key.sender is not None and set(run.homes) != {home}):
            raise Problem(404, "NOT_FOUND", "No such run", "No run of that name is known here (yet).")
        return run

    async def _resolved(self, key: ApiKey, request: Request) -> tuple[Resolved, RunUpload]:
        async with run_and_rows(request) as upload:
            return await self.acceptance.preview(self._request(key, upload, UNSENT)), upload

    def _request(self, key: ApiKey, upload: RunUpload, idempotency_key: str) -> Asked:
        dry_run = upload.run.dry_run
        caller = Caller(key.id, key.sender, ids_key(idempotency_key, dry_run=dry_run))
        run_id, rival_id = (
            derived_run_id(key.id, ids_key(idempotency_key, dry_run=each)) for each in (dry_run, not dry_run)
        )
        with _sender_problems():
            plan: RunPlan = plan_run(upload.run, run_id, caller, self.governance, self.pepper)
        return Asked(
            run_id,
            rival_id,
            upload.run.name,
            key.id,
            upload.run,
            looks=lambda: map(plan.frozen, upload.rows()),
            persons_once=True,
        )

    def _facts(self, resolved: Resolved, producer: str) -> dict[str, Any]:
        """`producer`: who would send it; its turns are counted as the sent run's are, by its weight and beside its
        other runs."""
        found, survey = resolved.resolution, resolved.survey
        paced = self.standings.end_of(survey.homes, UNSENT, found.at, producer)
        return {
            "audience_hash": found.audience_hash,
            "verdict_hash": found.verdict_hash,
            "policy_version": found.policy_version,
            "at": found.at,
            "recipients": survey.expected,
            "left_out": survey.left_out,
            "homes": dict(sorted(survey.homes.items())),
            "outcomes": dict.fromkeys(OUTCOMES, 0) | found.outcomes,
            "verdicts": dict(sorted(found.labels.items())),
            "numbers": dict(sorted(found.numbers.items())),
            "fallbacks": dict(sorted(found.fallbacks.items())),
            "portfolios": [portfolio_reply(each) for each in found.portfolios],
            "estimated_completion": core.completion(resolved.timing.last(), paced, certain_end(found.portfolios)),
        }

    def _completion(self, accepted: Accepted) -> datetime | None:
        """When the last message goes: in its slot, when the slowest home's pace lets it, or its portfolio has a place;
        None where the pace of a home is not known."""
        run = accepted.run
        paced = self.standings.end_of(run.homes, run.run_id, self.clock.now(), run.producer)
        return core.completion(accepted.timing.last(), paced, certain_end(_portfolios(accepted)))


def _portfolios(accepted: Accepted) -> tuple[Forecast, ...]:
    return () if accepted.resolution is None else accepted.resolution.portfolios


@contextmanager
def _sender_problems() -> Iterator[None]:
    try:
        yield
    except core.UnknownSender as error:
        raise unknown_sender(error) from None
    except core.ForbiddenSender as error:
        raise forbidden_sender(error) from None


def _row(found: RowVerdict) -> int:
    return found.row


RUN_PROBLEMS = problem_answers(
    "SENDER_NOT_ALLOWED", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "VALIDATION_FAILED", "UNKNOWN_SENDER",
    "POLICY_FACTS_UNKNOWN",
)  # fmt: skip
SENT_PROBLEMS = RUN_PROBLEMS | problem_answers("IDEMPOTENCY_KEY_REQUIRED", "IDEMPOTENCY_CONFLICT", "AUDIENCE_CHANGED")
SHOWN_ROWS = Annotated[int, Query(ge=0, le=MOST_ROWS_KEPT, description="how many rows are shown")]


def run_router(desk: RunDesk) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1/runs", dependencies=DOCUMENTED)
    body = {"requestBody": RUN_BODY}

    @router.post("", status_code=202, openapi_extra=body, responses=SENT_PROBLEMS)
    async def send_run(request: Request, idempotency_key: IdempotencyKey = None) -> RunReply:
        """Send a template to an audience of up to 100,000, inline or uploaded. Needs an Idempotency-Key. With the
        hashes of a preview it is accepted only if they still hold (409 AUDIENCE_CHANGED tells the difference)."""
        request.state.caller.require("send")
        return await desk.send(request.state.caller, request, required(idempotency_key))

    @router.post("/preview", openapi_extra=body, responses=RUN_PROBLEMS)
    async def preview_run(request: Request, rows: SHOWN_ROWS = 100) -> PreviewReply:
        """What sending this run now would lead to; nothing is written (ING-17)."""
        request.state.caller.require("send")
        return await desk.preview(request.state.caller, request, rows)

    @router.post("/precheck", openapi_extra=body, responses=RUN_PROBLEMS)
    async def precheck_run(request: Request) -> PrecheckReply:
        """The same, with everybody who would not go at once, and what stands against sending it (ING-17)."""
        request.state.caller.require("send")
        return await desk.precheck(request.state.caller, request)

    @router.post("/{run_id}/{word}", status_code=202, responses=problem_answers("NOT_FOUND", "VALIDATION_FAILED"))
    async def tell_run(request: Request, run_id: str, word: Word, order: CommandNote | None = None) -> CommandReply:
        """Pause, resume or cancel a run: what waits of it is held where it stands, goes on from there, or ends. What
        is under way at Meta settles."""
        request.state.caller.require("control")
        return await desk.tell(request.state.caller, word, run_id, "" if order is None else order.note)

    return router
