"""The portfolios' ledgers: reads what lanes spent and want, grants, and writes the leases (row B7).

The ledger is a function of portfolio-events (`harkara.policy.portfolio`), so an owner keeps nothing that could be lost,
and two owners of one partition grant the same. Whoever gets a partition begins with its newest leases, counts the
people of the day before, and goes on behind what was committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from time import monotonic

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from harkara.contracts.envelope import Undecodable, decode
from harkara.contracts.event import event_id
from harkara.contracts.portfolios import UNLIMITED, PortfolioEvent, PortfolioLease
from harkara.contracts.topics import PORTFOLIO_EVENTS, PORTFOLIO_LEASES
from harkara.policy.governance import Governance
from harkara.policy.portfolio import (
    CLOCKS_APART_SECONDS,
    COUNTS_SECONDS,
    Ledger,
    begun_with,
    evolve,
    lease_of,
)
from harkara.quality_monitor import metrics
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output, open_writer, start_consumer
from harkara.runtime.loop import BatchLoop, Incoming
from harkara.runtime.settings import ServiceSettings

GROUP = "quality-monitor-portfolios"
BATCH_RECORDS = 500
LEASE_EVERY_RECORDS = 500  # of a portfolio, though nothing is granted: so many are booked anew by a new owner at most
TELL_SECONDS = 1.0
READ_SECONDS = 60.0  # without any progress; a day may be millions of records, which take minutes
READ_RECORDS = 500  # at once, some 20 ms; then others have their turn

MetaWords = dict[str, tuple[int, datetime]]
"""The newest limit that Meta reported of each portfolio, and when."""

log = structlog.get_logger()


class Books:
    """The ledgers of one partition. `written`: up to which record each portfolio's newest lease goes."""

    def __init__(self, ledgers: Iterable[Ledger] = ()) -> None:
        self.ledgers = {ledger.portfolio_id: ledger for ledger in ledgers}
        self.written = {ledger.portfolio_id: ledger.version for ledger in self.ledgers.values()}

    def take(self, event: PortfolioEvent, offset: int, appended_at: float) -> None:
        """One record, in the order of the log."""
        ledger = self.ledgers.get(event.portfolio_id)
        if ledger is None:
            ledger = self.ledgers[event.portfolio_id] = Ledger(event.portfolio_id)
        evolve(ledger, event, offset, appended_at)

    def due(self, portfolio_ids: Iterable[str]) -> list[PortfolioLease]:
        """The leases that say something new, or whose predecessor lies far back."""
        leases = []
        for portfolio_id in dict.fromkeys(portfolio_ids):
            ledger, written = self.ledgers[portfolio_id], self.written.get(portfolio_id)
            if ledger.said or written is None or ledger.version - written >= LEASE_EVERY_RECORDS:
                leases.append(lease_of(ledger))
                self.written[portfolio_id] = ledger.version
        return leases


