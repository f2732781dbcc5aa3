"""Accepting a run: every row is looked at before anything is written; then each is frozen with its home."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from harkara.contracts.event import event_id
from harkara.contracts.identity import derived_message_id, person_key
from harkara.contracts.intents import SendIntent
from harkara.contracts.runs import AudienceRow, SendRun
from harkara.contracts.topics import RUN_AUDIENCE, SEND_RUNS
from harkara.ingestion.audience import Fault, Row, faults_of, parse_row
from harkara.ingestion.core import (
    Emission,
    ForbiddenSender,
    Sender,
    UnknownSender,
    by_home,
    choose_sender,
    intent_of,
    resolve_sender,
    run_intent,
    slot,
)
from harkara.ingestion.requests import MOST_RUN_ROWS, AudienceEntry, AudienceFilters, BatchRequest, RunRequest
from harkara.ingestion.resolution import Resolution, content_hash
from harkara.ingestion.zones import Guesses
from harkara.policy.clearance import country_of
from harkara.policy.governance import Governance

KEPT_ROWS = 20_000  # between two looks: about 60 MB for each of the few audiences that are looked at at once
_NOT_SUBJECT = {"audience", "messages", "dry_run", "audience_hash", "verdict_hash"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the API key, its fixed sender, and the name of this request that its ids are made of (`ids_key`)."""

    api_key_id: str
    fixed_sender: str | None
    idempotency_key: str


def ids_key(idempotency_key: str, *, dry_run: bool) -> str:
    """What the ids of a run and its messages are made of: the client's key (visible characters alone). A dry run has
    ids of its own, so that even where it meets the run itself at two instances neither takes the other's messages."""
    return f"{idempotency_key}\x1fdry run" if dry_run else idempotency_key


@dataclass(frozen=True, slots=True)
class Frozen:
    """One recipient as it will be written, without its slot in time."""

    row: int
    home: str
    intent: SendIntent


@dataclass(slots=True)
class Survey:
    """What a look at all rows gives: how many, per home, how many the filters left out, what is wrong, and the
    audience's hash (`digest`, by the pepper; `bare` without): of what was asked for, whatever the ids that its messages
    will have. Runs of before there were keyed ones are known by the bare one. `kept` are the rows that go,
    each with the hash of its content, for a second look; None: they are too many, and are made anew."""

    expected: int = 0
    left_out: int = 0
    homes: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    digest: str = ""
    bare: str = ""
    kept: list[tuple[Frozen, bytes]] | None = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run's request with everything that is the same for its rows."""

    run: RunRequest
    run_id: str
    caller: Caller
    governance: Governance
    pepper: bytes
    senders: dict[str, tuple[Sender, ...]]
    guesses: Guesses = field(default_factory=Guesses)

    def frozen(self, row: Row) -> Frozen | list[Fault] | None:
        """The row as an intent with its home, or everything that is wrong with it; None: the filters leave it out."""
        entry = parse_row(row, self.guesses)
        if isinstance(entry, list):
            return entry
        if not chosen(self.run.filters, entry, self.run):
            return None
        number = row[0]
        try:
            sender = self._sender_for(entry.sender, entry.names[0])
            intent = run_intent(
                self.run,
                entry,
                message_id=derived_message_id(self.caller.api_key_id, self.caller.idempotency_key, number),
                run_id=self.run_id,
                row=number,
                sender=sender,
                producer=self.caller.api_key_id,
            )
        except (UnknownSender, ForbiddenSender) as error:
            return [Fault(number, "sender", str(error))]
        except ValueError as error:
            return faults_of(number, error)
        return Frozen(number, sender.home, intent)

    def _sender_for(self, named: str | None, recipient: str) -> Sender:
        if named is not None:
            return resolve_sender(self.governance, self.caller.fixed_sender, named, None)
        if not self.senders:
            raise UnknownSender("neither the run, the row nor the API key names a sender")
        person = person_key(self.pepper, recipient) if len(self.senders) > 1 else ""  # of one home there is no choice
        return choose_sender(self.senders, person)


def plan_run(run: RunRequest, run_id: str, caller: Caller, governance: Governance, pepper: bytes) -> RunPlan:
    """Resolve the run's senders. Raises UnknownSender or ForbiddenSender."""
    named: Iterable[str | None] = run.senders or ([None] if _has_one(run, caller) else [])
    found = [resolve_sender(governance, caller.fixed_sender, each or run.session_id, run.phone) for each in named]
    return RunPlan(run, run_id, caller, governance, pepper, by_home(found))


def _has_one(run: RunRequest, caller: Caller) -> bool:
    return bool(run.session_id or run.phone or caller.fixed_sender)


def chosen(filters: AudienceFilters, entry: AudienceEntry, run: RunRequest) -> bool:
    """Whether the recipient meets every filter that is named."""
    if filters.countries and country_of(entry.names[0]) not in filters.countries:
        return False
    if filters.languages and entry.language not in filters.languages:
        return False
    said = run.metadata | (entry.metadata or {}) if filters.metadata else {}
    return all(said.get(name) in values for name, values in filters.metadata.items())


