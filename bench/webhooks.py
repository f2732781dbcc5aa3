"""The webhook edge against its bars: signed webhooks into real processes on a real Kafka. Exits 1 where one is missed.

    python -m bench.webhooks                          # Kafka of HARKARA_KAFKA_BOOTSTRAP, else an embedded one
    python -m bench.webhooks --section state --seconds 20

Sections: `state` (300 statuses a second, from when each was due until the record of its message's state can be read),
`steady` (900 webhooks a second, three times what an upgraded number sends; each latency counted from when it was due),
`single` (one status a webhook, as fast as 64 connections can), `batches` (ten statuses each). Before each nobody has a
backlog. Beside a rate stand the CPU of ingestion a webhook and `cores_of_others`: with other work on the machine the
rates are not worth much, the CPU is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.webhook_edge import (
    Connection,
    Cores,
    answers,
    appended,
    as_fast_as_possible,
    at_a_rate,
    connect,
    cpu_seconds,
    drained,
    ingestion,
    requests,
)
from harkara.devstack.brokers import Server, pick_kafka
from harkara.devstack.kafka_server import EmbeddedKafka
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.topic_admin import ensure_topics

SECTIONS = ("state", "steady", "single", "batches")  # the backlog of the fast ones comes last
BATCH, STEADY_RATE, STATE_RATE = 10, 900.0, 300.0
FIRST_OF_STATE = 500_000_000  # messages that no other section has spoken of
PARTITIONS = 6
STATE_PORT = 3  # of message-state, above ingestion's and Kafka's two


@dataclass(frozen=True)
class Bar:
    """A figure and what it must reach: at least, or at most."""

    figure: str
    bound: float
    at_least: bool

    def missed_by(self, result: dict[str, float]) -> str | None:
        """What is missed, in words."""
        value = result[self.figure]
        holds = value >= self.bound if self.at_least else value <= self.bound
        return None if holds else f"{self.figure} {value:.1f}, wanted {'>=' if self.at_least else '<='} {self.bound:g}"


BARS: dict[str, Sequence[Bar]] = {
    "single": (Bar("requests_per_second", 2_500, True), Bar("refused", 0, False)),
    "batches": (Bar("statuses_per_second", 20_000, True), Bar("refused", 0, False)),
    "steady": (Bar("p50_ms", 20, False), Bar("p99_ms", 100, False), Bar("refused", 0, False)),
    "state": (Bar("p99_ms", 150, False), Bar("unseen", 0, False)),
}


async def section(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """One section's figures; `answered_200` counts webhooks."""
    port, connections, seconds = arguments.port, arguments.connections, arguments.seconds
    if name == "single":
        return await as_fast_as_possible(port, connections, seconds)
    if name == "batches":
        found = await as_fast_as_possible(port, connections, seconds, BATCH)
        return found | {"statuses_per_second": found["requests_per_second"] * BATCH}
    if name == "steady":
        return await at_a_rate(port, connections, seconds, STEADY_RATE)
    return await until_state(arguments)


