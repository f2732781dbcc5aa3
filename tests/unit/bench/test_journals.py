"""The journals that a benchmark writes are as long as it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.dispatch import mixed
from bench.dispatch_rig import Rig, number_id


@pytest.mark.parametrize("records", [1, 2, 3, 10, 1_000, 1_001, 1_002])
def test_a_mixed_journal_has_so_many_records_and_a_tenth_of_its_messages_waits(tmp_path: Path, records: int) -> None:
    made = Rig("127.0.0.1:1", tmp_path, [number_id(11)], "cloud-api")
    entries = list(mixed(made, number_id(11), records))
    assert [entry.seq for entry in entries] == list(range(1, records + 1))
    kinds = Counter(entry.kind for entry in entries)
    assert kinds["step"] == kinds["end"]
    waiting = kinds["order"] - kinds["end"]
    assert kinds["order"] / 10 <= waiting <= kinds["order"] / 10 + 3
