"""Opting out is final at once, also in the middle of a run: seeds, printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harkara.devstack.ports import DEFAULT_PORTS, free_ports, port_variable
from harkara.devstack.stack import Stack, StackConfig
from tests.e2e.opt_out import PARTS, paced_governance, stop_in_the_middle
from tests.support.services import GOVERNANCE_FILE

SEEDS = (1, 2, 3)
LATEST_MS = 500
"""Of the three that count. The first run of a fresh stack connects and fills caches in its middle: its time is
printed beside theirs, and all else must be as right in it."""
SHORT = 400  # messages of that first one


@pytest.mark.req("CMP-2", "CMP-5", "CMP-8", "B10")
async def test_no_call_to_who_says_stop_starts_half_a_second_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka_bootstrap: str
) -> None:
    for name, port in zip(DEFAULT_PORTS, free_ports(len(DEFAULT_PORTS)), strict=True):
        monkeypatch.setenv(port_variable(name), str(port))
    monkeypatch.setenv("HARKARA_KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("HARKARA_KAFKA_TOPIC_PREFIX", f"stop-{tmp_path.name}.")
    config = StackConfig(tmp_path, paced_governance(tmp_path), GOVERNANCE_FILE.parent / "world.yaml", services=PARTS)
    async with Stack(config) as stack:
        first = await stop_in_the_middle(stack, 0, SHORT)
        found = [await stop_in_the_middle(stack, seed) for seed in SEEDS]
    print(f"\ncold, not counted: {first}\n" + "\n".join(map(str, found)))
    for each in (first, *found):
        assert not each.faults, str(each)
    for each in found:
        assert each.cancelled > 0, f"{each}: the STOP came too late to show anything"
        assert each.last_call_ms is None or each.last_call_ms <= LATEST_MS, str(each)
