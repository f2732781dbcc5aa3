"""What stops a whole lane before anything leaves: offsets that are not there."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from harkara.contracts.partition import partition_for
from tests.integration.dispatcher.stack import ONE, PARTITIONS, Process, Stack, order, stack
from tests.support.wait import eventually

LATENCY = {"HARKARA_SIM_LATENCY_MS": "60"}


async def why_not_ready(process: Process) -> str:
    """What /readyz says where it is not ready, "" where it is or does not answer."""
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"http://127.0.0.1:{process.port}/readyz")
    except httpx.TransportError:
        return ""
    return answer.text if answer.status_code == 503 else ""


async def forget_offsets(made: Stack) -> None:
    """As where somebody deleted the group, or it was not restored with the topics."""
    kafka = made.settings.kafka
    admin = AdminClient(kafka.librdkafka_options())

    async def deleted() -> bool:
        (answer,) = admin.delete_consumer_groups([kafka.group("dispatcher")]).values()
        try:
            await asyncio.wrap_future(answer)
        except KafkaException as error:
            assert error.args[0].code() == KafkaError.NON_EMPTY_GROUP  # a static member that left is awaited
            return False
        return True

    await eventually(deleted, timeout_seconds=30, every=0.5)


@pytest.mark.req("DSP-1", "B1")
async def test_a_lane_with_a_journal_and_no_offsets_refuses_to_start_and_says_why(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Read from the beginning, orders that were forgotten a week ago would be sent a second time."""
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **LATENCY) as made:
        first = await made.dispatcher()
        await made.send([order("message-1", (ONE,))])
        await eventually(lambda: made.all_are(["message-1"], "submitted"))
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0
        await forget_offsets(made)
        await made.send([order("message-2", (ONE,))])
        second = await made.start("dispatcher", "dispatcher-0")
        lane, found = partition_for(ONE, PARTITIONS), ""

        async def refuses() -> bool:
            nonlocal found
            found = await why_not_ready(second)
            return f"lane {lane}: the journal has entries but" in found

        await eventually(refuses, timeout_seconds=60)
        assert "no committed offset" in found
        assert await second.metric("harkara_dispatcher_halted_lanes") == 1
        await asyncio.sleep(2.0)  # as long as a message takes ten times over
        assert await made.accepted() == {"message-1": 1}
        assert "message-2" not in await made.statuses()
        assert second.process.returncode is None, "the other lanes work on"
