"""A lane whose commit fails does not forget Meta's answers that it had: they are no doubts."""

from __future__ import annotations

from pathlib import Path

from harkara.contracts.partition import partition_for
from harkara.dispatcher.journal import EMITTED
from harkara.dispatcher.lane_log import LaneLog
from harkara.dispatcher.settings import Settings
from tests.integration.dispatcher.stack import ONE, PARTITIONS, order, stack
from tests.support.wait import eventually

NAMES = [f"message-{number}" for number in range(5)]
PATIENT = ("request_timeout_seconds: 3", "request_timeout_seconds: 10")
"""Answers come after 2.5 s, on a busy machine somewhat later; one that came too late would be a doubt for good."""


async def test_answers_that_came_to_a_fenced_lane_are_written_once_it_is_ours_again(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Without a status, and beyond the doubt's time: what was lost would be `unknown`."""
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, HARKARA_SIM_LATENCY_MS="2500") as made:
        governance = made.folder / "governance.yaml"
        assert PATIENT[0] in governance.read_text("utf-8")
        governance.write_text(governance.read_text("utf-8").replace(*PATIENT), "utf-8")
        process = await made.dispatcher()
        await made.send([order(name, to=f"+9199999500{index + 50}") for index, name in enumerate(NAMES)])

        async def taken() -> bool:
            return len(await made.ledger()) == len(NAMES)

        await eventually(taken)
        settings = Settings(kafka=made.settings.kafka, partitions=PARTITIONS, replication_factor=1, instance="another")
        usurper = LaneLog(settings, partition_for(ONE, PARTITIONS))

        def has_nothing_more_to_write() -> bool:
            return usurper.emitted() >= max(entry.seq for entry in usurper.read() if entry.kind != EMITTED)

        await eventually(has_nothing_more_to_write, every=0.01)  # until the answers come: their commit is the next
        usurper.open()
        usurper.close()
        await eventually(lambda: made.all_are(NAMES, "submitted"), timeout_seconds=40)
        assert await process.metric("harkara_dispatcher_fenced_total") >= 1, "the lane was taken anew"
        assert set((await made.accepted()).values()) == {1}
