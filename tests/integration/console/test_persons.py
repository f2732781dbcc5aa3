"""A person asks what is held of them, and to be forgotten; another one beside them is not touched (CMP-12)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from harkara.cli.audit import broken, other_decisions
from harkara.compliance_guard.carrying import carried
from harkara.compliance_guard.core import heard as heard_from
from harkara.console.core import TABLES, Placed, Record, place
from harkara.console.forgetting import Forgetting
from harkara.console.store import Connection, Pool, Store, migrate
from harkara.contracts.audit import ERASED, AuditRecord
from harkara.contracts.consent import ConsentEvent, advance_consent
from harkara.contracts.envelope import decode
from harkara.contracts.event import Decision, Event, event_id
from harkara.contracts.identity import person_key
from harkara.contracts.lifecycle import MessageLifecycle, MessageState, advance
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import (
    AUDIT_LOG,
    CONSENT_EVENTS,
    MESSAGE_LIFECYCLE,
    MESSAGE_STATE,
    PERSON_IDENTITIES,
    Topic,
)
from harkara.contracts.webhooks import InboundMessage
from harkara.policy.aliases import FOREVER_MS
from harkara.policy.commands import Said as Told
from harkara.runtime.kafka import Output
from tests.integration.console.conftest import BOUND_KEY, PEPPER, Console
from tests.support.kafka import read_all

AT = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
ERASED_AT, BACK_AT = AT + timedelta(days=1), AT + timedelta(days=2)
HOME = "100000000000001"
PHONE, USER_ID = "+919999900011", "IN.1234567890"
ASHA, ASHAS_ID, RAVI = (person_key(PEPPER.encode(), name) for name in (PHONE, USER_ID, "+919999900012"))
STEPS = ("received", "cleared", "submitted", "sent", "delivered")
Said = tuple[Topic, str, Event, str]


def said_by(person: str, standing: str, at: datetime, source: str = "keyword", number: int = 0) -> Said:
    """A word on `consent-events`."""
    event = ConsentEvent.model_validate(
        {
            "event_id": event_id(person, standing, number, at),
            "person_key": person,
            "standing": standing,
            "source": source,
            "at": at,
            "proof": "" if standing == "erased" else f"inbound message wamid.of-{person}",
            "language": None if standing == "erased" else "hi",
            "actor": "ops" if standing == "erased" else person,
        }
    )
    return CONSENT_EVENTS, person, event, event.event_id


def message_to(person: str, number: int, at: datetime = AT, steps: Sequence[str] = STEPS) -> list[Said]:
    """One message's steps and states; of these only the first names the person, and a later one Meta's id."""
    found: list[Said] = []
    state: dict[str, Any] | None = None
    message_id = f"m-{person[:6]}-{number}"
    for seconds, status in enumerate(steps):
        more: dict[str, Any] = {"attempt": 1, "wamid": f"wamid.{person[:6]}{number}=="} if seconds > 1 else {}
        if status == "received":
            more |= {"person_key": person, "received_at": at}
            inputs = {"person_key": person, "word": None}
            more["decision"] = Decision(step="clearance", policy_version="v1", at=at, inputs=inputs)
        if status == "delivered":
            more["reached_key"] = person
        event = MessageLifecycle.model_validate(
            {"message_id": message_id, "home": HOME, "status": status, "at": at + timedelta(seconds=seconds)} | more
        )
        found.append((MESSAGE_LIFECYCLE, HOME, event, event_id(message_id, status)))
        state = advance(state, event)
        shown = MessageState.model_validate(state)
        found.append((MESSAGE_STATE, message_id, shown, event_id(message_id, "state", seconds)))
    return found


def nameless(person: str) -> Said:
    """A status of Meta's without our callback data."""
    event = MessageLifecycle.model_validate(
        {"home": HOME, "status": "read", "at": AT, "attempt": 1, "wamid": f"wamid.{person[:4]}", "reached_key": person}
    )
    return MESSAGE_LIFECYCLE, HOME, event, event_id(person, "nameless")


