"""Reads the accounts' lists of templates, and keeps what is known of each in the table published as template-state."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import structlog
from pydantic import ValidationError

from harkara.contracts.event import Reason, event_id
from harkara.contracts.partition import murmur2, partition_for
from harkara.contracts.templates import TemplateEvent
from harkara.contracts.topics import TEMPLATE_EVENTS, TEMPLATE_STATE
from harkara.graph_api.client import GraphClient, GraphReadFailed
from harkara.graph_api.kept import KeptClients
from harkara.graph_api.outcome import InDoubt, Refused
from harkara.graph_api.templates import (
    TemplateNode,
    content_hash,
    parameters_of,
    quality_of,
    status_of,
    wording_of,
)
from harkara.graph_api.token import UnusableToken, token_in
from harkara.policy.governance import Governance, Number
from harkara.runtime.clock import Clock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_table import ProjectionTable
from harkara.runtime.kafka import Output, open_writer
from harkara.runtime.loop import Incoming
from harkara.template_manager import metrics
from harkara.template_manager.core import Row, doubt_ends, is_forgotten, is_news, missing, next_row, notice_doubt_ends
from harkara.template_manager.settings import Settings
from harkara.template_manager.timetable import AFTER_PAUSE_SECONDS, Timetable

TICK_SECONDS = 0.5
SHOW_SECONDS = 1.0  # a list of 6,000 templates is counted once, not 6,000 times
FORGET_SECONDS = 3600.0  # how often rows of templates long gone are looked for
PAGE = 100  # templates; 250 KB hold about 100 of Meta's usual ones
SMALLEST_PAGE = 5
READS_AT_ONCE = 8  # accounts; one that does not answer keeps the others waiting for one timeout at most
BROKEN_OFF = InDoubt("connection")
MOST_CALLS = 1500  # 6,000 templates (Meta's limit for an account) in the smallest pages, with room
DEARER = {("UTILITY", "MARKETING"), ("UTILITY", "AUTHENTICATION"), ("AUTHENTICATION", "MARKETING")}

log = structlog.get_logger()


class TokenMissing(Exception):
    """No number of the account has an access token where the policy says."""


@dataclass
class Accounts:
    """The accounts of the policy's numbers, and the partition of each. The policy may become another one: whoever reads
    the lists and whoever makes the clients go by the same."""

    governance: Governance
    partitions: int

    def in_partitions(self, owned: frozenset[int]) -> Iterator[str]:
        """The accounts whose rows are in these partitions."""
        for waba_id in sorted({number.waba_id for number in self.governance.numbers}):
            if partition_for(waba_id, self.partitions) in owned:
                yield waba_id

    def numbers(self, waba_id: str) -> list[Number]:
        """The numbers of an account, in the file's order."""
        return [number for number in self.governance.numbers if number.waba_id == waba_id]


