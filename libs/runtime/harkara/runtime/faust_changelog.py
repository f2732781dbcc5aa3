"""What tables write: rows gathered into Kafka's own batches, in order per partition, each batch acknowledged.

Faust makes a future, a queue's turn and a client's call of every row, about 50 us; here a row takes its place in a
batch, and one acknowledgement counts for all of it. A refused batch ends the process, as a refused row would.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

BATCH_BYTES = 65_536  # about 60 states; Kafka refuses a batch above its topic's max.message.bytes, 1 MiB by default
BATCH_ROWS = 50  # with so many a batch is as good as full: it does not linger
ROWS_WAITING = 10_000  # about 20 MB and two seconds of writing: beyond that folding waits for Kafka

Clients = Callable[[], Awaitable[Any]]
"""The producer (`faust_transport.ProjectionProducer`), started."""


class Changelogs:
    """Writes the rows of every table of one app. `fail` is told what is refused; its partition is written no more."""

    def __init__(self, client: Clients, linger_seconds: float, fail: Callable[[BaseException], None]) -> None:
        self._client = client
        self._linger_seconds = linger_seconds
        self._fail = fail
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._unacknowledged = 0
        self._room = asyncio.Event()
        self._closed = False

    def write(self, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
        """Put one row (None: its tombstone) behind those of its partition."""
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane(topic, partition)
        lane.rows.append((key, value))
        lane.written += 1
        self._unacknowledged += 1
        if lane.writing is None and not self._closed:
            lane.writing = asyncio.create_task(self._write(lane), name=f"changelog {topic}-{partition}")

    def is_full(self) -> bool:
        """Whether so much is unacknowledged that no more should be written before `room`."""
        return self._unacknowledged >= ROWS_WAITING

    async def room(self) -> None:
        """Wait until it is no longer full; for ever after a failure, which ends who waits."""
        while self.is_full():
            self._room.clear()
            await self._room.wait()

    async def acknowledged(self) -> None:
        """Wait until every row written so far is acknowledged; for ever after a failure."""
        waits = [each for lane in self._lanes.values() if (each := lane.acknowledgement()) is not None]
        if waits:
            await asyncio.wait(waits)

    async def close(self) -> None:
        """Give up what is not written."""
        self._closed = True
        writing = [lane.writing for lane in self._lanes.values() if lane.writing is not None]
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)

    async def _write(self, lane: _Lane) -> None:
        try:
            client = await self._client()
            while lane.rows:
                if len(lane.rows) < BATCH_ROWS:
                    await asyncio.sleep(self._linger_seconds)
                count = await _send(client, lane)
                self._unacknowledged -= count
                lane.acknowledge(count)
                if not self.is_full():
                    self._room.set()
            lane.writing = None
        except asyncio.CancelledError:
            if not self._closed:
                self._fail(RuntimeError("the writing of a changelog was cancelled"))  # its rows would wait for ever
            raise
        except Exception as error:  # noqa: BLE001  whatever it was ends the process
            self._fail(error)


class _Lane:
    """The rows of one partition of one topic, in their order. `writing` stays set after a failure."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.rows: deque[tuple[bytes, bytes | None]] = deque()
        self.written = 0
        self.writing: asyncio.Task[None] | None = None
        self._acknowledged = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def acknowledgement(self) -> asyncio.Future[None] | None:
        """Done when the rows written so far are acknowledged; None where they are."""
        if self._acknowledged == self.written:
            return None
        if not self._waiting or self._waiting[-1][0] != self.written:
            self._waiting.append((self.written, asyncio.get_running_loop().create_future()))
        return self._waiting[-1][1]

    def acknowledge(self, count: int) -> None:
        """So many more rows are acknowledged."""
        self._acknowledged += count
        while self._waiting and self._waiting[0][0] <= self._acknowledged:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)


async def _send(client: Any, lane: _Lane) -> int:
    """Write one batch of the lane's first rows; how many they were, once they are acknowledged."""
    batch, rows, count = client.new_batch(), lane.rows, 0
    while rows and batch.append(timestamp=None, key=rows[0][0], value=rows[0][1]) is not None:
        rows.popleft()
        count += 1
    await (await client.send_batch(batch, lane.topic, lane.partition))
    return count
