"""Asks Meta how the numbers are, and keeps their states in the table that is published as number-state."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import structlog
from pydantic import ValidationError

from harkara.contracts.event import Reason, event_id
from harkara.contracts.numbers import NumberCommand, NumberEvent, Quality
from harkara.contracts.partition import partition_for
from harkara.contracts.portfolios import UNLIMITED
from harkara.contracts.topics import NUMBER_COMMANDS, NUMBER_EVENTS, NUMBER_STATE
from harkara.graph_api.client import GraphClient, GraphReadFailed
from harkara.graph_api.errors import ErrorClass
from harkara.graph_api.kept import KeptClients
from harkara.graph_api.outcome import Refused
from harkara.graph_api.token import UnusableToken, token_in
from harkara.graph_api.wire import HealthStatus, PhoneNumber
from harkara.policy.governance import Governance, Number
from harkara.quality_monitor import metrics
from harkara.quality_monitor.core import (
    RULE,
    Facts,
    Row,
    facts_of,
    first_poll_after_seconds,
    first_row,
    next_row,
    obey,
    observe,
    second_poll_after_seconds,
)
from harkara.quality_monitor.portfolios import MetaWords
from harkara.quality_monitor.settings import Settings
from harkara.runtime.clock import Clock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_table import ProjectionTable
from harkara.runtime.kafka import Output, open_writer
from harkara.runtime.loop import Incoming

TICK_SECONDS = 1.0  # a pause ends at most this late
POLLS_AT_ONCE = 8  # of Meta's management calls; 5,000 an hour and account are allowed
FIELDS = ("health_status", "quality_rating", "throughput", "status")
LIMIT_FIELD = "whatsapp_business_manager_messaging_limit"
TIERS = {
    "TIER_50": 50, "TIER_250": 250, "TIER_1K": 1000, "TIER_2K": 2000, "TIER_10K": 10_000, "TIER_100K": 100_000,
    "TIER_UNLIMITED": UNLIMITED,
}  # fmt: skip
"""People outside service windows in 24 hours (Meta, messaging limits; some are of former years)."""
QUALITIES: dict[str | None, Quality] = {"GREEN": "GREEN", "YELLOW": "YELLOW", "RED": "RED"}

log = structlog.get_logger()


@dataclass
class Numbers:
    """The numbers of the policy, and the partition where each is at home. The policy may become another one, with the
    same numbers and homes."""

    governance: Governance
    partitions: int

    def follow(self, governance: Governance) -> None:
        """Go by this policy from now on."""
        self.governance = governance

    def fields(self, number: Number) -> tuple[str, ...]:
        """What Meta is asked about the number."""
        limited = any(number.portfolio_id == portfolio.id for portfolio in self.governance.portfolios)
        return (*FIELDS, LIMIT_FIELD) if limited else FIELDS

    def home(self, phone_number_id: str) -> str:
        """The number's home: its pool, or itself."""
        return self.governance.home_of(phone_number_id) or phone_number_id

    def at_home_in(self, owned: frozenset[int]) -> Iterator[tuple[int, Number]]:
        """The numbers of these partitions."""
        for number in self.governance.numbers:
            partition = partition_for(self.home(number.phone_number_id), self.partitions)
            if partition in owned:
                yield partition, number


