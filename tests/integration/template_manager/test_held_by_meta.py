"""Meta tries a template out: it takes a message and holds it, then drops it; the simulator's fate 0031."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import MESSAGE_LIFECYCLE
from tests.integration.dispatcher.stack import ONE, order, stack
from tests.integration.template_manager.test_template_manager import OTHER, batch, becomes, change, manager
from tests.support.wait import eventually

HELD_THEN_DROPPED = "+919999950031"


@pytest.mark.req("B13", "TPL-3")
async def test_what_meta_holds_is_seen_and_what_it_drops_holds_the_template(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await manager(made)
        dispatcher = await made.dispatcher()
        await becomes(made, status="APPROVED")
        await made.send([order("held-0001", (ONE,), to=HELD_THEN_DROPPED)])
        await eventually(lambda: made.all_are(["held-0001"], "submitted"))
        shown = (await made.states())["held-0001"]
        assert shown["reason"]["code"] == "held_by_meta"
        assert shown["reason"]["details"] == {"message_status": "held_for_quality_assessment"}
        counted = "harkara_dispatcher_held_by_meta_total"
        labels = f'{{message_status="held_for_quality_assessment",phone_number_id="{ONE}"}}'
        assert await dispatcher.metric(counted + labels) == 1

        dropped = MessageLifecycle(
            message_id="held-0001", home=ONE, status="failed", attempt=1, wamid=shown["wamid"], error_code=132015,
            phone_number_id=ONE, at=datetime.now(UTC),
        )  # fmt: skip
        await made.write(MESSAGE_LIFECYCLE, [(ONE, ONE, dropped, "held-0001")])
        await becomes(made, status="PAUSED")
        waiting, free = batch(1, 3, (ONE,)), batch(11, 1, (ONE,), template=OTHER)
        await made.send([*waiting, *free])
        await eventually(lambda: made.all_are([free[0].message_id], "submitted"))
        await eventually(lambda: made.all_are([each.message_id for each in waiting], "held"))
        assert (await made.states())["held-0001"]["status"] == "failed"

        await change(made, {"kind": "status", "status": "APPROVED"}, status="APPROVED")
        await eventually(lambda: made.all_are([each.message_id for each in waiting], "submitted"), timeout_seconds=40)
        assert set((await made.accepted()).values()) == {1}