def audited(person: str) -> list[Said]:
    """What somebody did about a person, and the refusal of a message to them."""
    made = [
        AuditRecord(audit_id=f"a-{person[:6]}", actor="ops", action="consent_recorded", subject=person, at=AT,
                    details={"standing": "opted_in", "command_id": event_id("command", person)}),
        AuditRecord(audit_id=f"b-{person[:6]}", actor="compliance-guard", action="intent_rejected", subject="m-refused",
                    at=AT, details={"person_key": person, "code": "no_opt_in", "note": f"said of {person}, again"}),
    ]  # fmt: skip
    return [(AUDIT_LOG, record.subject, record, record.audit_id) for record in made]


def everything_of(person: str) -> list[Said]:
    messages = [said for number in range(3) for said in message_to(person, number)]
    return [said_by(person, "opted_in", AT), nameless(person), *audited(person), *messages]


LINK = PersonAlias(person_key=ASHA, alias_key=ASHAS_ID, kind="user_id", at=AT)
BEFORE: list[Said] = [
    *everything_of(ASHA), *everything_of(RAVI), *message_to(ASHAS_ID, 7),
    (PERSON_IDENTITIES, f"{ASHA}:{ASHAS_ID}", LINK, event_id("link")),
]  # fmt: skip
ERASURES = [said_by(each, "erased", ERASED_AT, "operator") for each in (ASHA, ASHAS_ID)]


def placed(said: Sequence[Said]) -> list[Placed]:
    found = []
    for offset, (topic, key, event, identity) in enumerate(said):
        headers = [("ce_id", identity.encode()), ("ce_type", event.ce_type.encode()), ("ce_source", b"test")]
        record = Record(topic, 0, offset, key.encode(), event.model_dump_json().encode(), headers, AT)
        row = place(record, PEPPER.encode())
        assert row is not None and not row.unreadable
        found.append(row)
    return found


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    async with AsyncConnectionPool(
        postgres_database, connection_class=Connection, min_size=1, max_size=3, open=False,
        kwargs={"row_factory": dict_row, "autocommit": True},
    ) as opened:  # fmt: skip
        await migrate(opened)
        yield opened


async def rows(pool: Pool) -> dict[str, list[Any]]:
    """Every table's rows, without what is random (salts) or counts from it (hashes)."""
    found = {}
    async with pool.connection() as connection:
        for name in (*(table.name for table in TABLES), "erased_messages"):
            cursor = await connection.execute(f"SELECT t::text AS row FROM {name} t ORDER BY 1".encode())
            found[name] = [row["row"] for row in await cursor.fetchall()]
    return found


async def assert_nobody_knows(pool: Pool, *persons: str) -> None:
    for table, found in (await rows(pool)).items():
        for row in found:
            left = [each for each in persons if each in row or f"wamid.{each[:4]}" in row]
            suppression = table == "consent_events" and ",erased," in row
            assert not left or suppression, f"{table}: {row}"


def page_after(links: list[Any], chain: int) -> Callable[[int], list[Any]]:
    """Some of a chain's records after a number, as the API gives them."""
    of_it = [each for each in links if each["chain"] == chain]
    return lambda after: of_it[after : after + 3]


async def assert_the_chain_holds(pool: Pool) -> None:
    """And the decisions stand under theirs."""
    async with pool.connection() as connection:
        decisions, actions = await (await connection.execute("SELECT * FROM audit_heads ORDER BY chain")).fetchall()
        links = await (await connection.execute("SELECT * FROM audit ORDER BY link")).fetchall()
        made = await (
            await connection.execute(
                "SELECT a.link, e.*, e.event -> 'decision' AS decision FROM message_events e "
                "LEFT JOIN audit a ON a.audit_id = e.witness WHERE e.event ? 'decision'"
            )
        ).fetchall()
    assert (actions["link"], decisions["chain"]) == (4, -1)
    for head in (decisions, actions):
        assert broken(head, {}, page_after(links, head["chain"])) is None
        assert head["link"] == sum(each["chain"] == head["chain"] for each in links)
    found = other_decisions(
        page_after(links, -1), lambda after, until: [each for each in made if after < each["link"] <= until]
    )
    assert found == (len(made), None) and len(made) >= 5


