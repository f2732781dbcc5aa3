"""Two consoles on one database: what they write at once, and what one does while the other migrates."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from harkara.cli.audit import broken, other_decisions
from harkara.console.core import Placed, Record, place
from harkara.console.queries import Queries
from harkara.console.store import MIGRATION_LOCK, Connection, Pool, Store, migrate
from harkara.contracts.audit import CHAIN_START, AuditRecord
from harkara.contracts.event import Decision
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import AUDIT_LOG, MESSAGE_LIFECYCLE

AT = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
PEPPER = b"a-pepper-for-tests-only"
CHAINS, RECORDS = 3, 200


def pool_of(dsn: str, timeout_ms: int = 15_000) -> Pool:
    return AsyncConnectionPool(
        dsn, connection_class=Connection, min_size=1, max_size=2, open=False,
        kwargs={"row_factory": dict_row, "autocommit": True, "options": f"-c statement_timeout={timeout_ms}"},
    )  # fmt: skip


@pytest.fixture
async def pools(postgres_database: str) -> AsyncIterator[list[Pool]]:
    """Of two consoles, after the migrations."""
    async with pool_of(postgres_database) as one, pool_of(postgres_database) as other:
        await migrate(one)
        yield [one, other]


def audited(chain: int, number: int) -> Placed:
    event = AuditRecord(
        audit_id=f"a-{chain}-{number}", actor="asha", action="cancel_message", subject=f"m-{number}",
        at=AT + timedelta(microseconds=number),
    )  # fmt: skip
    placed = place(Record(AUDIT_LOG, chain, number, b"k", event.model_dump_json().encode(), [], AT), PEPPER)
    assert placed is not None
    return placed


def decided(partition: int, number: int) -> Placed:
    decision = Decision(step="routing", policy_version="v", at=AT, inputs={"n": number}, verdict={"outcome": "routed"})
    event = MessageLifecycle(message_id=f"m-{number}", home="h", status="routed", at=AT, decision=decision)
    headers = [("ce_id", f"e-{partition}-{number}".encode()), ("ce_source", b"guard")]
    record = Record(MESSAGE_LIFECYCLE, partition, number, b"k", event.model_dump_json().encode(), headers, AT)
    placed = place(record, PEPPER)
    assert placed is not None and not placed.unreadable
    return placed


async def consume(store: Store, seed: int, made: Callable[[int, int], Placed] = audited) -> None:
    """All records in Kafka's order of each partition, in batches of any size over any of them."""
    chance, next_of = random.Random(seed), [0] * CHAINS
    while min(next_of) < RECORDS:
        batch: list[Placed] = []
        for chain in chance.sample(range(CHAINS), CHAINS):
            end = min(RECORDS, next_of[chain] + chance.randrange(9))
            batch += [made(chain, number) for number in range(next_of[chain], end)]
            next_of[chain] = end
        await store.write(batch)


def rows_after(rows: list[Any]) -> Callable[[int], list[Any]]:
    return lambda after: rows[after : after + 50]


def between(rows: list[Any]) -> Callable[[int, int], list[Any]]:
    return lambda after, until: [row for row in rows if after < row["link"] <= until]


async def test_two_that_write_the_same_records_at_once_make_one_whole_chain_of_each_partition(
    pools: list[Pool],
) -> None:
    await asyncio.gather(*(consume(Store(pool, PEPPER), seed) for seed, pool in enumerate(pools * 2)))
    async with pools[0].connection() as connection:
        heads = await (await connection.execute("SELECT * FROM audit_heads ORDER BY chain")).fetchall()
        assert [(head["chain"], head["link"]) for head in heads] == [(chain, RECORDS) for chain in range(CHAINS)]
        found: list[list[Any]] = []
        for head in heads:
            statement = "SELECT * FROM audit WHERE chain = %s ORDER BY link"
            rows: list[Any] = await (await connection.execute(statement, (head["chain"],))).fetchall()
            assert [row["audit_id"] for row in rows] == [f"a-{head['chain']}-{n}" for n in range(RECORDS)]
            assert broken(head, {}, rows_after(rows)) is None
            found.append(rows)
        assert await Queries(pools[1]).audit_heads() == (heads, 0, 0)
        await connection.execute("DELETE FROM audit_heads WHERE chain = 1")
    ends, _, _ = await Queries(pools[1]).audit_heads()
    assert ends == [heads[0], {"chain": 1, "link": 0, "hash": CHAIN_START}, heads[2]], "its records are not hidden"
    assert broken(ends[1], {}, rows_after(found[1])) == f"its end is gone; it has {RECORDS} records"


@pytest.mark.req("CMP-10")
async def test_decisions_that_two_write_at_once_are_each_under_one_record(pools: list[Pool]) -> None:
    await asyncio.gather(*(consume(Store(pool, PEPPER), seed, decided) for seed, pool in enumerate(pools * 2)))
    queries = Queries(pools[0])
    heads, _, unwitnessed = await queries.audit_heads()
    assert [head["chain"] for head in heads] == [-3, -2, -1] and unwitnessed == 0
    for head in heads:
        links = await queries.audit_links(head["chain"], 0, 10**6)
        rows = await queries.audit_decisions(head["chain"], 0, 10**6, 10**6)
        assert broken(head, {}, rows_after(links)) is None
        assert other_decisions(rows_after(links), between(rows)) == (RECORDS, None)


async def test_a_migration_takes_longer_than_a_page_may(postgres_database: str) -> None:
    async with (
        await AsyncConnection.connect(postgres_database) as other,
        pool_of(postgres_database, timeout_ms=100) as pool,
    ):
        await other.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        migrating = asyncio.create_task(migrate(pool))
        await asyncio.wait([migrating], timeout=0.5)
        assert not migrating.done(), "an index over months of events must not be given up after the time of a page"
        await other.rollback()
        assert await migrating > 0
        async with pool.connection() as connection:
            with pytest.raises(psycopg.errors.QueryCanceled):
                await connection.execute("SELECT pg_sleep(5)")