async def until_state(arguments: argparse.Namespace) -> dict[str, float]:
    """300 statuses a second, each until its message's state is on its topic."""
    topic = f"{arguments.prefix}message-state"
    consumer = AIOKafkaConsumer(bootstrap_servers=arguments.bootstrap, fetch_max_wait_ms=50)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for partition in partitions:
            await consumer.position(partition)
        due, seen = dict[int, float](), dict[int, float]()
        watching = asyncio.create_task(watch(consumer, seen))
        refused = await send_for_state(arguments, due)
        deadline = time.monotonic() + 20
        while len(seen) < len(due) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        watching.cancel()
    finally:
        await consumer.stop()
    skipped = int(STATE_RATE * 2)  # the first seconds: Faust's first batch, and connections
    latencies = sorted(seen[number] - at for number, at in islice(due.items(), skipped, None) if number in seen)
    if not latencies:
        raise SystemExit("no state was seen")
    at = {f"p{p}_ms": latencies[min(len(latencies) - 1, len(latencies) * p // 100)] * 1000 for p in (50, 90, 99)}
    return {**at, "max_ms": latencies[-1] * 1000, "unseen": len(due) - len(seen), "refused": refused,
            "answered_200": len(due) - refused}  # fmt: skip


async def send_for_state(arguments: argparse.Namespace, due: dict[int, float]) -> int:
    """One status a webhook, at its time; how many were refused."""
    pool: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in await connect(arguments.port, arguments.connections):
        pool.put_nowait(connection)
    source = requests(arguments.port, first=FIRST_OF_STATE)
    refused, started = 0, time.monotonic()

    async def one(request: bytes) -> None:
        nonlocal refused
        connection = await pool.get()
        refused += await connection.ask(request) != 200
        pool.put_nowait(connection)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(arguments.seconds * STATE_RATE)):
            at = started + number / STATE_RATE
            request = next(source)
            if (wait := at - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            due[FIRST_OF_STATE + number] = at
            tasks.create_task(one(request))
    return refused


async def watch(consumer: AIOKafkaConsumer, seen: dict[int, float]) -> None:
    """When each message's state was first read."""
    async for record in consumer:
        number = int(record.key.decode().strip('"').removeprefix("m-"))
        if number >= FIRST_OF_STATE:
            seen.setdefault(number, time.monotonic())


def drive(arguments: argparse.Namespace) -> None:
    """The child: prints one JSON line per section."""

    async def sections() -> None:
        await as_fast_as_possible(arguments.port, arguments.connections, 2.0)  # warm
        for name in arguments.section or SECTIONS:
            await drained(arguments.port)
            if name == "state":
                await drained(arguments.port + STATE_PORT, "harkara_projection_records_total")
            print(json.dumps({"section": "begins"}), flush=True)
            print(json.dumps({"section": name, **await section(name, arguments)}), flush=True)

    uvloop.run(sections())


@contextlib.contextmanager
def message_state(bootstrap: str, prefix: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """message-state as a process, ready."""
    environment = os.environ | {
        "HARKARA_KAFKA_BOOTSTRAP": bootstrap,
        "HARKARA_KAFKA_TOPIC_PREFIX": prefix,
        "HARKARA_PARTITIONS": str(PARTITIONS),
        "HARKARA_REPLICATION_FACTOR": "1",
        "HARKARA_GOVERNANCE_FILE": str(folder / "governance.yaml"),
        "HARKARA_DATA_DIR": str(folder / "message-state"),
        "HARKARA_PEPPER": "a pepper of the benchmark",
        "HARKARA_HTTP_HOST": "127.0.0.1",
        "HARKARA_HTTP_PORT": str(port),
    }  # fmt: skip
    with (folder / "message-state.log").open("wb") as log:
        command = [sys.executable, "-m", "harkara.runtime.serve", "message-state"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 90
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((folder / "message-state.log").read_text()[-2000:])
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def measure(arguments: argparse.Namespace, kafka_server: Server, folder: Path) -> list[str]:
    """Every section; what was missed."""
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    kafka = KafkaSettings(bootstrap=kafka_server.address, topic_prefix=prefix)
    settings = ServiceSettings(service="bench", kafka=kafka, partitions=PARTITIONS, replication_factor=1)
    asyncio.run(ensure_topics(settings))
    wanted = arguments.section or SECTIONS
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(ingestion(kafka_server.address, prefix, folder, arguments.port))
        pids = [service.pid, kafka_server.pid if isinstance(kafka_server, EmbeddedKafka) else None]
        if "state" in wanted:
            state = message_state(kafka_server.address, prefix, folder, arguments.port + STATE_PORT)
            pids.append(stack.enter_context(state).pid)
        command = [sys.executable, "-m", "bench.webhooks", "--drive", *sys.argv[1:]]
        command += ["--bootstrap", kafka_server.address, "--prefix", prefix]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
            missed, answered = judge(driver, service.pid, [pid for pid in (*pids, driver.pid) if pid is not None])
        if driver.returncode:
            raise SystemExit("the driver failed")
        there = asyncio.run(appended(settings))
        print(json.dumps({"answered_200": answered, "records_on_webhook_events": there}))
        return missed + ([f"{answered} answered 200, {there} on webhook-events"] if there < answered else [])


def judge(driver: subprocess.Popen[str], service: int, ours: Sequence[int]) -> tuple[list[str], int]:
    """Print each section as it ends; what was missed, and how many webhooks were answered 200."""
    assert driver.stdout is not None
    missed, answered, before, cores = list[str](), 0, 0.0, Cores(*ours)
    for line in driver.stdout:
        result = json.loads(line)
        name = result.pop("section")
        if name == "begins":
            before, cores = cpu_seconds(service), Cores(*ours)
            continue
        answered += int(result["answered_200"])
        cpu_ms = (cpu_seconds(service) - before) * 1000 / max(1, result["answered_200"])
        about = {"ingestion_cpu_ms": round(cpu_ms, 3), "cores_of_others": round(cores.taken_by_others(), 2)}
        shown = {key: round(value, 1) for key, value in result.items()}
        print(json.dumps({"section": name} | shown | about), flush=True)
        missed += [f"{name}: {words}" for bar in BARS[name] if (words := bar.missed_by(result))]
    return missed, answered


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--section", choices=SECTIONS, action="append", help="these only; may be repeated")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--port", type=int, default=18180)
    for hidden in ("--bootstrap", "--prefix"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        drive(arguments)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        kafka = pick_kafka(Path(folder) / "kafka", arguments.port + 1, arguments.port + 2)
        try:
            kafka.prepare()
            kafka.spawn()
            kafka.wait_ready()
            missed = measure(arguments, kafka, Path(folder))
        finally:
            kafka.stop()
    print("\n".join(missed) or "every bar is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