async def write(pool: Pool, said: Sequence[Said], chance: random.Random) -> None:
    """In this order, in batches of any size."""
    store, waiting = Store(pool, PEPPER.encode()), placed(said)
    while waiting:
        size = chance.randrange(1, 15)
        await store.write(waiting[:size])
        waiting = waiting[size:]


async def of_ravi(pool: Pool) -> list[str]:
    ravis = (RAVI, RAVI[:6])
    return [r for t, found in (await rows(pool)).items() if t != "audit" for r in found if any(n in r for n in ravis)]


@pytest.mark.req("CMP-12")
@pytest.mark.parametrize("seed", range(4))
async def test_in_whatever_order_all_is_read_the_erased_are_gone_and_the_others_are_whole(
    pool: Pool, seed: int
) -> None:
    chance = random.Random(seed)
    if seed == 0:
        await write(pool, [*BEFORE, *ERASURES], chance)  # as it happens
    elif seed == 1:
        await write(pool, [*ERASURES, *BEFORE], chance)  # the read side is filled again
    else:
        said = [*BEFORE, *ERASURES, *BEFORE[: chance.randrange(len(BEFORE))]]
        chance.shuffle(said)
        await write(pool, said, chance)
    await assert_nobody_knows(pool, ASHA, ASHAS_ID)
    await assert_the_chain_holds(pool)
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) AS n FROM messages WHERE person_key = %s", (ERASED,))
        assert (await cursor.fetchone() or {})["n"] == 4, f"seed {seed}: the messages are counted still"
        await connection.execute("TRUNCATE audit, audit_heads, messages, message_events, consent_events, person_names")
        await connection.execute("TRUNCATE erased_messages, dead_letters")
    whole = {each[3] for each in everything_of(RAVI)}
    await write(pool, [each for each in BEFORE if each[3] in whole], chance)
    alone = await of_ravi(pool)
    await write(pool, [*BEFORE, *ERASURES], chance)
    assert await of_ravi(pool) == alone and len(alone) == 20
    await assert_nobody_knows(pool, ASHA, ASHAS_ID)


@pytest.mark.req("CMP-12")
async def test_what_comes_late_of_an_erased_person_is_kept_without_them(pool: Pool) -> None:
    chance = random.Random(3)
    early = [each for each in BEFORE if getattr(each[2], "status", "") not in ("delivered",)]
    await write(pool, [*early, *ERASURES], chance)
    await write(pool, BEFORE, chance)
    new = message_to(ASHA, 9, ERASED_AT + timedelta(hours=1))  # of a list that names them still: it is refused
    await write(pool, [*new, said_by(ASHA, "opted_in", ERASED_AT + timedelta(hours=2), "kafka")], chance)
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM consent_events WHERE source = 'kafka'")  # which is said of them anew
    await assert_nobody_knows(pool, ASHA, ASHAS_ID)
    await assert_the_chain_holds(pool)


@pytest.mark.req("CMP-12")
async def test_who_came_back_is_known_again_from_then_on(pool: Pool) -> None:
    again = message_to(ASHA, 8, BACK_AT + timedelta(minutes=1))
    back = said_by(ASHA, "opted_in", BACK_AT, "keyword")
    for order in ([*BEFORE, *ERASURES, back, *again], [*ERASURES, back, *again, *BEFORE]):
        await write(pool, order, random.Random(5))
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT message_id, wamid FROM messages WHERE person_key = %s", (ASHA,))
            assert [row["message_id"] for row in await cursor.fetchall()] == [f"m-{ASHA[:6]}-8"]
            cursor = await connection.execute("SELECT standing FROM consent_events WHERE person_key = %s", (ASHA,))
            assert sorted(row["standing"] for row in await cursor.fetchall()) == ["erased", "opted_in"]


