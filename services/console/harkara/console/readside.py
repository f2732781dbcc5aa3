"""The console's consumer: every record of its topics becomes a row, in the runtime's at-least-once loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import structlog
from aiokafka import ConsumerRecord

from harkara.console.core import TOPICS, Record, automatic_halt, place, views_of
from harkara.console.settings import Settings
from harkara.console.store import Store
from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.loop import RECORDS, AtLeastOnce, Effects

BATCH_RECORDS = 2000  # about 1.5 MB of rows in one statement: 100 ms in Postgres, and few commits when catching up
RETRY_SECONDS = 1.0
GIVE_UP_SECONDS = 240.0  # within Kafka's max.poll.interval of 300 s; then the process starts anew and waits at its gate

log = structlog.get_logger()


class ReadSide(AtLeastOnce):
    """Reads everything, tombstones and broken records too, so it never quarantines a record a second time.

    While Postgres is away the batch at hand waits for it (sending goes on: nothing on the send path reads Postgres);
    the offsets are committed after the SQL transaction, so a kill between the two repeats the batch without effect.
    `stored` is told after each such transaction which views show its rows; it must not block.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        database_ready: Callable[[], str | None],
        stored: Callable[[set[str]], None],
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        super().__init__(
            settings,
            name="console",
            topics=TOPICS,
            gate=database_ready,
            clock=self._clock,
            batch_records=BATCH_RECORDS,
        )
        self._store = store
        self._tell_stored = stored
        self._pepper = settings.pepper_bytes()

    async def _decided(self, batch: list[ConsumerRecord]) -> Effects:
        await self._stored([self._record(record) for record in batch])
        for record in batch:
            RECORDS.labels(self.name, self._topics[record.topic].name, "done").inc()
        return []

    def _record(self, record: ConsumerRecord) -> Record:
        return Record(
            topic=self._topics[record.topic],
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            timestamp=datetime.fromtimestamp(max(record.timestamp, 0) / 1000, UTC),
        )

    async def _stored(self, records: list[Record]) -> None:
        placed = [found for record in records if (found := place(record, self._pepper)) is not None]
        placed += [halt for each in placed if (halt := automatic_halt(each)) is not None]
        give_up_at = self._clock.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                await self._store.write(placed)
                return self._tell_stored(views_of(placed))
            except psycopg.OperationalError as error:
                if self._clock.monotonic() > give_up_at:
                    raise
                log.warning("batch_waits_for_postgres", records=len(records), error=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
