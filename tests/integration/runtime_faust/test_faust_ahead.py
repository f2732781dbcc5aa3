"""Rows read back before Faust reads them: all of them, in their order, and none beyond what Faust was to read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import orjson
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.types import TP

from harkara.contracts.audit import AuditRecord
from harkara.contracts.topics import Topic
from harkara.runtime.faust_ahead import FEWEST_RECORDS, read_ahead
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.support.kafka import produce
from tests.support.wait import eventually

INPUT = Topic("ahead-in", (AuditRecord,), "subject", "source", ("test",), ("test",), 1)
STATE = Topic("ahead-state", (AuditRecord,), "subject", "source", ("test",), ("test",), compacted=True)
ROWS = FEWEST_RECORDS + 500


class Rows:
    """What a table is given back."""

    def __init__(self) -> None:
        self.found: list[tuple[int, bytes, bytes | None]] = []

    def read_back(self, partition: int, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        self.found += [(partition, key, value) for key, value in records]


class Texts(dict[str, dict[str, Any]]):
    """Rows of which some are taken as their text, as a table's own kind of rows may do."""

    taken: ClassVar[list[bytes]] = []

    def keep(self, key: bytes, text: bytes) -> bool:
        if key.decode() in self or key.endswith(b"3"):
            return False
        self.taken.append(key)
        self[key.decode()] = orjson.loads(text)
        return True


async def test_rows_are_read_ahead_up_to_the_end_and_recovered(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    kafka = KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix)
    settings = ServiceSettings(service="test", kafka=kafka, partitions=1, replication_factor=1, data_dir=tmp_path)
    admin = AIOKafkaAdminClient(**kafka.aiokafka_options())
    await admin.start()
    await admin.create_topics([NewTopic(kafka.topic(topic), 1, 1) for topic in (INPUT, STATE)])
    await admin.close()
    written = [(f"s{n}".encode(), orjson.dumps({"version": 1, "n": n})) for n in range(ROWS)]
    more: list[tuple[bytes, bytes | None]] = [(b"s7", None), (b"s8", orjson.dumps({"version": 3, "n": -8}))]
    await produce(kafka_bootstrap, kafka.topic(STATE), [*written, *more], partition=0)

    table, partition = Rows(), TP(kafka.topic(STATE), 0)
    seen = {partition: 3}
    await read_ahead(settings, {partition: table}, seen, {partition: ROWS - 10})  # type: ignore[dict-item]
    assert table.found == [(0, key, value) for key, value in written[4 : ROWS - 9]]
    assert seen == {partition: ROWS - 10}
    few = {partition: ROWS - 10}
    await read_ahead(settings, {partition: table}, few, {partition: ROWS + 1})  # type: ignore[dict-item]
    assert few == {partition: ROWS - 10}, "so few are left to Faust"

    recovered: dict[str, dict[str, object]] = {}
    ready = asyncio.Event()

    def define(app: ProjectionApp) -> None:
        rows = app.projection_table("state", STATE, Texts)

        def keep(owned: frozenset[int]) -> None:
            recovered.update({key: row for each in owned for key, row in rows.rows(each).items()})
            if owned:
                ready.set()

        rows.after_recovery(keep)
        app.fold(INPUT, lambda incoming: None)

    component = asyncio.create_task(FaustComponent(settings, "ahead", define).run())
    try:

        async def is_ready() -> bool:
            return ready.is_set() or component.done()

        await eventually(is_ready, timeout_seconds=60)
    finally:
        component.cancel()
        await asyncio.wait([component])
    expected = {key.decode(): orjson.loads(value) for key, value in written} | {"s8": {"version": 3, "n": -8}}
    del expected["s7"]
    assert recovered == expected
    assert len(Texts.taken) == len([key for key, _ in written if not key.endswith(b"3")]), (
        "what is held is not replaced"
    )
