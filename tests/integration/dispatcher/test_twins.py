"""Two processes of one name: the older one is put out, and no number is ever served by both."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.verdict import SETTLED, judged
from tests.integration.dispatcher.stack import ONE, POOLED, TWO, order, stack
from tests.support.wait import eventually

SENDERS = ((ONE,), (TWO,), (POOLED,))


@pytest.mark.req("FHL-8")
async def test_a_second_process_of_the_same_name_ends_the_first_and_doubles_nothing(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, HARKARA_SIM_LATENCY_MS="40") as made:
        first = await made.dispatcher("dispatcher-0")
        orders = [order(f"message-{n:03}", SENDERS[n % 3], to=f"+9199999{65000 + n}") for n in range(600)]
        sent = [each.message_id for each in orders]
        await made.send(orders[:300])
        second = await made.dispatcher("dispatcher-0")
        await made.send(orders[300:])
        assert await first.ended(90) == 1
        assert second.process.returncode is None

        async def all_lanes_are_the_seconds() -> bool:
            return await second.metric("harkara_dispatcher_lanes") == 4

        await eventually(all_lanes_are_the_seconds, timeout_seconds=60)
        await eventually(lambda: made.all_are(sent, *SETTLED), timeout_seconds=60, every=0.5)
        verdict = judged(sent, await made.states(), await made.ledger())
        assert verdict.holds, verdict
