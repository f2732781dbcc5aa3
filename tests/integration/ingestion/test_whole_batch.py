"""Meta's greatest batch on a real broker."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from harkara.contracts.envelope import header
from harkara.contracts.partition import partition_for
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.ingestion.process import PARTITIONS, ingestion, settings_for
from tests.support.kafka import read_all
from tests.support.wait import eventually
from tests.support.whole_batch import MALFORMED, POLICY, SOUND, whole_batch


@pytest.mark.req("B5")
async def test_997_of_1000_are_applied_and_three_are_kept_with_their_reasons(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """In three shapes, one of 3 MB, and each twice: what was said is said once."""
    await ensure_topics(settings_for(kafka_bootstrap, topic_prefix))
    async with ingestion(kafka_bootstrap, topic_prefix, tmp_path, policy=POLICY) as service:
        bodies = [whole_batch(shape) for shape in ("single", "per number", "3 MB")]
        assert [(await service.webhook(body)).status_code for body in [*bodies, *bodies]] == [200] * 6

        async def all_applied() -> bool:
            return len(await read_all(kafka_bootstrap, f"{topic_prefix}message-lifecycle")) >= 6 * len(SOUND)

        await eventually(all_applied, timeout_seconds=60)
    lifecycle = await read_all(kafka_bootstrap, f"{topic_prefix}message-lifecycle")
    assert {orjson.loads(record.value)["wamid"] for record in lifecycle} == SOUND
    assert len({header(record.headers, "ce_id") for record in lifecycle}) == len(SOUND)
    homes = {(orjson.loads(record.value)["home"], record.partition) for record in lifecycle}
    assert len(homes) == 12
    assert all(partition == partition_for(home, PARTITIONS) for home, partition in homes)
    quarantined = await read_all(kafka_bootstrap, f"{topic_prefix}webhook-events-dlq")
    kept = [
        (header(record.headers, "ce_id"), orjson.dumps(status))
        for record in quarantined
        for status in orjson.loads(record.value)["value"]["statuses"]
    ]
    malformed = [orjson.dumps(each) for each in MALFORMED]
    assert sorted(status for _, status in set(kept)) == sorted(3 * malformed), "each of a body under one id of its own"
    for each in malformed:  # more often where Kafka was slow, and what was on its way was spooled as well
        assert sum(status == each for _, status in kept) >= 6
    assert all(header(record.headers, "dlq-reason") for record in quarantined)
