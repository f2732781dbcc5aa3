"""A template is edited at Meta while messages wait for it; the simulator in Meta's place, its notices told by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from harkara.contracts.intents import Template
from tests.integration.dispatcher.stack import ONE, TWO, WABA, Stack, stack
from tests.integration.template_manager.test_template_manager import batch, becomes, change, manager, states
from tests.support.wait import eventually

TWO_VALUES = "Good morning {{1}}, your report of {{2}} is ready."


async def edit(made: Stack, text: str) -> None:
    """Somebody edits daily_update in WhatsApp Manager; Meta reviews it in a moment."""
    template_id = (await states(made))["daily_update"].template_id
    component = {"type": "BODY", "text": text, "example": {"body_text": [["Asha", "Monday"]]}}
    headers = {"Authorization": "Bearer EAATEST-everything"}
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{made.graph_port}") as http:
        answer = await http.post(f"/v26.0/{template_id}", json={"components": [component]}, headers=headers)
        answer.raise_for_status()


async def reasons(made: Stack, message_ids: list[str]) -> set[tuple[str, Any]]:
    """Of these messages status and reason, as an operator sees them."""
    found = await made.states()
    return {(found[each]["status"], found[each].get("reason", {}).get("code")) for each in message_ids}


@pytest.mark.req("B12", "B13", "TPL-2")
async def test_what_waits_for_a_template_that_is_edited_is_held_once_and_never_refused_one_by_one(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, HARKARA_SIM_REVIEW_MS="200") as made:
        watcher = await manager(made)
        await made.dispatcher()
        await becomes(made, status="APPROVED")
        await change(made, {"kind": "status", "status": "PAUSED"}, status="PAUSED")
        await becomes(made, status="PAUSED")
        waiting = [*batch(1, 4, (ONE,)), *batch(11, 4, (TWO,))]
        ids = [each.message_id for each in waiting]
        await made.send(waiting)
        await eventually(lambda: made.all_are(ids, "held"))

        await edit(made, TWO_VALUES)
        await change(made, {"kind": "status", "status": "PENDING"})
        await becomes(made, status="PENDING")
        await change(made, {"kind": "status", "status": "APPROVED"})
        await becomes(made, status="APPROVED")

        async def told() -> bool:
            return await reasons(made, ids) == {("held", "template_changed")}

        await eventually(told, timeout_seconds=40)
        shown = (await made.states())[ids[0]]
        assert "takes 2 values, given are 1" in shown["reason"]["text"] and "send it again" in shown["reason"]["text"]
        fitting = Template(name="daily_update", language="en", body=("Asha", "Monday"))
        (new,) = batch(21, 1, (ONE,), template=fitting)
        await made.send([new])
        await eventually(lambda: made.all_are([new.message_id], "submitted"))
        assert await made.accepted() == {new.message_id: 1}, "the others were not even tried"
        assert await reasons(made, ids) == {("held", "template_changed")}
        changed = f'harkara_template_manager_changed_total{{waba_id="{WABA}"}}'
        assert await watcher.metric(changed) == 1
