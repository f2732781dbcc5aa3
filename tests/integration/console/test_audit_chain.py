"""What stands in the audit cannot be changed without its proof failing, whoever changes it and wherever."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from harkara.cli.audit import broken
from harkara.contracts.audit import AuditRecord
from harkara.contracts.topics import AUDIT_LOG
from harkara.runtime.kafka import Output
from tests.integration.console.conftest import Console

AT = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
RECORDS = 40
CHANGES = {
    "one character of a detail": 'UPDATE audit SET details = \'{"note": "A note"}\' WHERE chain = %s AND link = 3',
    "who did it": "UPDATE audit SET actor = 'somebody' WHERE chain = %s AND link = 5",
    "a microsecond": "UPDATE audit SET at = at + interval '1 microsecond' WHERE chain = %s AND link = 1",
    "a record taken out": "DELETE FROM audit WHERE chain = %s AND link = 4",
    "the last one taken out": "DELETE FROM audit WHERE chain = %s AND link = (SELECT max(link) FROM audit_heads)",
    "two that changed places": "UPDATE audit SET subject = CASE link WHEN 1 THEN 'm-b' ELSE 'm-a' END WHERE chain = %s "
    "AND link IN (1, 2)",
    "the end's hash": "UPDATE audit_heads SET hash = repeat('ab', 32) WHERE chain = %s",
}


def record(number: int) -> Output:
    """One action; one of its notes has what Postgres cannot hold as it is."""
    details = {"note": "a note" if number % 7 else "a \x00 note"}
    event = AuditRecord(
        audit_id=f"a-{number}", actor="asha", action="cancel_message", subject=f"m-{number}",
        at=AT + timedelta(microseconds=number), details=details,
    )  # fmt: skip
    return Output(AUDIT_LOG, "one-home", event.subject, event, event.audit_id, event.at)


async def written(console: Console) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The chain of all records, each of which came twice, in any order: its head and its links."""
    outputs = [record(number) for number in range(RECORDS)] * 2
    random.Random(7).shuffle(outputs)
    for start in range(0, len(outputs), 17):
        await console.write(outputs[start : start + 17])
    heads = await console.until("/api/v1/audit/heads", lambda a: sum(c["link"] for c in a["chains"]) >= RECORDS)
    (head,) = [each for each in heads["chains"] if each["link"]]
    assert (head["link"], heads["unlinked"]) == (RECORDS, 0)
    return head, await links(console, head["chain"])


async def links(console: Console, chain: int) -> list[dict[str, Any]]:
    """The chain's records as the API shows them, in pages of 9."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await console.http.get(f"/api/v1/audit/chains/{chain}", params={"after": len(found), "limit": 9})
        page = answer.json()["links"]
        found += page
        if not page:
            return found


async def change(console: Console, statement: str, chain: int) -> None:
    dsn = console.settings.postgres_dsn.get_secret_value()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(statement.encode(), (chain,))


def judged(head: dict[str, Any], found: list[dict[str, Any]], noted: dict[int, str] | None = None) -> str | None:
    """By what the chain shows, in pages of 9."""
    rest = sorted(found, key=lambda row: row["link"])
    return broken(head, noted or {}, lambda after: [row for row in rest if row["link"] > after][:9])


@pytest.mark.req("CMP-10")
async def test_every_change_of_the_audit_is_found(console: Console) -> None:
    head, found = await written(console)
    assert judged(head, found, {RECORDS: head["hash"], 9: found[8]["hash"]}) is None
    dsn = console.settings.postgres_dsn.get_secret_value()
    for what, statement in CHANGES.items():
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            before = [
                await (await connection.execute("SELECT * FROM audit")).fetchall(),
                await (await connection.execute("SELECT * FROM audit_heads")).fetchall(),
            ]
            await change(console, statement, head["chain"])
        heads = (await console.http.get("/api/v1/audit/heads")).json()["chains"]
        (now,) = [each for each in heads if each["chain"] == head["chain"]]
        assert judged(now, await links(console, head["chain"])), what
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute("TRUNCATE audit, audit_heads")
            for table, rows in zip(("audit", "audit_heads"), before, strict=True):
                for row in rows:
                    marks = ", ".join(["%s"] * len(row))
                    values = [psycopg.types.json.Jsonb(each) if isinstance(each, dict) else each for each in row]
                    await connection.execute(f"INSERT INTO {table} VALUES ({marks})".encode(), values)


async def test_a_chain_that_was_computed_anew_is_found_by_the_end_that_was_kept(console: Console) -> None:
    head, found = await written(console)
    await change(console, "DELETE FROM audit WHERE chain = %s AND link > 30", head["chain"])
    await change(
        console,
        "UPDATE audit_heads h SET link = 30, hash = (SELECT hash FROM audit WHERE chain = h.chain AND link = 30) "
        "WHERE chain = %s",
        head["chain"],
    )
    shorter = {"chain": head["chain"], "link": 30, "hash": found[29]["hash"]}
    rest = await links(console, head["chain"])
    assert judged(shorter, rest) is None, "by itself it is whole"
    assert judged(shorter, rest, {head["link"]: head["hash"]}) == "it had 40 records when its end was kept, and has 30"
    assert judged(shorter, rest, {30: "ab" * 32}) == "record 30 is not the one whose hash was kept"
