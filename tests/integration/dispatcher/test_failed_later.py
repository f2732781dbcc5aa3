"""Meta accepts every call and fails every message a moment later, by real webhooks: the queue stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from harkara.contracts.partition import partition_for
from harkara.contracts.topics import NUMBER_EVENTS
from tests.integration.dispatcher.stack import NUMBERS, ONE, PARTITIONS, POOLED, Stack, free_port, order, stack
from tests.integration.dispatcher.webhooks import fate, ingestion, webhooks_to
from tests.support.wait import eventually

CANNOT_PAY = 131042
QUEUE = [f"message-{n:03}" for n in range(200)]
LATER = ["message-later-1", "message-later-2", "message-later-3"]
PER_SECOND = 10
MOST_BURNED = 60
"""Of 200: what 6 s of webhooks, Kafka and rounds cost at 10/s; on an idle machine it is a tenth of it."""


async def halted(made: Stack) -> set[str]:
    return {event.phone_number_id for event in await made.events(NUMBER_EVENTS) if event.kind == "halted"}


@pytest.mark.req("DSP-12", "DSP-14")
async def test_a_number_that_cannot_pay_burns_no_queue_and_stops_its_account_in_every_lane(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    port = free_port()
    assert partition_for(ONE, PARTITIONS) != partition_for(NUMBERS[POOLED], PARTITIONS)
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **webhooks_to(port)) as made:
        path = made.folder / "governance.yaml"
        text = path.read_text("utf-8").replace("    token_env:", "    profile: slow\n    token_env:")
        path.write_text(f"{text}\nprofiles: {{slow: {{per_second: {PER_SECOND}}}}}\n", "utf-8")
        await ingestion(made, port)
        await fate(made, ONE, f"failed_{CANNOT_PAY}")
        process = await made.dispatcher()
        await made.send(order(each, (ONE,), to=f"+9199999{n:05}") for n, each in enumerate(QUEUE))

        async def stopped() -> bool:
            return await halted(made) == set(NUMBERS)

        await eventually(stopped, timeout_seconds=40)
        await made.send(order(each, (POOLED,), to=f"+9199998{n:05}") for n, each in enumerate(LATER))
        await eventually(lambda: made.all_are(LATER, "held"), timeout_seconds=20)
        burned = await made.accepted()
        assert set(burned.values()) == {1} and len(burned) <= MOST_BURNED and not burned.keys() & set(LATER)
        await eventually(lambda: made.all_are(burned, "failed"), timeout_seconds=20)
        await eventually(lambda: made.all_are(set(QUEUE) - burned.keys(), "held"), timeout_seconds=20)
        sample = f'harkara_dispatcher_failed_later_total{{code="{CANNOT_PAY}",scope="waba"}}'
        assert await process.metric(sample) == len(burned)
        assert await process.metric(f'harkara_dispatcher_alerts_total{{code="{CANNOT_PAY}"}}') >= 1
        print(f"{len(burned)} of {len(QUEUE)} messages were accepted before the first status stopped the account")
