"""message-state on a real broker: what a reader of its topic sees."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.envelope import encode
from harkara.contracts.event import event_id
from harkara.contracts.lifecycle import MessageLifecycle, MessageState, advance
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import MESSAGE_LIFECYCLE, MESSAGE_STATE
from harkara.message_state.effects import Projection
from harkara.message_state.settings import Settings
from harkara.runtime.clock import Clock, ManualClock, SystemClock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.kafka import start_producer
from tests.support.kafka import read_all
from tests.support.services import isolated, running
from tests.support.wait import eventually

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
HOMES = ("pool-a", "100000000000001")


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path)


def event(message: int, status: str, seconds: float, **more: Any) -> MessageLifecycle:
    fields = {
        "message_id": f"m-{message:08d}",
        "home": HOMES[message % 2],
        "status": status,
        "at": AT + timedelta(seconds=seconds),
    }
    return MessageLifecycle.model_validate(fields | more)


def life_of(message: int) -> list[MessageLifecycle]:
    wamid = f"wamid.{message}"
    anonymous = {"message_id": None, "attempt": 1, "wamid": wamid}
    return [
        event(message, "received", 0, run_id="r-1"),
        event(message, "cleared", 1),
        event(message, "routed", 2),
        event(message, "queued", 3, attempt=1, rank=message * 10),
        event(message, "attempting", 4, attempt=1, rank=message * 10 + 1),
        event(message, "submitted", 5, attempt=1, wamid=wamid),
        event(message, "sent", 6, **anonymous),
        event(message, "delivered", 7, attempt=1, wamid=wamid),
        event(message, "read", 8, **(anonymous if message % 3 == 0 else {"attempt": 1, "wamid": wamid})),
    ]


async def feed(settings: Settings, events: Iterable[MessageLifecycle]) -> None:
    producer = await start_producer(settings)
    name = settings.kafka.topic(MESSAGE_LIFECYCLE)
    for each in events:
        _, headers = encode(each, event_id=event_id(each), source="test", time=each.at)
        value = each.model_dump_json().encode()  # with its nulls, as producers in other languages write them
        partition = partition_for(each.home, settings.partitions)
        await producer.send(name, value, key=each.home.encode(), partition=partition, headers=headers)
    await producer.stop()


def projecting(settings: Settings, clock: Clock) -> AbstractAsyncContextManager[object]:
    def define(app: ProjectionApp) -> None:
        Projection(app, settings, clock)

    return running([FaustComponent(settings, "message-state", define)])


async def states(settings: Settings) -> dict[str, MessageState]:
    found: dict[str, MessageState] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_STATE)):
        assert record.key is not None
        if record.value is None:
            found.pop(record.key.decode(), None)
            continue
        state = MessageState.model_validate_json(record.value)
        assert record.key.decode() == state.message_id
        assert record.partition == partition_for(state.home, settings.partitions)
        found[state.message_id] = state
    return found


@pytest.mark.req("WHK-6")
@pytest.mark.req("WHK-9")
async def test_shuffled_duplicated_events_and_a_restart_give_each_messages_one_true_state(settings: Settings) -> None:
    count, seed = 40, 20261121
    events = [each for message in range(count) for each in life_of(message)] * 2
    random.Random(seed).shuffle(events)
    half = len(events) // 2
    await feed(settings, events[:half])
    async with projecting(settings, SystemClock()):

        async def many() -> bool:
            return len(await states(settings)) >= count - 2

        await eventually(many, timeout_seconds=60)
    await feed(settings, events[half:])
    async with projecting(settings, SystemClock()):

        async def all_read() -> bool:
            found = await states(settings)
            return len(found) == count and all(len(state.first_seen) == 9 for state in found.values())

        await eventually(all_read, timeout_seconds=60)
    found = await states(settings)
    for message in range(count):
        expected: dict[str, Any] | None = None
        for each in life_of(message):
            expected = advance(expected, each.model_copy(update={"message_id": f"m-{message:08d}"}))
        state = found[f"m-{message:08d}"]
        assert expected is not None
        wanted = MessageState.model_validate(expected | {"version": state.version})
        assert state == wanted, f"seed {seed}"
        assert (state.status, state.facts["run_id"]) == ("read", "r-1")


async def test_what_is_past_is_forgotten_with_a_tombstone(settings: Settings) -> None:
    clock = ManualClock(AT + timedelta(days=1))
    await feed(settings, [*life_of(1), *life_of(2)])
    async with projecting(settings, clock):

        async def both() -> bool:
            return len(await states(settings)) == 2

        await eventually(both, timeout_seconds=60)
        await feed(settings, [event(2, "played", 20 * 86_400, attempt=1, wamid="wamid.2")])
        clock.at = AT + timedelta(days=settings.forget_after_days, hours=1)

        async def one() -> bool:
            return set(await states(settings)) == {"m-00000002"}

        await eventually(one, timeout_seconds=60)
