"""Every decision on a message under a hash of the audit: what was decided cannot be changed without it being seen.

A record of its own for each decision would be two a message. One record stands for those that were stored together: how
many, and the hash of their hashes. They are in chains of their own, one a partition of `message-lifecycle`, since two
consoles never read the same one at a time, so neither waits for the other's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from harkara.console.core import MESSAGE_EVENTS, Placed, Row
from harkara.contracts.audit import (
    CHAIN_START,
    DECISIONS_RECORDED,
    AuditRecord,
    decision_hash,
    decisions_hash,
    linked_hash,
)
from harkara.contracts.event import event_id
from harkara.contracts.topics import MESSAGE_LIFECYCLE

ACTOR = "console"
WITNESSED = replace(MESSAGE_EVENTS, columns=(*MESSAGE_EVENTS.columns, "witness"))
RETURNED = sql.SQL(" RETURNING source, event_id, message_id, event -> 'decision' AS decision, witness")
_HEAD = "INSERT INTO audit_heads (chain, link, hash) VALUES (%s, 0, %s) ON CONFLICT DO NOTHING"


def chain_of(partition: int) -> int:
    """The chain of a partition's decisions: below zero, where no partition of `audit-log` has one."""
    return -1 - partition


def decides(row: Row) -> bool:
    """Whether the event has a decision."""
    return "decision" in row["event"]


async def written(
    connection: AsyncConnection[DictRow],
    upsert: sql.Composed,
    json: Callable[[list[Row]], str],
    rows: Sequence[Row],
    placed: Sequence[Placed],
) -> list[Row]:
    """Store the events, which all have decisions; the rows of the audit that stand for those that are new. `upsert`
    gives back what it wrote, as it stands in the database: that is hashed. Within a transaction, which holds the chains
    that it appends to."""
    came = {tuple(each.row[name] for name in MESSAGE_EVENTS.key): each.of for each in placed}
    partition_of = {id(row): came[row["source"], row["event_id"]].partition for row in rows}
    heads = {chain: await _held(connection, chain) for chain in sorted({*map(chain_of, partition_of.values())})}
    ids = {chain: event_id("decisions", chain, head["link"] + 1) for chain, head in heads.items()}
    marked = [row | {"witness": ids[chain_of(partition_of[id(row)])]} for row in rows]
    cursor = await connection.execute(upsert, (json(marked),))
    new: dict[str, list[Row]] = {}
    for row in await cursor.fetchall():
        new.setdefault(row["witness"], []).append(row)
    newest = {chain: max(o.timestamp for o in came.values() if chain_of(o.partition) == chain) for chain in heads}
    return [
        await _appended(connection, chain, heads[chain], new[ids[chain]], newest[chain])
        for chain in heads
        if ids[chain] in new
    ]


async def _held(connection: AsyncConnection[DictRow], chain: int) -> Mapping[str, Any]:
    await connection.execute(_HEAD.encode(), (chain, CHAIN_START))
    cursor = await connection.execute("SELECT link, hash FROM audit_heads WHERE chain = %s FOR UPDATE", (chain,))
    head: Any = await cursor.fetchone()
    return dict(head)


async def _appended(
    connection: AsyncConnection[DictRow], chain: int, head: Mapping[str, Any], new: list[Row], at: datetime
) -> Row:
    link = head["link"] + 1
    hashes = [decision_hash(each["source"], each["event_id"], each["message_id"], each["decision"]) for each in new]
    record = AuditRecord(
        audit_id=event_id("decisions", chain, link),
        actor=ACTOR,
        action=DECISIONS_RECORDED,
        subject=f"{MESSAGE_LIFECYCLE.name}-{-1 - chain}",
        at=at,
        details={"count": str(len(new)), "hash": decisions_hash(hashes)},
    )
    linked = linked_hash(head["hash"], record)
    await connection.execute("UPDATE audit_heads SET link = %s, hash = %s WHERE chain = %s", (link, linked, chain))
    place = {"chain": chain, "link": link, "hash": linked, "persons": [], "salts": None}
    return record.model_dump(mode="json") | place
