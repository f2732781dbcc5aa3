"""Events on Kafka become answers of the API: in any order, any number of times, whatever is broken among them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from harkara.console.core import TOPICS
from harkara.console.settings import Settings
from harkara.contracts.audit import AuditRecord
from harkara.contracts.commands import SendCommand
from harkara.contracts.envelope import decode
from harkara.contracts.event import Reason, event_id
from harkara.contracts.lifecycle import MessageLifecycle, MessageState, advance
from harkara.contracts.numbers import NumberCommand, NumberState, QueueState
from harkara.contracts.runs import RunCounts, RunProgress, SendRun
from harkara.contracts.topics import (
    AUDIT_LOG,
    MESSAGE_LIFECYCLE,
    MESSAGE_STATE,
    NUMBER_COMMANDS,
    NUMBER_STATE,
    QUEUE_STATE,
    RUN_PROGRESS,
    SEND_COMMANDS,
    SEND_INTENTS,
    SEND_RUNS,
)
from harkara.runtime.kafka import Output
from tests.integration.console.conftest import BOUND_KEY, Console, running
from tests.support.kafka import produce, read_all
from tests.support.wait import eventually

AT = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
HOME = "100000000000001"
MESSAGE = "m-aaaaaaaaaa"
STEPS = ("received", "cleared", "routed", "submitted", "sent", "delivered", "read")


def lifecycle(message_id: str, status: str, at: datetime, **more: object) -> MessageLifecycle:
    attempt = 1 if status in ("submitted", "sent", "delivered", "read") else 0
    return MessageLifecycle.model_validate(
        {"message_id": message_id, "home": HOME, "status": status, "at": at, "attempt": attempt, "run_id": "r-1"} | more
    )


def history_of(message_id: str) -> list[Output]:
    """The lifecycle events of one message and the states that message-state makes of them."""
    outputs, state = [], None
    for number, status in enumerate(STEPS):
        event = lifecycle(message_id, status, AT + timedelta(seconds=number), person_key="ab" * 16)
        outputs.append(Output(MESSAGE_LIFECYCLE, HOME, HOME, event, event_id(message_id, status), event.at, message_id))
        state = advance(state, event)
        shown = MessageState.model_validate(state)
        outputs.append(Output(MESSAGE_STATE, HOME, message_id, shown, event_id(message_id, number), event.at))
    return outputs


@pytest.mark.req("ING-3")
async def test_the_state_is_the_same_however_often_and_in_whatever_order_the_events_come(console: Console) -> None:
    seed = 7
    outputs = history_of(MESSAGE) * 2
    random.Random(seed).shuffle(outputs)
    await console.write(outputs)
    answer = await console.until(f"/api/v1/messages/{MESSAGE}/status", lambda a: len(a["history"]) == len(STEPS))
    assert answer["status"] == "read", f"seed {seed}"
    assert answer["ended"] is True
    assert [step["status"] for step in answer["history"]] == list(STEPS)
    assert answer["attempts"][0]["seen"].keys() == {"submitted", "sent", "delivered", "read"}
    assert answer["runId"] == "r-1"


async def test_a_message_is_known_by_its_events_before_its_state_comes(console: Console) -> None:
    rejected = lifecycle(MESSAGE, "rejected", AT, reason=Reason(code="opted_out", text="They said no.", rule="CMP-1"))
    await console.write([Output(MESSAGE_LIFECYCLE, HOME, HOME, rejected, "e1", AT)])
    answer = await console.until(f"/api/v1/messages/{MESSAGE}/status", lambda a: True)
    assert (answer["status"], answer["reason"]["code"], answer["reason"]["rule"]) == ("rejected", "opted_out", "CMP-1")


async def test_what_is_broken_is_kept_visible_and_blocks_nothing(console: Console, settings: Settings) -> None:
    prefix, bootstrap = settings.kafka.topic_prefix, settings.kafka.bootstrap
    state = MessageState.model_validate(advance(None, lifecycle(MESSAGE, "received", AT)))
    too_big = state.model_copy(update={"message_id": "m-too-big-version", "version": 10**30})
    with_nul = state.model_copy(update={"message_id": "m-with-nul", "reason": Reason(code="x", text="a\x00b")})
    await produce(bootstrap, prefix + MESSAGE_STATE.name, [(b"k", b"{"), (b"k", b"\xff\xfe"), (b"gone", None)])
    await produce(bootstrap, prefix + MESSAGE_STATE.name, [(b"k", too_big.model_dump_json().encode())])
    await produce(bootstrap, prefix + MESSAGE_STATE.name, [(b"k", with_nul.model_dump_json().encode())])
    await produce(
        bootstrap,
        prefix + SEND_INTENTS.dlq.name,
        [(b"+919999912345", b'{"to": "+919999912345"}')],
        headers=[("dlq-reason", b"to: not a number"), ("dlq-loop", b"guard"), ("dlq-source", b"send-intents-0-7")],
    )
    await console.until("/api/v1/messages/m-with-nul/status", lambda a: a["reason"]["text"] == "a\ufffdb")
    page = ""

    async def shown() -> bool:
        nonlocal page
        page = (await console.http.get("/dead-letters/send-intents-dlq")).text
        return "send-intents-0-7" in page

    await eventually(shown)
    assert "to: not a number" in page
    assert "919999912345" not in page
    refused = (await console.http.get(f"/dead-letters/{MESSAGE_STATE.name}")).text
    assert refused.count("Invalid JSON") + refused.count("Postgres refused the row") == 3
    async with await psycopg.AsyncConnection.connect(settings.postgres_dsn.get_secret_value()) as connection:
        rows = await (await connection.execute("SELECT * FROM dead_letters")).fetchall()
    assert len(rows) == 4
    assert "919999912345" not in repr(rows)


NUMBERS_OF_THE_POOL = ("100000000000002", "100000000000003")


@pytest.mark.req("ING-4", "ING-6")
async def test_queue_and_stats_of_a_number_and_of_a_pool(console: Console) -> None:
    outputs = []
    for number, queued in zip(NUMBERS_OF_THE_POOL, (3, 5), strict=True):
        queue = QueueState(
            phone_number_id=number, home="advisors", queued=queued, scheduled=0, held=1, in_flight=2, in_doubt=0,
            sent_last_minute=10, sent_today=100, updated_at=AT,
        )  # fmt: skip
        older = queue.model_copy(update={"queued": 99, "updated_at": AT - timedelta(seconds=1)})
        outputs += [Output(QUEUE_STATE, "advisors", number, each, event_id(number), AT) for each in (queue, older)]
    now = datetime.now(UTC)
    for name, status in (("m-delivered", "delivered"), ("m-cleared-", "cleared")):
        event = lifecycle(name, status, now, home="advisors", phone_number_id="100000000000002")
        state = MessageState.model_validate(advance(None, event))
        outputs.append(Output(MESSAGE_STATE, "advisors", name, state, event_id(name), now))
    await console.write(outputs)
    pool = await console.until("/api/v1/queue/advisors", lambda a: len(a["numbers"]) == 2)
    assert pool["queued"] == 8
    one = await console.until("/api/v1/queue/100000000000003", lambda a: True)
    assert (one["home"], one["queued"], one["notReported"]) == ("advisors", 5, [])
    stats = await console.until("/api/v1/stats/advisors", lambda a: a["total"] == 2)
    assert stats["byStatus"] == {"cleared": 1, "delivered": 1}
    assert (stats["percentDelivered"], stats["sentToday"]) == (50.0, 200)
    assert (stats["queued"], [each["phoneNumberId"] for each in stats["numbers"]]) == (10, [*NUMBERS_OF_THE_POOL])
    alone = (await console.http.get("/api/v1/queue/100000000000001")).json()
    assert (alone["numbers"], alone["notReported"]) == ([], ["100000000000001"])
    assert (await console.http.get("/api/v1/queue/nobody")).status_code == 404


@pytest.mark.req("UI-1")
async def test_a_run_is_the_sum_of_its_partitions(console: Console) -> None:
    run = SendRun(
        run_id="r-1", name="morning", producer="ops", expected=10, homes={HOME: 10}, audience_hash="h",
        deadline=AT + timedelta(minutes=5), created_at=AT,
    )  # fmt: skip
    outputs = [Output(SEND_RUNS, "r-1", "r-1", run, "run", AT)]
    for partition, version, delivered in ((0, 2, 4), (0, 1, 1), (1, 5, 3)):
        counts = RunCounts(
            by_status={"delivered": delivered, "failed": 1}, by_reason={"131026": 1}, delivered=delivered, on_time=2,
            ended=delivered + 1,
        )  # fmt: skip
        part = RunProgress(run_id="r-1", partition=partition, version=version, counts=counts, updated_at=AT)
        outputs.append(Output(RUN_PROGRESS, "r-1", f"r-1|{partition}", part, event_id(partition, version), AT))
    await console.write(outputs + history_of(MESSAGE))
    answer = await console.until("/api/v1/runs/r-1", lambda a: a["delivered"] == 7)
    assert answer["byStatus"] == {"delivered": 7, "failed": 2}
    assert answer["byReason"] == {"131026": 2}
    assert (answer["percentDelivered"], answer["percentEnded"]) == (70.0, 90.0)
    listed = (await console.http.get("/api/v1/runs")).json()
    assert [each["runId"] for each in listed["runs"]] == ["r-1"]
    await console.until(f"/api/v1/messages/{MESSAGE}/status", lambda a: a["status"] == "read")
    page = (await console.http.get("/runs/r-1", params={"status": "read"})).text
    assert MESSAGE in page


@pytest.mark.req("UI-3", "ING-5")
async def test_commands_reach_their_topics_with_an_audit_record_before_the_answer(
    console: Console, settings: Settings
) -> None:
    queued = MessageState.model_validate(advance(None, lifecycle(MESSAGE, "queued", AT, rank=3)))
    await console.write([Output(MESSAGE_STATE, HOME, MESSAGE, queued, "s", AT)])
    await console.until(f"/api/v1/messages/{MESSAGE}/status", lambda a: a["status"] == "queued")
    halted = await console.http.post(f"/api/v1/numbers/{HOME}/halt", json={"note": "odd replies"})
    cancelled = await console.http.delete(f"/api/v1/messages/{MESSAGE}")
    again = await console.http.delete(f"/api/v1/queue/{HOME}/{MESSAGE}")
    assert (halted.status_code, cancelled.status_code) == (202, 202)
    assert cancelled.json() == again.json()

    async def events(topic: object) -> list[object]:
        records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(topic))  # type: ignore[arg-type]
        kinds = topic.events  # type: ignore[attr-defined]
        return [decode(kinds, r.value, r.headers, fallback_id="x").event for r in records]

    (command,) = await events(NUMBER_COMMANDS)
    assert isinstance(command, NumberCommand)
    assert (command.kind, command.phone_number_id, command.actor, command.note) == ("halt", HOME, "ops", "odd replies")
    cancels = await events(SEND_COMMANDS)
    assert {c.target for c in cancels if isinstance(c, SendCommand)} == {MESSAGE}
    audit = [a for a in await events(AUDIT_LOG) if isinstance(a, AuditRecord)]
    assert {(a.action, a.subject) for a in audit} == {("halt_number", HOME), ("cancel_message", MESSAGE)}


async def test_a_message_that_meta_has_is_not_cancelled(console: Console) -> None:
    await console.write(history_of(MESSAGE))
    await console.until(f"/api/v1/messages/{MESSAGE}/status", lambda a: a["status"] == "read")
    answer = await console.http.delete(f"/api/v1/messages/{MESSAGE}")
    assert (answer.status_code, answer.json()["code"]) == (409, "ALREADY_BEYOND")


@pytest.mark.req("FHL-12")
async def test_a_key_of_one_sender_sees_and_commands_nothing_else(console: Console) -> None:
    event = lifecycle("m-of-advisors", "cleared", AT, home="advisors")
    state = MessageState.model_validate(advance(None, event))
    verdict = NumberState(
        phone_number_id="100000000000002", home="advisors", version=1, verdict="halted", latched=True, updated_at=AT,
        connection="BANNED",
    )  # fmt: skip
    await console.write(
        [
            Output(MESSAGE_STATE, "advisors", "m-of-advisors", state, "s", AT),
            Output(NUMBER_STATE, "advisors", "100000000000002", verdict, "n", AT),
        ]
    )
    await console.until("/api/v1/messages/m-of-advisors/status", lambda a: True)
    numbers = await console.until("/api/v1/numbers", lambda a: a[1]["verdict"] == "halted")
    assert [number["connection"] for number in numbers[:2]] == ["UNKNOWN", "BANNED"]
    bound = {"X-API-Key": BOUND_KEY}
    paths = ("/messages/m-of-advisors/status", "/queue/advisors", "/stats/advisors", "/queue/100000000000002")
    found = [(await console.http.get(f"/api/v1{path}", headers=bound)).status_code for path in paths]
    assert found == [404, 404, 404, 404]
    halt = await console.http.post("/api/v1/numbers/100000000000002/halt", headers=bound)
    assert halt.status_code == 404
    assert [n["phoneNumberId"] for n in (await console.http.get("/api/v1/numbers", headers=bound)).json()] == [HOME]
    assert (await console.http.get("/dead-letters/send-intents-dlq", headers=bound)).status_code == 403


async def test_a_restart_goes_on_and_a_new_database_is_filled_again(
    console: Console, settings: Settings, postgres_dsn: str
) -> None:
    await console.write(history_of(MESSAGE))
    await console.until(f"/api/v1/messages/{MESSAGE}/status", lambda a: a["status"] == "read")
    dsn = settings.postgres_dsn.get_secret_value()
    before = await rows_of(dsn)
    names = ", ".join(("messages", "message_events", "runs", "numbers", "queues", "dead_letters"))
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(f"TRUNCATE {names}".encode())
    rebuilt = settings.model_copy(update={"kafka": settings.kafka, "instance": "second"})
    async with running(rebuilt.model_copy(update={"service": "console"})) as second:
        assert not second.service.not_ready()
        await console.write(history_of(MESSAGE))  # a replay of the topic, as offsets set back give
        await second.until(f"/api/v1/messages/{MESSAGE}/status", lambda a: len(a["history"]) == len(STEPS))
    assert await rows_of(dsn) == before


async def rows_of(dsn: str) -> list[object]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        states = await (await connection.execute("SELECT * FROM messages ORDER BY 1")).fetchall()
        events = await (await connection.execute("SELECT * FROM message_events ORDER BY 1, 2")).fetchall()
    return [states, events]


async def test_everything_that_is_declared_for_the_console_is_read() -> None:
    from harkara.contracts.topics import TOPICS as ALL

    declared = {topic.name for topic in ALL if "console" in topic.readers}
    assert declared == {topic.name for topic in TOPICS}


async def test_no_key_no_answer(console: Console) -> None:
    anonymous = httpx.AsyncClient(transport=console.http._transport, base_url="http://console.test")
    async with anonymous:
        answer = await anonymous.get("/api/v1/runs")
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
        page = await anonymous.get("/runs/r-1")
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=/runs/r-1")


async def test_while_the_database_is_away_events_wait_and_nothing_is_skipped(
    console: Console, settings: Settings, postgres_dsn: str
) -> None:
    await console.write(history_of("m-before-it"))
    await console.until("/api/v1/messages/m-before-it/status", lambda a: a["status"] == "read")
    name = conninfo_to_dict(settings.postgres_dsn.get_secret_value())["dbname"]
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as admin:
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        await console.write(history_of("m-meanwhile"))
        await eventually(lambda: "postgres" in console.service.not_ready())
        answer = await console.http.get("/api/v1/messages/m-meanwhile/status")
        assert (answer.status_code, answer.json()["code"]) == (503, "READ_SIDE_UNAVAILABLE")
        assert answer.headers["retry-after"]
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
    answer = await console.until("/api/v1/messages/m-meanwhile/status", lambda a: len(a["history"]) == len(STEPS))
    assert answer["status"] == "read"
    await eventually(lambda: not console.service.not_ready())
