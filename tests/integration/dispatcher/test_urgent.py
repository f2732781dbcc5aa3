"""What is urgent does not wait behind a campaign: from intake, through guard, router and lane, to Meta."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from harkara.contracts.event import event_id
from harkara.contracts.intents import SendIntent, Template
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import MESSAGE_LIFECYCLE, SEND_INTENTS, SEND_INTENTS_URGENT
from harkara.runtime.kafka import Output
from tests.integration.dispatcher.stack import ONE, Stack, stack
from tests.support.wait import eventually

BULK = 10_000
SINGLE, URGENT = 5, 8
LONGEST_SECONDS = 20.0  # on two cores shared with much else; the bulk takes two minutes at 80/s, which it would wait
SLOWER_SECONDS, SLOWER_IN_LANE_SECONDS = 5.0, 0.5
"""What the bulk may cost an urgent message beside one alone, by the medians. It is the processor's time that guard
and router share with the bulk (0.8 s here, on two busy cores), and in the lane a round (0.05 s)."""
MOST_OVERTAKEN_BY = 12  # calls of the bulk in the lane between an urgent message's intake and its call: two rounds


def intent(message_id: str, priority: int, index: int) -> SendIntent:
    return SendIntent.model_validate(
        {"message_id": message_id, "sender": ONE, "to": f"+9199999{10_000 + index:05}", "category": "utility",
         "content": Template(name="daily_update", language="en", body=("Asha",)), "priority": priority,
         "producer": "otp" if priority == 3 else "bulk", "run_id": None if priority == 3 else "r-bulk"}
    )  # fmt: skip


async def take_in(made: Stack, intents: list[SendIntent]) -> datetime:
    """As ingestion and producers write them: urgent ones on the twin; the time before the first was written."""
    now = datetime.now(UTC)
    topics = {3: SEND_INTENTS_URGENT}
    for start in range(0, len(intents), 1000):
        await made.writer.write(
            [
                Output(topics.get(each.priority, SEND_INTENTS), ONE, ONE, each, event_id(each.message_id), now,
                       each.message_id)
                for each in intents[start : start + 1000]
            ]
        )  # fmt: skip
    return now


@pytest.mark.req("B14", "ING-14", "DSP-17")
async def test_an_urgent_message_overtakes_ten_thousand_at_every_hop(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Some are taken in while guard and router still have the bulk before them, some once it stands in the lane."""
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, HARKARA_SIM_MAGIC_SUFFIXES="false") as made:
        for service in ("compliance-guard", "window-router"):
            started = await made.start(service, service)
            await eventually(started.ready, timeout_seconds=60)
        await made.dispatcher()
        alone = [await delay_of(made, f"single-{number}", number) for number in range(SINGLE)]
        await take_in(made, [intent(f"bulk-{n:05}", 1, n) for n in range(BULK)])
        delays = [await delay_of(made, f"urgent-{number}", number) for number in range(URGENT)]
        bulk = sum(entry["opaque"].startswith("bulk") for entry in await made.ledger())
        told = await made.events(MESSAGE_LIFECYCLE)
        overtaken_by = calls_before(told, [f"urgent-{n}" for n in range(URGENT)])
        alone_in_lane = [seconds_in_lane(told, f"single-{n}") for n in range(SINGLE)]
        in_lane = [seconds_in_lane(told, f"urgent-{n}") for n in range(URGENT)]
        print(f"urgent alone: {shown(alone)}; over {BULK} bulk: {shown(delays)}; bulk sent meanwhile: {bulk}")
        print(f"of these in the lane: alone {shown(alone_in_lane)}; over the bulk {shown(in_lane)}")
        print(f"bulk calls in the lane between intake and call of each urgent one: {overtaken_by}")
        assert bulk < BULK * 0.9
        assert max(delays) < LONGEST_SECONDS
        assert median(delays) < median(alone) + SLOWER_SECONDS
        assert median(in_lane) < median(alone_in_lane) + SLOWER_IN_LANE_SECONDS
        assert max(overtaken_by) <= MOST_OVERTAKEN_BY


async def delay_of(made: Stack, message_id: str, index: int) -> float:
    """Seconds from its intake to its acceptance by Meta."""
    at = await take_in(made, [intent(message_id, 3, BULK + index)])

    async def entry() -> dict[str, Any] | None:
        return next((each for each in await made.ledger() if each["opaque"] == f"{message_id}.1"), None)

    async def accepted() -> bool:
        return await entry() is not None

    await eventually(accepted, timeout_seconds=60, every=0.3)
    found = await entry()
    assert found is not None
    return float(found["accepted_at_ms"]) / 1000 - at.timestamp()


def calls_before(events: list[MessageLifecycle], message_ids: list[str]) -> list[int]:
    """Calls of others that the lane journaled between the intake and the call of each of these (the rank of a lane's
    event is its place in the journal)."""
    steps = {(each.message_id, each.status): each.rank for each in events if each.status in ("queued", "attempting")}
    calls = [rank for (_, status), rank in steps.items() if status == "attempting"]
    return [sum(steps[name, "queued"] < rank < steps[name, "attempting"] for rank in calls) for name in message_ids]


def seconds_in_lane(events: list[MessageLifecycle], message_id: str) -> float:
    """From the lane's intake to the answer's entry in its journal."""
    at = {each.status: each.at.timestamp() for each in events if each.message_id == message_id}
    return at["submitted"] - at["queued"]


def shown(delays: list[float]) -> str:
    return f"median {median(delays):.3f} s, longest {max(delays):.3f} s"