class PortfolioLoop(BatchLoop):
    """Owner of some partitions of portfolio-events."""

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(
            settings,
            name=GROUP,
            topics=(PORTFOLIO_EVENTS,),
            handle=self._handle,
            clock=clock,
            batch_records=BATCH_RECORDS,
        )
        self._books: dict[int, Books] = {}

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Another owner may have gone on in the meantime: every partition is begun anew."""
        self._books.clear()
        await super().on_partitions_assigned(assigned)

    async def _handle(self, batch: list[Incoming]) -> list[Output]:
        partitions: dict[int, list[Incoming]] = {}
        for incoming in batch:
            partitions.setdefault(incoming.partition, []).append(incoming)
        leases = []
        for partition, records in partitions.items():
            books = self._books.get(partition)
            if books is None:
                books = self._books[partition] = await begun_books(self._settings, partition, records[0].offset)
            leases += _taken(books, records)
        for lease in leases:
            _show(lease)
        return [_output(lease) for lease in leases]


def _taken(books: Books, records: list[Incoming]) -> list[PortfolioLease]:
    named = []
    for incoming in records:
        event = incoming.envelope.event
        assert isinstance(event, PortfolioEvent)  # the topic has no other kind
        books.take(event, incoming.offset, incoming.timestamp.timestamp())
        named.append(event.portfolio_id)
    return books.due(named)


async def begun_books(settings: ServiceSettings, partition: int, upto: int) -> Books:
    """The books of the partition before the record at `upto`. Raises TimeoutError where Kafka does not give them."""
    consumer = await start_consumer(settings)
    try:
        leases = await _newest_leases(settings, consumer, partition)
        books = Books(begun_with(lease) for lease in leases)
        source = TopicPartition(settings.kafka.topic(PORTFOLIO_EVENTS), partition)
        first = await _first_needed(consumer, source, leases)
        async for record in _read(consumer, source, first, upto):
            try:
                envelope = decode(PORTFOLIO_EVENTS.events, record.value, record.headers, fallback_id="")
            except Undecodable:
                continue  # it was quarantined when it came
            assert isinstance(envelope.event, PortfolioEvent)  # the topic has no other kind
            books.take(envelope.event, record.offset, record.timestamp / 1000)
    finally:
        await consumer.stop()
    log.info("portfolio_books_begun", partition=partition, first=first, upto=upto, portfolios=sorted(books.ledgers))
    return books


async def _newest_leases(settings: ServiceSettings, consumer: AIOKafkaConsumer, partition: int) -> list[PortfolioLease]:
    source = TopicPartition(settings.kafka.topic(PORTFOLIO_LEASES), partition)
    begin = (await consumer.beginning_offsets([source]))[source]
    end = (await consumer.end_offsets([source]))[source]
    newest: dict[str, PortfolioLease] = {}
    async for record in _read(consumer, source, begin, end):
        if record.value is None:
            continue
        lease = decode(PORTFOLIO_LEASES.events, record.value, record.headers, fallback_id="").event
        assert isinstance(lease, PortfolioLease)  # the topic has no other kind
        known = newest.get(lease.portfolio_id)
        if known is None or known.version < lease.version:
            newest[lease.portfolio_id] = lease
    return list(newest.values())


async def _first_needed(consumer: AIOKafkaConsumer, source: TopicPartition, leases: list[PortfolioLease]) -> int:
    """The earliest record whose people may still count, and not behind what a lease does not know yet."""
    begin = int((await consumer.beginning_offsets([source]))[source])
    if not leases:
        return begin
    since = min(lease.at.timestamp() for lease in leases) - COUNTS_SECONDS - CLOCKS_APART_SECONDS
    found = (await consumer.offsets_for_times({source: max(0, int(since * 1000))}))[source]
    unknown = min(lease.version for lease in leases) + 1
    return max(begin, unknown if found is None else min(unknown, int(found.offset)))


async def _read(
    consumer: AIOKafkaConsumer, source: TopicPartition, first: int, upto: int
) -> AsyncIterator[ConsumerRecord]:
    """The records from `first` up to but without `upto`, as they come."""
    if first >= upto:
        return
    consumer.assign([source])
    consumer.seek(source, first)
    position, moved_at = first, monotonic()
    while position < upto:
        for records in (await consumer.getmany(source, timeout_ms=200, max_records=READ_RECORDS)).values():
            for record in records:
                if record.offset < upto:
                    yield record
        reached = await consumer.position(source)
        if reached > position:
            position, moved_at = reached, monotonic()
        elif monotonic() - moved_at > READ_SECONDS:
            raise TimeoutError(f"{source.topic}-{source.partition} stays at {position}, {upto} is wanted")
        await asyncio.sleep(0)  # what is fetched ahead comes without a pause


class LimitTeller:
    """Writes what the portfolios' limits are, from governance.yaml and from Meta, where the ledgers read it: once after
    each start, and when another is said. A word that the ledger knows changes nothing."""

    name = "portfolio-limits"

    def __init__(
        self, settings: ServiceSettings, governance: Governance, clock: Clock, told_by_meta: Callable[[], MetaWords]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._told_by_meta = told_by_meta
        self._policy: dict[str, int] = {}
        self.follow(governance)
        self._told: dict[tuple[str, str], int] = {}

    def ready(self) -> str | None:
        """Always: without a word the ledgers go by the last one."""
        return None

    def follow(self, governance: Governance) -> None:
        """Tell this policy's limits from now on."""
        self._policy = {
            each.id: UNLIMITED if each.limit == "unlimited" else each.limit for each in governance.portfolios
        }

    async def run(self) -> None:
        """Tell until cancelled."""
        async with open_writer(self._settings) as writer:
            while True:
                await writer.write([self._word(*each) for each in self._news()])
                await asyncio.sleep(TELL_SECONDS)

    def _news(self) -> list[tuple[str, str, int, datetime]]:
        now = self._clock.now()
        words = [(portfolio_id, "policy", limit, now) for portfolio_id, limit in self._policy.items()]
        for portfolio_id, (limit, at) in self._told_by_meta().items():
            if portfolio_id in self._policy:
                words.append((portfolio_id, "meta", limit, at))
        news = [word for word in words if self._told.get(word[:2]) != word[2]]
        self._told |= {word[:2]: word[2] for word in news}
        return news

    def _word(self, portfolio_id: str, source: str, limit: int, at: datetime) -> Output:
        event = PortfolioEvent.model_validate(
            {"portfolio_id": portfolio_id, "kind": "limit", "at": at, "limit": limit, "source": source}
        )
        identity = event_id("limit", portfolio_id, source, limit, at)
        return Output(PORTFOLIO_EVENTS, portfolio_id, portfolio_id, event, identity, self._clock.now())


def _output(lease: PortfolioLease) -> Output:
    identity = event_id("lease", lease.portfolio_id, lease.version)
    return Output(PORTFOLIO_LEASES, lease.portfolio_id, lease.portfolio_id, lease, identity, lease.at)


def _show(lease: PortfolioLease) -> None:
    portfolio = lease.portfolio_id
    metrics.PORTFOLIO_LIMIT.labels(portfolio).set(UNLIMITED if lease.limit is None else lease.limit)
    metrics.PORTFOLIO_USED.labels(portfolio).set(lease.used)
    metrics.PORTFOLIO_OUTSTANDING.labels(portfolio).set(lease.outstanding)
    wanted = sum(max(0, account.target - account.granted) for account in lease.homes.values())
    metrics.PORTFOLIO_WANTED.labels(portfolio).set(wanted)
