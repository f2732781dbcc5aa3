"""What is read from the read side. `home` narrows an answer to one number's or pool's messages; None: everything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from harkara.console.core import Row, percent, sum_counts
from harkara.console.store import Pool
from harkara.contracts.audit import CHAIN_START
from harkara.contracts.lifecycle import MessageLifecycle, MessageState, advance
from harkara.contracts.runs import RunCounts

HISTORY_LIMIT = 500  # events of one message: three attempts make about 30; more is a fault worth seeing, not all of it
RUNS_LIMIT = 100
DEAD_LETTER_LIMIT = 20
_RUN = (
    "SELECT r.*, (SELECT coalesce(jsonb_agg(p.counts), '[]') FROM run_progress p WHERE p.run_id = r.run_id) AS parts, "
    "(SELECT jsonb_build_object('action', a.action, 'actor', a.actor, 'at', a.at) FROM audit a "
    "WHERE a.subject = r.run_id AND a.action IN ('pause_run', 'resume_run', 'cancel_run') "
    "AND a.details ?| array['command_id', 'command_ids'] "
    "ORDER BY a.action = 'cancel_run' DESC, a.at DESC LIMIT 1) AS word FROM runs r"
)
"""A run with its counts, and the newest word on it as it was given (its lanes write down that it has arrived)."""


class Queries:
    """Reads of the console. Every method raises psycopg.OperationalError while Postgres does not answer."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def message(self, message_id: str, home: str | None = None) -> tuple[MessageState, list[Row]] | None:
        """A message's state and its history, oldest first; None where nothing is known of it (or not to this caller).

        A message whose state has not come yet is joined from its events, as message-state does it.
        """
        rows = await self._all("SELECT * FROM messages WHERE message_id = %s", (message_id,))
        wamids = [each["wamid"] for each in rows[0]["attempts"].values() if each.get("wamid")] if rows else []
        events = await self._all(
            "SELECT event_id, source, event FROM message_events WHERE message_id = %s "
            "OR (message_id IS NULL AND wamid = ANY(%s)) ORDER BY at, event_id LIMIT %s",
            (message_id, wamids, HISTORY_LIMIT),
        )
        state = state_of(rows[0]) if rows else _joined(message_id, events)
        if state is None or (home is not None and state.home != home):
            return None
        return state, sorted(events, key=_story)

    async def message_of(self, wamid: str, home: str | None = None) -> str | None:
        """The message that Meta knows by this wamid."""
        rows = await self._all(
            "SELECT message_id FROM messages WHERE wamid = %s AND (%s::text IS NULL OR home = %s) LIMIT 1",
            (wamid, home, home),
        )
        return rows[0]["message_id"] if rows else None

    async def policy(self, version: str) -> str | None:
        """The content of the policy of that version, as a service that went by it put it on record."""
        rows = await self._all(
            "SELECT details ->> 'content' AS content FROM audit WHERE action = 'policy_applied' AND subject = %s "
            "AND details ? 'content' ORDER BY at DESC LIMIT 1",
            (version,),
        )
        return rows[0]["content"] if rows else None

    async def runs(self, limit: int = RUNS_LIMIT, before: datetime | None = None, home: str | None = None) -> list[Row]:
        """The newest runs with their counts summed; `before` pages on (the created_at of the last one seen)."""
        rows = await self._all(
            f"{_RUN} WHERE (%(before)s::timestamptz IS NULL OR r.created_at < %(before)s) "
            "AND (%(home)s::text IS NULL OR (r.homes ? %(home)s AND r.homes - %(home)s::text = '{}')) "
            "ORDER BY r.created_at DESC, r.run_id LIMIT %(limit)s",
            {"before": before, "home": home, "limit": min(limit, RUNS_LIMIT)},
        )
        return [_run(row) for row in rows]

    async def run(self, run_id: str, home: str | None = None) -> Row | None:
        """One run with its counts and what was said about its promise."""
        rows = await self._all(
            f"{_RUN} WHERE r.run_id = %(run)s "
            "AND (%(home)s::text IS NULL OR (r.homes ? %(home)s AND r.homes - %(home)s::text = '{}'))",
            {"run": run_id, "home": home},
        )
        if not rows:
            return None
        said = await self._all("SELECT * FROM sla_events WHERE run_id = %s ORDER BY at, event_id LIMIT 20", (run_id,))
        return _run(rows[0]) | {"sla_events": said}

    async def run_messages(self, run_id: str, status: str | None, after: str, limit: int) -> list[Row]:
        """A run's messages by id, of one status or all; `after` is the last id seen."""
        return await self._all(
            "SELECT message_id, status, at, phone_number_id, error_code, reason, person_key, wamid, category, "
            "attempts FROM messages "
            "WHERE run_id = %s AND (%s::text IS NULL OR status = %s) AND message_id > %s ORDER BY message_id LIMIT %s",
            (run_id, status, status, after, limit),
        )

    async def numbers(self, home: str | None = None) -> dict[str, Row]:
        """By phone_number_id: `state` (verdict, quality, by whom) and `queue`, each None where not reported yet."""
        where = "WHERE %s::text IS NULL OR home = %s"
        found: dict[str, Row] = {}
        for name, table in (("state", "numbers"), ("queue", "queues")):
            statement = f"SELECT * FROM {table} {where} ORDER BY phone_number_id"  # noqa: S608  two constants
            for row in await self._all(statement, (home, home)):
                found.setdefault(row["phone_number_id"], {"state": None, "queue": None, "home": row["home"]})[name] = (
                    row
                )
        return found

    async def number_events(self, phone_number_id: str, limit: int = 20) -> list[Row]:
        """What was last seen about a number, newest first."""
        return await self._all(
            "SELECT kind, at, event FROM number_events WHERE phone_number_id = %s ORDER BY at DESC LIMIT %s",
            (phone_number_id, limit),
        )

    async def statuses(self, numbers: Sequence[str] | None, home: str, since: datetime) -> dict[str, int]:
        """How many messages stand at each status that changed since then: of a home, or of these numbers of it."""
        rows = await self._all(
            "SELECT status, count(*) AS count FROM messages WHERE home = %s AND at >= %s "
            "AND (%s::text[] IS NULL OR phone_number_id = ANY(%s)) GROUP BY status ORDER BY status",
            (home, since, numbers, numbers),
        )
        return {row["status"]: row["count"] for row in rows}

    async def dead_letters(self) -> list[Row]:
        """Per topic: how many are kept, how many came in the last hour, when the last came and why."""
        return await self._all(
            "SELECT topic, count(*) AS total, count(*) FILTER (WHERE recorded_at > now() - interval '1 hour') "
            "AS last_hour, max(recorded_at) AS newest_at, "
            '(array_agg(reason ORDER BY recorded_at DESC, "offset" DESC))[1] AS newest_reason '
            "FROM dead_letters GROUP BY topic ORDER BY topic"
        )

    async def dead_letters_of(self, topic: str, limit: int = DEAD_LETTER_LIMIT) -> list[Row]:
        """The newest dead letters of a topic: position, origin, reason; never their bytes."""
        return await self._all(
            "SELECT * FROM dead_letters WHERE topic = %s ORDER BY recorded_at DESC LIMIT %s", (topic, limit)
        )

    async def audit(self, subject: str, limit: int = 50) -> list[Row]:
        """Who did what to a message, run or number, newest first."""
        return await self._all("SELECT * FROM audit WHERE subject = %s ORDER BY at DESC LIMIT %s", (subject, limit))

    async def decisions(self, since: datetime, after: tuple[str, str, str] | None, limit: int) -> list[Row]:
        """The policy's decisions from `since` on, by time; `after`: (at, source, event id) of the last one seen."""
        return await self._all(
            "SELECT at, source, event_id, message_id, event -> 'decision' AS decision FROM message_events "
            "WHERE event ? 'decision' AND message_id IS NOT NULL AND at >= %(since)s AND (%(at)s::timestamptz IS NULL "
            "OR (at, source, event_id) > (%(at)s::timestamptz, %(source)s, %(event_id)s)) "
            "ORDER BY at, source, event_id LIMIT %(limit)s",
            dict(zip(("at", "source", "event_id"), after or (None, "", ""), strict=True))
            | {"since": since, "limit": limit},
        )

    async def audit_heads(self) -> tuple[list[Row], int, int]:
        """Where the audit's chains end; how many records are in none, and how many decisions under none. A chain whose
        end is gone has none, 0."""
        (without,) = await self._all("SELECT count(*) AS count FROM audit WHERE chain IS NULL")
        (unwitnessed,) = await self._all(
            "SELECT count(*) AS count FROM message_events WHERE witness IS NULL AND event ? 'decision'"
        )
        ends = await self._all(
            "SELECT chain, link, hash FROM audit_heads UNION ALL SELECT DISTINCT chain, 0, %s FROM audit a "
            "WHERE chain IS NOT NULL AND NOT EXISTS (SELECT 1 FROM audit_heads h WHERE h.chain = a.chain) "
            "ORDER BY chain",
            (CHAIN_START,),
        )
        return ends, without["count"], unwitnessed["count"]

    async def audit_links(self, chain: int, after: int, limit: int) -> list[Row]:
        """The records of a chain after the `after`-th, in order."""
        return await self._all(
            "SELECT * FROM audit WHERE chain = %s AND link > %s ORDER BY link LIMIT %s", (chain, after, limit)
        )

    async def audit_decisions(self, chain: int, after: int, until: int, limit: int) -> list[Row]:
        """The decisions that a chain's records after the `after`-th until the `until`-th stand for, `limit` at most."""
        return await self._all(
            "SELECT a.link, e.source, e.event_id, e.message_id, e.event -> 'decision' AS decision FROM audit a "
            "JOIN message_events e ON e.witness = a.audit_id WHERE a.chain = %s AND a.link > %s AND a.link <= %s "
            "ORDER BY a.link LIMIT %s",
            (chain, after, until, limit),
        )

    async def _all(self, statement: Any, parameters: Any = None) -> list[Row]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()


