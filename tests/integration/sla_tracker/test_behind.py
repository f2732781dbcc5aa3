"""sla-tracker finds an hour's backlog of a run whose deadline has passed: it counts by when people were reached, and
says nothing of the run before it has read what there is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.sla_tracker.app import components
from harkara.sla_tracker.settings import Settings
from tests.integration.sla_tracker.test_sla_tracker import (
    AT,
    RunningClock,
    accept,
    event,
    feed,
    said,
    totals,
)
from tests.support.backlog import HOUR, SEED, twice_and_mixed
from tests.support.services import isolated, running
from tests.support.wait import eventually

MESSAGES = 500
REFUSED = {"code": "opted_out", "text": "The person opted out."}


def life_of(message: int) -> list[MessageLifecycle]:
    """Of ten, seven are reached in time and read late, two are reached late, one is refused."""
    received = event(message, "received", 0, run_id="r-1")
    if message % 10 == 9:
        return [received, event(message, "rejected", 1, reason=REFUSED)]
    reached = 400 if message % 10 >= 7 else 200
    steps = [event(message, status, seconds, attempt=1) for status, seconds in (("submitted", 100), ("sent", 110))]
    return [received, *steps, event(message, "delivered", reached, attempt=1), event(message, "read", 500, attempt=1)]


@pytest.mark.req("SLA-1", "WHK-6")
async def test_an_hours_backlog(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    settings = await isolated(
        Settings, kafka_bootstrap, topic_prefix, tmp_path, partitions=3, publish_seconds=0.1, settle_seconds=5
    )
    await accept(settings, "r-1", MESSAGES)
    await feed(settings, twice_and_mixed(each for message in range(MESSAGES) for each in life_of(message)))
    for _ in range(2):  # and once more, having said it all
        async with running(components(settings, RunningClock(AT + HOUR))):

            async def all_counted() -> bool:
                delivered, on_time, ended, statuses = await totals(settings, "r-1")
                counted = (delivered, on_time, ended, statuses)
                return counted == (450, 350, 500, {"read": 450, "rejected": 50}) and len(await said(settings)) == 2

            await eventually(all_counted, timeout_seconds=60, every=0.5)
    spoken = {each.kind: each for each in await said(settings)}
    assert spoken.keys() == {"deadline_passed", "completed"}, f"seed {SEED}"
    for each in spoken.values():
        assert (each.delivered, each.on_time, each.ended) == (450, 350, 500), each
        assert each.at == AT + HOUR and each.deadline == AT + timedelta(minutes=5)
