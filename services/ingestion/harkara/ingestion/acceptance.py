"""Accepting many messages at once: look at every row, then write every row, then say so (design 5, run-audience)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from weakref import WeakValueDictionary

from harkara.contracts.audit import AuditRecord
from harkara.contracts.event import event_id
from harkara.contracts.runs import SendRun
from harkara.contracts.topics import AUDIT_LOG
from harkara.ingestion.audience import Fault
from harkara.ingestion.core import Emission, scheduled, timing_fault
from harkara.ingestion.effects import Appender, outputs_of
from harkara.ingestion.known import Known
from harkara.ingestion.requests import BatchRequest, RunRequest
from harkara.ingestion.resolution import Remembered, Resolution, Resolver, content_hash, difference
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

RESOLVE_ROWS = 20  # asked about before other requests have their turn: about 5 ms
LOOK_ROWS = 100  # looked at before other requests have their turn: about 5 ms
WRITE_ROWS = 500  # acknowledged together: about 500 KB, one or two requests to Kafka
MOST_FAULTS_SHOWN = 1_000  # with their reasons; of the rest the rows' numbers
RUNS_AT_ONCE = 4  # being written by this process; more would only slow each other and the webhooks

Look = Frozen | list[Fault] | None
"""A row, what is wrong with it, or None: the run's filters leave it out."""


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
    """What is to be accepted. `looks` gives the rows from the first one, each time it is called. `rival_id`: the run
    that the same Idempotency-Key names as a dry run where this is none, and the other way round."""

    run_id: str
    rival_id: str
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
    """An accepted run and its slots; `repeated`: it had been accepted before by the same request. `resolution`: what
    was expected of it, where that was asked."""

    run: SendRun
    timing: Timing
    repeated: bool
    resolution: Resolution | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """An audience that was looked at and asked about, and when its rows would go."""

    survey: Survey
    timing: Timing
    resolution: Resolution


class AudienceChanged(Problem):
    """409: what was previewed is not what would be sent now. `difference` is there where this process remembers the
    preview."""

    def __init__(self, now: Resolution, before: Resolution | None) -> None:
        super().__init__(
            409,
            "AUDIENCE_CHANGED",
            "The audience or its verdicts are not what was previewed",
            "Nothing was accepted. Look at the difference; with the new hashes, or without any, the run is accepted.",
        )
        self._facts: dict[str, Any] = {
            "audienceHash": now.audience_hash,
            "verdictHash": now.verdict_hash,
            "verdicts": dict(sorted(now.labels.items())),
        }
        if before is not None:
            told = difference(before, now)
            self._facts["difference"] = {
                "content": told.content,
                "added": told.added,
                "removed": told.removed,
                "verdicts": told.verdicts,
                "changes": [{"row": row, "was": was, "is": is_} for row, was, is_ in told.changes],
                "before": dict(sorted(before.labels.items())),
            }

    def body(self) -> dict[str, Any]:
        """As any problem's, with what it is now and how that differs."""
        return super().body() | self._facts


