"""Accepting many messages at once: look at every row, then write every row, then say so (design 5, run-audience)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from harkara.contracts.audit import AuditRecord
from harkara.contracts.event import event_id
from harkara.contracts.runs import SendRun
from harkara.contracts.topics import AUDIT_LOG
from harkara.ingestion.audience import Fault
from harkara.ingestion.core import Emission, timing_fault
from harkara.ingestion.effects import Appender, outputs_of
from harkara.ingestion.known import Known
from harkara.ingestion.requests import BatchRequest, RunRequest
from harkara.ingestion.runs import (
    Frozen,
    Survey,
    Surveyor,
    Timing,
    audience_emission,
    run_emission,
    subject_of,
    timing_of,
)
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output
from harkara.runtime.problems import Problem, validation_problem
from harkara.runtime.telemetry import new_traceparent

LOOK_ROWS = 100  # looked at before other requests have their turn: about 5 ms
WRITE_ROWS = 500  # acknowledged together: about 500 KB, one or two requests to Kafka
MOST_FAULTS_SHOWN = 1_000  # with their reasons; of the rest the rows' numbers
RUNS_AT_ONCE = 4  # being written by this process; more would only slow each other and the webhooks

Look = Frozen | list[Fault]


class BadRows(Problem):
    """422: nothing was accepted. `errors` says what is wrong, `badRows` has the number of every row that is."""

    def __init__(self, faults: list[Fault], field: str) -> None:
        errors = [
            {"row": each.row, "field": f"{field}.{each.row}.{each.field}", "message": each.message} for each in faults
        ]
        super().__init__(
            422,
            "VALIDATION_FAILED",
            "The request is not valid",
            "Nothing was accepted. Rows are counted from 1, without a header.",
            errors,
        )
        self.rows = sorted({each.row for each in faults})

    def body(self) -> dict[str, Any]:
        """As any problem's, with every bad row's number and more of the reasons."""
        return super().body() | {"errors": self.errors[:MOST_FAULTS_SHOWN], "badRows": self.rows}


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be accepted. `looks` gives the rows from the first one, each time it is called."""

    run_id: str
    name: str
    producer: str
    asked: RunRequest | BatchRequest
    looks: Callable[[], Iterable[Look]]
    persons_once: bool

    @property
    def deadline(self) -> datetime | None:
        """The run's promise; a batch has none."""
        return self.asked.deadline if isinstance(self.asked, RunRequest) else None


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted run and its slots; `repeated`: it had been accepted before by the same request."""

    run: SendRun
    timing: Timing
    repeated: bool


class RunAcceptance:
    """Accepts runs and batches; a repeated request is known by its run id and the hash of what it asks."""

    def __init__(self, appender: Appender, known: Known, clock: Clock) -> None:
        self._appender = appender
        self._known = known
        self._clock = clock
        self._turns = asyncio.Semaphore(RUNS_AT_ONCE)

    async def accept(self, request: Request) -> Accepted:
        """Accept everything or nothing. Raises BadRows, Problem 409 or 422, Unavailable.

        Killed in between, rows may be on run-audience without the run: the client has no answer, repeats the request,
        and the same rows get the same message ids.
        """
        async with self._turns:
            survey = await self._survey(request)
            if survey.faults:
                raise BadRows(survey.faults, "messages" if isinstance(request.asked, BatchRequest) else "audience")
            if (before := self._known.runs.get(request.run_id)) is not None:
                return _repeated(before, survey, request)
            now = self._clock.now()
            timing = timing_of(request.asked, now, survey.expected)
            _check_times(request.asked, timing, now)
            await self._write_rows(request, timing, now)
            emission = run_emission(request.run_id, request.name, request.producer, survey, request.deadline, now)
            await self._appender.write(outputs_of([emission, _audit(request, survey, now)], now))
        run = emission.event
        assert isinstance(run, SendRun)
        self._known.remember(run)
        return Accepted(run, timing, repeated=False)

    async def _survey(self, request: Request) -> Survey:
        surveyor = Surveyor(subject_of(request.asked), persons_once=request.persons_once)
        looks = iter(request.looks())
        while not surveyor.full and (chunk := list(islice(looks, LOOK_ROWS))):
            for look in chunk:
                surveyor.look(look)
            await asyncio.sleep(0)
        return surveyor.end()

    async def _write_rows(self, request: Request, timing: Timing, now: datetime) -> None:
        rows = _frozen(request.looks())
        outputs: list[Output] = []
        while chunk := list(islice(rows, LOOK_ROWS)):
            for row in chunk:
                outputs += outputs_of([audience_emission(request.run_id, row, timing)], now, new_traceparent())
            if len(outputs) >= WRITE_ROWS:
                await self._appender.write(outputs)
                outputs = []
            await asyncio.sleep(0)
        if outputs:
            await self._appender.write(outputs)


def _frozen(looks: Iterable[Look]) -> Iterator[Frozen]:
    for look in looks:
        if isinstance(look, list):
            raise RuntimeError("a row without faults has one at the second look")
        yield look


def _repeated(before: SendRun, survey: Survey, request: Request) -> Accepted:
    if before.audience_hash != survey.digest:
        raise Problem(
            409,
            "IDEMPOTENCY_CONFLICT",
            "The Idempotency-Key was used for another request",
            "Nothing of this request was accepted. Use a new key for a new request.",
        )
    return Accepted(before, timing_of(request.asked, before.created_at, before.expected), repeated=True)


def _check_times(asked: RunRequest | BatchRequest, timing: Timing, now: datetime) -> None:
    last = timing.last()
    expiries = [asked.expires_at] if isinstance(asked, RunRequest) else [each.expires_at for each in asked.messages]
    earliest = min((each for each in expiries if each is not None), default=None)
    fault = timing_fault(now, last, earliest)
    if isinstance(asked, RunRequest) and asked.deadline is not None and asked.deadline <= now:
        fault = "the deadline must be in the future"
    if fault is not None:
        raise validation_problem([{"type": "value_error", "loc": ("body", "startAt"), "msg": fault}])


def _audit(request: Request, survey: Survey, now: datetime) -> Emission:
    record = AuditRecord(
        audit_id=event_id("audit", request.run_id, survey.digest),
        actor=request.producer,
        action="run_accepted",
        subject=request.run_id,
        at=now,
        details={"expected": str(survey.expected), "audience_hash": survey.digest},
    )
    return Emission(AUDIT_LOG, request.run_id, request.run_id, record, record.audit_id)
