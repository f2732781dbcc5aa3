"""Every sample of Meta's over a real Kafka, with the normaliser killed twice in the middle of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.ingestion.deaths import killed_under_load


@pytest.mark.req("WHK-2", "WHK-5", "WHK-6")
async def test_killed_twice_under_load_it_loses_and_invents_nothing(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    result = await killed_under_load(kafka_bootstrap, topic_prefix, tmp_path, seed=20261121, deaths=2)
    assert result.holds, str(result)
    assert result.deaths == 2 and result.statuses > 1000
