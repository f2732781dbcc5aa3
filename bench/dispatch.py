"""How fast, lean and soon back the dispatcher is: real processes on a real Kafka, a Graph API that only answers.

    python -m bench.dispatch                          # every section, about 13 minutes
    python -m bench.dispatch line --seconds 20        # one section, shorter
    python -m bench.dispatch queue --queue 100000
    TMPDIR=/dev/shm python -m bench.dispatch line --placed   # cores and memory of its own

    line       one number on cloud-api-high, fed at its own rate, 60 ms latency
    unlimited  two numbers of 1,000/s in one lane, all orders there from the start: what one lane can do
    ten        ten numbers at 80/s, a Graph API that refuses the 81st call within a second
    numbers    processor time a message with 1 and 1,000 numbers in a lane, and with 1,000 in four lanes
    queue      processor time a message with 1,000 and 1,000,000 queued; memory an order
    recovery   a lane with 1,000,000 journal records is taken
    memory     bytes a remembered id
    takeover   killed with 100,000 journal records: restarted in place, and taken over by another process

Each section prints one JSON line and its bars; the exit code is 1 where one is missed. Rates and latencies are the
machine's as much as ours: broker, Graph API and driver run beside the dispatcher (`busy_cores`: all together), and a
host may give the time to other machines (`stolen_cores`). Processor time a message is the figure to compare, beside
that of the bare sender in the same minutes (`bare_...`): the same code takes twice as much on another machine.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.dispatch_rig import Process, Rig, Sample, eventually, free_port, number_id, rig
from bench.machine import Machine, machine
from bench.placement import awake, children, is_keeper, placed
from harkara.devstack.brokers import pick_kafka
from harkara.dispatcher.horizon import Horizon
from harkara.dispatcher.journal import Entry, step_key, to_the_microsecond

WARM_UP_SECONDS = 5.0
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BARE_SECONDS = 15.0
AHEAD = 3000  # orders in the queue from the start, so that the pace and not the driver is what limits


@dataclass
class Report:
    """The bars that were missed."""

    missed: list[str] = field(default_factory=list)

    def section(self, name: str, figures: dict[str, Any], bars: dict[str, tuple[str, float]]) -> None:
        """Print a section's figures and each bar with its verdict."""
        shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
        print(json.dumps({"section": name, **shown}), flush=True)
        for key, (kind, bar) in bars.items():
            good = figures[key] <= bar if kind == "<=" else figures[key] >= bar
            print(f"    {'ok    ' if good else 'MISSED'} {key} {figures[key]:.3f} {kind} {bar:g}", flush=True)
            if not good:
                self.missed.append(f"{name}: {key}")


def rated(made: Rig, first: Sample, last: Sample, *told: str) -> dict[str, float]:
    """As `between`, and the calls a second and what else the Graph API has counted."""
    figures = {"calls_per_second": made.calls_per_second(first.at, last.at)} | between(first, last)
    return figures | {key: made.counts()[key] for key in told}


def between(first: Sample, last: Sample) -> dict[str, float]:
    """Processor time a message and journal-to-call percentiles of a stretch of time."""
    count = max(1.0, last.accepted - first.accepted)
    return {
        "cpu_ms_per_message": (last.cpu_seconds - first.cpu_seconds) * 1000 / count,
        "lag_p50_ms": percentile(first, last, 0.50) * 1000,
        "lag_p99_ms": percentile(first, last, 0.99) * 1000,
        "resident_mb": last.resident_bytes / 1e6,
    } | machine_share(first, last)


_machine: dict[float, Machine] = {}


def sampled(process: Process) -> Sample:
    """A sample, with the machine's own time beside it."""
    sample = process.sample()
    _machine[sample.at] = machine()
    return sample


def machine_share(first: Sample, last: Sample) -> dict[str, float]:
    """Cores that were busy, whoever it was for, and that were not there."""
    before, after, seconds = _machine[first.at], _machine[last.at], last.at - first.at
    return {
        "busy_cores": (after.busy - before.busy) / seconds,
        "stolen_cores": (after.stolen - before.stolen) / seconds,
    }


def percentile(first: Sample, last: Sample, share: float) -> float:
    """Seconds, interpolated within the histogram's bucket; the largest bound where it lies beyond it."""
    below = {bound: last.lags[bound] - first.lags.get(bound, 0.0) for bound in sorted(last.lags)}
    wanted, before, floor = share * max(below.values(), default=0.0), 0.0, 0.0
    for bound, count in below.items():
        if count >= wanted and count > before:
            top = floor if bound == float("inf") else bound
            return floor + (top - floor) * (wanted - before) / (count - before)
        before, floor = count, bound if bound != float("inf") else floor
    return floor


