"""Rows on their way to the changelog: in order, counted when acknowledged, and a refusal ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from harkara.runtime.faust_app import new_app
from harkara.runtime.faust_changelog import BATCH_BYTES, ROWS_WAITING, Changelogs
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.support.wait import eventually


class Batch(BatchBuilder):  # type: ignore[misc]
    """aiokafka's own, which remembers its rows."""

    def __init__(self) -> None:
        super().__init__(BATCH_BYTES, 0)
        self.rows: list[tuple[bytes, bytes | None]] = []

    def append(self, *, timestamp: Any, key: bytes, value: bytes | None, headers: Any = ()) -> Any:
        added = super().append(timestamp=timestamp, key=key, value=value)
        if added is not None:
            self.rows.append((key, value))
        return added


@dataclass
class Client:
    """A producer whose acknowledgements come when the test says so."""

    sent: list[tuple[str, int, Batch]] = field(default_factory=list)
    answers: list[asyncio.Future[None]] = field(default_factory=list)

    async def started(self) -> Client:
        return self

    def new_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, partition: int) -> asyncio.Future[None]:
        self.sent.append((topic, partition, batch))
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]

    async def has_sent(self, batches: int) -> None:
        """Wait until so many batches are under way or were."""
        await eventually(lambda: len(self.sent) == batches, timeout_seconds=5, every=0.001)

    def rows(self, partition: int) -> list[tuple[bytes, bytes | None]]:
        return [row for _, number, batch in self.sent if number == partition for row in batch.rows]

    async def answered(self, number: int) -> None:
        """Acknowledge the batch of that number, once it has been sent."""
        await eventually(lambda: len(self.answers) > number, timeout_seconds=5, every=0.001)
        self.answers[number].set_result(None)


@asynccontextmanager
async def writing(
    told: list[BaseException] | None = None, linger_seconds: float = 0.0
) -> AsyncIterator[tuple[Client, Changelogs]]:
    """Changelogs to a client in the test's hand; what is not written at the end is given up. `told`: what fails, where
    something should."""
    client, failed = Client(), [] if told is None else told
    changelogs = Changelogs(client.started, linger_seconds, failed.append)
    yield client, changelogs
    await changelogs.close()
    assert told is not None or not failed


async def test_rows_keep_their_order_within_a_partition_and_only_one_batch_is_under_way() -> None:
    async with writing(linger_seconds=0.001) as (client, changelogs):
        for number in range(5):
            changelogs.write("t", number % 2, b"key", b"%d" % number)
        await client.has_sent(2)
        changelogs.write("t", 0, b"key", None)
        assert len(client.sent) == 2
        for number in range(3):
            await client.answered(number)
        await changelogs.acknowledged()
        assert client.rows(0) == [(b"key", b"0"), (b"key", b"2"), (b"key", b"4"), (b"key", None)]
        assert client.rows(1) == [(b"key", b"1"), (b"key", b"3")]


async def test_acknowledged_means_every_row_written_before_and_none_after() -> None:
    async with writing() as (client, changelogs):
        await changelogs.acknowledged()
        changelogs.write("t", 0, b"a", b"1")
        waiting = asyncio.create_task(changelogs.acknowledged())
        await client.has_sent(1)
        changelogs.write("t", 0, b"a", b"2")
        assert not waiting.done()
        await client.answered(0)
        await asyncio.wait_for(waiting, 5)


async def test_a_row_larger_than_a_batch_goes_alone() -> None:
    async with writing() as (client, changelogs):
        changelogs.write("t", 0, b"large", b"x" * (3 * BATCH_BYTES))
        changelogs.write("t", 0, b"small", b"y")
        await client.answered(0)
        await client.answered(1)
        await changelogs.acknowledged()
        assert [len(batch.rows) for _, _, batch in client.sent] == [1, 1]


async def test_a_refused_batch_is_told_and_nothing_is_written_or_acknowledged_after_it() -> None:
    told = list[BaseException]()
    async with writing(told) as (client, changelogs):
        changelogs.write("t", 0, b"a", b"1")
        await client.has_sent(1)
        client.answers[0].set_exception(ConnectionError("refused"))
        await eventually(lambda: bool(told), timeout_seconds=5, every=0.001)
        changelogs.write("t", 0, b"a", b"2")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await changelogs.acknowledged()
        assert len(client.sent) == 1


async def test_folding_waits_while_too_much_is_unacknowledged() -> None:
    async with writing() as (client, changelogs):
        for number in range(ROWS_WAITING):
            assert not changelogs.is_full()
            changelogs.write("t", 0, b"%d" % number, b"x" * 100)
        assert changelogs.is_full()
        waiting = asyncio.create_task(changelogs.room())
        await client.has_sent(1)
        assert not waiting.done()
        await client.answered(0)
        await asyncio.wait_for(waiting, 5)
        assert not changelogs.is_full()


async def test_a_write_that_is_cancelled_by_anybody_else_is_told_too() -> None:
    told = list[BaseException]()
    async with writing(told) as (client, changelogs):
        changelogs.write("t", 0, b"a", b"1")
        await client.has_sent(1)
        client.answers[0].cancel()
        await eventually(lambda: bool(told), timeout_seconds=5, every=0.001)
    assert len(told) == 1


async def test_giving_up_what_is_not_written_is_no_failure() -> None:
    async with writing() as (client, changelogs):
        changelogs.write("t", 0, b"a", b"1")
        await client.has_sent(1)


async def test_fausts_flush_waits_for_rows_that_wait_for_their_batch(tmp_path: Path) -> None:
    """Faust flushes when partitions are taken away and before it reads rows back."""
    kafka = KafkaSettings(bootstrap="127.0.0.1:1")
    app = new_app(ServiceSettings(service="test", kafka=kafka, partitions=1, data_dir=tmp_path), "flushing")
    client = Client()
    app.changelogs = Changelogs(client.started, 0.001, app.fail)
    app.changelogs.write("t", 0, b"a", b"1")
    flushing = asyncio.create_task(app.producer.flush())
    await client.has_sent(1)
    assert not flushing.done()
    await client.answered(0)
    await asyncio.wait_for(flushing, 5)
    app.changelogs.write("t", 0, b"a", b"2")
    app.fail(ConnectionError("refused"))
    await asyncio.wait_for(app.producer.flush(), 5)
    await app.close()
