"""Faust for projections: state that is a function of a topic, in a table whose changelog is the published topic.

Faust acknowledges an event even where its agent raised or a write that it caused was refused. So here:

- an agent only changes tables (`ProjectionApp.fold`); nothing else may be lost with it;
- offsets are committed only after every changelog write before them was acknowledged by the broker, each one asked;
- an exception in an agent, in recovery or in a hook, and a refused write, end the process before the commit.

Faust also loses events inside the process: when recovery ends it clears the streams' queues although records may have
been fetched into them already, does not seek back a partition without a committed offset, and its commit steps over a
single missing offset. Seen here in one of ten starts with a backlog and a changelog to recover. So nothing is fetched
while recovery ends, every partition is sought explicitly, and a commit never passes an offset that was not processed;
where one stays missing, the process ends and reads it again.

Killed anywhere, events come again, so a fold must be idempotent. Rows with a `version` are kept by the highest one:
a revived zombie's older record is passed over in recovery and overwritten by the owner.

Over 400 lines because Faust's seams (app, table, producer, consumer, transport) lean on each other: whoever upgrades
Faust must read all of them, and finds them here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import faust
import orjson
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as driver
from prometheus_client import Counter, Gauge
from yarl import URL

from harkara.contracts.envelope import Undecodable, decode
from harkara.contracts.topics import LARGEST_RECORD_BYTES, QUARANTINED, Topic
from harkara.runtime.clock import SystemClock
from harkara.runtime.kafka import Writer, start_producer
from harkara.runtime.loop import Incoming, quarantined
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.telemetry import span

Row = dict[str, Any]
"""A table's row: what JSON can hold. Rows are replaced, never changed in place."""

MISSING_SECONDS = 30.0  # a fold's longest wait is 15 s, for a DLQ's acknowledgement; then the event is not coming
TOPICS_SECONDS = 60.0  # a fresh stack creates them while its services start
STOP_SECONDS = 20.0  # to commit and to leave the group; within the service's grace of 25 s
COMMIT_SECONDS = 1.0  # a killed worker's events of the last second come again

FOLDED = Counter(
    "harkara_projection_records_total",
    "Records folded into tables, by outcome (done, quarantined). A growing `quarantined`: look at the topic's DLQ.",
    ["projection", "topic", "outcome"],
)
LAG = Gauge(
    "harkara_projection_lag_seconds",
    "Age of the record folded last when it was folded. Growing: the projection is behind; add an instance.",
    ["projection"],
)
ROWS = Gauge(
    "harkara_projection_rows",
    "Rows held in memory by this instance. About 2 kB each; near the memory limit: add an instance.",
    ["projection", "table"],
)
REWRITTEN = Counter(
    "harkara_projection_rewritten_total",
    "Rows written again because an older version lay behind them in the topic. More than 0: an instance was frozen.",
    ["projection", "table"],
)

