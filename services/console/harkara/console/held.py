"""What is held of one person on the read side, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from harkara.console.core import Row
from harkara.console.queries import HISTORY_LIMIT, state_of
from harkara.console.store import Pool
from harkara.contracts.audit import AuditRecord
from harkara.contracts.consent import ConsentEvent, ConsentState, advance_consent
from harkara.contracts.event import LATEST
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.person_export import HeldMessage, HeldName, PersonExport
from harkara.contracts.persons import PersonAlias
from harkara.contracts.retention import copies
from harkara.policy.aliases import FOREVER_MS, MOST_NAMES, Aliases
from harkara.runtime.problems import Problem

MOST_SAID = 10_000  # changes of consent of one person: one an hour for a year; more is no person
MESSAGES_FROM, AUDIT_FROM = "m", "a"

_SAID = (
    "SELECT c.* FROM consent_events c "
    "JOIN unnest(%(names)s::text[], %(until)s::timestamptz[]) AS n(name, until) "
    "ON c.person_key = n.name AND c.at <= n.until ORDER BY c.at, c.event_id LIMIT %(limit)s"
)
_LINKS = "SELECT * FROM person_names WHERE person_key = ANY(%(names)s) OR alias_key = ANY(%(names)s) LIMIT %(most)s"
_MESSAGES = (
    "SELECT m.* FROM messages m "
    "JOIN unnest(%(names)s::text[], %(until)s::timestamptz[]) AS n(name, until) "
    "ON m.person_key = n.name AND coalesce(m.received_at, m.at) <= n.until "
    "WHERE m.message_id > %(after)s ORDER BY m.message_id LIMIT %(limit)s"
)
_STEPS = (
    "SELECT e.message_id, e.event FROM unnest(%s::text[]) AS wanted(id), "
    "LATERAL (SELECT message_id, event, at, event_id FROM message_events "
    "WHERE message_id = wanted.id ORDER BY at, event_id LIMIT %s) AS e ORDER BY e.at, e.event_id"
)
_AUDIT = (
    "SELECT DISTINCT ON (a.audit_id) a.* FROM audit a "
    "JOIN unnest(%(names)s::text[], %(until)s::timestamptz[]) AS n(name, until) "
    "ON a.persons @> ARRAY[n.name] AND a.at <= n.until "
    "WHERE a.audit_id > %(after)s ORDER BY a.audit_id LIMIT %(limit)s"
)
_UNSEALED = (
    "SELECT count(*) AS count FROM audit WHERE persons && %s AND salts IS NULL"  # every later one that names has some
)


class Held:
    """Reads of one person's rows. Every method raises psycopg.OperationalError while Postgres does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def links(self, person: str) -> list[PersonAlias]:
        """Every link that is reached from this name, in any direction."""
        names, found = {person}, dict[str, PersonAlias]()
        while True:
            rows = await self._all(_LINKS, {"names": list(names), "most": MOST_NAMES**2})
            links = [PersonAlias.model_validate(row) for row in rows]
            found |= {each.model_dump_json(): each for each in links}
            more = {name for each in links for name in (each.person_key, each.alias_key)} - names
            if not more or len(names) > MOST_NAMES:
                return list(found.values())
            names |= more

    async def said(self, under: Sequence[HeldName]) -> list[ConsentEvent]:
        """What was said of consent under these names, in order."""
        rows = await self._all(_SAID, _under(under) | {"limit": MOST_SAID})
        return [ConsentEvent.model_validate(row) for row in rows]

    async def messages(self, under: Sequence[HeldName], after: str, limit: int) -> list[HeldMessage]:
        """Messages to the person by their ids, with their steps."""
        rows = await self._all(_MESSAGES, _under(under) | {"after": after, "limit": limit})
        steps: dict[str, list[MessageLifecycle]] = {}
        for row in await self._all(_STEPS, ([row["message_id"] for row in rows], HISTORY_LIMIT)):
            steps.setdefault(row["message_id"], []).append(MessageLifecycle.model_validate(row["event"]))
        return [HeldMessage(state=state_of(row), transitions=tuple(steps.get(row["message_id"], ()))) for row in rows]

    async def audit(self, under: Sequence[HeldName], after: str, limit: int) -> list[AuditRecord]:
        """Audit records that name the person, by their ids."""
        rows = await self._all(_AUDIT, _under(under) | {"after": after, "limit": limit})
        return [AuditRecord.model_validate(row) for row in rows]

    async def unsealed_audit(self, names: list[str]) -> int:
        """How many audit records name the person that are from before records were sealed."""
        (found,) = await self._all(_UNSEALED, (names,))
        count: int = found["count"]
        return count

    async def _all(self, statement: Any, parameters: Any) -> list[Row]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()


async def names_of(held: Held, person: str) -> list[HeldName]:
    """All names of the person, the one that was asked about first."""
    aliases = Aliases()
    for link in await held.links(person):
        aliases.apply(link)
    return [
        HeldName(person_key=person, link="asked"),
        *(
            HeldName(person_key=name.hex(), link="linked", until=None if until == FOREVER_MS else _instant(until))
            for name, until in sorted(aliases.names(person).items())
        ),
    ]


async def page_of(held: Held, person: str, after: str | None, limit: int, now: datetime) -> PersonExport:
    """One page. Raises Problem 422 for an `after` that is no page's `next`."""
    stage, _, last = (after or f"{MESSAGES_FROM}:").partition(":")
    if stage not in (MESSAGES_FROM, AUDIT_FROM) or "\x00" in last:
        raise Problem(422, "CURSOR_UNKNOWN", "`after` is no page's `next`", "Begin again without it.")
    names = await names_of(held, person)
    page = PersonExport(exported_at=now)
    if after is None:
        page = await _first(held, names, now)
    if stage == MESSAGES_FROM:
        messages = await held.messages(names, last, limit)
        more = f"{MESSAGES_FROM}:{messages[-1].state.message_id}" if len(messages) == limit else f"{AUDIT_FROM}:"
        return page.model_copy(update={"messages": tuple(messages), "next": more})
    audit = await held.audit(names, last, limit)
    following = f"{AUDIT_FROM}:{audit[-1].audit_id}" if len(audit) == limit else None
    return page.model_copy(update={"audit": tuple(audit), "next": following})


async def _first(held: Held, names: Sequence[HeldName], now: datetime) -> PersonExport:
    """Who they are and what they said."""
    said = await held.said(names)
    state = ConsentState(person_key=names[0].person_key)
    for event in said:
        state = advance_consent(state, event)
    return PersonExport(
        exported_at=now,
        names=tuple(names),
        marketing=state.marketing,
        transactional=state.transactional,
        language=state.language,
        consent=tuple(said),
        copies=copies(now),
    )


def _under(names: Sequence[HeldName]) -> Row:
    return {"names": [name.person_key for name in names], "until": [name.until or LATEST for name in names]}


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
