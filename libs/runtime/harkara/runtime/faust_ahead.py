"""What a projection's tables had written, read back in batches before Faust recovers them.

Faust hands over each record by itself, which takes some 80 us: more than a minute for a million rows. What is read here
it does not read again; what is not (an error, or nothing comes) it still does, so nothing depends on this but the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from harkara.runtime.kafka import start_consumer
from harkara.runtime.settings import ServiceSettings

if TYPE_CHECKING:
    from harkara.runtime.faust_table import ProjectionTable

FEWEST_RECORDS = 1000  # fewer are read by Faust before a consumer would have been started
IDLE_SECONDS = 10.0  # without a record for so long there is a fault, which Faust's own reading tells; while they come,
# however slowly on a busy machine, this is the faster way
BATCH_RECORDS = 1000  # 15 ms of the event loop
FETCH_BYTES = 8 * 1024 * 1024  # at once: it is gone when it is applied, but the process keeps its largest size

log = structlog.get_logger()


async def read_ahead(
    settings: ServiceSettings,
    tables: Mapping[TP, ProjectionTable],
    seen: MutableMapping[TP, int],
    ends: Mapping[TP, int],
) -> None:
    """Apply the records of each partition behind the one `seen` last, up to that at its end, never beyond; `seen` is
    moved on with what is applied."""
    wanted = {TopicPartition(*tp): ends[tp] for tp in tables if ends.get(tp, -1) > seen[tp]}
    if sum(end - seen[TP(*tp)] for tp, end in wanted.items()) < FEWEST_RECORDS:
        return
    try:
        consumer = await start_consumer(settings, fetch_max_bytes=FETCH_BYTES)
        try:
            consumer.assign(list(wanted))
            for partition in wanted:
                consumer.seek(partition, seen[TP(*partition)] + 1)
            await _read(consumer, tables, seen, wanted)
        finally:
            await consumer.stop()
    except KafkaError as error:
        log.warning("rows_not_read_ahead", error=type(error).__name__)


async def _read(
    consumer: AIOKafkaConsumer,
    tables: Mapping[TP, ProjectionTable],
    seen: MutableMapping[TP, int],
    wanted: Mapping[TopicPartition, int],
) -> None:
    clock = asyncio.get_running_loop()
    read_at = clock.time()
    while clock.time() < read_at + IDLE_SECONDS:
        waiting = [partition for partition, end in wanted.items() if seen[TP(*partition)] < end]
        if not waiting:
            return
        for partition, records in (await consumer.getmany(*waiting, timeout_ms=500, max_records=BATCH_RECORDS)).items():
            table, end = tables[TP(*partition)], wanted[partition]
            kept = ((record.key, record.value) for record in records if record.offset <= end)
            table.read_back(partition.partition, kept)
            if records:
                seen[TP(*partition)] = min(records[-1].offset, end)  # the one at the end may have been compacted away
                read_at = clock.time()