def batch_rows(batch: BatchRequest, run_id: str, caller: Caller, sender: Sender) -> list[Frozen]:
    """The messages of a batch as rows of a run of their own, from 1."""
    rows = []
    for number, message in enumerate(batch.messages, 1):
        message_id = derived_message_id(caller.api_key_id, caller.idempotency_key, number)
        intent = intent_of(message, message_id=message_id, sender=sender, producer=caller.api_key_id)
        rows.append(Frozen(number, sender.home, intent.model_copy(update={"run_id": run_id, "row": number})))
    return rows


class Surveyor:
    """Looks at rows one by one. A person who is in the audience twice would be written to twice: the row is a fault."""

    def __init__(self, subject: bytes, *, persons_once: bool) -> None:
        self._hash = hashlib.sha256(subject)
        self._first_row: dict[str, int] | None = {} if persons_once else None
        self._looked = 0
        self.survey = Survey()

    @property
    def full(self) -> bool:
        """Whether there are more rows than a run may have; looking further would be for nothing."""
        return self._looked > MOST_RUN_ROWS

    def look(self, found: Frozen | list[Fault] | None) -> None:
        """Count one row."""
        survey = self.survey
        self._looked += 1
        if found is None:
            survey.left_out += 1
            return
        if self.full or isinstance(found, list):
            survey.faults += found if isinstance(found, list) else []
            return
        survey.expected += 1
        survey.homes[found.home] += 1
        content = content_hash(found.intent)
        self._hash.update(b"%d\x1f%s\x1e" % (found.row, content))
        if survey.kept is not None:
            survey.kept.append((found, content))
            survey.kept = survey.kept if survey.expected < KEPT_ROWS else None
        if self._first_row is not None:
            for field_name, name in (("to", found.intent.to), ("userId", found.intent.user_id)):
                first = found.row if name is None else self._first_row.setdefault(name, found.row)
                if first != found.row:
                    survey.faults.append(Fault(found.row, field_name, f"the same recipient as in row {first}"))
                    break

    def end(self) -> Survey:
        """The result, once every row was looked at."""
        if self.full:
            self.survey.faults.append(Fault(MOST_RUN_ROWS + 1, "(row)", f"a run has at most {MOST_RUN_ROWS} rows"))
        if self.survey.expected == 0 and not self.survey.faults:
            why = "has no rows" if not self.survey.left_out else "has no rows that meet the filters"
            self.survey.faults.append(Fault(0, "audience", why))
        self.survey.bare = self._hash.hexdigest()[:32]
        return self.survey


def subject_of(request: RunRequest | BatchRequest) -> bytes:
    """What belongs to the request's identity besides its rows. A dry run and what it rehearses have the same; a field
    that is left out says what it says where it did not exist yet."""
    said = request.model_dump(mode="json", exclude=_NOT_SUBJECT, exclude_defaults=True)
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


@dataclass(frozen=True, slots=True)
class Timing:
    """When the rows of a run go: at once (`start` None), or each in its slot."""

    start: datetime | None
    spread_minutes: float
    count: int

    def of(self, place: int) -> datetime | None:
        """The slot of the row at that place among those that go (from 1)."""
        return None if self.start is None else slot(self.start, self.spread_minutes, place - 1, self.count)

    def last(self) -> datetime | None:
        """The slot of the last row."""
        return self.of(self.count)


def timing_of(request: RunRequest | BatchRequest, now: datetime, count: int) -> Timing:
    """A start or a spread makes slots; the start is `now` where none is given."""
    if request.start_at is None and request.spread_minutes == 0:
        return Timing(None, 0.0, count)
    return Timing(request.start_at or now, request.spread_minutes, count)


def audience_emission(run_id: str, found: Frozen, emit_at: datetime | None) -> Emission:
    """The row on run-audience, with its slot."""
    row = AudienceRow(run_id=run_id, row=found.row, home=found.home, intent=found.intent, emit_at=emit_at)
    return Emission(RUN_AUDIENCE, run_id, run_id, row, event_id(run_id, found.row), found.intent.message_id)


def run_emission(
    run_id: str,
    name: str,
    producer: str,
    survey: Survey,
    deadline: datetime | None,
    now: datetime,
    *,
    filters: dict[str, tuple[str, ...]] | None = None,
    resolution: Resolution | None = None,
    dry_run: bool = False,
) -> Emission:
    """The accepted run on send-runs. A dry run delivers nothing, so it promises nothing: it has no deadline."""
    run = SendRun(
        run_id=run_id,
        name=name,
        producer=producer,
        expected=survey.expected,
        homes=dict(sorted(survey.homes.items())),
        audience_hash=survey.digest,
        deadline=None if dry_run else deadline,
        created_at=now,
        filters=filters or {},
        left_out=survey.left_out,
        verdicts={} if resolution is None else dict(sorted(resolution.labels.items())),
        verdict_hash=None if resolution is None else resolution.verdict_hash,
        policy_version=None if resolution is None else resolution.policy_version,
        dry_run=dry_run,
    )
    return Emission(SEND_RUNS, run_id, run_id, run, event_id("run", run_id, survey.digest))
