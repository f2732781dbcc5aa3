"""Faust for projections: state that is a function of a topic, in a table whose changelog is the published topic.

Faust acknowledges an event even where its agent raised or a write that it caused was refused. So here:

- an agent only changes tables (`ProjectionApp.fold`); nothing else may be lost with it;
- offsets are committed only after every changelog write before them was acknowledged by the broker, each one asked;
- an exception in an agent, in recovery or in a hook, and a refused write, end the process before the commit.

Killed anywhere, events come again, so a fold must be idempotent. Six files: the app is here, its tables are in
`faust_table`, what they write in `faust_changelog`, its clients, which commit and fetch, in `faust_transport`, how
events reach a fold in `faust_stream`; `faust_component` runs it all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import Counter, Gauge
from yarl import URL

from harkara.contracts.envelope import Undecodable, decode
from harkara.contracts.topics import LARGEST_RECORD_BYTES, QUARANTINED, Topic
from harkara.runtime.clock import SystemClock
from harkara.runtime.faust_changelog import BATCH_BYTES, Changelogs
from harkara.runtime.faust_stream import fold_stream
from harkara.runtime.faust_table import ProjectionTable, ProjectionTables, Row
from harkara.runtime.faust_transport import ProjectionConsumer, ProjectionTransport
from harkara.runtime.kafka import Writer, start_producer
from harkara.runtime.loop import Incoming, quarantined
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.telemetry import span

TOPICS_SECONDS = 60.0  # a fresh stack creates them while its services start
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

for _name in ("aiokafka", "faust", "mode"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # their debug records cost CPU even where dropped
logging.getLogger("faust.transport.producer").setLevel(logging.ERROR)  # warns whenever 100 writes wait, which is usual

log = structlog.get_logger()


class ProjectionApp(faust.App):
    """The Faust app that `define` of a FaustComponent is given."""

    def __init__(self, settings: ServiceSettings, projection: str, **options: Any) -> None:
        super().__init__(settings.kafka.group(projection), **options)
        self.projection = projection
        self._service_settings = settings
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.changelogs = Changelogs(self.maybe_start_producer, settings.linger_seconds, self.fail)
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

    @property
    def service_settings(self) -> ServiceSettings:
        """The settings of the service that it is a part of."""
        return self._service_settings

    def projection_table(
        self, name: str, changelog: Topic | None = None, rows: Callable[[], MutableMapping[str, Row]] = dict
    ) -> ProjectionTable:
        """A table. `changelog` is the published compacted topic; None: an internal one, named by Faust. `rows` makes
        what holds the rows of a partition, where they are so many that dicts would take too much memory."""
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
        table = ProjectionTable(self, rows, name=name, beacon=self.tables.beacon, **options)
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
        folding = Folding(self, topic, take, tombstone)

        async def fold(stream: Any) -> None:
            await fold_stream(stream, folding.take, folding.burst_ended)

        self.agent(channel, name=f"fold {topic.name}", use_reply_headers=False)(fold)

    async def quarantine(self, topic: Topic, message: Any, reason: str) -> None:
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

    async def confirmed(self) -> bool:
        """Wait until every write made so far is acknowledged; False when one was refused or an agent has raised."""
        writes = asyncio.create_task(self.changelogs.acknowledged())
        either: set[asyncio.Future[Any]] = {writes, self._failure}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writes.cancel()
        return not self._failure.done()

    async def close(self) -> None:
        """After the stop, and also where that went wrong: the consumer's thread is waited for, the rest is closed.

        Nothing is committed any more; a failure has been raised by `failed` or no longer matters.
        """
        if isinstance(self._consumer, ProjectionConsumer):
            await self._consumer.end_thread()
        await self.changelogs.close()
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
            await self.consumer.commit()  # what is not acknowledged by then the next owner repeats

    def _on_rebalance_when_stopped(self) -> None:
        """Faust would close the consumer's connections here, from a thread and loop that are not theirs."""

    def _new_transport(self) -> Any:
        return ProjectionTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Any:
        return ProjectionTransport(self.conf.broker_producer, self)


class Folding:
    """What is done with each message of one topic, and counted once for each burst."""

    def __init__(
        self,
        app: ProjectionApp,
        topic: Topic,
        take: Callable[[Incoming], None],
        tombstone: Callable[[int, str], None] | None,
    ) -> None:
        self._app = app
        self._topic = topic
        self._take = take
        self._tombstone = tombstone
        self._done = FOLDED.labels(app.projection, topic.name, "done")
        self._lag = LAG.labels(app.projection)
        self._clock = SystemClock()
        self._folded, self._timestamp = 0, 0.0

    def take(self, message: Any) -> Awaitable[None] | None:
        """Fold the message; what is returned must be awaited before the next one."""
        if message.value is None and self._tombstone is not None:
            self._tombstone(message.partition, (message.key or b"").decode())
            return None
        try:
            incoming = _incoming(self._topic, message)
        except Undecodable as error:
            return self._app.quarantine(self._topic, message, str(error))
        with span(self._app.projection, incoming.envelope.traceparent, topic=self._topic.name):
            self._take(incoming)
        self._folded, self._timestamp = self._folded + 1, message.timestamp
        return self._app.changelogs.room() if self._app.changelogs.is_full() else None

    def burst_ended(self) -> None:
        """Show what the burst has done."""
        if self._folded:
            self._done.inc(self._folded)
            self._lag.set(max(0.0, self._clock.now().timestamp() - self._timestamp))
            self._folded = 0


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
        TableManager=ProjectionTables,
        producer_linger=settings.linger_seconds,
        producer_max_batch_size=BATCH_BYTES,
        producer_max_request_size=LARGEST_RECORD_BYTES,
        producer_request_timeout=15.0,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=10_000,  # Faust's 5 minutes is how long a topic unknown at the join stays unread
        consumer_max_fetch_size=LARGEST_RECORD_BYTES,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication_factor,
        topic_disable_leader=True,
        table_standby_replicas=0,  # a standby would hold every row twice; recovery reads 30,000 rows/s
        stream_wait_empty=False,  # folds are idempotent; of what is revoked the last second may be folded again
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