class Projection:
    """The numbers' states, in the table of one Faust app."""

    def __init__(self, app: ProjectionApp, numbers: Numbers, clock: Clock) -> None:
        self._app = app
        self._numbers = numbers
        self._clock = clock
        self._table: ProjectionTable = app.projection_table("number-state", NUMBER_STATE)
        self._table.after_recovery(self._show_all)
        app.fold(NUMBER_EVENTS, self.take_event)
        app.fold(NUMBER_COMMANDS, self.take_command)
        app.timer(TICK_SECONDS)(self.tick)

    @property
    def owned(self) -> frozenset[int]:
        """The partitions whose numbers this instance asks for; none while they may move."""
        return self._table.owned if self._app.settled else frozenset()

    def limits(self) -> MetaWords:
        """The newest messaging limit that Meta reported of each portfolio, as far as this instance owns its numbers."""
        words: MetaWords = {}
        for partition, number in self._numbers.at_home_in(self.owned):
            row = self._table.read(partition, number.phone_number_id)
            facts = None if row is None else row["facts"]
            if facts is None or "messaging_limit_at" not in facts:
                continue
            word = facts["messaging_limit"], datetime.fromisoformat(facts["messaging_limit_at"])
            known = words.get(number.portfolio_id)
            if known is None or word[1] > known[1]:
                words[number.portfolio_id] = word
        return words

    def take_event(self, incoming: Incoming) -> None:
        """Fold what was seen."""
        event = incoming.envelope.event
        assert isinstance(event, NumberEvent)  # the topic has no other kind
        row = self._row(incoming.partition, event.phone_number_id, event.home)
        self._change(incoming.partition, row, observe(facts_of(row), event))

    def take_command(self, incoming: Incoming) -> None:
        """Fold what an operator said."""
        command = incoming.envelope.event
        assert isinstance(command, NumberCommand)  # the topic has no other kind
        row = self._row(incoming.partition, command.phone_number_id, command.home)
        self._change(incoming.partition, row, obey(facts_of(row), command))

    async def tick(self) -> None:
        """Give every number of the policy a row, and end the pauses whose time is up."""
        for partition, number in self._numbers.at_home_in(self.owned):
            if self._table.read(partition, number.phone_number_id) is None:
                home = self._numbers.home(number.phone_number_id)
                self._write(partition, first_row(number.phone_number_id, home, self._clock.now()))
        for partition in self.owned:
            for row in [row for row in self._table.rows(partition).values() if row["verdict"] == "paused"]:
                self._change(partition, row, facts_of(row))

    def _row(self, partition: int, phone_number_id: str, home: str) -> Row:
        return self._table.read(partition, phone_number_id) or first_row(phone_number_id, home, self._clock.now())

    def _change(self, partition: int, row: Row, facts: Facts) -> None:
        new = next_row(row, facts, self._clock.now())
        if new is None:
            return
        if new["latched"] and not row["latched"]:
            metrics.LATCHES.labels(facts.latched_by.partition(":")[0]).inc()
        if new["verdict"] != row["verdict"]:
            log.warning(
                "number_verdict_changed",
                phone_number_id=new["phone_number_id"],
                verdict=new["verdict"],
                before=row["verdict"],
                by=new["by"],
                reason=(new["reason"] or {}).get("code"),
            )
        self._write(partition, new)

    def _write(self, partition: int, row: Row) -> None:
        self._table.write(partition, row["phone_number_id"], row)
        _show(row)

    def _show_all(self, owned: frozenset[int]) -> None:
        metrics.VERDICT.clear()
        metrics.QUALITY.clear()
        for partition in owned:
            for row in self._table.rows(partition).values():
                _show(row)


def _show(row: Row) -> None:
    for verdict in ("open", "paused", "pause_proactive", "halted"):
        metrics.VERDICT.labels(row["phone_number_id"], verdict).set(row["verdict"] == verdict)
    for quality in ("GREEN", "YELLOW", "RED", "UNKNOWN"):
        metrics.QUALITY.labels(row["phone_number_id"], quality).set(row["quality"] == quality)


ClientOf = Callable[[Number], GraphClient]


