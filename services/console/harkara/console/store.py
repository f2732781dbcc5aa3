"""Postgres: the pool, the migrations, and the one way rows are written."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

import orjson
import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool

from harkara.console import witness
from harkara.console.chain import LINKED, linked
from harkara.console.core import AUDIT, MESSAGE_EVENTS, TABLES, Placed, Row, Table, dead_letter, newest
from harkara.console.forgetting import Forgetting
from harkara.console.metrics import DATABASE_UP, DEAD_LETTERS, ROWS, UNREADABLE, WRITE_SECONDS
from harkara.console.settings import Settings

Connection = AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]

MIGRATION_LOCK = 0x6861726B  # "hark": any constant; instances that start together migrate one after the other
CHECK_SECONDS = 5.0
RETRY_SECONDS = 1.0
STATEMENT_TIMEOUT_MS = 15_000  # a page's query that takes longer is given up; a batch takes well under a second
NUL, NUL_SHOWN = "\x00", "\ufffd"  # Postgres stores no NUL; whoever put one into a reason still gets it shown as odd

REFUSALS = (psycopg.DataError, psycopg.IntegrityError, orjson.JSONEncodeError)
"""A row cannot be stored for what is in it, whenever it is tried: the last is a number beyond 64 bits."""

log = structlog.get_logger()
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # its warnings quote the connection string's host at 1/s
set_json_loads(orjson.loads)


class MigrationChanged(Exception):
    """A migration that was applied has another text now: the database and the code do not belong together."""


class Database:
    """The pool as a component: connects, migrates, and says whether Postgres answers."""

    name = "postgres"

    def __init__(self, settings: Settings) -> None:
        self._why: str | None = "connecting to Postgres"
        self.pool: Pool = AsyncConnectionPool(
            settings.postgres_dsn.get_secret_value(),
            connection_class=Connection,
            kwargs={
                "row_factory": dict_row,
                "autocommit": True,
                "application_name": f"harkara-console-{settings.instance}",
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
                "connect_timeout": 5,
            },
            min_size=1,
            max_size=settings.postgres_pool_size,
            max_waiting=200,  # requests waiting for a connection; beyond it they get their 503 at once
            timeout=5.0,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    def ready(self) -> str | None:
        """None while Postgres answers and its schema is ours."""
        return self._why

    async def run(self) -> None:
        """Hold the pool open; look every few seconds whether Postgres is there."""
        await self.pool.open(wait=False)
        try:
            migrated = False
            while True:
                try:
                    if not migrated:
                        await migrate(self.pool)
                        migrated = True
                    async with self.pool.connection() as connection:
                        await connection.execute("SELECT 1")
                    self._say(None)
                    await asyncio.sleep(CHECK_SECONDS)
                except psycopg.OperationalError as error:
                    self._say(f"Postgres does not answer ({type(error).__name__})")
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            await self.pool.close()

    def _say(self, why: str | None) -> None:
        if why != self._why:
            log.warning("postgres_state_changed", answers=why is None, why=why)
        self._why = why
        DATABASE_UP.set(why is None)


def migrations() -> list[tuple[int, str, str]]:
    """(version, file name, SQL) in order: `0001_read_side.sql` is version 1."""
    folder = resources.files("harkara.console") / "migrations"
    found = [(int(f.name.split("_")[0]), f.name, f.read_text("utf-8")) for f in folder.iterdir() if f.name[0].isdigit()]
    return sorted(found)


async def migrate(pool: Pool) -> int:
    """Apply the migrations that are missing, each in a transaction; return how many were.

    An advisory lock makes instances that start together take turns. Raises MigrationChanged where an applied file has
    been edited: applied migrations are history, a change is a new file.
    """
    async with pool.connection() as connection:
        await connection.execute("SET statement_timeout = 0")  # an index over months of events takes minutes
        await connection.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        try:
            return await _migrated(connection)
        finally:
            await connection.execute("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))
            await connection.execute("RESET statement_timeout")


async def _migrated(connection: Connection) -> int:
    """Each is committed alone: a column's lock, which keeps readers out, is not held while an index is built."""
    applied_now = 0
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, name text NOT NULL, "
        "sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    cursor = await connection.execute("SELECT version, sha256 FROM schema_migrations")
    applied = {row["version"]: row["sha256"] for row in await cursor.fetchall()}
    for version, name, text in migrations():
        digest = hashlib.sha256(text.encode()).hexdigest()
        if version in applied:
            if applied[version] != digest:
                raise MigrationChanged(f"{name} was applied with another content; put the change into a new file")
            continue
        async with connection.transaction():
            await connection.execute(sql.SQL(text))  # our own package's file
            await connection.execute(
                "INSERT INTO schema_migrations (version, name, sha256) VALUES (%s, %s, %s)", (version, name, digest)
            )
        applied_now += 1
    return applied_now


