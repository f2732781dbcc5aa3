"""A sample of `make chaos` for every test run: deaths and freezes at points that a seed chooses."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from random import Random, SystemRandom

import pytest

from harkara.devstack.forked import can_fork
from harkara.dispatcher.failpoints import POINTS
from tests.chaos.freezes import freeze, freeze_alone
from tests.chaos.ground import Ground, ground
from tests.chaos.kills import AROUND, BROKER, Failpoint, Nth, Point, Syscall, chain, moments, passes_of
from tests.chaos.syscalls import why_not

pytestmark = pytest.mark.skipif(not can_fork(), reason="forks, freezes and traces processes by Linux' means")

MOMENTS, SYSCALLS = 2, 4  # of each kind; a second each on an idle machine
FRONT = {"sendmsg": 40, "recvmsg": 100}  # librdkafka's calls: in every run of a wave some thread makes so many,
OVERALL = {"sendmsg": 100, "recvmsg": 300}  # and all of them together so many


@pytest.fixture
async def on(kafka_bootstrap: str) -> AsyncIterator[Ground]:
    """The session's broker: nothing here kills it."""
    async with ground(kafka_bootstrap) as made:
        yield made


@pytest.fixture
def random() -> Random:
    """Of HARKARA_CHAOS_SEED, else of a new seed; a failure shows it."""
    seed = int(os.environ.get("HARKARA_CHAOS_SEED") or SystemRandom().randrange(10**6))
    print(f"HARKARA_CHAOS_SEED={seed}")
    return Random(seed)


@pytest.mark.req("B1", "B2", "DSP-19")
async def test_deaths_at_every_failpoint_and_at_any_moment(on: Ground, random: Random) -> None:
    points = [*(Failpoint(name, random.randint(1, passes_of(name))) for name in POINTS), *moments(MOMENTS, random)]
    random.shuffle(points)
    done = await chain(on, "sample", points, random, print)
    assert done.holds, done


@pytest.mark.req("B1", "B2", "DSP-19")
async def test_deaths_before_calls_to_the_broker(on: Ground, random: Random) -> None:
    if (reason := await why_not()) is not None:
        pytest.skip(reason)  # the other deaths of this file need no strace
    points: list[Point] = []
    for call, most in FRONT.items():
        points += [Syscall(call, nth, "broker") for nth in random.sample(range(3, most), SYSCALLS)]
    for call, most in OVERALL.items():
        points += [Nth(call, nth) for nth in random.sample(range(3, most), SYSCALLS)]
    random.shuffle(points)
    done = await chain(on, "sample", points, random, print)
    assert done.holds, done
    reached = Counter(death.where for death in done.deaths)
    assert reached[BROKER] >= SYSCALLS and reached[AROUND] >= SYSCALLS, done.deaths


@pytest.mark.req("FHL-8")
async def test_a_process_frozen_past_its_session_wakes_up_beside_its_heir_or_alone(on: Ground, random: Random) -> None:
    freezes = (freeze(on, random.choice(POINTS)), freeze_alone(on, random.choice(POINTS)))
    for done in await asyncio.gather(*freezes):  # at once: they mostly wait for sessions to end
        assert done.holds, done