def driven(made: Rig, process: Process, seconds: float, per_second: float, ahead: int = AHEAD) -> tuple[Sample, Sample]:
    """Feed at a rate for warm-up and `seconds`; samples around the latter, exactly so far apart: what a stall left open
    in its second is open again in each second that follows, and a part of a second would show more or less of it."""
    started, first = None, None
    for _ in made.feed(int(per_second * (WARM_UP_SECONDS + seconds)) + ahead, per_second, ahead):
        started = started or time.monotonic()  # not while the orders were made
        if first is None and time.monotonic() - started >= WARM_UP_SECONDS:
            first = sampled(process)
    assert first is not None
    time.sleep(max(0.0, first.at + seconds - time.monotonic()))
    return first, sampled(process)


def emptied(made: Rig, process: Process, count: int) -> tuple[Sample, Sample]:
    """Let the dispatcher work off `count` messages that are all there; samples at 15 and 90 % of them."""
    eventually(lambda: made.counts()["accepted"] >= 0.15 * count, 300, "the first messages", every=0.1)
    first = sampled(process)
    eventually(lambda: made.counts()["accepted"] >= 0.90 * count, 600, "the last messages", every=0.1)
    return first, sampled(process)


def line(bench: Bench) -> None:
    """One number at 1,000/s; before and after it a sender that does nothing for safety (`bare_sender.py`)."""
    before = bare(bench)
    with bench.rig([number_id(11)], "cloud-api-high") as made:
        process = bench.placed(made.dispatcher())
        first, last = driven(made, process, bench.seconds, 1000)
        figures = rated(made, first, last, "doubled", "most_in_a_second")
    after = bare(bench)
    figures |= {f"bare_{name}": (before[name] + after[name]) / 2 for name in before}
    figures["cpu_of_bare"] = figures["cpu_ms_per_message"] / figures["bare_cpu_ms_per_message"]
    bars = {
        "calls_per_second": (">=", 999.5),  # 1,000, to the width of the measurement (ADR 14)
        "lag_p99_ms": ("<=", 50.0),
        "cpu_ms_per_message": ("<=", 0.8),
        "cpu_of_bare": ("<=", 1.54),  # 0.8 ms where the bare sender takes 0.52: so it means the same elsewhere (ADR 20)
        "doubled": ("<=", 0),
    }
    bench.report.section("line", figures, bars)


def bare(bench: Bench) -> dict[str, float]:
    """What the machine is worth in this minute."""
    with bench.rig([number_id(11)], "cloud-api-high") as made:
        found: dict[str, float] = made.bare_sender(min(BARE_SECONDS, bench.seconds))
        return found


def unlimited(bench: Bench) -> None:
    """One lane as fast as it can: two numbers of a pool, together allowed 2,000/s."""
    count = int(bench.seconds * 1000)
    with bench.rig([number_id(11), number_id(12)], "quick", pool="pool-a") as made:
        for _ in made.feed(count):
            pass
        first, last = emptied(made, bench.placed(made.dispatcher()), count)
        figures = rated(made, first, last)
    bars = {"calls_per_second": (">=", 1150.0), "cpu_ms_per_message": ("<=", 0.8)}
    bench.report.section("unlimited", figures, bars)


def ten(bench: Bench) -> None:
    """Ten numbers at 80/s against a Graph API that refuses more."""
    with bench.rig([number_id(11 + n) for n in range(10)], "cloud-api", limit=80) as made:
        process = bench.placed(made.dispatcher())
        first, last = driven(made, process, bench.seconds, 800)
        figures = rated(made, first, last, "refused", "doubled", "most_in_a_second")
    bench.report.section("ten", figures, {"calls_per_second": (">=", 760.0), "refused": ("<=", 0)})


def numbers(bench: Bench) -> None:
    """Processor time a message must not grow with the numbers. All of them are in one lane: one number cannot be in
    several, and each lane that has something to do pays for its own commits. What four lanes cost is shown beside it.
    """
    rate, figures = 400.0, dict[str, float]()
    stretches = {
        "1_numbers": (1, 1),
        "1000_numbers": (1000, 1),
        "1_numbers_again": (1, 1),
        "1000_numbers_4_lanes": (1000, 4),
    }
    for name, (count, lanes) in stretches.items():
        with bench.rig([number_id(11 + n) for n in range(count)], "cloud-api-high", partitions=lanes) as made:
            found = between(*driven(made, made.dispatcher(), bench.seconds, rate, ahead=count))
            figures[f"cpu_ms_{name}"] = found["cpu_ms_per_message"]
    one = (figures["cpu_ms_1_numbers"] + figures["cpu_ms_1_numbers_again"]) / 2  # before and after: the machine's pace
    figures["growth"] = figures["cpu_ms_1000_numbers"] / one
    bench.report.section("numbers", figures, {"growth": ("<=", 1.2)})


