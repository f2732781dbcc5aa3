"""`make chaos`: the dispatcher against deaths, freezes, rebalances, outages and stops, judged by the far side's ledger;
runs that are paused and cancelled at any moment; persons who say STOP in the middle of one; the webhook edge against
deaths and a broker that is away.

    python -m tests.chaos [--seed N] [--kills N] [--part NAME ...]

A campaign is its seed: its plan and what is done of it lie in .harkara/chaos/<seed>/, and the same seed goes on there.
Exits 0 when nothing was sent twice, lost or claimed falsely, and enough points were reached.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from random import Random, SystemRandom
from typing import Protocol

import httpx

from harkara.devstack.errors import DevstackError
from harkara.devstack.forked import can_fork
from harkara.dispatcher.failpoints import POINTS
from tests.chaos import edges, syscalls
from tests.chaos.campaign import Campaign, Result
from tests.chaos.freezes import freeze, freeze_alone
from tests.chaos.ground import Ground, ground
from tests.chaos.kills import Chain, census, chain, failpoints, moments, spread
from tests.chaos.message_state import message_state_deaths
from tests.chaos.normaliser import normaliser_deaths
from tests.chaos.opt_outs import opt_outs
from tests.chaos.runs import told_runs
from tests.chaos.stops import restart, takeover
from tests.chaos.unrest import frozen_broker, outages, rebalances, rush, stop_in_an_outage
from tests.chaos.verdict import Verdict

PARTS = (
    "kills",
    "freezes",
    "rebalances",
    "outages",
    "stops",
    "runs",
    "opt-outs",
    "edges",
    "normaliser",
    "message-state",
)
OVERALL, MOMENTS = 120, 40  # deaths beside the front's, which are all taken
CHAIN = 20  # deaths of one round: enough to meet each other's remains, few enough to look at when one fails
WORDS = 500  # pauses, resumes and cancels of runs at moments of their own
CYCLES, OUTAGES = 3, 3  # a minute of rebalances; three broker deaths


class Outcome(Protocol):
    """What each part returns; its text is its line."""

    @property
    def verdict(self) -> Verdict: ...

    @property
    def holds(self) -> bool: ...


Job = tuple[str, Callable[[], Awaitable[Outcome]]]


def tell(line: str) -> None:
    """Progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


async def plan(campaign: Campaign, on: Ground, most: int) -> None:
    """Once per campaign: what there is to die at, in the seed's order."""
    if campaign.plan:
        return
    found = await census(on)
    for call in syscalls.CALLS:
        peers = [each.peer for each in found.points if each.call == call]
        tell(
            f"census: {call:<9} {peers.count('broker'):>4} points at the broker's sockets (of {found.to_broker[call]} "
            f"calls of all threads), {peers.count('graph'):>3} at the graph's"
        )
    random = Random(campaign.seed)
    campaign.plan = [
        *spread(found.points, most, random),
        *found.overall(OVERALL, random),
        *failpoints(),
        *moments(MOMENTS, random),
    ]
    random.shuffle(campaign.plan)
    campaign.save()


def jobs(campaign: Campaign, on: Ground, parts: Sequence[str]) -> Iterator[Job]:
    """Every part by its name, in order."""
    if "kills" in parts:
        for start in range(0, len(campaign.plan), CHAIN):
            key, points = f"kills-{start // CHAIN:02}", campaign.plan[start : start + CHAIN]
            yield key, partial(chain, on, key, points, Random(f"{campaign.seed} {key}"), tell)
    if "freezes" in parts:
        for point in POINTS:
            yield f"freeze-{point}", partial(freeze, on, point)
            yield f"freeze-alone-{point}", partial(freeze_alone, on, point)
    if "rebalances" in parts:
        yield "rebalances", partial(rebalances, on, CYCLES, tell)
    if "outages" in parts:
        yield "outages", partial(outages, on, OUTAGES, tell)
        yield "rush", partial(rush, on)
        yield "frozen-broker", partial(frozen_broker, on)
        yield "stop-in-an-outage", partial(stop_in_an_outage, on)
    if "stops" in parts:
        yield "stop-restart", partial(restart, on)
        yield "stop-takeover", partial(takeover, on)
    yield from others(campaign, on, parts)


def others(campaign: Campaign, on: Ground, parts: Sequence[str]) -> Iterator[Job]:
    """The parts beside the dispatcher's."""
    if "runs" in parts:
        yield "runs", partial(told_runs, on, WORDS, Random(f"{campaign.seed} runs"), tell)
    if "opt-outs" in parts:
        yield "opt-outs", partial(opt_outs, on, tell)
    if "edges" in parts:
        yield "edge-kills", partial(edges.kills, on, campaign.seed, tell)
        yield "edge-outage", partial(edges.outage, on, tell)
    if "normaliser" in parts:
        yield "normaliser", partial(normaliser_deaths, on, campaign.seed)
    if "message-state" in parts:
        yield "message-state", partial(message_state_deaths, on, campaign.seed)


async def run(campaign: Campaign, parts: Sequence[str], most: int) -> None:
    """Whatever of the campaign is not done yet."""
    async with ground(evidence=campaign.folder) as on:
        if "kills" in parts:
            await plan(campaign, on, most)
        for key, job in jobs(campaign, on, parts):
            if key in campaign.results:
                continue
            tell(f"{key} ...")
            started = time.monotonic()
            result = await outcome_of(job)
            result.seconds = time.monotonic() - started
            campaign.keep(key, result)
            tell(f"{key} {'holds' if result.holds else 'DOES NOT HOLD'} after {result.seconds:.0f} s: {result.line}")


async def outcome_of(job: Callable[[], Awaitable[Outcome]]) -> Result:
    """A part that breaks off has not held; the campaign goes on with the next."""
    try:
        done = await job()
    except (AssertionError, TimeoutError, DevstackError, httpx.HTTPError) as error:
        return Result(f"{type(error).__name__}: {error}", holds=False)
    return Result(str(done), done.holds, done.verdict, done.deaths if isinstance(done, Chain) else [])


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="go on with this campaign, or begin it (default: a new one)")
    parser.add_argument("--kills", type=int, default=sys.maxsize, help="deaths at system calls at most (default: all)")
    parser.add_argument("--part", choices=PARTS, action="append", help="these parts only; may be repeated")
    arguments = parser.parse_args()
    if not can_fork():
        print("chaos needs Linux: it forks, freezes and traces processes by its means")
        return 2
    parts = arguments.part or PARTS
    if "kills" in parts and (reason := asyncio.run(syscalls.why_not())) is not None:
        print(f"{reason}; or leave out the kills: {' '.join(f'--part {part}' for part in PARTS[1:])}")
        return 2
    campaign = Campaign.of(SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is killed is no news here
    tell(f"seed {campaign.seed}; go on with it by --seed {campaign.seed}")
    asyncio.run(run(campaign, parts, arguments.kills))
    print("\n".join(campaign.summary(parts)))
    return 0 if campaign.holds(parts) else 1


if __name__ == "__main__":
    sys.exit(main())
