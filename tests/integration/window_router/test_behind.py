"""The router finds an hour's backlog: windows count from when the person wrote, and are open or closed now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harkara.contracts.envelope import header
from harkara.contracts.event import event_id
from harkara.contracts.intents import ClearedIntent, DispatchOrder, SendIntent
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import CLEARED_INTENTS, DISPATCH_ORDERS, MESSAGE_LIFECYCLE, SERVICE_WINDOWS
from harkara.contracts.webhooks import ServiceWindow
from harkara.runtime.kafka import Output
from harkara.window_router.app import create
from harkara.window_router.settings import Settings
from tests.integration.window_router.test_window_router import ALONE, TEMPLATE, TEXT
from tests.support.backlog import HOUR, SEED, twice_and_mixed
from tests.support.kafka import read_all
from tests.support.services import GOVERNANCE_FILE, isolated, running, write
from tests.support.wait import eventually

INTENTS = 1_000
DAY = timedelta(hours=24)
# how long ago the person of intent n last wrote: well open; closed while the router was away; an older word besides
WROTE = (timedelta(hours=2), DAY - timedelta(minutes=20) + HOUR / 2, timedelta(hours=23))


def person(n: int) -> str:
    return f"{n:032x}"


def cleared(n: int, written: datetime) -> Output:
    fallback = {"fallback_template": TEMPLATE} if n % 2 else {}
    wanted = SendIntent.model_validate(
        {"message_id": f"m-{n:08d}", "sender": ALONE, "to": "+919999910001", "category": "service", "content": TEXT}
        | fallback
    )
    event = ClearedIntent(
        intent=wanted,
        intent_hash=wanted.hash(),
        home=ALONE,
        person_key=person(n),
        received_at=written,
        expires_at=written + timedelta(minutes=30) if n % 5 == 0 else written + DAY,
        policy_version="test",
    )
    return Output(CLEARED_INTENTS, ALONE, ALONE, event, event_id(event), written)


def windows(n: int, now: datetime) -> list[Output]:
    """When the person last wrote, and an older message of theirs."""
    found = []
    for ago in (WROTE[n % 3], timedelta(hours=23, minutes=30) + HOUR):
        at = now - ago
        event = ServiceWindow(phone_number_id=ALONE, person_key=person(n), last_inbound_at=at)
        found.append(Output(SERVICE_WINDOWS, ALONE, f"{ALONE}:{person(n)}", event, event_id(event), at))
    return found


@pytest.mark.req("RTW-1", "RTW-2", "ING-19")
async def test_an_hours_backlog(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    settings = await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path, governance_file=GOVERNANCE_FILE)
    now = datetime.now(UTC)
    then = now - HOUR
    await write(settings, twice_and_mixed(each for n in range(INTENTS) for each in windows(n, now)))
    await write(settings, twice_and_mixed(cleared(n, then) for n in range(INTENTS)))
    async with running(create(settings).components):

        async def all_decided() -> bool:
            return len(await outcomes(settings)) == INTENTS

        await eventually(all_decided, timeout_seconds=90, every=0.5)
    open_now = {n for n in range(INTENTS) if n % 3 != 1}
    refused = {f"m-{n:08d}" for n in range(INTENTS) if n not in open_now and n % 2 == 0}
    found = await outcomes(settings)
    assert {message for message, outcome in found.items() if outcome == "window_closed"} == refused, f"seed {SEED}"
    assert {outcome for message, outcome in found.items() if message not in refused} == {"routed"}
    orders = await orders_of(settings)
    assert orders.keys() == found.keys() - refused
    for n in range(INTENTS):
        order = orders.get(f"m-{n:08d}")
        if order is None:
            continue
        forms = [candidate.form for candidate in order.plan]
        assert forms == ["session"] * (n in open_now) + ["template"] * (n % 2)
        if n in open_now:
            until = now - WROTE[n % 3] + DAY - timedelta(minutes=10)
            assert order.plan[0].valid_until is not None
            assert abs(order.plan[0].valid_until - until) < timedelta(milliseconds=2)
        assert order.expires_at == order.received_at + (
            timedelta(minutes=30) if n % 5 == 0 else DAY
        )  # the lane's to end


async def outcomes(settings: Settings) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_LIFECYCLE)):
        event = MessageLifecycle.model_validate_json(record.value or b"")
        found.setdefault(event.message_id or "", set()).add(event.reason.code if event.reason else event.status)
    assert all(len(each) == 1 for each in found.values()), "one message, two outcomes"
    return {message: each.pop() for message, each in found.items()}


async def orders_of(settings: Settings) -> dict[str, DispatchOrder]:
    """The orders; whoever has two has them under one id."""
    found: dict[str, tuple[str | None, DispatchOrder]] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(DISPATCH_ORDERS)):
        order = DispatchOrder.model_validate_json(record.value or b"")
        identity = header(record.headers, "ce_id")
        assert found.setdefault(order.message_id, (identity, order))[0] == identity
    return {message: order for message, (_, order) in found.items()}