class Projection:
    """What is known of the templates, in the table of one Faust app. `heard` is told of each account of which something
    was seen that its list was not read for."""

    def __init__(self, app: ProjectionApp, clock: Clock, heard: Callable[[str], None]) -> None:
        self._app = app
        self._clock = clock
        self._heard = heard
        self._table: ProjectionTable = app.projection_table("template-state", TEMPLATE_STATE)
        self._unshown = True
        self._table.after_recovery(lambda _: self._changed())
        app.fold(TEMPLATE_EVENTS, self.take)
        app.timer(SHOW_SECONDS)(self.show)
        app.timer(FORGET_SECONDS)(self.forget)

    @property
    def owned(self) -> frozenset[int]:
        """The partitions whose accounts this instance reads; none while they may move."""
        return self._table.owned if self._app.settled else frozenset()

    def rows(self, partition: int, waba_id: str) -> dict[str, Row]:
        """The account's rows by key."""
        return {key: row for key, row in self._table.rows(partition).items() if row["waba_id"] == waba_id}

    def take(self, incoming: Incoming) -> None:
        """Fold what was seen."""
        event = incoming.envelope.event
        assert isinstance(event, TemplateEvent)  # the topic has no other kind
        if event.source != "sync":
            self._heard(event.waba_id)
        before = self._table.read(incoming.partition, event.key)
        after = next_row(before, event, self._clock.now())
        if after is None:
            return
        self._table.write(incoming.partition, event.key, after)
        if before is None or after["version"] != before["version"]:
            _tell(before, after)
            self._changed()

    async def forget(self) -> None:
        """Remove what has been gone for a long time."""
        for partition in self.owned:
            gone = [k for k, row in self._table.rows(partition).items() if is_forgotten(row, self._clock.now())]
            for key in gone:
                self._table.remove(partition, key)

    def _changed(self) -> None:
        self._unshown = True

    async def show(self) -> None:
        """Bring the gauges up to the rows, where these changed."""
        if not self._unshown:
            return
        self._unshown = False
        rows = [row for partition in self._table.owned for row in self._table.rows(partition).values()]
        counts = Counter((row["waba_id"], row["status"]) for row in rows)
        metrics.TEMPLATES.clear()
        for (waba_id, status), count in counts.items():
            metrics.TEMPLATES.labels(waba_id, status).set(count)
        red = Counter(row["waba_id"] for row in rows if row["quality"] == "RED")
        for waba_id in {row["waba_id"] for row in rows}:
            metrics.RATED_RED.labels(waba_id).set(red[waba_id])


def _tell(before: Row | None, after: Row) -> None:
    """For operators: a status, a category, or values to be brought that are others."""
    names = {name: after[name] for name in ("waba_id", "name", "language")}
    if before is not None and after["status"] != before["status"]:
        reason = (after["reason"] or {}).get("code")
        log.warning("template_status", **names, status=after["status"], before=before["status"], reason=reason)
    if before is not None and before["category"] is not None and after["category"] != before["category"]:
        log.warning("template_category", **names, category=after["category"], before=before["category"])
        if (before["category"], after["category"]) in DEARER:
            metrics.RECATEGORISED.labels(after["waba_id"]).inc()
    if before is not None and before["parameters"] is not None and after["parameters"] != before["parameters"]:
        log.warning("template_values", **names, takes=after["parameters"], before=before["parameters"])
        metrics.CHANGED.labels(after["waba_id"]).inc()


ClientOf = Callable[[str], GraphClient]