class Store:
    """Writes rows: a batch is one transaction, and every row of it may come again at any time."""

    def __init__(self, pool: Pool, pepper: bytes) -> None:
        self._pool = pool
        self._pepper = pepper

    async def write(self, placed: Sequence[Placed]) -> None:
        """All rows in one transaction. A row that Postgres refuses for what is in it (a number beyond its range, say)
        is replaced by a dead letter, alone: it blocks nothing. Raises psycopg.OperationalError while Postgres is away.
        """
        if not placed:
            return
        with WRITE_SECONDS.time():
            try:
                await self._write(placed)
            except REFUSALS:
                for each in placed:
                    await self._write_alone(each)
        for each in placed:
            ROWS.labels(each.table.name).inc()
            if each.unreadable:
                UNREADABLE.labels(each.of.topic.name).inc()
            elif each.table.name == "dead_letters":
                DEAD_LETTERS.labels(each.of.topic.name).inc()

    async def _write(self, placed: Sequence[Placed]) -> None:
        async with self._pool.connection() as connection, connection.transaction():
            batch = newest(placed)
            forgetting = Forgetting(connection, self._pepper)
            await forgetting.begin(batch)
            for table, rows in batch.items():
                if table is AUDIT:
                    rows = await linked(connection, [_storable(each) for each in placed if each.table is AUDIT])
                kept = await forgetting.kept(table, rows)
                if table is MESSAGE_EVENTS:
                    kept = await self._witnessed(connection, kept, placed)
                await connection.execute(_UPSERTS[table.name], (_json(kept),))
            await forgetting.end(batch)

    async def _witnessed(self, connection: Connection, events: list[Row], placed: Sequence[Placed]) -> list[Row]:
        """Write those that have decisions, under a record of the audit; the others."""
        deciding = [row for row in events if witness.decides(row)]
        if deciding:
            of = [each for each in placed if each.table is MESSAGE_EVENTS and witness.decides(each.row)]
            records = await witness.written(connection, _WITNESSED, _json, deciding, of)
            await connection.execute(_UPSERTS[LINKED.name], (_json(records),))
        return [row for row in events if not witness.decides(row)]

    async def _write_alone(self, each: Placed) -> None:
        try:
            await self._write([each])
        except REFUSALS as error:
            UNREADABLE.labels(each.of.topic.name).inc()
            reason = f"Postgres refused the row: {type(error).__name__}"
            log.error("row_refused", topic=each.of.topic.name, offset=each.of.offset, error=type(error).__name__)
            await self._write([dead_letter(each.of, self._pepper, reason=reason)])


def _upsert(table: Table) -> sql.Composed:
    """One statement for any number of rows: the rows come as one JSON array, which Postgres turns into its types."""
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    statement = sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb) "
        "ON CONFLICT ({key}) DO "
    ).format(table=sql.Identifier(table.name), columns=columns, key=_names(table.key))
    if table.newer is None:
        return statement + sql.SQL("NOTHING")
    changed = [column for column in table.columns if column not in table.key]
    updates = sql.SQL(", ").join(
        sql.SQL("{column} = EXCLUDED.{column}").format(column=sql.Identifier(column)) for column in changed
    )
    newer = sql.SQL("{table}.{newer} < EXCLUDED.{newer}").format(
        table=sql.Identifier(table.name), newer=sql.Identifier(table.newer)
    )
    return statement + sql.SQL("UPDATE SET ") + updates + sql.SQL(" WHERE ") + newer


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


_WITNESSED = _upsert(witness.WITNESSED) + witness.RETURNED
_UPSERTS = {table.name: _upsert(table) for table in TABLES} | {LINKED.name: _upsert(LINKED)}


def _storable(placed: Placed) -> Placed:
    """As the row will stand in the database, so that its hash is of what can be read there."""
    return replace(placed, row=_without_nul(placed.row))


def _json(rows: list[Row]) -> str:
    text = orjson.dumps(rows).decode()
    return text if "\\u0000" not in text else orjson.dumps(_without_nul(rows)).decode()


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(NUL, NUL_SHOWN)
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    return value
