"""message-state killed in the middle of its work: its next process leaves every message in its one true state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.message_state.deaths import killed_while_folding


@pytest.mark.req("WHK-5", "WHK-6")
@pytest.mark.parametrize("seed", [7, 20261121])
async def test_killed_while_folding_and_started_again(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, seed: int
) -> None:
    run = await killed_while_folding(kafka_bootstrap, topic_prefix, tmp_path, seed=seed, deaths=1)
    assert run.holds, str(run)