def state_of(row: Row) -> MessageState:
    """The message's state as its row has it."""
    facts = {name: row[name] for name in ("run_id", "producer", "person_key", "category", "received_at")}
    texts = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in facts.items()}
    return MessageState.model_validate(row | {"facts": {name: value for name, value in texts.items() if value}})


def _joined(message_id: str, events: Iterable[Row]) -> MessageState | None:
    state: dict[str, Any] | None = None
    for row in events:
        state = advance(state, MessageLifecycle.model_validate(row["event"] | {"message_id": message_id}))
    return None if state is None else MessageState.model_validate(state)


def _story(row: Row) -> tuple[Any, ...]:
    """By time in whole seconds, which is all that Meta gives; within one second by attempt, phase and rank."""
    event = MessageLifecycle.model_validate(row["event"])
    return event.at.replace(microsecond=0), event.attempt, event.phase, event.rank, event.at, row["event_id"]


def _run(row: Row) -> Row:
    counts = sum_counts(RunCounts.model_validate(part) for part in row.pop("parts"))
    return row | {
        "counts": counts,
        "percent_delivered": percent(counts.delivered, row["expected"]),
        "percent_on_time": percent(counts.on_time, row["expected"]),
        "percent_ended": percent(counts.ended, row["expected"]),
    }
