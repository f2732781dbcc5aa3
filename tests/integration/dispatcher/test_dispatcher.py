"""One dispatcher on a real broker: orders in, calls out, lifecycle events, in the simulator's ledger once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.dispatcher.stack import ONE, order, stack
from tests.support.wait import eventually


@pytest.mark.req("DSP-1")
async def test_an_order_is_accepted_once_and_every_step_is_told(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await made.dispatcher()
        await made.send([order("message-1"), order("message-1"), order("message-2", ("100000000000012",))])
        await eventually(lambda: made.all_are(["message-1", "message-2"], "submitted"))
        assert await made.accepted() == {"message-1": 1, "message-2": 1}
        state = (await made.states())["message-1"]
        assert set(state["first_seen"]) == {"queued", "attempting", "submitted"}
        assert state["phone_number_id"] == ONE
        assert state["wamid"] in {entry["wamid"] for entry in await made.ledger()}
