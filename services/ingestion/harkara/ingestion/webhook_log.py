"""Where a verified webhook is kept before it is answered: on its topic, or, while Kafka is away, in the spool.

While anything waits in the spool, every further webhook goes behind it: so what was answered earlier is on its topic
earlier. (Webhooks under way at the same time have no order; Meta gives them none.) The spool is replayed at least once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from harkara.ingestion import metrics
from harkara.ingestion.effects import Appender, TooLarge, Unavailable
from harkara.ingestion.records import RecordMaker
from harkara.ingestion.settings import Settings
from harkara.ingestion.spool import Batch, Kept, Spool
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output, RawOutput

FOLDER = "webhook-spool"
REPLAY_BYTES = 256 * 1024  # a batch's bodies are made into records without a pause, some 10 ms of the event loop
RETRY_SECONDS = 0.25  # between looks at whether Kafka is back
DRAIN_SECONDS = 10.0  # of a stop, for what waits; within the runtime's grace of 25 s

T = TypeVar("T")
log = structlog.get_logger()


class Broker(Appender, Protocol):
    """Kafka as the log needs it: `ready` is None while it is known to acknowledge."""

    def ready(self) -> str | None: ...


@dataclass(slots=True)
class _Asked:
    """A webhook that waits for the next sync of the disk. Bounded by the requests under way."""

    kept: Kept
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WebhookLog:
    """Keeps webhooks; the spool is a folder of the data folder."""

    name = "webhook-spool"

    def __init__(self, settings: Settings, broker: Broker, maker: RecordMaker, clock: Clock) -> None:
        self._broker, self._maker, self._clock = broker, maker, clock
        self._folder = settings.data_dir / FOLDER
        self._most_bytes = settings.webhook_spool_max_bytes
        self._patience_seconds = settings.spool_after_seconds
        self._disk = ThreadPoolExecutor(1, "spool")  # one thread: the spool's calls never overlap
        self._spool: Spool | None = None
        self._spooling = False
        self._asked: list[_Asked] = []
        self._syncing = False
        self._wake = asyncio.Event()
        self._waits = asyncio.Event()
        self._empty = asyncio.Event()
        self._closing = False

    @property
    def spooling(self) -> bool:
        """Whether what comes now goes behind what waits in the spool."""
        return self._spooling

    def ready(self) -> str | None:
        """Not ready before it is open, and while it stands in for Kafka; webhooks are taken meanwhile all the same."""
        if self._spool is None:
            return "opening the spool"
        if not self.spooling or self._broker.ready() is None:
            return None
        age = self._age_seconds()
        return f"{self._spool.waiting} webhooks wait for Kafka in the spool, the oldest for {age:.0f} s"

    async def append(self, raw: bytes, received_at: datetime, outputs: Sequence[Output | RawOutput]) -> None:
        """Return once the webhook is safe: acknowledged by all in-sync replicas, or synced to disk. `outputs` are its
        records. Raises Unavailable (nothing is promised) or TooLarge."""
        if self._spool is None:
            raise Unavailable("the spool is not open yet")
        if not self.spooling and self._broker.ready() is None:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(self._patience_seconds):
                    await self._broker.write(outputs)
                return
        await self._into_spool(Kept(round(received_at.timestamp() * 1000), raw))

    async def run(self) -> None:
        """Open the spool, replay it whenever Kafka is there, until cancelled; then replay what is left, if it can be.

        Raises SpoolInUse or OSError where the folder cannot be had.
        """
        spool = self._spool = await self._on_disk(partial(Spool, self._folder, self._most_bytes))
        self._observe(spool)
        self._spooling = spool.waiting > 0
        (self._waits if self._spooling else self._empty).set()
        syncer, replayer = asyncio.create_task(self._sync()), asyncio.create_task(self._replay())
        try:
            await asyncio.wait([syncer, replayer], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*(task for task in (syncer, replayer) if task.done()))  # raises what ended it
        finally:
            self._closing = True
            self._wake.set()
            await asyncio.wait([syncer])  # it ends by itself, nobody is left waiting
            await self._drain(replayer)
            await self._on_disk(spool.close)
            self._disk.shutdown()

    async def _on_disk(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, call)

    # --- into the spool ----------------------------------------------------------------------------------------------

    async def _into_spool(self, kept: Kept) -> None:
        if self._closing or self._most_bytes == 0:
            raise Unavailable("Kafka did not acknowledge, and there is no spool")
        asked = _Asked(kept)
        self._asked.append(asked)
        self._spooling = True
        self._empty.clear()
        self._wake.set()
        await asked.done

    async def _sync(self) -> None:
        """Group commit: what was asked for during one sync of the disk goes into the next."""
        assert self._spool is not None
        while not (self._closing and not self._asked):
            await self._wake.wait()
            self._wake.clear()
            group, self._asked = self._asked, []
            if not group:
                continue
            self._syncing = True
            why = "full"
            try:
                count = await self._on_disk(partial(self._spool.append, [each.kept for each in group]))
            except OSError as error:
                log.error("spool_not_written", error=type(error).__name__, errno=error.errno)
                count, why = 0, "disk"
            finally:
                self._syncing = False
            _answer(group, count, why)
            self._waits.set()

    # --- out of it ---------------------------------------------------------------------------------------------------

    async def _replay(self) -> None:
        while True:
            await self._waits.wait()
            if not await self._one_batch():
                await asyncio.sleep(RETRY_SECONDS)

    async def _one_batch(self) -> bool:
        """Replay the next webhooks; False where Kafka did not take them."""
        spool = self._spool
        assert spool is not None
        if self._broker.ready() is not None:
            return False
        batch = await self._on_disk(partial(spool.read, REPLAY_BYTES))
        if batch.damaged_bytes:
            metrics.SPOOL_DAMAGED.inc(batch.damaged_bytes)
            log.error("spool_damaged", damaged_bytes=batch.damaged_bytes)
        if not await self._written(batch):
            return False
        await self._on_disk(partial(spool.replayed, batch))
        metrics.SPOOL_REPLAYED.inc(len(batch.kept))
        if spool.waiting == 0 and not self._asked and not self._syncing:
            self._spooling = False
            self._empty.set()
            self._waits.clear()
        return True

    async def _written(self, batch: Batch) -> bool:
        try:
            await self._broker.write([output for kept in batch.kept for output in self._records(kept)])
        except Unavailable:
            return False
        except TooLarge:
            for kept in batch.kept:
                while not await self._written_alone(kept):  # noqa: ASYNC110  Kafka has no event to wait for
                    await asyncio.sleep(RETRY_SECONDS)
        return True

    async def _written_alone(self, kept: Kept) -> bool:
        """Write one, or set it aside; False where Kafka did not take it. A refusal spoils the producer for the next
        one, so a batch with a refusal in it would never be done if each error began it anew."""
        if self._broker.ready() is not None:
            return False
        try:
            await self._broker.write(self._records(kept))
        except Unavailable:
            return False
        except TooLarge:
            assert self._spool is not None
            path = await self._on_disk(partial(self._spool.set_aside, kept))
            metrics.SPOOL_REFUSED.labels("too_large").inc()
            log.error("webhook_set_aside", file=path.name)
        return True

    def _records(self, kept: Kept) -> Sequence[Output | RawOutput]:
        received_at = datetime.fromtimestamp(kept.received_ms / 1000, UTC)
        return self._maker.records(kept.body, received_at).outputs

    async def _drain(self, replayer: asyncio.Task[None]) -> None:
        if self._broker.ready() is None and not replayer.done():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), DRAIN_SECONDS)
        replayer.cancel()
        await asyncio.wait([replayer])
        if self._spool is not None and self._spool.waiting:
            log.warning("webhooks_left_in_spool", webhooks=self._spool.waiting, size_bytes=self._spool.size_bytes)

    # --- seen from outside -------------------------------------------------------------------------------------------

    def _age_seconds(self) -> float:
        oldest = self._spool.oldest_ms if self._spool is not None else None
        return 0.0 if oldest is None else max(0.0, self._clock.now().timestamp() - oldest / 1000)

    def _observe(self, spool: Spool) -> None:
        found = spool.recovery
        metrics.SPOOL_OLDEST_SECONDS.set_function(self._age_seconds)
        metrics.SPOOL_WEBHOOKS.set_function(lambda: spool.waiting)
        metrics.SPOOL_BYTES.set_function(lambda: spool.size_bytes)
        metrics.SPOOL_LIMIT_BYTES.set(self._most_bytes)
        metrics.SPOOL_DAMAGED.inc(found.damaged_bytes)
        about: dict[str, Any] = {"webhooks": found.waiting, "torn_bytes": found.torn_bytes}
        if found.damaged_bytes:
            log.error("spool_damaged", damaged_bytes=found.damaged_bytes, **about)
        elif found.waiting or found.torn_bytes:
            log.info("spool_found", **about)


def _answer(group: Sequence[_Asked], count: int, why: str) -> None:
    """The first `count` are safe; the rest is not."""
    metrics.SPOOL_APPENDED.inc(count)
    for asked in group[:count]:
        if not asked.done.done():
            asked.done.set_result(None)
    for asked in group[count:]:
        metrics.SPOOL_REFUSED.labels(why).inc()
        if not asked.done.done():
            asked.done.set_exception(Unavailable(f"the spool took nothing: {why}"))