class Reader:
    """Reads the lists of the accounts whose partition this instance owns: so each account has one who reads."""

    name = "template-lists"

    def __init__(self, settings: Settings, accounts: Accounts, clock: Clock, client_of: ClientOf) -> None:
        self._settings = settings
        self._accounts = accounts
        self._clock = clock
        self._client_of = client_of
        self._clients = KeptClients()
        self._times: dict[str, Timetable] = {}
        self._not_seen: dict[str, set[str]] = {}
        self._asked_at: dict[str, datetime] = {}  # for the newest list that was read whole
        self.projection: Projection | None = None

    def ready(self) -> str | None:
        """Always: Meta being unreachable must not take the states away."""
        return None

    def follow(self, governance: Governance) -> None:
        """Go by this policy from now on."""
        self._accounts.governance = governance

    def heard(self, waba_id: str) -> None:
        """Something was told of the account: its list is read soon."""
        if waba_id in self._times:
            self._times[waba_id].soon(self._clock.monotonic())

    async def run(self) -> None:
        """Read until cancelled; an error of writing ends the process."""
        async with open_writer(self._settings) as writer:
            try:
                while True:
                    await asyncio.sleep(TICK_SECONDS)
                    read = await asyncio.gather(*(self._read(waba_id) for waba_id in self._due()[:READS_AT_ONCE]))
                    await self._clients.close_old()
                    await writer.write([_output(event) for events in read for event in events])
            finally:
                await self._clients.aclose()

    def _due(self) -> list[str]:
        """The accounts whose time has come, the longest overdue first."""
        now = self._clock.monotonic()
        owned = self.projection.owned if self.projection is not None else frozenset()
        mine = set(self._accounts.in_partitions(owned))
        for gone in self._times.keys() - mine:
            del self._times[gone]
            self._not_seen.pop(gone, None)
            self._asked_at.pop(gone, None)
        for waba_id in mine - self._times.keys():
            self._times[waba_id] = Timetable.first(now, murmur2(waba_id.encode()) % 1000 / 1000)
        for waba_id in mine:
            self._times[waba_id].by(now + self._next_end_in(waba_id))
        return sorted((w for w, times in self._times.items() if times.due <= now), key=lambda w: self._times[w].due)

    def _next_end_in(self, waba_id: str) -> float:
        """Seconds until the next pause of a template is over, or the doubt of a list that calls were refused against or
        that may lag behind a notice: then the list tells how it is. Less than none of an end that came while the list
        was read: what was asked for before it does not tell."""
        now, ends = self._clock.now(), []
        told_until = self._asked_at.get(waba_id, now)
        for row in self._rows(waba_id).values():
            told = row["paused_until"]
            pause_ends = None if told is None else datetime.fromisoformat(told)
            for until in (pause_ends, doubt_ends(row), notice_doubt_ends(row)):
                if until is not None and until > told_until:
                    ends.append((until - now).total_seconds() + AFTER_PAUSE_SECONDS)
        return min(ends, default=float("inf"))

    def _rows(self, waba_id: str) -> dict[str, Row]:
        assert self.projection is not None
        return self.projection.rows(partition_for(waba_id, self._settings.partitions), waba_id)

    async def _read(self, waba_id: str) -> list[TemplateEvent]:
        """What the account's list says that is news; where it cannot be read, nothing."""
        times, asked_at = self._times[waba_id], self._clock.now()
        times.begin()
        try:
            listed, calls, readable = await self._whole_list(waba_id, asked_at)
        except GraphReadFailed as failure:
            outcome = failure.outcome
            refused = outcome if isinstance(outcome, Refused) else None
            word = "refused" if refused is not None else "unreachable"
            code = None if refused is None else refused.error.code
            self._failed(waba_id, word, None if refused is None else refused.retry_after_seconds, code)
            return []
        except TokenMissing:
            self._failed(waba_id, "no_token", None, None)
            return []
        metrics.SYNCS.labels(waba_id, "read").inc()
        metrics.LAST_SYNC.labels(waba_id).set(asked_at.timestamp())
        self._asked_at[waba_id] = asked_at
        interval = self._accounts.governance.templates.sync_minutes * 60
        times.read(self._clock.monotonic(), calls, interval)
        rows = self._rows(waba_id)
        news = [event for event in listed if is_news(rows.get(event.key), event)]
        if not readable:
            return news  # which one was not readable is not known: it must not be taken for gone
        return news + self._gone(waba_id, missing(rows, {event.key for event in listed}, asked_at))

    def _gone(self, waba_id: str, not_listed: list[TemplateEvent]) -> list[TemplateEvent]:
        """Those that the list before did not have either: messages of a template that is gone fail, and one page that
        Meta skipped must not do that. The next list is asked for soon."""
        before, now = self._not_seen.get(waba_id, set()), {event.key for event in not_listed}
        self._not_seen[waba_id] = now
        if now - before:
            self.heard(waba_id)
        return [event for event in not_listed if event.key in before]

    def _failed(self, waba_id: str, outcome: str, retry_after_seconds: float | None, code: int | None) -> None:
        metrics.SYNCS.labels(waba_id, outcome).inc()
        wait = self._times[waba_id].failed(self._clock.monotonic(), retry_after_seconds)
        log.warning("templates_not_read", waba_id=waba_id, outcome=outcome, code=code, again_in_seconds=round(wait))

    async def _whole_list(self, waba_id: str, asked_at: datetime) -> tuple[list[TemplateEvent], int, bool]:
        """Every template of the account, how many calls it took, and whether each node was readable. Raises
        GraphReadFailed, TokenMissing.

        An answer that broke off is asked for once more in smaller pages: it may have been too long.
        """
        client, found, after, limit, readable = self._client(waba_id), list[TemplateEvent](), None, PAGE, True
        for call in range(1, MOST_CALLS + 1):
            try:
                page = await client.message_templates(waba_id, limit=limit, after=after)
            except GraphReadFailed as failure:
                if failure.outcome != BROKEN_OFF or limit <= SMALLEST_PAGE:
                    raise
                limit = max(SMALLEST_PAGE, limit // 4)
                continue
            events = [seen_in_list(waba_id, node, asked_at) for node in page.data]
            found += [event for event in events if event is not None]
            if None in events:
                readable = False
                metrics.SYNCS.labels(waba_id, "unreadable").inc()
                log.warning("template_unreadable", waba_id=waba_id, nodes=events.count(None))
            if page.following is None:
                return found, call, readable
            after = page.following
        log.error("template_list_without_end", waba_id=waba_id, calls=MOST_CALLS)
        raise GraphReadFailed(InDoubt("answer"))

    def _client(self, waba_id: str) -> GraphClient:
        first = self._accounts.numbers(waba_id)[0]
        return self._clients.of(waba_id, (first.local_address, first.proxy), lambda: self._client_of(waba_id))


def seen_in_list(waba_id: str, listed: dict[str, object], asked_at: datetime) -> TemplateEvent | None:
    """A node of the list as an event; None for one that is not a template as Meta describes them."""
    try:
        node = TemplateNode.model_validate(listed)
        status, rejected = status_of(node.status), node.rejected_reason
        told = None if rejected in (None, "", "NONE") or status != "REJECTED" else rejected
        return TemplateEvent(
            waba_id=waba_id,
            name=node.name,
            language=node.language,
            template_id=node.id,
            kind="listed",
            source="sync",
            at=asked_at,
            status=node.status,
            category=node.category,
            quality=None if node.quality_score is None else quality_of(node.quality_score.score),
            parameters=parameters_of(node),
            content_hash=content_hash(node),
            wording=wording_of(node),
            reason=None if told is None else Reason(code=told[:64], text="Meta's review rejected it."),
        )
    except (ValidationError, TypeError):  # also where a component is put together otherwise than Meta describes
        return None


def token_of(numbers: list[Number]) -> str:
    """The access token of the first number that has one, read anew at each call. Raises TokenMissing.

    A token that sends for a number is one of its account's system users, which may read the account's templates too
    (`whatsapp_business_management`).
    """
    for number in numbers:
        try:
            found = token_in(
                number.token_file.read_text() if number.token_file else os.environ.get(number.token_env or "", "")
            )
        except (OSError, UnicodeDecodeError, UnusableToken):
            continue  # the next number's; where none has one, TokenMissing says so
        if found:
            return found
    raise TokenMissing


def client_for(settings: Settings, accounts: Accounts) -> ClientOf:
    """Makes an account's client, with the way out of its first number."""

    def make(waba_id: str) -> GraphClient:
        first = accounts.numbers(waba_id)[0]
        return GraphClient(
            settings.graph_base_url,
            settings.graph_version,
            lambda: token_of(accounts.numbers(waba_id)),
            timeout_seconds=settings.read_timeout_seconds,
            max_connections=1,
            local_address=None if first.local_address is None else str(first.local_address),
            proxy=first.proxy,
        )

    return make


def _output(event: TemplateEvent) -> Output:
    identity = event_id(event.source, event.key, event.kind, event.at.isoformat())
    return Output(TEMPLATE_EVENTS, event.waba_id, event.key, event, identity, event.at)
