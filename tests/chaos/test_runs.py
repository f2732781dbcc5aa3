"""A sample of the words that `make chaos` gives runs: twenty random moments on a real broker."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from random import Random, SystemRandom

import pytest

from harkara.devstack.forked import can_fork
from tests.chaos.ground import Ground, ground
from tests.chaos.runs import told_runs

pytestmark = pytest.mark.skipif(not can_fork(), reason="forks and kills processes by Linux' means")

MOMENTS = 20


@pytest.fixture
async def on(kafka_bootstrap: str) -> AsyncIterator[Ground]:
    """The session's broker: nothing here kills it."""
    async with ground(kafka_bootstrap) as made:
        yield made


@pytest.mark.req("B15")
async def test_each_recipient_once_however_their_run_is_told_to_pause_resume_and_end(on: Ground) -> None:
    seed = int(os.environ.get("HARKARA_CHAOS_SEED") or SystemRandom().randrange(10**6))
    print(f"HARKARA_CHAOS_SEED={seed}")
    done = await told_runs(on, MOMENTS, Random(seed), print)
    assert done.holds, done
