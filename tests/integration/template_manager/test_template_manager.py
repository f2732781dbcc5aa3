"""template-manager beside a dispatcher on a real broker, the simulator in Meta's place: what a pause and a dearer
category do to the messages of one template, and to no others."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from harkara.contracts.intents import DispatchOrder, Template
from harkara.contracts.partition import partition_for
from harkara.contracts.template_state import TemplateState
from harkara.contracts.templates import TemplateEvent
from harkara.contracts.topics import TEMPLATE_EVENTS, TEMPLATE_STATE
from tests.integration.dispatcher.stack import ONE, PARTITIONS, TWO, WABA, Process, Stack, order, stack
from tests.support.kafka import read_all
from tests.support.wait import eventually

OTHER = Template(name="weekly_update", language="en", body=("Asha",))


async def states(made: Stack) -> dict[str, TemplateState]:
    """The newest state of each template, by its name; all in the account's partition, versions only growing."""
    newest: dict[str, TemplateState] = {}
    for record in await read_all(made.settings.kafka.bootstrap, made.settings.kafka.topic(TEMPLATE_STATE)):
        assert record.value is not None and record.partition == partition_for(WABA, PARTITIONS)
        state = TemplateState.model_validate_json(record.value)
        assert state.name not in newest or newest[state.name].version <= state.version
        newest[state.name] = state
    return newest


async def becomes(made: Stack, **wanted: Any) -> None:
    """Wait until daily_update is so."""

    async def so() -> bool:
        found = (await states(made)).get("daily_update")
        return found is not None and all(getattr(found, name) == value for name, value in wanted.items())

    await eventually(so, timeout_seconds=40)


async def change(made: Stack, notice: dict[str, Any], **more: str) -> None:
    """Meta changes the template, and its notice arrives; what that does not say is left for the list to tell."""
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{made.graph_port}") as http:
        body = {"name": "daily_update", "language": "en"} | more
        (await http.post(f"/_simulator/wabas/{WABA}/templates", json=body)).raise_for_status()
    template = {"waba_id": WABA, "name": "daily_update", "language": "en", "at": datetime.now(UTC)}
    told = TemplateEvent.model_validate(template | notice)
    await made.write(TEMPLATE_EVENTS, [(WABA, told.key, told, None)])


def batch(first: int, count: int, numbers: tuple[str, ...], **more: Any) -> list[DispatchOrder]:
    return [order(f"message-{n}", numbers, to=f"+9199999{66000 + n}", **more) for n in range(first, first + count)]


async def manager(made: Stack) -> Process:
    started = await made.start("template-manager", "template-manager-0", HARKARA_DATA_DIR=str(made.folder / "data"))
    await eventually(started.ready, timeout_seconds=60)
    return started


async def dispatcher_knows_the_pause(made: Stack) -> list[str]:
    """By messages of another range, of which the first may be called and refused before its process has read of the
    pause; their ids."""
    for n in range(20):
        (asked,) = batch(900 + n, 1, (ONE,))
        await made.send([asked])
        await eventually(lambda asked=asked: made.all_are([asked.message_id], "held"))
        if (await made.states())[asked.message_id]["reason"]["code"] == "template_paused":
            return [f"message-{900 + each}" for each in range(n + 1)]
    raise AssertionError("the dispatcher does not hear of the pause")


@pytest.mark.req("TPL-2", "B12", "B13")
async def test_a_paused_template_holds_only_its_messages_and_a_dearer_one_stops(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        first = await manager(made)
        await made.dispatcher()
        await becomes(made, status="APPROVED", category="UTILITY")
        known = (await states(made))["daily_update"]
        assert known.parameters is not None and known.parameters.body_values == ("1",)
        assert known.wording == "Good morning {{1}}."

        await change(made, {"kind": "status", "status": "PAUSED"}, status="PAUSED")
        await becomes(made, status="PAUSED")
        asked = await dispatcher_knows_the_pause(made)
        held = [*batch(1, 3, (ONE,)), *batch(11, 3, (TWO,))]
        free = batch(21, 3, (ONE,), template=OTHER)
        await made.send([*held, *free])
        await eventually(lambda: made.all_are([each.message_id for each in free], "submitted"))
        await eventually(lambda: made.all_are([each.message_id for each in held], "held"))
        shown = await made.states()
        assert {shown[each.message_id]["reason"]["code"] for each in held} == {"template_paused"}

        first.signal(signal.SIGKILL)
        await first.ended()
        await change(made, {"kind": "status", "status": "APPROVED"}, status="APPROVED")
        await manager(made)
        await becomes(made, status="APPROVED")
        ids = [each.message_id for each in (*held, *free)]
        await eventually(lambda: made.all_are([*ids, *asked], "submitted"), timeout_seconds=40)
        assert await made.accepted() == dict.fromkeys([*ids, *asked], 1)
        shown = await made.states()
        assert {shown[name]["attempt"] for name in ids} == {1}, "a pause that is known costs no attempt"

        await change(made, {"kind": "category", "category": "MARKETING"}, category="MARKETING")
        await becomes(made, category="MARKETING", category_before="UTILITY")
        dearer, agreed = batch(31, 1, (ONE,)), batch(41, 1, (ONE,), category="marketing")
        await made.send([*dearer, *agreed])
        await eventually(lambda: made.all_are(["message-41"], "submitted"))
        await eventually(lambda: made.all_are(["message-31"], "held"))
        assert (await made.states())["message-31"]["reason"]["code"] == "template_recategorised"