for _name in ("aiokafka", "faust", "mode"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # their debug records cost CPU even where dropped
logging.getLogger("faust.transport.producer").setLevel(logging.ERROR)  # warns whenever 100 writes wait, which is usual

log = structlog.get_logger()


class ProjectionTable(faust.Table[bytes, bytes]):
    """Rows by partition, only those of the partitions that this instance owns.

    Keys are texts and are written raw; values are JSON objects. A write goes to the row's own partition, which is that
    of the events it comes from, and may be made outside a stream too (a timer) while the app is `settled`.
    """

    app: ProjectionApp

    def __init__(self, app: ProjectionApp, **options: Any) -> None:
        super().__init__(app, key_type=bytes, value_type=bytes, **options)
        self._rows: dict[int, dict[str, Row]] = {}
        self._behind: set[tuple[int, str]] = set()
        self._owned: frozenset[int] = frozenset()
        self._hooks: list[Callable[[frozenset[int]], None]] = []
        ROWS.labels(app.projection, self.name).set_function(lambda: sum(map(len, self._rows.values())))

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that this instance owned when recovery last ended."""
        return self._owned

    def read(self, partition: int, key: str) -> Row | None:
        """The row, or None. It must not be changed in place."""
        return self._rows.get(partition, {}).get(key)

    def rows(self, partition: int) -> Mapping[str, Row]:
        """Every row of a partition; a live view."""
        return self._rows.get(partition, {})

    def write(self, partition: int, key: str, row: Row) -> None:
        """Replace the row, here and in the changelog."""
        self._rows.setdefault(partition, {})[key] = row
        self._publish(partition, key, orjson.dumps(row))

    def remove(self, partition: int, key: str) -> None:
        """Remove the row and write its tombstone."""
        self._rows.get(partition, {}).pop(key, None)
        self._publish(partition, key, None)

    def after_recovery(self, hook: Callable[[frozenset[int]], None]) -> None:
        """Call `hook(owned partitions)` when recovery has ended, before events flow: to rebuild what is derived."""
        self._hooks.append(hook)

    def _publish(self, partition: int, key: str, value: bytes | None) -> None:
        self.changelog_topic.send_soon(
            key=key.encode(), value=value, partition=partition, key_serializer="raw", value_serializer="raw"
        )

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Faust's seam: records read back in recovery."""
        try:
            for event in batch:
                self._recover(event.message.partition, event.message.key.decode(), event.message.value)
        except Exception as error:
            self.app.fail(error)  # Faust would log it as a warning and go on with a part of the table
            raise

    def _recover(self, partition: int, key: str, value: bytes | None) -> None:
        rows = self._rows.setdefault(partition, {})
        if value is None:
            rows.pop(key, None)
            self._behind.discard((partition, key))
            return
        row, kept = orjson.loads(value), rows.get(key)
        if kept is not None and row.get("version", 0) < kept.get("version", 0):
            self._behind.add((partition, key))
            return
        rows[key] = row
        self._behind.discard((partition, key))

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None:
        """Faust's seam: rows of partitions that have gone would be stale when they come back."""
        for lost in revoked:
            if lost.topic == self.changelog_topic_name:
                self._rows.pop(lost.partition, None)
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:
        """Faust's seam: every owned row is known; events do not flow yet."""
        await super().on_recovery_completed(active_tps, standby_tps)
        try:
            self._owned = frozenset(tp.partition for tp in active_tps)
            for lost in self._rows.keys() - self._owned:
                del self._rows[lost]
            for partition, key in self._behind:
                if (row := self.read(partition, key)) is not None:
                    self.write(partition, key, row)
                    REWRITTEN.labels(self.app.projection, self.name).inc()
            self._behind.clear()
            for hook in self._hooks:
                hook(self._owned)
        except Exception as error:
            self.app.fail(error)
            raise


class ProjectionApp(faust.App):
    """The Faust app that `define` of a FaustComponent is given."""

    def __init__(self, settings: ServiceSettings, projection: str, **options: Any) -> None:
        super().__init__(settings.kafka.group(projection), **options)
        self.projection = projection
        self._service_settings = settings
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unconfirmed: set[asyncio.Future[Any]] = set()
        self._quarantine_producer: AIOKafkaProducer | None = None
        self._needed: set[str] = set()

    async def topics_exist(self) -> None:
        """Wait until every topic that is folded or published exists. Raises RuntimeError after a minute.

        Without it Faust would join without the missing input, own none of its partitions and say it is ready; and it
        would create a missing published topic with a configuration of its own.
        """
        admin = AIOKafkaAdminClient(**self._service_settings.kafka.aiokafka_options())
        await admin.start()
        try:
            deadline = asyncio.get_running_loop().time() + TOPICS_SECONDS
            while missing := self._needed - set(await admin.list_topics()):
                if asyncio.get_running_loop().time() > deadline:
                    raise RuntimeError(f"topics {', '.join(sorted(missing))} do not exist; create the topics first")
                await asyncio.sleep(0.25)
        finally:
            await admin.close()

    @property
    def settled(self) -> bool:
        """Whether every owned table is recovered and no rebalance is under way: timers may write only then."""
        return bool(self.tables.actives_ready) and not self.rebalancing and not self._failure.done()

    def projection_table(self, name: str, changelog: Topic | None = None) -> ProjectionTable:
        """A table. `changelog` is the published compacted topic; None: an internal one, named by Faust."""
        options: dict[str, Any] = {}
        if changelog is not None:
            self._needed.add(self._service_settings.kafka.topic(changelog))
            options["changelog_topic"] = self.topic(
                self._service_settings.kafka.topic(changelog),
                key_type=bytes,
                value_type=bytes,
                key_serializer="raw",
                value_serializer="raw",
                compacting=True,
                internal=True,
                acks=False,
                maxsize=131_072,
                allow_empty=True,
            )
        table = ProjectionTable(self, name=name, beacon=self.tables.beacon, **options)
        self.tables.add(table)
        return table

    def fold(
        self, topic: Topic, take: Callable[[Incoming], None], tombstone: Callable[[int, str], None] | None = None
    ) -> None:
        """Call `take` with every event of the topic, in order per partition; it may only read and write tables.

        A record that is not one of the topic's events goes to the topic's DLQ (acknowledged before the offset can be
        committed). A tombstone goes to `tombstone(partition, key)`. What `take` raises ends the process.
        """
        settings = self._service_settings
        self._needed.add(settings.kafka.topic(topic))
        channel = self.topic(
            settings.kafka.topic(topic),
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
        )
        done = FOLDED.labels(self.projection, topic.name, "done")
        lag = LAG.labels(self.projection)
        clock = SystemClock()

        async def folding(stream: Any) -> None:
            async for event in stream.events():
                message = event.message
                if message.value is None and tombstone is not None:
                    tombstone(message.partition, (message.key or b"").decode())
                    continue
                try:
                    incoming = _incoming(topic, message)
                except Undecodable as error:
                    await self._quarantine(topic, message, str(error))
                    continue
                with span(self.projection, incoming.envelope.traceparent, topic=topic.name):
                    take(incoming)
                done.inc()
                lag.set(max(0.0, clock.now().timestamp() - message.timestamp))

        self.agent(channel, name=f"fold {topic.name}", use_reply_headers=False)(folding)

    async def _quarantine(self, topic: Topic, message: Any, reason: str) -> None:
        FOLDED.labels(self.projection, topic.name, "quarantined").inc()
        log.error(
            "record_quarantined",
            projection=self.projection,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            reason=reason,
        )
        if topic not in QUARANTINED:
            return  # our own compacted topics have no DLQ: the bytes stay where they are
        settings = self._service_settings
        if self._quarantine_producer is None:
            self._quarantine_producer = await start_producer(settings)
        writer = Writer(self._quarantine_producer, settings.kafka, settings.partitions, settings.service)
        await writer.write([quarantined(message, topic, self.projection, reason)])

    def fail(self, error: BaseException) -> None:
        """End the process: nothing is committed from here on."""
        if not self._failure.done():
            self._failure.set_exception(error)

    async def failed(self) -> None:
        """Wait for the first failure and raise it."""
        await asyncio.shield(self._failure)

    def track(self, write: asyncio.Future[Any]) -> None:
        """A changelog write that must be acknowledged before any later commit."""
        self._unconfirmed.add(write)
        write.add_done_callback(self._settle)

    def _settle(self, write: asyncio.Future[Any]) -> None:
        self._unconfirmed.discard(write)
        error = asyncio.CancelledError() if write.cancelled() else write.exception()
        if error is not None:
            self.fail(error)

    async def confirmed(self) -> bool:
        """Wait until every write made so far is acknowledged; False when one was refused or an agent has raised."""
        writes: asyncio.Future[Any] = asyncio.gather(*self._unconfirmed, return_exceptions=True)
        either: set[asyncio.Future[Any]] = {writes, self._failure}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return not self._failure.done()

    async def close(self) -> None:
        """After the stop: nothing is committed any more; a failure has been raised by `failed` or no longer matters."""
        if not self._failure.done():
            self._failure.cancel()
        elif not self._failure.cancelled():
            self._failure.exception()
        if self._quarantine_producer is not None:
            await self._quarantine_producer.stop()

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        self.fail(exc)  # Faust would commit here

    async def _on_partitions_revoked(self, revoked: Any) -> None:
        await super()._on_partitions_revoked(revoked)
        if not self.should_stop:
            await self.consumer.commit()  # so that the next owner need not repeat what is done

    async def on_start(self) -> None:
        """Faust's seam: the parts that would lose events are replaced before anything starts."""
        tables: Any = self.tables
        tables._recovery = _Recovery(self, tables, beacon=tables.beacon, loop=tables.loop)
        await super().on_start()

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Any:
        return _Transport(self.conf.broker_producer, self)


class _Producer(driver.Producer):
    """Faust's producer, each write of which is followed to its acknowledgement."""

    app: ProjectionApp

    def send_soon(self, fut: Any) -> None:
        self.app.track(fut)
        super().send_soon(fut)

    async def send(self, *args: Any, **options: Any) -> Awaitable[Any]:
        try:
            sent: Awaitable[Any] = await super().send(*args, **options)
        except Exception as error:
            self.app.fail(error)  # refused by the client itself: its future is never settled
            raise
        return sent


class _Consumer(driver.Consumer):
    """Faust's consumer, which commits nothing that is not confirmed and never past an event that was not processed.

    The topics that Faust reads hold no transactions and are not compacted, so their offsets have no gaps: a missing
    offset is an event that Faust has lost on the way. Its thread has the same kind of event loop.
    """

    app: ProjectionApp
    missing_seconds = MISSING_SECONDS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle = asyncio.Event()
        self._idle.set()
        self._missing_since: dict[Any, tuple[int, float]] = {}

    async def idle(self) -> None:
        """Wait for the fetch under way, at most a second; with the flow stopped no other begins."""
        await self._idle.wait()

    async def perform_seek(self) -> None:
        """Go back to the committed offsets; to the first record where nothing is committed, or it has expired."""
        await super().perform_seek()
        streams = [tp for tp in self.assignment() if not self._is_changelog_tp(tp)]
        first = await self.earliest_offsets(*streams) if streams else {}
        for tp in streams:
            committed = self._committed_offset[tp] or 0
            floor = max(committed, first[tp])
            if not committed or floor > committed:
                await self.seek_wait({tp: floor})
            self._committed_offset[tp] = floor

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        self._idle.clear()
        try:  # a copy: Faust adds partitions to its set while a fetch is under way, which then takes their records too
            return await super()._getmany(set(active_partitions) if active_partitions is not None else None, timeout)
        finally:
            self._idle.set()

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Faust would count the missing offsets as processed."""

    def _new_offset(self, tp: Any) -> int | None:
        acked, committed = self._acked[tp], self._committed_offset[tp]
        if acked and committed is not None and min(acked) > committed:
            self._report_missing(tp, committed)
            return None
        self._missing_since.pop(tp, None)
        offset: int | None = super()._new_offset(tp)
        return offset

    def _report_missing(self, tp: Any, offset: int) -> None:
        now = self.loop.time()
        missing, since = self._missing_since.setdefault(tp, (offset, now))
        if missing != offset:
            self._missing_since[tp] = (offset, now)
        elif now - since >= self.missing_seconds:
            self.app.fail(
                RuntimeError(f"Faust has lost the event {tp.topic}-{tp.partition}-{offset}; reading it again")
            )

    def _new_consumer_thread(self) -> Any:
        thread = driver.AIOKafkaConsumerThread(
            self, loop=self.loop, thread_loop=_loop_like_this_one(), beacon=self.beacon
        )
        thread._close_thread_loop_on_stop = True  # it is ours, made for this thread
        return thread

    async def _commit_offsets(self, offsets: Any, start_new_transaction: bool = True) -> bool:
        if not await self.app.confirmed():
            return False
        committed: bool = await super()._commit_offsets(offsets, start_new_transaction)
        return committed


class _Recovery(Recovery):
    """Faust's recovery, at whose end nothing is fetched until the streams' positions are right."""

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        consumer: Any = self.app.consumer
        consumer.stop_flow()
        await consumer.idle()
        await super().on_recovery_completed(generation_id)


class _Transport(driver.Transport):
    Consumer = _Consumer
    Producer = _Producer


class FaustComponent:
    """Runs one Faust app as a component: `define(app)` declares its tables and folds, each time it is started."""

    def __init__(self, settings: ServiceSettings, app_id: str, define: Callable[[Any], None]) -> None:
        self.name = app_id
        self._settings = settings
        self._define = define
        self._app: ProjectionApp | None = None

    def ready(self) -> str | None:
        """Ready while its tables are recovered."""
        return None if self._app is not None and self._app.settled else "recovering its tables"

    async def run(self) -> None:
        """Run until cancelled, then commit and leave the group; raises what ended it otherwise."""
        app = new_app(self._settings, self.name)
        self._define(app)
        await app.topics_exist()
        self._app = app
        starting: asyncio.Task[Any] = asyncio.create_task(app.start(), name=f"{self.name}:start")
        failing: asyncio.Task[Any] = asyncio.create_task(app.failed(), name=f"{self.name}:failed")
        crashing: asyncio.Task[Any] = asyncio.create_task(app._crashed.wait(), name=f"{self.name}:crashed")
        try:
            await asyncio.wait({starting, failing, crashing}, return_when=asyncio.FIRST_COMPLETED)
            if not (failing.done() or crashing.done()):
                starting.result()
                await asyncio.wait({failing, crashing}, return_when=asyncio.FIRST_COMPLETED)
            _raise_first(app, failing)
        finally:
            await self._leave(app, [starting, failing, crashing])

    async def _leave(self, app: ProjectionApp, tasks: list[asyncio.Task[Any]]) -> None:
        self._app = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await app.stop()
        except TimeoutError:
            log.error("projection_did_not_stop", projection=self.name, seconds=STOP_SECONDS)
        finally:
            await app.close()


def _raise_first(app: ProjectionApp, failing: asyncio.Task[Any]) -> None:
    if failing.done():
        failing.result()
    raise app.crash_reason or RuntimeError("the Faust app crashed without a reason")


def new_app(settings: ServiceSettings, app_id: str) -> ProjectionApp:
    """The app with the settings that design and measurements ask for."""
    session = settings.broker_session_timeout_seconds
    data_dir = settings.data_dir / settings.instance / app_id
    data_dir.mkdir(parents=True, exist_ok=True)
    return ProjectionApp(
        settings,
        app_id,
        broker=[URL(f"aiokafka://{server.strip()}") for server in settings.kafka.bootstrap.split(",")],
        broker_credentials=faust_credentials(settings.kafka),
        broker_client_id=f"{settings.service}-{settings.instance}",
        broker_session_timeout=session,
        broker_heartbeat_interval=session / 4,
        broker_request_timeout=max(30.0, session + 5),  # Faust wants it longer than the session
        broker_commit_interval=COMMIT_SECONDS,
        canonical_url=URL(f"http://{settings.instance}.{app_id}"),  # only its being unique matters: nothing is served
        datadir=data_dir,
        store="memory://",
        producer_linger=settings.linger_seconds,
        producer_max_request_size=LARGEST_RECORD_BYTES,
        producer_request_timeout=15.0,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=10_000,  # Faust's 5 minutes is how long a topic unknown at the join stays unread
        consumer_max_fetch_size=LARGEST_RECORD_BYTES,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication_factor,
        topic_disable_leader=True,
        table_standby_replicas=0,  # a standby would hold every row twice; recovery reads 30,000 rows/s
        stream_wait_empty=False,  # folds are idempotent; what is done is committed on revocation
        web_enabled=False,
        autodiscover=False,
    )


def faust_credentials(kafka: KafkaSettings) -> Any:
    """How Faust logs in to Kafka: None, SSLCredentials or SASLCredentials."""
    context = kafka.ssl_context()
    if kafka.security_protocol.startswith("SASL") and kafka.sasl_password is not None:
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None


def _loop_like_this_one() -> asyncio.AbstractEventLoop:
    """A new event loop of the running one's kind: uvloop in production, asyncio's in most tests."""
    loop: asyncio.AbstractEventLoop = type(asyncio.get_running_loop())()
    return loop


def _incoming(topic: Topic, message: Any) -> Incoming:
    headers = list(message.headers or ())
    where = f"{message.topic}-{message.partition}-{message.offset}"
    return Incoming(
        topic=topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers=headers,
        timestamp=datetime.fromtimestamp(message.timestamp, UTC),
        envelope=decode(topic.events, message.value, headers, fallback_id=where),
    )
