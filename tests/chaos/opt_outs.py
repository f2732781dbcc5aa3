"""STOP in the middle of a run, fifty times on one stack, every service a process: how long until no call to that person
starts any more, and whether each message of the run is accounted for and the STOP confirmed once."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from harkara.devstack.ports import DEFAULT_PORTS, free_ports, port_variable
from harkara.devstack.stack import Stack, StackConfig
from tests.chaos.ground import Ground
from tests.chaos.verdict import Verdict
from tests.e2e.opt_out import PARTS, Stopped, paced_governance, percentile, stop_in_the_middle
from tests.support.services import GOVERNANCE_FILE

SEEDS = 50
PRESSURE = Path("/proc/pressure/cpu")  # Linux: some avg10=... total=<microseconds>, and on newer ones a second line
LATEST_MS = 500.0  # after the webhook's 200, of the 99th percentile: of fifty the last


@dataclass
class OptOuts:
    """What came of each seed. `broken`: seeds that could not be played to their end, with the error, and what was wrong
    with the one that warmed the stack up. `busy`: for each seed the share of its time in which something on this
    machine was ready to run and had no processor; near 1, the milliseconds are mostly that waiting."""

    found: list[Stopped] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    @property
    def last_calls_ms(self) -> list[float]:
        """How long after its 200 each STOP was still followed by a call to the person; 0 where by none."""
        return [each.last_call_ms or 0.0 for each in self.found]

    @property
    def showing(self) -> int:
        """STOPs that found something to cancel."""
        return sum(each.cancelled > 0 for each in self.found)

    @property
    def holds(self) -> bool:
        """Every seed shows something, nothing is wrong with any of them, and the slowest of a hundred is in time."""
        right = not self.broken and all(each.cancelled and not each.faults for each in self.found)
        return bool(self.found) and right and percentile(self.last_calls_ms, 0.99) <= LATEST_MS

    @property
    def verdict(self) -> Verdict:
        """A confirmation too many or too few, or a refusal without its reason, counts as a false claim."""
        return Verdict(
            messages=sum(each.messages for each in self.found),
            cancelled=sum(each.cancelled for each in self.found),
            duplicates=[name for each in self.found for name in each.faults.twice],
            lost=[*(name for each in self.found for name in each.faults.lost), *self.broken],
            false_claims=[f"seed {each.seed}: {what}" for each in self.found for what in each.faults.wrong],
        )

    def __str__(self) -> str:
        if not self.found:
            return f"no seed was played; {self.verdict}"
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        calls = ", ".join(f"{name} {percentile(self.last_calls_ms, each):.0f}" for name, each in shares.items())
        answered = [each.confirmed_ms for each in self.found if each.confirmed_ms is not None]
        told = ", ".join(f"{name} {percentile(answered, each):.0f}" for name, each in shares.items() if answered)
        return (
            f"{len(self.found)} STOPs, {self.showing} with something left to cancel: last call to the person "
            f"{calls} ms after the webhook's 200 (at most {LATEST_MS:.0f} at p99), confirmed {told} ms after it; "
            f"{self._busy()}{self.verdict}"
        )

    def _busy(self) -> str:
        if not self.busy:
            return ""
        least, most = (f"{100 * each:.0f}" for each in (min(self.busy), max(self.busy)))
        return f"work waited for one of {os.cpu_count()} processors {least} to {most} % of the time; "


async def opt_outs(on: Ground, tell: Callable[[str], None], seeds: int = SEEDS) -> OptOuts:
    """As many STOPs as `seeds`, each in a run and by a person of its own, after one that warms the stack up."""
    done = OptOuts()
    async with stack_on(on) as stack:
        cold = await stop_in_the_middle(stack, 0)
        tell(f"cold, its time not counted: {cold}")
        done.broken += [f"cold: {cold.faults}"] if cold.faults else []
        for seed in range(1, seeds + 1):
            began, waited = time.monotonic(), waited_for_a_processor()
            try:
                found = await stop_in_the_middle(stack, seed)
            except (AssertionError, httpx.HTTPError) as error:
                done.broken.append(f"seed {seed}: {type(error).__name__}: {error}")
                tell(done.broken[-1])
                continue
            done.found.append(found)
            done.busy.append((waited_for_a_processor() - waited) / (time.monotonic() - began))
            tell(f"{found} (load {os.getloadavg()[0]:.1f}, {100 * done.busy[-1]:.0f} % waited for a processor)")
        if not done.holds and on.evidence is not None:
            kept = shutil.ignore_patterns("postgres")
            shutil.copytree(stack.config.run_dir, on.evidence / stack.config.run_dir.name, ignore=kept)
    return done


def waited_for_a_processor() -> float:
    """Seconds since the start of the machine in which somebody did; 0 where the kernel does not count them."""
    if not PRESSURE.exists():
        return 0.0
    return int(PRESSURE.read_text("utf-8").split("total=")[1].split()[0]) / 1e6


@asynccontextmanager
async def stack_on(on: Ground) -> AsyncIterator[Stack]:
    """Simulator, edge, guard, router and two dispatchers on the ground's broker, each a process, on free ports."""
    folder = on.folder / f"opt-outs-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    ports = zip(DEFAULT_PORTS, free_ports(len(DEFAULT_PORTS)), strict=True)
    named = {port_variable(name): str(port) for name, port in ports}
    kafka = {"HARKARA_KAFKA_BOOTSTRAP": on.bootstrap, "HARKARA_KAFKA_TOPIC_PREFIX": f"{folder.name}."}
    with variables(named | kafka):
        config = StackConfig(folder, paced_governance(folder), GOVERNANCE_FILE.parent / "world.yaml", services=PARTS)
        async with Stack(config) as stack:
            yield stack


@contextmanager
def variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """In this process' environment until the end of the context: a stack is told its ports and its broker by it."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