def queue(bench: Bench) -> None:
    """Nor with the queue; and what a queued order costs. The short and the long queue are worked off at the same time,
    by a process each: a machine that is slower in one minute than in the next shows in both.
    """
    figures, resident, small, number = dict[str, float](), dict[int, float](), 1000, number_id(11)
    with ExitStack() as rigs:
        made = {count: rigs.enter_context(bench.rig([number], "cloud-api")) for count in (small, bench.queue)}
        processes = dict[int, Process]()
        for count, each in made.items():
            each.journal({number: queued(each, number, count)})
            processes[count] = each.dispatcher()
        time.sleep(WARM_UP_SECONDS + bench.queue / PLACED_PER_SECOND)
        resident = {count: process.resident_bytes() for count, process in processes.items()}
        with ThreadPoolExecutor() as threads:  # fed as fast as they are sent, so that the queues keep their lengths
            driving = {
                count: threads.submit(driven, made[count], processes[count], bench.seconds, 75, 0) for count in made
            }
        for count, process in processes.items():
            figures[f"cpu_ms_{count}_queued"] = between(*driving[count].result())["cpu_ms_per_message"]
            figures[f"recovery_{count}_queued_seconds"] = taken_seconds(process)
    figures["growth"] = figures[f"cpu_ms_{bench.queue}_queued"] / figures[f"cpu_ms_{small}_queued"]
    figures["bytes_per_order"] = (resident[bench.queue] - resident[small]) / (bench.queue - small)
    bars = {"growth": ("<=", 1.2), "bytes_per_order": ("<=", 1024.0)}
    bench.report.section("queue", figures, bars)


PLACED_PER_SECOND = 20_000
"""Fewer than a recovered lane gives their places beside its work: 500 in a round, and a round every 15 ms."""


def recovery(bench: Bench) -> None:
    """The lane of one number with a long journal."""
    with bench.rig([number_id(11)], "cloud-api") as made:
        made.journal({number_id(11): mixed(made, number_id(11), bench.records)})
        process = made.dispatcher()
        figures = {
            "records": bench.records,
            "recovery_seconds": taken_seconds(process),
            "cpu_seconds": process.cpu_seconds(),
            "resident_mb": process.resident_bytes() / 1e6,
        }
    bench.report.section("recovery", figures, {"recovery_seconds": ("<=", 15.0)})


def memory(bench: Bench) -> None:
    """What is remembered of messages that ended, in a process that holds nothing else."""
    import tracemalloc  # slows everything down: only here

    count, day = 500_000, 86_400.0
    tracemalloc.start()
    horizon = Horizon()
    for n in range(count):
        message_id = f"{n:032x}"
        horizon.add(message_id, 1.8e9 + 7 * day * n / count, "submitted", 1, f"{n:032x}")
        del message_id
    figures = {"ids": len(horizon), "bytes_per_id": tracemalloc.get_traced_memory()[0] / count}
    tracemalloc.stop()
    bench.report.section("memory", figures, {"bytes_per_id": ("<=", 200.0)})


