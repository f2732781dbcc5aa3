"""A Faust table whose rows are kept by partition and whose changelog is the published topic; and its recovery.

Rows with a `version` are kept by the highest one: a revived zombie's older record is passed over in recovery and
overwritten by the owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import faust
import orjson
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from prometheus_client import Counter, Gauge

from harkara.runtime.faust_ahead import read_ahead

if TYPE_CHECKING:
    from harkara.runtime.faust_app import ProjectionApp

Row = dict[str, Any]
"""A table's row: what JSON can hold. Rows are replaced, never changed in place."""

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


@runtime_checkable
class KeepsTexts(Protocol):
    """Rows that are kept as their JSON: what is read back need not be parsed to be written again."""

    def keep(self, key: bytes, text: bytes) -> bool:
        """Take the row as it is where none is held under its key; False: it is to be parsed and set."""
        ...


class ProjectionTable(faust.Table[bytes, bytes]):
    """Rows by partition, only those of the partitions that this instance owns.

    Keys are texts and are written raw; values are JSON objects. A write goes to the row's own partition, which is that
    of the events it comes from, and may be made outside a stream too (a timer) while the app is `settled`. `rows` makes
    what holds the rows of a partition.
    """

    app: ProjectionApp

    def __init__(self, app: ProjectionApp, rows: Callable[[], MutableMapping[str, Row]], **options: Any) -> None:
        super().__init__(app, key_type=bytes, value_type=bytes, **options)
        self._new_rows = rows
        self._rows: dict[int, MutableMapping[str, Row]] = {}
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
        self._of(partition)[key] = row
        self._publish(partition, key, orjson.dumps(row))

    def remove(self, partition: int, key: str) -> None:
        """Remove the row and write its tombstone."""
        self._rows.get(partition, {}).pop(key, None)
        self._publish(partition, key, None)

    def _of(self, partition: int) -> MutableMapping[str, Row]:
        if partition not in self._rows:
            self._rows[partition] = self._new_rows()
        return self._rows[partition]

    def after_recovery(self, hook: Callable[[frozenset[int]], None]) -> None:
        """Call `hook(owned partitions)` when recovery has ended, before events flow: to rebuild what is derived."""
        self._hooks.append(hook)

    def _publish(self, partition: int, key: str, value: bytes | None) -> None:
        self.app.changelogs.write(self.changelog_topic_name, partition, key.encode(), value)

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Faust's seam: records read back in recovery."""
        for event in batch:
            self.read_back(event.message.partition, [(event.message.key, event.message.value)])

    def read_back(self, partition: int, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take keys and values that were written to a partition of the changelog, in their order."""
        rows = self._of(partition)
        keep = rows.keep if isinstance(rows, KeepsTexts) else None
        try:
            for key, value in records:
                if value is None or keep is None or not keep(key, value):
                    self._recover(partition, key.decode(), value)
        except Exception as error:
            self.app.fail(error)  # Faust would log it as a warning and go on with a part of the table
            raise

    def _recover(self, partition: int, key: str, value: bytes | None) -> None:
        rows = self._of(partition)
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


class GatedRecovery(Recovery):
    """Faust's recovery, before which the rows are read in batches, and at whose end nothing is fetched until the
    streams' positions are right."""

    app: ProjectionApp

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        """Faust's seam: a step of recovery, until it is done or partitions are assigned anew. It has no time limit of
        its own: Faust goes on after one that ran out as if the step were done, and then waits for ever."""
        await super()._wait(coro)

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Any, title: str) -> None:
        """Faust's seam: from where each partition is to be read."""
        await super()._build_offsets(consumer, tps, destination, title)
        if title == "active":
            tables: Any = {tp: self.tp_to_table[tp] for tp in tps}
            await read_ahead(self.app.service_settings, tables, destination, self.active_highwaters)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        consumer: Any = self.app.consumer
        consumer.stop_flow()
        await consumer.idle()
        await super().on_recovery_completed(generation_id)


class ProjectionTables(TableManager):
    """Faust's tables, recovered in the gated way."""

    app: ProjectionApp

    @property
    def recovery(self) -> Recovery:
        """Made at its first use, as Faust's is."""
        if self._recovery is None:
            self._recovery = GatedRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
