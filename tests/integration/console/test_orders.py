"""Commands on messages, runs, recipients and dead letters, and the look into a queue that leads to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from harkara.console.settings import Settings
from harkara.contracts.commands import SendCommand
from harkara.contracts.envelope import decode
from harkara.contracts.identity import person_key
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.lifecycle import MessageState, advance
from harkara.contracts.numbers import QueueState
from harkara.contracts.partition import partition_for
from harkara.contracts.runs import SendRun
from harkara.contracts.topics import (
    AUDIT_LOG,
    DISPATCH_ORDERS,
    DISPATCH_ORDERS_URGENT,
    MESSAGE_STATE,
    QUEUE_STATE,
    SEND_COMMANDS,
    SEND_RUNS,
)
from harkara.runtime.kafka import Output
from tests.integration.console.conftest import BOUND_KEY, PEPPER, Console
from tests.integration.console.test_read_side import AT, HOME, MESSAGE, lifecycle
from tests.support.kafka import read_all


@pytest.mark.req("ING-4", "UI-3", "B24")
async def test_a_look_into_a_queue_shows_who_is_next_and_when(console: Console) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    heads = [
        {"message_id": name, "priority": priority, "flow": flow}
        for name, priority, flow in (("m-otp-00001", 3, "otp"), ("m-run-00001", 1, "r-1"), ("m-shop-0001", 1, "shop"))
    ]
    pace = {"next_at": now + timedelta(minutes=1), "gap_seconds": 3.0, "per_second": 1}
    values = {
        "phone_number_id": HOME, "home": HOME, "queued": 400, "scheduled": 0, "held": 0, "in_flight": 1, "in_doubt": 0,
        "sent_last_minute": 20, "sent_today": 100, "updated_at": now, "first": heads, "by_priority": {"1": 399, "3": 1},
        "flows": [{"priority": 1, "flow": "r-1", "queued": 399}], "pace": pace, "daily_limit": 500, "daily_used": 99,
    }  # fmt: skip
    await console.write([Output(QUEUE_STATE, HOME, HOME, QueueState.model_validate(values), "q", now)])
    found = await console.until(f"/api/v1/queue/{HOME}", lambda a: len(a["numbers"]) == 1)
    (queue,) = found["numbers"]
    assert [(each["position"], each["messageId"], each["priority"]) for each in queue["next"]] == [
        (1, "m-otp-00001", 3),
        (2, "m-run-00001", 1),
        (3, "m-shop-0001", 1),
    ]
    times = [datetime.fromisoformat(each["estimatedDelivery"]) for each in queue["next"]]
    assert times == [now + timedelta(seconds=seconds) for seconds in (60, 63, 66)]
    assert (queue["dailyLimit"], queue["dailyUsed"], queue["byPriority"]) == (500, 99, {"1": 399, "3": 1})
    page = (await console.http.get(f"/numbers/{HOME}")).text
    assert "m-otp-00001" in page and "99 calls of 500" in page


@pytest.mark.req("UI-3")
async def test_runs_recipients_priorities_and_doubts_have_commands(console: Console, settings: Settings) -> None:
    doubtful = MessageState.model_validate(advance(None, lifecycle(MESSAGE, "in_doubt", AT, rank=3, attempt=1)))
    queued = MessageState.model_validate(advance(None, lifecycle("m-queued-1", "queued", AT, rank=4)))
    run = SendRun(
        run_id="r-1", name="morning", producer="shop", expected=2, homes={HOME: 1, "advisors": 1}, audience_hash="h",
        created_at=AT,
    )  # fmt: skip
    await console.write(
        [
            Output(MESSAGE_STATE, HOME, MESSAGE, doubtful, "s", AT),
            Output(MESSAGE_STATE, HOME, "m-queued-1", queued, "t", AT),
            Output(SEND_RUNS, "r-1", "r-1", run, "r", AT),
        ]
    )
    await console.until("/api/v1/messages/m-queued-1/status", lambda a: a["status"] == "queued")
    await console.until(f"/api/v1/messages/{MESSAGE}/status", lambda a: a["status"] == "in_doubt")
    await console.until("/api/v1/runs/r-1", lambda a: True)
    http = console.http
    assert (await http.delete("/api/v1/runs/r-1")).status_code == 202
    assert (await http.post("/api/v1/runs/r-1/priority", json={"priority": 2})).status_code == 202
    assert (await http.post("/api/v1/messages/m-queued-1/priority", json={"priority": 3})).status_code == 202
    person = {"to": "+919999900042", "note": "asked by phone"}
    assert len((await http.post("/api/v1/recipients/cancel", json=person)).json()["commandIds"]) >= 2
    assert (await http.post(f"/api/v1/messages/{MESSAGE}/resolve", json={"resolution": "drop"})).status_code == 202
    refused = [
        await http.post("/api/v1/messages/m-queued-1/resolve", json={"resolution": "resend"}),
        await http.post(f"/api/v1/messages/{MESSAGE}/priority", json={"priority": 4}),
        await http.post("/api/v1/recipients/cancel", json={"sender": HOME}),
        await http.delete("/api/v1/runs/r-none"),
        await http.delete("/api/v1/runs/r-1", headers={"X-API-Key": BOUND_KEY}),
        await http.post(
            "/api/v1/recipients/cancel", json=person | {"sender": "advisors"}, headers={"X-API-Key": BOUND_KEY}
        ),
    ]
    assert [each.status_code for each in refused] == [409, 422, 422, 404, 404, 404]
    records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(SEND_COMMANDS))
    events = [decode(SEND_COMMANDS.events, each.value, each.headers, fallback_id="x").event for each in records]
    told = {(each.kind, each.home, each.target, each.priority) for each in events if isinstance(each, SendCommand)}
    key = person_key(PEPPER.encode(), "+919999900042")
    assert told >= {
        ("cancel_run", HOME, "r-1", None),
        ("cancel_run", "advisors", "r-1", None),
        ("prioritise_run", HOME, "r-1", 2),
        ("prioritise_message", HOME, "m-queued-1", 3),
        ("cancel_recipient", HOME, key, None),
        ("cancel_recipient", "advisors", key, None),
        ("resolve_in_doubt", HOME, MESSAGE, None),
    }
    audit = b"".join(
        each.value or b"" for each in await read_all(settings.kafka.bootstrap, settings.kafka.topic(AUDIT_LOG))
    )
    assert audit.count(b"cancel_recipient") == len(events) - 6
    assert b"919999900042" not in audit


async def test_a_dead_order_is_written_to_its_topic_again(console: Console, settings: Settings) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    values = {
        "message_id": "m-failed-1", "home": HOME, "intent_hash": "h", "to": "+919999900042", "person_key": "ab" * 16,
        "category": "utility", "priority": 3, "producer": "shop", "plan": [], "expires_at": soon, "received_at": AT,
        "policy_version": "p", "redrive": 1,
    }  # fmt: skip
    orders = [
        DispatchOrder.model_validate(values | more)
        for more in ({}, {"redrive": None}, {"expires_at": AT + timedelta(hours=1)}, {"home": "advisors"})
    ]
    about = [("dlq-reason", b"failed: meta_131026"), ("dlq-loop", b"dispatcher")]
    dlq = DISPATCH_ORDERS.dlq
    letters = [Output(dlq, HOME, HOME, each, f"d{n}", AT, headers=about) for n, each in enumerate(orders)]
    await console.write(letters)
    partition = partition_for(HOME, settings.partitions)
    path = f"/api/v1/dead-letters/{dlq.name}/{partition}"
    answers = [await console.http.post(f"{path}/{offset}/redrive") for offset in (0, 0, 1, 2, 99)]
    assert [each.status_code for each in answers] == [202, 202, 409, 409, 404]
    assert [each.json().get("code") for each in answers[2:4]] == ["NOT_REDRIVABLE", "TOO_LATE"]
    bound = {"X-API-Key": BOUND_KEY}
    assert (await console.http.post(f"{path}/3/redrive", headers=bound)).status_code == 404
    records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(DISPATCH_ORDERS_URGENT))
    assert [decode((DispatchOrder,), each.value, each.headers, fallback_id="x").event for each in records] == orders[
        :1
    ] * 2
    audit = b"".join(
        each.value or b"" for each in await read_all(settings.kafka.bootstrap, settings.kafka.topic(AUDIT_LOG))
    )
    assert b"redrive" in audit and b"m-failed-1" in audit and b"919999900042" not in audit
