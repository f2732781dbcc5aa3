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
from pydantic.alias_generators import to_camel

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
from harkara.ingestion.refusals import (
    DOCUMENTED,
    IdempotencyKey,
    forbidden_sender,
    problem_answers,
    required,
    unknown_sender,
)
from harkara.ingestion.resolution import MOST_ROWS_KEPT, RowVerdict
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


class Reply(BaseModel):
    """An answer, in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class RunReply(Reply):
    """`repeated`: the same request had been accepted before; nothing was written again. `verdicts` is what is expected
    of the policy, by verdict and reason; empty where that was not known up to now."""

    run_id: str
    accepted: int
    left_out: int
    homes: dict[str, int]
    audience_hash: str
    verdict_hash: str | None
    verdicts: dict[str, int]
    estimated_completion: datetime | None
    dry_run: bool
    repeated: bool


class RowReply(Reply):
    """One recipient, by row and pseudonym: what would become of them, by which number, in which form, when (`due`),
    and why not or not yet. `fallback`: in which form the fallback content would go, or why it would not.
    `decided_in_lane`: for what (a frequency cap, content said already) the lane may yet end it, which no preview can
    know: it counts what the person was sent before when the message's turn comes."""

    row: int
    person_key: str
    outcome: str
    code: str
    number: str | None
    form: str | None
    due: datetime | None
    reason: str | None
    rule: str | None
    fallback: str | None
    decided_in_lane: list[str] | None = None


class Warned(Reply):
    """Something to look at before the run is sent; `blocking`: it will not keep what it promises."""

    code: str
    blocking: bool
    text: str


class PreviewReply(Reply):
    """What sending this now would lead to. `verdicts` by verdict and reason, `outcomes` by verdict alone, `numbers` by
    the number that each would go by, `fallbacks` by what would become of a fallback content; `rows` the first ones."""

    audience_hash: str
    verdict_hash: str
    policy_version: str
    at: datetime
    recipients: int
    left_out: int
    homes: dict[str, int]
    outcomes: dict[str, int]
    verdicts: dict[str, int]
    numbers: dict[str, int]
    fallbacks: dict[str, int]
    estimated_completion: datetime | None
    rows: list[RowReply]


class PrecheckReply(PreviewReply):
    """The same, with everybody who would not go at once in `rows` (the first 1,000 of each outcome). `ready`: nothing
    that blocks was found."""

    ready: bool
    warnings: list[Warned]


class CommandReply(Reply):
    """One command per home was written; what comes of it is seen on the messages and in the audit log."""

    run_id: str
    command_ids: list[str]


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
            estimated_completion=self._completion(accepted),
            dry_run=run.dry_run,
            repeated=accepted.repeated,
        )

    async def preview(self, key: ApiKey, request: Request, rows: int) -> PreviewReply:
        """What it would lead to, with the first rows of the audience."""
        resolved, _ = await self._resolved(key, request)
        shown = sorted((each for found in resolved.resolution.shown.values() for each in found), key=_row)
        return PreviewReply(**self._facts(resolved), rows=[_row_reply(each) for each in shown[:rows]])

    async def precheck(self, key: ApiKey, request: Request) -> PrecheckReply:
        """What it would lead to, and what stands against sending it."""
        resolved, upload = await self._resolved(key, request)
        facts, shown = self._facts(resolved), resolved.resolution.shown
        told = sorted([*shown.get("refused", ()), *shown.get("held", ())], key=_row)
        warnings = list(_warnings(resolved, upload.run.deadline, facts["estimated_completion"]))
        return PrecheckReply(
            **facts,
            rows=[_row_reply(each) for each in told],
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

    def _facts(self, resolved: Resolved) -> dict[str, Any]:
        found, survey = resolved.resolution, resolved.survey
        paced = self.standings.end_of(survey.homes, UNSENT, found.at)
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
            "estimated_completion": core.later(resolved.timing.last(), paced),
        }

    def _completion(self, accepted: Accepted) -> datetime | None:
        """When the last message goes: in its slot, or when the slowest home's pace lets it; None where not known."""
        run = accepted.run
        return core.later(accepted.timing.last(), self.standings.end_of(run.homes, run.run_id, self.clock.now()))


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


def _row_reply(found: RowVerdict) -> RowReply:
    verdict = found.verdict
    return RowReply(
        row=found.row,
        person_key=found.person_key,
        outcome=verdict.outcome,
        code=verdict.code,
        number=verdict.number,
        form=verdict.form,
        due=verdict.due,
        reason=None if verdict.reason is None else verdict.reason.text,
        rule=None if verdict.reason is None else verdict.reason.rule,
        fallback=verdict.fallback or None,
        decided_in_lane=list(verdict.decided_in_lane) or None,
    )


def _warnings(resolved: Resolved, deadline: datetime | None, completion: datetime | None) -> Iterator[Warned]:
    outcomes, expected = resolved.resolution.outcomes, resolved.survey.expected
    refused, held = outcomes.get("refused", 0), outcomes.get("held", 0)
    if refused == expected:
        yield Warned(code="nobody_goes", blocking=True, text="Every recipient would be refused.")
    elif refused:
        yield Warned(code="some_refused", blocking=False, text=f"{refused} of {expected} would be refused.")
    without = sum(count for what, count in resolved.resolution.fallbacks.items() if what.startswith("refused"))
    if without:
        text = f"{without} of {expected} would go without their fallback content: see `fallbacks` for why."
        yield Warned(code="some_without_fallback", blocking=False, text=text)
    if held:
        yield Warned(code="some_held", blocking=False, text=f"{held} of {expected} would wait: see `rows` for why.")
    if completion is None:
        yield Warned(code="pace_unknown", blocking=False, text="No lane has told how its queue stands; no estimate.")
    elif deadline is not None and completion > deadline:
        late = round((completion - deadline).total_seconds())
        text = f"At the numbers' pace the last message goes {late} s after the deadline."
        yield Warned(code="deadline_missed", blocking=True, text=text)


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