class RunAcceptance:
    """Accepts runs and batches; a repeated request is known by its run id and the hash of what it asks."""

    def __init__(self, appender: Appender, known: Known, clock: Clock, resolver: Resolver) -> None:
        self._appender = appender
        self._known = known
        self._clock = clock
        self._resolver = resolver
        self._remembered = Remembered()
        self._turns = asyncio.Semaphore(RUNS_AT_ONCE)
        self._keys: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of the requests under way alone

    async def accept(self, request: Request) -> Accepted:
        """Accept everything or nothing. Raises BadRows, Problem 409, 422 or 503, Unavailable.

        Killed in between, rows may be on run-audience without the run: the client has no answer, repeats the request,
        and the same rows get the same message ids. Requests with one Idempotency-Key wait for each other, so that the
        second is answered as a repetition or refused; at another instance of ingestion at the same moment it gets what
        it asks for under ids that are a function of the key: the same, or a dry run's own.
        """
        key = min(request.run_id, request.rival_id)
        async with self._keys.setdefault(key, asyncio.Lock()), self._turns:
            survey = await self._survey(request)
            if survey.faults:
                raise BadRows(survey.faults, "messages" if isinstance(request.asked, BatchRequest) else "audience")
            runs = self._known.runs
            if (before := runs.get(request.run_id) or runs.get(request.rival_id)) is not None:
                return _repeated(before, survey, request)
            now = self._clock.now()
            timing = timing_of(request.asked, now, survey.expected)
            _check_times(request.asked, timing, now)
            resolution = await self._asked(request, survey, timing, now)
            await self._write_rows(request, survey, timing, now)
            emission = _emission(request, survey, resolution, now)
            await self._appender.write(outputs_of([emission, _audit(request, survey, now)], now))
        run = emission.event
        assert isinstance(run, SendRun)
        self._known.remember(run)
        return Accepted(run, timing, repeated=False, resolution=resolution)

    async def preview(self, request: Request) -> Resolved:
        """What accepting it now would lead to; nothing is written. Raises BadRows, Problem 422 or 503."""
        async with self._turns:
            survey = await self._survey(request)
            if survey.faults:
                raise BadRows(survey.faults, "audience")
            now = self._clock.now()
            timing = timing_of(request.asked, now, survey.expected)
            _check_times(request.asked, timing, now)
            if not self._resolver.fresh():
                raise _not_known()
            return Resolved(survey, timing, await self._resolve(request, survey, timing, now))

    async def _asked(self, request: Request, survey: Survey, timing: Timing, now: datetime) -> Resolution | None:
        """The verdicts on a run that is about to be accepted; None for a batch, and where they cannot be had and were
        not asked for: the guard decides on each message anyway."""
        asked = request.asked
        if not isinstance(asked, RunRequest):
            return None
        expected = (asked.audience_hash, asked.verdict_hash)
        if not self._resolver.fresh():
            if expected != (None, None):
                raise _not_known()
            return None
        before = self._remembered.find(asked.verdict_hash, asked.audience_hash)
        found = await self._resolve(request, survey, timing, now)
        same = zip(expected, (found.audience_hash, found.verdict_hash), strict=True)
        if any(each is not None and each != is_ for each, is_ in same):
            raise AudienceChanged(found, before)
        return found

    async def _resolve(self, request: Request, survey: Survey, timing: Timing, now: datetime) -> Resolution:
        found, wanted = self._resolver.begin(now), self._resolver.wanted(now)
        rows = enumerate(_again(request, survey), 1)
        while chunk := list(islice(rows, RESOLVE_ROWS)):
            for place, (each, content) in chunk:
                intent = scheduled(each.intent, timing.of(place))
                resolved = self._resolver.of(intent, each.row, each.home, now)
                found.take(content, resolved)
                wanted.note(intent, resolved.person_key, resolved.verdict)
            await asyncio.sleep(0)
        self._resolver.end(found, survey.digest, wanted)
        self._remembered.keep(found)
        return found

    async def _survey(self, request: Request) -> Survey:
        surveyor = Surveyor(subject_of(request.asked), persons_once=request.persons_once)
        looks = iter(request.looks())
        while not surveyor.full and (chunk := list(islice(looks, LOOK_ROWS))):
            for look in chunk:
                surveyor.look(look)
            await asyncio.sleep(0)
        survey = surveyor.end()
        survey.digest = self._resolver.keyed(survey.bare)
        return survey

    async def _write_rows(self, request: Request, survey: Survey, timing: Timing, now: datetime) -> None:
        rows = enumerate(_again(request, survey), 1)
        outputs: list[Output] = []
        while chunk := list(islice(rows, LOOK_ROWS)):
            for place, (row, _) in chunk:
                emission = audience_emission(request.run_id, row, timing.of(place))
                outputs += outputs_of([emission], now, new_traceparent())
            if len(outputs) >= WRITE_ROWS:
                await self._appender.write(outputs)
                outputs = []
            await asyncio.sleep(0)
        if outputs:
            await self._appender.write(outputs)


def _again(request: Request, survey: Survey) -> Iterator[tuple[Frozen, bytes]]:
    """The rows that go, with the hash of their content, at a later look than the survey's."""
    if survey.kept is not None:
        yield from survey.kept
        return
    for look in request.looks():
        if isinstance(look, list):
            raise RuntimeError("a row without faults has one at the second look")
        if look is not None:
            yield look, content_hash(look.intent)


def _emission(request: Request, survey: Survey, resolution: Resolution | None, now: datetime) -> Emission:
    asked = request.asked
    filters, dry_run = (asked.filters.told(), asked.dry_run) if isinstance(asked, RunRequest) else ({}, False)
    return run_emission(
        request.run_id, request.name, request.producer, survey, request.deadline, now,
        filters=filters, resolution=resolution, dry_run=dry_run,
    )  # fmt: skip


def _not_known() -> Problem:
    return Problem(
        503,
        "POLICY_FACTS_UNKNOWN",
        "Consent, windows or numbers are not known up to now",
        "Nothing was accepted. A run that names no hash is accepted, and each of its messages decided on later.",
        headers={"Retry-After": "5"},
    )


def _repeated(before: SendRun, survey: Survey, request: Request) -> Accepted:
    rehearsal = isinstance(request.asked, RunRequest) and request.asked.dry_run
    if before.audience_hash not in (survey.digest, survey.bare) or before.dry_run != rehearsal:
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