@pytest.mark.req("CMP-12")
async def test_what_was_said_under_a_name_that_is_erased_does_not_name_it_under_another(pool: Pool) -> None:
    """As where they gave a number up: the guard wrote under the new name what was said by the old one."""
    by_api = ConsentEvent(event_id="e-1", person_key=ASHA, standing="opted_out", source="api", at=AT)
    (word,) = carried({"marketing": advance_consent(None, by_api).words("marketing")}, {}, ASHA, RAVI)
    inbound = InboundMessage.model_validate(
        {"wamid": "wamid.x", "phone_number_id": HOME, "home": HOME, "person_key": ASHA, "kind": "text", "text": "STOP",
         "sent_at": AT, "received_at": AT}
    )  # fmt: skip
    heard = heard_from(inbound, Told("stop", "en"), [(RAVI, FOREVER_MS)])
    said = [(CONSENT_EVENTS, each.key, each.event, each.id) for each in (word, *heard) if each.event is not None]
    for order in ([*said, ERASURES[0]], [ERASURES[0], *said]):
        await write(pool, order, random.Random(1))
        await assert_nobody_knows(pool, ASHA)
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT actor, proof FROM consent_events WHERE person_key = %s", (RAVI,))
            assert len(await cursor.fetchall()) == 2
            await connection.execute("TRUNCATE consent_events")


@pytest.mark.req("CMP-12")
async def test_an_erasure_waits_for_a_batch_that_is_being_written_and_finds_it(pool: Pool) -> None:
    """Without the lock both would commit what the other could not see."""
    async with pool.connection() as slow:
        async with slow.transaction():
            forgetting = Forgetting(slow, PEPPER.encode())
            await forgetting.begin({})
            await slow.execute(
                "INSERT INTO messages (message_id, home, status, attempt, at, person_key, attempts, first_seen, "
                "duplicate, anomalies, version) VALUES ('m-slow', 'h', 'sent', 1, %s, %s, '{}', '{}', false, '{}', 1)",
                (AT, ASHA),
            )
            erasing = asyncio.create_task(Store(pool, PEPPER.encode()).write(placed(ERASURES)))
            await asyncio.wait([erasing], timeout=0.3)
            assert not erasing.done()
        await erasing
    await assert_nobody_knows(pool, ASHA)


def outputs(said: Sequence[Said]) -> list[Output]:
    return [Output(topic, key, key, event, identity, AT) for topic, key, event, identity in said]


@pytest.mark.req("CMP-12")
async def test_a_person_gets_all_that_is_held_of_them_and_then_is_forgotten(console: Console) -> None:
    await console.write(outputs(BEFORE))
    await console.until(f"/api/v1/messages/m-{ASHAS_ID[:6]}-7/status", lambda a: a["status"] == "delivered")
    await console.until(f"/api/v1/messages/m-{RAVI[:6]}-2/status", lambda a: a["status"] == "delivered")
    held = await exported(console, {"phone": PHONE})
    assert {(name["person_key"], name["link"]) for name in held["names"]} == {(ASHA, "asked"), (ASHAS_ID, "linked")}
    assert held["marketing"]["standing"] == held["transactional"]["standing"] == "opted_in"
    assert [each["proof"] for each in held["consent"]] == [f"inbound message wamid.of-{ASHA}"]
    messages = {each["state"]["message_id"]: each for each in held["messages"]}
    assert messages.keys() == {*(f"m-{ASHA[:6]}-{number}" for number in range(3)), f"m-{ASHAS_ID[:6]}-7"}
    assert [step["status"] for step in messages[f"m-{ASHA[:6]}-1"]["transitions"]] == list(STEPS)
    about = {each["audit_id"] for each in held["audit"]}
    assert {f"a-{ASHA[:6]}", f"b-{ASHA[:6]}"} <= about and f"a-{RAVI[:6]}" not in about
    assert "person_exported" in {each["action"] for each in held["audit"]}, "who was given it is told too"

    erase = {"userId": USER_ID, "reason": "asked for by letter 7"}
    answer = await console.http.post("/api/v1/persons/erase", json=erase)
    assert answer.status_code == 202, answer.text
    receipt = answer.json()
    assert (receipt["names"], receipt["given_up"], receipt["sealed_before"]) == (2, 0, 0)
    until = {each["topic"]: each.get("until") for each in receipt["copies"]}
    erased_at = datetime.fromisoformat(receipt["erased_at"])
    assert datetime.fromisoformat(until["send-intents"]) == erased_at + timedelta(days=8)
    assert until["consent-events"] is None and "inbound-messages-dlq" in until

    for message in (f"m-{ASHA[:6]}-1", f"m-{ASHAS_ID[:6]}-7"):  # each name's erasure is read by itself
        path = f"/api/v1/messages/{message}/status"
        await console.until(path, lambda a: a["personKey"] == ERASED and a.get("wamid") is None)
    dsn = console.settings.postgres_dsn.get_secret_value()
    async with AsyncConnectionPool(
        dsn, connection_class=Connection, min_size=1, open=False, kwargs={"row_factory": dict_row, "autocommit": True}
    ) as pool:
        await assert_nobody_knows(pool, ASHA, ASHAS_ID)
        ravi = await exported(console, {"personKey": RAVI})
        assert len(ravi["messages"]) == 3 and len(ravi["consent"]) == 1
    left = await exported(console, {"phone": PHONE})
    assert [each["standing"] for each in left["consent"]] == ["erased"] and left["consent"][0]["proof"] == ""
    assert left["marketing"]["standing"] == "erased" and left.get("messages", []) == []
    assert [each["person_key"] for each in left["names"]] == [ASHA]