class Poller:
    """Asks Meta about the numbers whose home partition this instance owns: so each number has one who asks."""

    name = "health-poll"

    def __init__(self, settings: Settings, numbers: Numbers, clock: Clock, client_of: ClientOf) -> None:
        self._settings = settings
        self._numbers = numbers
        self._clock = clock
        self._client_of = client_of
        self._clients = KeptClients()
        self._due: dict[str, float] = {}
        self._asked: set[str] = set()
        self.projection: Projection | None = None

    def limits(self) -> MetaWords:
        """As the projection has them; nothing before it has started."""
        return {} if self.projection is None else self.projection.limits()

    def ready(self) -> str | None:
        """Always: Meta being unreachable must not take the states away."""
        return None

    async def run(self) -> None:
        """Ask until cancelled; an error of writing ends the process."""
        async with open_writer(self._settings) as writer:
            try:
                while True:
                    await asyncio.sleep(TICK_SECONDS / 2)
                    numbers = self._next()
                    events = await asyncio.gather(*(self._ask(number) for number in numbers))
                    await self._clients.close_old()
                    await writer.write([_output(event) for event in events if event is not None])
            finally:
                await self._clients.aclose()

    def _next(self) -> list[Number]:
        """The numbers whose time has come, the longest overdue first."""
        now = self._clock.monotonic()
        owned = self.projection.owned if self.projection is not None else frozenset()
        mine = {number.phone_number_id: number for _, number in self._numbers.at_home_in(owned)}
        for gone in self._due.keys() - mine.keys():
            del self._due[gone]
            self._asked.discard(gone)
        for number_id in mine.keys() - self._due.keys():
            self._due[number_id] = now + first_poll_after_seconds(number_id)
        late = sorted((at, number_id) for number_id, at in self._due.items() if at <= now)[:POLLS_AT_ONCE]
        for _, number_id in late:
            self._due[number_id] = now + self._wait_after(number_id)
        return [mine[number_id] for _, number_id in late]

    def _wait_after(self, number_id: str) -> float:
        interval = self._numbers.governance.telemetry.health_poll_seconds
        if number_id in self._asked:
            return interval
        self._asked.add(number_id)
        return second_poll_after_seconds(number_id, interval)

    async def _ask(self, number: Number) -> NumberEvent | None:
        number_id = number.phone_number_id
        made_of = (number.local_address, number.proxy, number.token_env, number.token_file)
        client = self._clients.of(number_id, made_of, lambda: self._client_of(number))
        asked_at = self._clock.now()
        try:
            answer = await client.phone_number(number_id, self._numbers.fields(number))
            health = HealthStatus.model_validate((answer.model_extra or {}).get("health_status"))
        except GraphReadFailed as failure:
            return self._refused(number, failure)
        except (ValidationError, TokenMissing) as error:
            metrics.POLLS.labels("unreadable").inc()
            log.warning("health_unreadable", phone_number_id=number_id, error=type(error).__name__)
            return None
        metrics.POLLS.labels("answered").inc()
        metrics.LAST_ANSWER.labels(number_id).set(asked_at.timestamp())
        return NumberEvent(
            phone_number_id=number_id,
            home=self._numbers.home(number_id),
            kind="health",
            source="poll",
            at=asked_at,
            availability=health.worst_for_messages(),
            quality=QUALITIES.get(answer.quality_rating, "UNKNOWN"),
            connection=answer.status,
            messaging_limit=TIERS.get(answer.whatsapp_business_manager_messaging_limit or ""),
            reason=_reason(health, answer),
        )

    def _refused(self, number: Number, failure: GraphReadFailed) -> NumberEvent | None:
        """A refused token halts the number, for its sends are refused too; any other failure says nothing of it."""
        outcome = failure.outcome
        refused = isinstance(outcome, Refused)
        metrics.POLLS.labels("refused" if refused else "unreachable").inc()
        log.warning("health_not_answered", phone_number_id=number.phone_number_id, outcome=type(outcome).__name__)
        if not isinstance(outcome, Refused) or outcome.policy.error_class is not ErrorClass.AUTHENTICATION:
            return None
        text = f"Meta refused the number's access token ({outcome.policy.name}); renew it, then resume the number."
        return NumberEvent(
            phone_number_id=number.phone_number_id,
            home=self._numbers.home(number.phone_number_id),
            kind="halted",
            source="poll",
            at=self._clock.now(),
            reason=Reason(code="token_refused", text=text, rule=RULE, details={"code": str(outcome.error.code)}),
        )


class TokenMissing(Exception):
    """The number's access token is not where the policy says."""


def token_of(number: Number) -> str:
    """The number's access token, read anew at each call so that a rotated one counts. Raises TokenMissing."""
    try:
        token = token_in(
            number.token_file.read_text() if number.token_file else os.environ.get(number.token_env or "", "")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise TokenMissing(f"the token file of {number.phone_number_id} cannot be read") from error
    except UnusableToken as error:
        raise TokenMissing(f"the access token of {number.phone_number_id}: {error}") from None
    if not token:
        raise TokenMissing(f"there is no access token for {number.phone_number_id}")
    return token


def client_for(settings: Settings) -> ClientOf:
    """Makes a number's client, with the way out of its messages; one connection is enough to ask now and then."""

    def make(number: Number) -> GraphClient:
        return GraphClient(
            settings.graph_base_url,
            settings.graph_version,
            lambda: token_of(number),
            timeout_seconds=settings.poll_timeout_seconds,
            max_connections=1,
            local_address=None if number.local_address is None else str(number.local_address),
            proxy=number.proxy,
        )

    return make


def _reason(health: HealthStatus, answer: PhoneNumber) -> Reason:
    """What Meta says, entity by entity; the number's own status and throughput go along for the console."""
    worst = health.worst_for_messages()
    details = {"status": answer.status or "UNKNOWN"}
    if answer.throughput is not None and answer.throughput.level is not None:
        details["throughput"] = answer.throughput.level
    said = []
    for entity in health.entities:
        if entity.can_send_message != "AVAILABLE":
            codes = [str(error.error_code) for error in entity.errors if error.error_code is not None]
            details[entity.entity_type.lower()] = " ".join([entity.can_send_message, *codes])
            said += [error.error_description for error in entity.errors] + list(entity.additional_info)
    text = " ".join(each for each in said if each)[:500] or f"Meta says {worst}."
    return Reason(code=worst.lower(), text=text, rule=RULE, details=details)


def _output(event: NumberEvent) -> Output:
    identity = event_id(event.source, event.phone_number_id, event.kind, event.at.isoformat())
    return Output(NUMBER_EVENTS, event.home, event.home, event, identity, event.at)
