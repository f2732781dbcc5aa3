"""The router on a real broker: windows and numbers from their topics, orders for the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.envelope import header
from harkara.contracts.event import Event, event_id
from harkara.contracts.intents import ClearedIntent, DispatchOrder, SendIntent
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.numbers import NumberState
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import (
    CLEARED_INTENTS,
    CLEARED_INTENTS_URGENT,
    DISPATCH_ORDERS,
    DISPATCH_ORDERS_URGENT,
    MESSAGE_LIFECYCLE,
    NUMBER_STATE,
    SERVICE_WINDOWS,
    Topic,
)
from harkara.contracts.webhooks import ServiceWindow
from harkara.runtime.kafka import Output, Writer, start_producer
from harkara.runtime.service import Component
from harkara.runtime.settings import KafkaSettings
from harkara.runtime.topic_admin import ensure_topics
from harkara.window_router.app import create
from harkara.window_router.settings import Settings
from tests.support.kafka import produce, read_all
from tests.support.wait import eventually

EXAMPLE = Path(__file__).parents[3] / "examples" / "governance.yaml"
ALONE, FIRST, SECOND = "100000000000001", "100000000000002", "100000000000003"
PERSON = "0123456789abcdef0123456789abcdef"
TEXT = {"type": "text", "body": "Namaste"}
TEMPLATE = {"type": "template", "name": "daily_advice", "language": "en", "body": ["Asha"]}


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Settings:
    made = Settings(
        kafka=KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix),
        partitions=2,
        replication_factor=1,
        data_dir=tmp_path,
        governance_file=EXAMPLE,
        broker_session_timeout_seconds=6.0,
    )
    await ensure_topics(made)
    return made


@asynccontextmanager
async def running(components: Sequence[Component]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(component.run()) for component in components]
    try:
        yield
    finally:
        ended = [task for task in tasks if task.done()]
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait([task])
        assert not ended, f"it ended by itself: {[task.exception() for task in ended]!r}"


async def write(settings: Settings, topic: Topic, *events: tuple[str, str, Event]) -> None:
    """Events with their homes and keys."""
    producer = await start_producer(settings)
    now = datetime.now(UTC)
    outputs = [Output(topic, home, key, event, event_id(event), now) for home, key, event in events]
    await Writer(producer, settings.kafka, settings.partitions, "test").write(outputs)
    await producer.stop()


def cleared(message: str, home: str = "advisors", **more: Any) -> tuple[str, str, ClearedIntent]:
    fields: dict[str, Any] = {"message_id": message, "sender": home, "to": "+919999910001", "category": "service"}
    wanted = SendIntent.model_validate(fields | {"content": TEXT} | more)
    now = datetime.now(UTC)
    event = ClearedIntent(
        intent=wanted,
        intent_hash=wanted.hash(),
        home=home,
        person_key=PERSON,
        received_at=now,
        expires_at=now + timedelta(hours=24),
        policy_version="test",
    )
    return home, home, event


def window(phone_number_id: str, home: str, ago: timedelta) -> tuple[str, str, ServiceWindow]:
    at = datetime.now(UTC) - ago
    event = ServiceWindow(phone_number_id=phone_number_id, person_key=PERSON, last_inbound_at=at)
    return home, f"{phone_number_id}:{PERSON}", event


def halted(phone_number_id: str) -> tuple[str, str, NumberState]:
    fields = {"phone_number_id": phone_number_id, "home": "advisors", "version": 1, "verdict": "halted"}
    return "advisors", phone_number_id, NumberState.model_validate(fields | {"updated_at": datetime.now(UTC)})


async def orders(settings: Settings, topic: Topic = DISPATCH_ORDERS) -> dict[str, DispatchOrder]:
    found: dict[str, DispatchOrder] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(topic)):
        assert record.value is not None
        order = DispatchOrder.model_validate_json(record.value)
        assert record.partition == partition_for(order.home, settings.partitions)
        found[order.message_id] = order
    return found


async def outcomes(settings: Settings) -> dict[str, str]:
    """Per message, `routed` or the code of its refusal."""
    found: dict[str, str] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_LIFECYCLE)):
        assert record.value is not None
        event = MessageLifecycle.model_validate_json(record.value)
        found[event.message_id or ""] = event.reason.code if event.reason else event.status
    return found


async def until_decided(settings: Settings, *messages: str) -> dict[str, str]:
    async def all_decided() -> bool:
        return set(messages) <= (await outcomes(settings)).keys()

    await eventually(all_decided, timeout_seconds=40)
    return await outcomes(settings)


def plan_of(order: DispatchOrder) -> list[tuple[str, str]]:
    return [(candidate.phone_number_id, candidate.form) for candidate in order.plan]


@pytest.mark.req("RTW-1", "RTW-2", "RTW-3")
async def test_forms_follow_the_windows_and_numbers_their_state(settings: Settings) -> None:
    await write(
        settings,
        SERVICE_WINDOWS,
        window(ALONE, ALONE, timedelta(hours=1)),
        window(SECOND, "advisors", timedelta(days=2)),
    )
    await write(settings, NUMBER_STATE, halted(FIRST))
    await write(
        settings,
        CLEARED_INTENTS,
        cleared("m-session1", ALONE),
        cleared("m-closed-1"),
        cleared("m-fallback", fallback_template=TEMPLATE),
        cleared("m-template", ALONE, content=TEMPLATE),
    )
    await write(settings, CLEARED_INTENTS_URGENT, cleared("m-urgent-1", ALONE, content=TEMPLATE, priority=3))
    async with running(create(settings).components):
        decided = await until_decided(settings, "m-session1", "m-closed-1", "m-fallback", "m-template", "m-urgent-1")
    assert decided.pop("m-closed-1") == "window_closed"
    assert set(decided.values()) == {"routed"}
    found = await orders(settings)
    assert found.keys() == {"m-session1", "m-fallback", "m-template"}
    assert plan_of(found["m-session1"]) == [(ALONE, "session")]
    assert found["m-session1"].plan[0].valid_until is not None
    assert plan_of(found["m-fallback"]) == [(SECOND, "template"), (FIRST, "template")]  # the halted one last
    assert found["m-fallback"].session is None
    assert plan_of(found["m-template"]) == [(ALONE, "template")]
    assert (await orders(settings, DISPATCH_ORDERS_URGENT)).keys() == {"m-urgent-1"}


async def test_a_record_that_is_none_goes_to_the_dlq_and_blocks_nothing(settings: Settings) -> None:
    partition = partition_for(ALONE, settings.partitions)
    name = settings.kafka.topic(CLEARED_INTENTS)
    await produce(settings.kafka.bootstrap, name, [(b"x", b'{"home": 1}')], partition=partition)
    await write(settings, CLEARED_INTENTS, cleared("m-behind-1", ALONE, content=TEMPLATE))
    async with running(create(settings).components):
        assert (await until_decided(settings, "m-behind-1"))["m-behind-1"] == "routed"
    [dead] = await read_all(settings.kafka.bootstrap, settings.kafka.topic(CLEARED_INTENTS.dlq))
    assert dead.value == b'{"home": 1}' and "intent: Field required" in (header(dead.headers, "dlq-reason") or "")


async def test_without_its_replica_it_routes_nothing_and_then_goes_on_by_what_it_learnt(settings: Settings) -> None:
    """The window is opened while the router is blind: routed at once, the message would have been refused."""
    replica, routing = create(settings).components
    async with running([routing]):
        await write(settings, CLEARED_INTENTS, cleared("m-waits-01", ALONE))
        await eventually(lambda: "nothing is routed" in (routing.ready() or ""), timeout_seconds=30)
        await write(settings, SERVICE_WINDOWS, window(ALONE, ALONE, timedelta(0)))
        async with running([replica]):
            assert (await until_decided(settings, "m-waits-01"))["m-waits-01"] == "routed"
            assert routing.ready() is None
    assert plan_of((await orders(settings))["m-waits-01"]) == [(ALONE, "session")]
