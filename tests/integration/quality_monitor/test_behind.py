"""quality-monitor finds an hour's backlog: the last word counts by when it was said, and a pause of then is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.event import event_id
from harkara.contracts.numbers import NumberCommand, NumberEvent
from harkara.contracts.topics import NUMBER_COMMANDS, NUMBER_EVENTS, NUMBER_STATE
from harkara.quality_monitor.app import components
from harkara.quality_monitor.settings import Settings
from harkara.runtime.clock import SystemClock
from harkara.runtime.kafka import Output
from tests.integration.quality_monitor.test_quality_monitor import GOVERNANCE, ONE, THREE, TWO, Meta, states
from tests.support.backlog import HOUR, SEED, twice_and_mixed
from tests.support.kafka import read_all
from tests.support.services import isolated, ready, running, write
from tests.support.wait import eventually

HOMES = {ONE: ONE, TWO: "advisors", THREE: "advisors"}
EVENTS = 1_000


def seen(number: str, at: datetime, kind: str, **more: Any) -> Output:
    event = NumberEvent.model_validate(
        {"phone_number_id": number, "home": HOMES[number], "kind": kind, "source": "webhook", "at": at} | more
    )
    return Output(NUMBER_EVENTS, HOMES[number], HOMES[number], event, event_id(event), at)


def said(number: str, at: datetime, kind: str) -> Output:
    command = NumberCommand.model_validate(
        {
            "command_id": f"{kind}-{number}",
            "phone_number_id": number,
            "home": HOMES[number],
            "kind": kind,
            "actor": "asha",
            "at": at,
        }
    )
    return Output(NUMBER_COMMANDS, HOMES[number], HOMES[number], command, command.command_id, at)


def an_hour(then: datetime) -> list[Output]:
    """ONE: blocked, then resumed. TWO: held for half an hour, LIMITED, then well. THREE: resumed, then blocked."""
    minutes = [then + timedelta(minutes=minute) for minute in range(60)]
    told = [
        seen(ONE, minutes[5], "health", availability="BLOCKED"),
        seen(ONE, minutes[6], "health", availability="AVAILABLE"),
        said(ONE, minutes[10], "resume"),
        seen(TWO, minutes[5], "rate_limited", hold_until=minutes[35]),
        seen(TWO, minutes[7], "health", availability="LIMITED"),
        seen(TWO, minutes[20], "health", availability="AVAILABLE"),
        seen(TWO, minutes[8], "quality", quality="RED"),
        seen(TWO, minutes[30], "quality", quality="GREEN"),
        said(THREE, minutes[10], "resume"),
        seen(THREE, minutes[20], "health", availability="BLOCKED"),
        seen(THREE, minutes[21], "health", availability="AVAILABLE"),
    ]
    numbers = (ONE, TWO, THREE)
    noise = [
        seen(numbers[n % 3], then + timedelta(milliseconds=n), "health", availability="LIMITED") for n in range(EVENTS)
    ]
    return twice_and_mixed([*told, *noise])


@pytest.mark.req("FHL-2", "ING-19")
async def test_an_hours_backlog(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    policy = tmp_path / "governance.yaml"
    policy.write_text(GOVERNANCE)
    settings = await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path, governance_file=policy)
    await write(settings, an_hour(datetime.now(UTC) - HOUR))
    projection, *_ = components(settings, SystemClock(), Meta().client_of)  # without the poll: only what was said then
    async with running([projection]):
        await ready([projection])

        async def by_the_last_word() -> bool:
            verdicts = {number: state.verdict for number, state in (await states(settings)).items()}
            return verdicts == {ONE: "open", TWO: "open", THREE: "halted"}

        await eventually(by_the_last_word, timeout_seconds=60)
    found = await states(settings)
    assert {state.availability for state in found.values()} == {"AVAILABLE"}, f"seed {SEED}"
    assert (found[TWO].quality, found[ONE].by) == ("GREEN", "operator:asha")
    written = await read_all(settings.kafka.bootstrap, settings.kafka.topic(NUMBER_STATE))
    assert not any(b'"verdict":"paused"' in (record.value or b"") for record in written), "the hold ended long ago"
