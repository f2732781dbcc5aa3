"""The audit's hash chains: what was written down once cannot be changed without it being seen.

A partition of `audit-log` is a chain, in the order in which its records are stored first; a record that comes again is
passed over, and so is a service's word on its policy where that is no news (`is_news`). The decisions on messages are
in chains of their own (`witness`); an automatic halt is in that of its partition of `number-state`.

Whoever may write to the database could compute a whole chain anew, so its end is also told where they cannot write: to
the log every hour, and to whoever asks (`harkara audit heads`), to be kept and compared later.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
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
CONTENT = "content"  # the detail of a word on a policy that has the whole of it
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
    policies: list[AuditRecord] = []
    for audit_id, row in rows.items():
        record = AuditRecord.model_validate(row)
        if audit_id not in known and await _to_be_kept(connection, chain, record, policies):
            salts = {field: secrets.token_hex(SALT_BYTES) for field in fields_to_seal(record)}
            link, hash_ = link + 1, linked_hash(hash_, record, salts)
            place = {"chain": chain, "link": link, "hash": hash_}
            found.append(row | place | {"persons": sorted(persons_in(record)), "salts": salts or None})
    if found:
        await connection.execute("UPDATE audit_heads SET link = %s, hash = %s WHERE chain = %s", (link, hash_, chain))
    return found


@dataclass(frozen=True, slots=True)
class OnRecord:
    """What is on record of a service's policies: the version it said last and when (None: it never spoke), whether the
    version in question was ever said by it (`named`), and whether with the content in question (`whole`)."""

    last: tuple[str, datetime] | None = None
    named: bool = False
    whole: bool = False

    def then(self, said: AuditRecord, asked: AuditRecord) -> OnRecord:
        """With one more of its records, which follows the others in the chain."""
        named = said.subject == asked.subject
        whole = named and said.details.get(CONTENT) == asked.details.get(CONTENT)
        return OnRecord((said.subject, said.at), self.named or named, self.whole or whole)


def is_news(record: AuditRecord, kept: OnRecord) -> bool:
    """Whether a service's word on its policy is to be kept. Each instance says it at each start: of a policy that stays
    only its coming into force is news, and of one that comes back its return. A version that was never named always is,
    whatever the clocks say, and so is another content of a known one: an older release recorded less of it.

    A known version may also be a word of before, passed over then and read again now: it is taken for a return only
    where it was said after what the chain has last."""
    if kept.last is None or not kept.named or (CONTENT in record.details and not kept.whole):
        return True
    version, at = kept.last
    return record.subject != version and record.at > at


async def _to_be_kept(
    connection: AsyncConnection[DictRow], chain: int, record: AuditRecord, policies: list[AuditRecord]
) -> bool:
    """`policies`: those that this transaction appends to the chain, in order; it gets this one too if it is news."""
    if record.action != POLICY_APPLIED:
        return True
    kept = await _on_record(connection, chain, record)
    for each in policies:
        kept = kept.then(each, record) if each.actor == record.actor else kept
    if not is_news(record, kept):
        return False
    policies.append(record)
    return True


async def _on_record(connection: AsyncConnection[DictRow], chain: int, record: AuditRecord) -> OnRecord:
    """By the order of the chain: clocks of several machines say nothing about it. A service's words are all in one
    chain, but for those of before the chains and of another number of partitions; these come first."""
    cursor = await connection.execute(
        "SELECT subject, at FROM audit WHERE action = %s AND actor = %s "
        "ORDER BY (chain IS NOT DISTINCT FROM %s) DESC, link DESC NULLS LAST, at DESC LIMIT 1",
        (POLICY_APPLIED, record.actor, chain),
    )
    if (last := await cursor.fetchone()) is None:
        return OnRecord()
    cursor = await connection.execute(
        "SELECT count(*) > 0 AS named, coalesce(bool_or(details ->> %s = %s), false) AS whole FROM audit "
        "WHERE action = %s AND actor = %s AND subject = %s",
        (CONTENT, record.details.get(CONTENT), POLICY_APPLIED, record.actor, record.subject),
    )
    found: Any = await cursor.fetchone()
    return OnRecord((last["subject"], last["at"]), found["named"], found["whole"])


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
