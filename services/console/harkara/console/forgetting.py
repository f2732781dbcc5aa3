"""Keeps the read side without those who were erased (CMP-12), in the transaction that writes a batch.

An erasure is an event on `consent-events`, so it comes again whenever the read side is filled again. What is written
after it is written without the person; what was written before is rewritten when it comes. Writers share a lock that an
erasure has alone: what is under way is committed before it looks, what begins later sees it. So no order of records, no
repetition and no second console leaves anything behind.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from harkara.console.core import AUDIT, CONSENT, MESSAGE_EVENTS, MESSAGES, NAMES, Row, Table
from harkara.console.erasing import Erasure, covering, message_without_person, persons_of
from harkara.console.metrics import ERASURES
from harkara.contracts.audit import ERASED, AuditRecord, persons_in, without_person
from harkara.contracts.consent import LIFTING, OWN_WORD

ERASURE_LOCK = 0x65726173  # "eras": any constant beside the migrations'
CHUNK = 500  # messages rewritten by one statement, with their events: well within the time that one may take
BACK = sorted({OWN_WORD, *LIFTING})
"""By whose opt-in an erased person is back, as `contracts.consent` says."""

_ERASURES = (
    "SELECT e.person_key, e.at, (SELECT min(b.at) FROM consent_events b WHERE b.person_key = e.person_key "
    "AND b.at > e.at AND b.standing = 'opted_in' AND b.source = ANY(%s)) AS returned_at "
    "FROM (SELECT person_key, max(at) AS at FROM consent_events WHERE standing = 'erased' AND person_key = ANY(%s) "
    "GROUP BY person_key) AS e"
)
_SAID_BEFORE = (
    "DELETE FROM consent_events WHERE person_key = %(person)s "
    "AND (at < %(at)s OR (at = %(at)s AND standing <> 'erased'))"
)
_THEIR_MESSAGES = (
    "SELECT message_id FROM messages WHERE person_key = %(person)s "
    "AND (%(back)s::timestamptz IS NULL OR coalesce(received_at, at) < %(back)s)"
)
_MESSAGE_ROWS = "SELECT message_id, attempts, reason, anomalies, wamid FROM messages WHERE message_id = ANY(%s)"
_EVENT_ROWS = (
    "SELECT source, event_id, wamid, event FROM message_events "
    "WHERE message_id = ANY(%s) OR (message_id IS NULL AND wamid = ANY(%s))"
)
_NAMELESS_ROWS = (
    "SELECT source, event_id, wamid, event FROM message_events WHERE message_id IS NULL "
    "AND event ->> 'reached_key' = %(person)s AND (%(back)s::timestamptz IS NULL OR at < %(back)s)"
)
_REWRITE = {
    MESSAGES: "UPDATE messages m SET person_key = n.person_key, wamid = NULL, attempts = n.attempts, "
    "reason = n.reason, anomalies = n.anomalies FROM jsonb_populate_recordset(NULL::messages, %s::jsonb) n "
    "WHERE m.message_id = n.message_id",
    MESSAGE_EVENTS: "UPDATE message_events m SET wamid = NULL, event = n.event "
    "FROM jsonb_populate_recordset(NULL::message_events, %s::jsonb) n "
    "WHERE m.source = n.source AND m.event_id = n.event_id",
    AUDIT: "UPDATE audit m SET subject = n.subject, details = n.details, persons = n.persons, salts = n.salts "
    "FROM jsonb_populate_recordset(NULL::audit, %s::jsonb) n WHERE m.audit_id = n.audit_id",
}


class Forgetting:
    """One transaction's part of it: `begin` before the first row, `kept` for every table's rows, `end` after the last.

    Of tables the consent comes first, so that what `kept` goes by is known by the next one.
    """

    def __init__(self, connection: AsyncConnection[DictRow], pepper: bytes) -> None:
        self._connection = connection
        self._pepper = pepper
        self._erasures: dict[str, Erasure] = {}
        self._erased_before: set[str] = set()
        self._erased_now: set[str] = set()

    async def begin(self, batch: Mapping[Table, Sequence[Row]]) -> None:
        """Wait for whoever is erasing; or, to erase, for everybody who writes."""
        shared = "" if _erased_in(batch) else "_shared"
        await self._connection.execute(f"SELECT pg_advisory_xact_lock{shared}(%s)".encode(), (ERASURE_LOCK,))
        messages = {row["message_id"] for table in (MESSAGES, MESSAGE_EVENTS) for row in batch.get(table, ())}
        ids = [each for each in messages if each is not None]
        if ids:
            rows = await self._all("SELECT message_id FROM erased_messages WHERE message_id = ANY(%s)", (ids,))
            self._erased_before = {row["message_id"] for row in rows}

    async def kept(self, table: Table, rows: list[Row]) -> list[Row]:
        """The rows as they are to be written."""
        if table is CONSENT:
            return rows
        await self._look_up({person for row in rows for person in persons_of(table, row)})
        if not self._erasures and not self._erased_before:
            return rows
        return [kept for row in rows if (kept := self._kept(table, row)) is not None]

    async def end(self, batch: Mapping[Table, Sequence[Row]]) -> None:
        """Rewrite what was written before: of those who are erased in this batch, and of messages that are now known
        to be an erased person's."""
        said = {row["person_key"] for row in batch.get(CONSENT, ())}
        await self._look_up(said)
        for person in sorted(said & self._erasures.keys()):
            erasure = self._erasures[person]
            await self._connection.execute(_SAID_BEFORE.encode(), {"person": person, "at": erasure.at})
        for person in sorted(_erased_in(batch)):
            await self._erase(self._erasures[person])
        await self._rewrite_messages(sorted(self._erased_now))

    def _kept(self, table: Table, row: Row) -> Row | None:
        persons = covering(table, row, self._erasures)
        if table is NAMES:
            return None if persons else row
        if table is AUDIT:
            return _audit_without(row, persons)
        if table not in (MESSAGES, MESSAGE_EVENTS):
            return row
        if persons and row["message_id"] is not None:
            self._erased_now.add(row["message_id"])
        if not persons and row["message_id"] not in self._erased_before | self._erased_now:
            return row
        return message_without_person(table, row, persons)

    async def _look_up(self, persons: Iterable[str]) -> None:
        unknown = [each for each in persons if each not in self._erasures]
        if unknown:
            for row in await self._all(_ERASURES, (BACK, unknown)):
                self._erasures[row["person_key"]] = Erasure(**row)

    async def _erase(self, erasure: Erasure) -> None:
        person = {"person": erasure.person_key, "back": erasure.returned_at}
        await self._connection.execute(
            b"DELETE FROM person_names WHERE %(person)s IN (person_key, alias_key) "
            b"AND (%(back)s::timestamptz IS NULL OR at < %(back)s)",
            person,
        )
        self._erased_now |= {row["message_id"] for row in await self._all(_THEIR_MESSAGES, person)}
        await self._rewrite(MESSAGE_EVENTS, await self._all(_NAMELESS_ROWS, person), {erasure.person_key})
        about = await self._all("SELECT * FROM audit WHERE persons @> %s", ([erasure.person_key],))
        covered = [row for row in about if erasure.covers(row["at"])]
        bare = [_audit_without(row, {erasure.person_key}) for row in covered]
        await self._connection.execute(_REWRITE[AUDIT].encode(), (orjson.dumps(bare).decode(),))
        short = hmac.new(self._pepper, erasure.person_key.encode(), hashlib.sha256).hexdigest()[:16]
        await self._connection.execute("UPDATE dead_letters SET key_hash = NULL WHERE key_hash = %s", (short,))
        ERASURES.inc()

    async def _rewrite_messages(self, message_ids: list[str]) -> None:
        for start in range(0, len(message_ids), CHUNK):
            ids = message_ids[start : start + CHUNK]
            await self._connection.execute(
                "INSERT INTO erased_messages SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (ids,)
            )
            messages = await self._all(_MESSAGE_ROWS, (ids,))
            wamids = {attempt.get("wamid") for row in messages for attempt in row["attempts"].values()}
            wamids |= {row["wamid"] for row in messages}
            events = await self._all(_EVENT_ROWS, (ids, [each for each in wamids if each]))
            await self._rewrite(MESSAGES, messages, self._erasures)
            await self._rewrite(MESSAGE_EVENTS, events, self._erasures)

    async def _rewrite(self, table: Table, rows: list[Row], persons: Collection[str]) -> None:
        if rows:
            bare = [message_without_person(table, row, persons) for row in rows]
            await self._connection.execute(_REWRITE[table].encode(), (orjson.dumps(bare).decode(),))

    async def _all(self, statement: Any, parameters: Any) -> list[Row]:
        cursor = await self._connection.execute(statement, parameters)
        return await cursor.fetchall()


def _erased_in(batch: Mapping[Table, Sequence[Row]]) -> set[str]:
    return {row["person_key"] for row in batch.get(CONSENT, ()) if row["standing"] == ERASED}


def _audit_without(row: Row, persons: Collection[str]) -> Row:
    """The record without these persons, at its place in its chain: its hash is still that of what it said."""
    record, salts = AuditRecord.model_validate(row), row["salts"] or {}
    for person in persons:
        record, salts = without_person(record, salts, person)
    left = sorted(persons_in(record))
    at = row["at"].isoformat() if isinstance(row["at"], datetime) else row["at"]
    said = {"subject": record.subject, "details": record.details, "persons": left, "salts": salts or None}
    return row | said | {"at": at}
