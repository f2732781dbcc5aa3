"""The yardstick of the dispatcher's benchmark: it journals what it sends, and says so when it cannot."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import orjson
import pytest

from bench.dispatch_rig import number_id, rig
from harkara.contracts.topics import DISPATCH_JOURNAL
from tests.support.kafka import read_all


def test_every_call_was_journaled_and_nothing_is_sent_twice(kafka_bootstrap: str, tmp_path: Path) -> None:
    with rig(kafka_bootstrap, tmp_path, [number_id(11)], "cloud-api-high") as made:
        figures = made.bare_sender(2.0, warm_up_seconds=1.0)
        counts = made.counts()
        written = [
            (record.key, orjson.loads(record.value or b"null"))
            for record in asyncio.run(read_all(kafka_bootstrap, made.kafka.topic(DISPATCH_JOURNAL)))
        ]
    attempts = [key for key, value in written if "status" not in value]
    ended = {key for key, value in written if "status" in value}
    assert len(attempts) == len(set(attempts)) == counts["accepted"] > 0
    assert ended == set(attempts)
    assert counts["doubled"] == 0
    assert figures["cpu_ms_per_message"] > 0
    assert 0 < figures["lag_p50_ms"] <= figures["lag_p99_ms"]


def test_it_fails_where_the_graph_api_refuses(
    kafka_bootstrap: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        rig(kafka_bootstrap, tmp_path, [number_id(11)], "cloud-api-high", limit=5) as made,
        pytest.raises(subprocess.CalledProcessError),
    ):
        made.bare_sender(1.0, warm_up_seconds=1.0)
    assert "400 Bad Request" in capfd.readouterr().err
