"""sla-tracker on a real broker: the published counts and what is said about a run, over a restart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.event import event_id
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.runs import RunProgress, SendRun, SlaEvent
from harkara.contracts.topics import MESSAGE_LIFECYCLE, RUN_PROGRESS, SEND_RUNS, SLA_EVENTS
from harkara.runtime.clock import ManualClock
from harkara.runtime.kafka import Output
from harkara.sla_tracker.app import components
from harkara.sla_tracker.settings import Settings
from tests.support.kafka import read_all
from tests.support.services import isolated, running, write
from tests.support.wait import eventually

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
DEADLINE = AT + timedelta(minutes=5)
SEED = 20261121
HOMES = ("pool-a", "100000000000001", "100000000000002")


class RunningClock(ManualClock):
    """The wall stands where the test puts it; the monotonic clock runs, for a replica's freshness is measured."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path, partitions=3, publish_seconds=0.1)


def event(message: int, status: str, seconds: float, **more: Any) -> MessageLifecycle:
    fields = {
        "message_id": f"m-{message:08d}",
        "home": HOMES[message % len(HOMES)],
        "status": status,
        "at": AT + timedelta(seconds=seconds),
    }
    return MessageLifecycle.model_validate(fields | more)


async def feed(settings: Settings, events: Iterable[MessageLifecycle]) -> None:
    await write(settings, [Output(MESSAGE_LIFECYCLE, e.home, e.home, e, event_id(e), e.at) for e in events])


async def accept(settings: Settings, run_id: str, expected: int) -> None:
    run = SendRun(
        run_id=run_id,
        name="news",
        producer="p",
        expected=expected,
        homes={},
        audience_hash="0",
        deadline=DEADLINE,
        created_at=AT,
    )
    await write(settings, [Output(SEND_RUNS, run_id, run_id, run, run_id, AT)])


async def totals(settings: Settings, run_id: str) -> tuple[int, int, int, dict[str, int]]:
    newest: dict[int, RunProgress] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(RUN_PROGRESS)):
        assert record.value is not None
        each = RunProgress.model_validate_json(record.value)
        if each.run_id == run_id:
            assert each.version > newest[each.partition].version if each.partition in newest else True
            newest[each.partition] = each
    parts = [each.counts for each in newest.values()]
    statuses: dict[str, int] = {}
    for part in parts:
        for status, count in part.by_status.items():
            statuses[status] = statuses.get(status, 0) + count
    return sum(p.delivered for p in parts), sum(p.on_time for p in parts), sum(p.ended for p in parts), statuses


async def said(settings: Settings) -> list[SlaEvent]:
    records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(SLA_EVENTS))
    return [SlaEvent.model_validate_json(r.value) for r in records if r.value is not None]


@pytest.mark.req("SLA-1")
async def test_a_run_is_counted_and_spoken_of_over_a_restart(settings: Settings) -> None:
    clock = RunningClock(AT)
    await accept(settings, "r-1", 30)
    await feed(settings, [event(n, "delivered", 100 + n, attempt=1) for n in range(10)])  # before their run is known
    await feed(settings, [event(n, "received", 0, run_id="r-1") for n in range(30)])
    await feed(settings, [event(n, "received", 0) for n in range(30, 40)])  # belong to no run
    await feed(settings, [event(n, "delivered", 100, attempt=1) for n in range(30, 40)])
    async with running(components(settings, clock)):

        async def ten_delivered() -> bool:
            return await totals(settings, "r-1") == (10, 10, 10, {"delivered": 10, "received": 20})

        await eventually(ten_delivered, timeout_seconds=60)
    reason = {"code": "opted_out", "text": "The person opted out."}
    await feed(settings, [event(n, "delivered", 301, attempt=1) for n in range(10, 25)])
    await feed(settings, [event(n, "rejected", 5, reason=reason) for n in range(25, 29)])
    async with running(components(settings, clock)):

        async def all_but_one_ended() -> bool:
            return (await totals(settings, "r-1"))[:3] == (25, 10, 29)

        await eventually(all_but_one_ended, timeout_seconds=60)
        assert await said(settings) == []
        clock.at = DEADLINE + timedelta(seconds=6)

        async def deadline_spoken_of() -> bool:
            return [e.kind for e in await said(settings)] == ["deadline_passed"]

        await eventually(deadline_spoken_of, timeout_seconds=30)
        await feed(settings, [event(29, "failed", 7, attempt=1, error_code=131049)])

        async def completed() -> bool:
            return [e.kind for e in await said(settings)] == ["deadline_passed", "completed"]

        await eventually(completed, timeout_seconds=30)
    late, done = await said(settings)
    assert (late.percent_on_time, late.delivered, late.ended, late.expected) == (33.33, 25, 29, 30)
    assert (done.delivered, done.ended) == (25, 30)


@pytest.mark.req("SLA-1")
@pytest.mark.req("WHK-8")
async def test_statuses_without_callback_data_count_once_in_any_order_and_over_a_restart(settings: Settings) -> None:
    clock = RunningClock(AT)
    await accept(settings, "r-2", 12)
    await feed(settings, [event(n, "received", 0, run_id="r-2") for n in range(12)])
    named = [event(n, "submitted", 1, attempt=1, wamid=f"wamid.{n}") for n in range(12)]
    anonymous = [
        event(n, status, seconds, attempt=1, message_id=None, wamid=f"wamid.{n}")
        for n in range(14)  # the last two are of messages that nobody names
        for status, seconds in (("sent", 2), ("delivered", 3 if n % 2 else 301))
    ]
    first, second = [*named[:3], *anonymous[6:]] * 2, [*named[3:], *anonymous[:6]] * 2
    for half in (first, second):
        random.Random(SEED).shuffle(half)
    await feed(settings, first)
    async with running(components(settings, clock)):

        async def only_those_that_are_named() -> bool:
            return (await totals(settings, "r-2"))[3] == {"received": 9, "submitted": 3}

        await eventually(only_those_that_are_named, timeout_seconds=60)
    await feed(settings, second)
    async with running(components(settings, clock)):

        async def each_once() -> bool:
            return await totals(settings, "r-2") == (12, 6, 12, {"delivered": 12})

        await eventually(each_once, timeout_seconds=60)