async def exported(console: Console, named: dict[str, str]) -> dict[str, Any]:
    """All pages, two messages or records each."""
    whole: dict[str, Any] = {}
    after: str | None = None
    while True:
        body = named | {"limit": 2} | ({"after": after} if after else {})
        answer = await console.http.post("/api/v1/persons/export", json=body)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for name, value in page.items():
            whole[name] = whole.get(name, []) + value if isinstance(value, list) else whole.get(name, value)
        after = page.get("next")
        if after is None:
            return whole


@pytest.mark.req("CMP-12")
async def test_one_event_a_name_is_written_and_the_audit_names_nobody(console: Console) -> None:
    answer = await console.http.post("/api/v1/persons/erase", json={"phone": PHONE, "reason": "a letter"})
    kafka = console.settings.kafka
    records = await read_all(kafka.bootstrap, kafka.topic(CONSENT_EVENTS))
    (event,) = (decode(CONSENT_EVENTS.events, each.value, each.headers, fallback_id="x").event for each in records)
    assert isinstance(event, ConsentEvent)
    assert (event.person_key, event.standing, event.proof, event.language) == (ASHA, "erased", "", None)
    told = await read_all(kafka.bootstrap, kafka.topic(AUDIT_LOG))
    (audit,) = (decode(AUDIT_LOG.events, each.value, each.headers, fallback_id="x").event for each in told)
    assert isinstance(audit, AuditRecord)
    assert (audit.action, audit.actor, audit.subject) == ("person_erased", "ops", answer.json()["erasure_id"])
    assert audit.details["note"] == "a letter" and ASHA not in audit.model_dump_json()


@pytest.mark.req("CMP-12", "ING-18")
async def test_who_may_not_do_everything_is_told_and_erases_nothing(console: Console) -> None:
    for path, body in (("export", {"phone": PHONE}), ("erase", {"phone": PHONE, "reason": "why"})):
        bound = await console.http.post(f"/api/v1/persons/{path}", json=body, headers={"X-API-Key": BOUND_KEY})
        assert (bound.status_code, bound.json()["code"]) == (403, "FORBIDDEN")
        two = await console.http.post(f"/api/v1/persons/{path}", json=body | {"userId": USER_ID})
        assert two.status_code == 422 and PHONE not in two.text
    odd = await console.http.post("/api/v1/persons/export", json={"phone": PHONE, "after": "x:\u0000"})
    assert odd.status_code == 422
    dsn = console.settings.postgres_dsn.get_secret_value()
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        assert await (await connection.execute("SELECT * FROM consent_events")).fetchall() == []
