"""The audit's hash chains: what was written down once cannot be changed without it being seen.

A partition of `audit-log` is a chain, in the order in which its records are stored first; a record that comes again is
passed over, and so is a service's word on its policy where that is no news. The decisions on messages are in chains of
their own (`witness`); an automatic halt is in that of its partition of `number-state`.

Whoever may write to the database could compute a whole chain anew, so its end is also told where they cannot write: to
the log every hour, and to whoever asks (`harkara audit heads`), to be kept and compared later.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool

from harkara.console.core import AUDIT, Placed, Row
from harkara.contracts.audit import CHAIN_START, POLICY_APPLIED, AuditRecord, fields_to_seal, linked_hash, persons_in

HEADS_SECONDS = (
    3600.0  # a change of older records is found where logs of the last hour are out of the hand that made it
)

LINKED = replace(AUDIT, columns=(*AUDIT.columns, "chain", "link", "hash", "persons", "salts"))
"""A record and its place in its chain; whom it may be about, and the salts by which that can be taken out of it."""
SALT_BYTES = 16  # as many as a pseudonym has: trying out salts is no easier than trying out pseudonyms

log = structlog.get_logger()


async def linked(connection: AsyncConnection[DictRow], audits: Sequence[Placed]) -> list[Row]:
    """The rows of those records that are new, each with its place and hash; moves the heads. Within a transaction,
    which holds the chains that it appends to."""
    chains: dict[int, dict[str, Row]] = {}
    for each in sorted(audits, key=lambda placed: placed.of.offset):
        chains.setdefault(each.of.partition, {}).setdefault(each.row["audit_id"], each.row)
    found: list[Row] = []
    for chain, rows in sorted(chains.items()):  # one order for everybody, so that nobody waits crosswise
        found += await _appended(connection, chain, rows)
    return found


async def _appended(connection: AsyncConnection[DictRow], chain: int, rows: dict[str, Row]) -> list[Row]:
    await connection.execute(
        "INSERT INTO audit_heads (chain, link, hash) VALUES (%s, 0, %s) ON CONFLICT DO NOTHING", (chain, CHAIN_START)
    )
    cursor = await connection.execute("SELECT link, hash FROM audit_heads WHERE chain = %s FOR UPDATE", (chain,))
    head: Any = await cursor.fetchone()
    cursor = await connection.execute("SELECT audit_id FROM audit WHERE audit_id = ANY(%s)", (list(rows),))
    known = {row["audit_id"] for row in await cursor.fetchall()}
    link, hash_, found = head["link"], head["hash"], []
    in_force: dict[str, AuditRecord] = {}
    for audit_id, row in rows.items():
        record = AuditRecord.model_validate(row)
        if audit_id not in known and await _is_news(connection, record, in_force):
            salts = {field: secrets.token_hex(SALT_BYTES) for field in fields_to_seal(record)}
            link, hash_ = link + 1, linked_hash(hash_, record, salts)
            place = {"chain": chain, "link": link, "hash": hash_}
            found.append(row | place | {"persons": sorted(persons_in(record)), "salts": salts or None})
    if found:
        await connection.execute("UPDATE audit_heads SET link = %s, hash = %s WHERE chain = %s", (link, hash_, chain))
    return found


async def _is_news(connection: AsyncConnection[DictRow], record: AuditRecord, in_force: dict[str, AuditRecord]) -> bool:
    """Not where a service says again which policy it goes by, as each of its instances does at each start: of a policy
    that stays only its coming into force is news, and of one that comes back its return. `in_force`: by service."""
    if record.action != POLICY_APPLIED:
        return True
    if record.actor not in in_force:
        cursor = await connection.execute(
            "SELECT audit_id, actor, action, subject, at, details FROM audit WHERE action = %s AND actor = %s "
            "ORDER BY at DESC LIMIT 1",
            (POLICY_APPLIED, record.actor),
        )
        if (row := await cursor.fetchone()) is not None:
            in_force[record.actor] = AuditRecord.model_validate(row)
    before = in_force.get(record.actor)
    if before is not None and (record.at <= before.at or record.subject == before.subject):
        return False
    in_force[record.actor] = record
    return True


class HeadsTold:
    """A component: writes the ends of the chains to the log, at the start and every hour."""

    name = "audit-heads"

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[DictRow]]) -> None:
        self._pool = pool

    def ready(self) -> str | None:
        """Always: nothing waits for it."""
        return None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with self._pool.connection() as connection:
                    cursor = await connection.execute("SELECT chain, link, hash FROM audit_heads ORDER BY chain")
                    log.info("audit_heads", heads=[[r["chain"], r["link"], r["hash"]] for r in await cursor.fetchall()])
                await asyncio.sleep(HEADS_SECONDS)
            except psycopg.Error as error:  # no table yet, no database: it is asked again
                log.warning("audit_heads_unknown", error=type(error).__name__)
                await asyncio.sleep(60.0)