def takeover(bench: Bench) -> None:
    """Seconds from a kill to each number's next accepted call."""
    numbers = [number_id(11 + n) for n in range(10)]
    with bench.rig(numbers, "cloud-api") as made:
        made.journal({number: mixed(made, number, 100_000 // len(numbers)) for number in numbers})
        process = made.dispatcher("bench-0")
        for _ in made.feed(40_000, 4000):
            pass
        figures = {"in_place_seconds": killed(made, process, lambda: made.dispatcher("bench-0", wait=False))}
        other = made.dispatcher("bench-1")
        time.sleep(WARM_UP_SECONDS)
        first = next(each for each in reversed(made.processes) if each.name == "bench-0")
        figures["other_node_seconds"] = killed(made, first, lambda: other)
        figures["doubled"] = made.counts()["doubled"]
    bars = {"in_place_seconds": ("<=", 10.0), "other_node_seconds": ("<=", 25.0), "doubled": ("<=", 0)}
    bench.report.section("takeover", figures, bars)


def killed(made: Rig, process: Process, then: Callable[[], object]) -> float:
    """SIGKILL; seconds until every number has sent again."""
    process.kill()
    at, before = time.monotonic(), made.counts()["numbers"]
    then()

    def all_again() -> bool:
        now = made.counts()["numbers"]
        return all(now.get(number, 0) > count for number, count in before.items())

    time.sleep(0.2)  # what was on its way when the process died has been counted
    before = made.counts()["numbers"]
    eventually(all_again, 60, "every number sends again")
    return time.monotonic() - at


def taken_seconds(process: Process) -> float:
    """How long the longest recovery of the process took, from its own log."""
    return max(float(found) for found in re.findall(r'"seconds": ?([\d.]+)', process.log.read_text()))


def queued(made: Rig, number: str, count: int) -> Iterator[Entry]:
    """Orders that wait."""
    order = made.order(0, number, life_seconds=500_000).model_dump(mode="json", exclude_none=True)
    now = time.time()
    for n in range(count):
        mine = {"message_id": f"{n:032x}", "intent_hash": f"{n:032x}", "person_key": f"{n * 7:032x}"}
        data = {"order": order | mine, "status": "queued", "trace": TRACE}
        yield Entry(mine["message_id"], n + 1, "order", now, made.home(number), data)


def mixed(made: Rig, number: str, records: int) -> Iterator[Entry]:
    """So many records of messages as they pass, 80 in a second until an hour ago: order, attempt, end; every tenth
    message, and the last, still waits."""
    seq, began, home = 0, time.time() - 3600 - records / 80 / 2.8, made.home(number)
    salt = int(number) % 1000 << 64  # every number has ids of its own
    for order in queued(made, number, records):
        assert order.data is not None
        now = to_the_microsecond(began + order.seq / 80)
        message_id = f"{salt + order.seq:032x}"
        order.data["order"]["message_id"] = message_id
        seq += 1
        yield Entry(message_id, seq, "order", now, home, order.data)
        if seq == records:
            return
        if order.seq % 10 == 1 or seq + 2 > records:
            continue
        step = {"status": "attempting", "attempt": 1, "number": number, "form": "template", "called_at": now,
                "run_id": "run-of-the-benchmark", "template": "daily_update:en"}  # fmt: skip
        end = {"status": "submitted", "attempt": 1, "event_attempt": 1, "hash": order.data["order"]["intent_hash"],
               "number": number, "form": "template", "wamid": f"wamid.LEAN{seq:030}"}  # fmt: skip
        yield Entry(step_key(message_id), seq + 1, "step", now, home, step)
        yield Entry(message_id, seq + 2, "end", to_the_microsecond(now + 0.1), home, end)
        seq += 2
        if seq == records:
            return


@dataclass
class Bench:
    """What the sections share."""

    bootstrap: str
    folder: Path
    seconds: float
    queue: int
    records: int
    lay_out: bool
    report: Report = field(default_factory=Report)

    def rig(self, numbers: list[str], profile: str, **more: Any) -> Any:
        """A prepared rig of these numbers."""
        return rig(self.bootstrap, self.folder, numbers, profile, **more)

    def placed(self, process: Process) -> Process:
        """The dispatcher, on a core of its own where that is asked for."""
        if self.lay_out:
            placed(process.popen.pid, (pid for pid in children() - {process.popen.pid} if not is_keeper(pid)))
        return process


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "line": line,
    "unlimited": unlimited,
    "ten": ten,
    "numbers": numbers,
    "queue": queue,
    "recovery": recovery,
    "memory": memory,
    "takeover": takeover,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="none: all of them")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measured stretch")
    parser.add_argument("--queue", type=int, default=1_000_000, help="messages queued in `queue`")
    parser.add_argument("--records", type=int, default=1_000_000, help="journal records in `recovery`")
    parser.add_argument("--placed", action="store_true", help="each process on its core, and both held awake")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harkara-bench-") as folder, awake() if arguments.placed else nullcontext():
        kafka = pick_kafka(Path(folder) / "kafka", free_port(), free_port(), pauseless=True)
        try:
            kafka.prepare()
            kafka.spawn()
            kafka.wait_ready()
            sizes = (arguments.seconds, arguments.queue, arguments.records)
            bench = Bench(kafka.address, Path(folder), *sizes, lay_out=arguments.placed)
            for name in arguments.sections or SECTIONS:
                SECTIONS[name](bench)
        finally:
            kafka.stop()
    if bench.report.missed:
        raise SystemExit("missed: " + ", ".join(bench.report.missed))


if __name__ == "__main__":
    main()
