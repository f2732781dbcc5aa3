"""How fast the webhook edge is: signed webhooks against a real ingestion process on a real Kafka.

    python -m bench.webhook_edge                 # Kafka of HARKARA_KAFKA_BOOTSTRAP, else an embedded one
    python -m bench.webhook_edge --seconds 20 --rate 1000 --connections 64

Three processes: Kafka, ingestion (edge, normaliser and emitter, as in production) and this one's child, which drives.
First as fast as 64 connections can (requests/s); then, with the normaliser's backlog worked off, at a fixed rate, each
latency counted from the time at which its request was due, so that a stall is not hidden. Every webhook carries one
status of one of 12 numbers, about 700 bytes.
At the end the records on `webhook-events` are counted against the answers. `cores_of_others` says how much of the
machine somebody else took meanwhile (with an external Kafka: Kafka too).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.machine import machine
from harkara.devstack.brokers import Server, pick_kafka
from harkara.devstack.kafka_server import EmbeddedKafka
from harkara.graph_api.signature import HEADER, sign
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.topic_admin import ensure_topics

SECRET = "app-secret-of-the-benchmark"
NUMBERS = [f"10000000000{n:04}" for n in range(1, 13)]
WARM_UP_SECONDS = 3.0


def body(number: int, statuses: int = 1) -> bytes:
    """A webhook as Meta sends it since v24, with that many statuses of messages from `number * statuses` on."""
    listed = [status(number * statuses + each) for each in range(statuses)]
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "919999900001", "phone_number_id": NUMBERS[number % len(NUMBERS)]},
        "contacts": [{"profile": {"name": "Asha Patil"}, "wa_id": each["recipient_id"]} for each in listed],
        "statuses": listed,
    }
    entry = {"id": "200000000000001", "changes": [{"value": value, "field": "messages"}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def status(number: int) -> dict[str, object]:
    """A delivery of message `number`."""
    return {
        "id": f"wamid.HBgMOTE5OTk5OTAwMDExFQIAERgS{number:012}AA==",
        "status": "delivered",
        "timestamp": "1795156204",
        "recipient_id": f"9199999{number % 100000:05}",
        "biz_opaque_callback_data": f"m-{number:026}.1",
        "pricing": {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "utility"},
    }


def requests(port: int, statuses: int = 1, first: int = 0) -> Iterator[bytes]:
    """Whole HTTP requests, each with other statuses; `first` is the number of the first webhook."""
    number = first
    while True:
        raw = body(number, statuses)
        head = (
            f"POST /webhooks/meta HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"{HEADER}: {sign(SECRET, raw)}\r\nContent-Length: {len(raw)}\r\n\r\n"
        )
        yield head.encode() + raw
        number += 1


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way; lean, so that the driver does not measure itself."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[int] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(int(data[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError())

    async def ask(self, request: bytes) -> int:
        """The answer's status."""
        assert self.transport is not None
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answer


async def connect(port: int, count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(count)]


async def as_fast_as_possible(port: int, connections: int, seconds: float, each: int = 1) -> dict[str, float]:
    """Each connection asks again as soon as it is answered; `each` statuses in a webhook."""
    pool, source = await connect(port, connections), requests(port, each)
    statuses: dict[int, int] = {}
    started = time.monotonic()

    async def drive(connection: Connection) -> None:
        while time.monotonic() - started < seconds:
            status = await connection.ask(next(source))
            statuses[status] = statuses.get(status, 0) + 1

    await asyncio.gather(*map(drive, pool))
    taken, good = time.monotonic() - started, statuses.get(200, 0)
    return {"requests_per_second": good / taken, "refused": sum(statuses.values()) - good, "answered_200": good}


async def at_a_rate(port: int, connections: int, seconds: float, rate: float) -> dict[str, float]:
    """Requests are due every 1/rate s, whatever the answers do; a request waits for a free connection."""
    pool: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in await connect(port, connections):
        pool.put_nowait(connection)
    source, latencies, refused = requests(port), list[float](), 0
    started = time.monotonic()

    async def one(request: bytes, due: float) -> None:
        nonlocal refused
        connection = await pool.get()
        refused += await connection.ask(request) != 200
        latencies.append(time.monotonic() - due)
        pool.put_nowait(connection)

    count = int(seconds * rate)
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            due = started + number / rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            tasks.create_task(one(next(source), due))
    ordered = sorted(latencies)
    at = {f"p{p:g}_ms": ordered[min(count - 1, int(count * p / 100))] * 1000 for p in (50, 90, 99, 99.9)}
    return {"rate": count / (time.monotonic() - started), **at, "max_ms": ordered[-1] * 1000, "refused": refused,
            "answered_200": count - refused}  # fmt: skip


NORMALISED = 'harkara_loop_records_total{loop="ingestion-normaliser"'


async def drained(port: int, counter: str = NORMALISED) -> dict[str, float]:
    """Wait until the normaliser (or who counts so) has worked off what the phase before left: a steady rate is measured
    without it."""
    began = since = time.monotonic()
    first = seen = counted(port, counter)
    while time.monotonic() - since < 1.0:
        await asyncio.sleep(0.2)
        if (now := counted(port, counter)) != seen:
            seen, since = now, time.monotonic()
    seconds = max(0.001, since - began)
    return {"seconds": seconds, "normalised_per_second": (seen - first) / seconds, "answered_200": 0}


def counted(port: int, counter: str) -> float:
    """The sum of a counter's series that begin so."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counter))


def drive(arguments: argparse.Namespace) -> None:
    """The child: prints one JSON line per phase."""

    async def phases() -> None:
        port, connections = arguments.port, arguments.connections
        report("warm up", await as_fast_as_possible(port, connections, WARM_UP_SECONDS))
        report("max", await as_fast_as_possible(port, connections, arguments.seconds))
        report("drain", await drained(port))
        report("rate", await at_a_rate(port, connections, arguments.seconds, arguments.rate))

    def report(name: str, result: dict[str, float]) -> None:
        print(json.dumps({"phase": name, **result}), flush=True)

    uvloop.run(phases())


def files(folder: Path) -> dict[str, str]:
    """The files that ingestion reads."""
    numbers = "".join(
        f'  - {{phone_number_id: "{each}", display_phone_number: "+9199999{index:05}", waba_id: "200000000000001", '
        f'portfolio_id: "300000000000001", token_env: TOKEN}}\n'
        for index, each in enumerate(NUMBERS)
    )
    (folder / "governance.yaml").write_text(f"numbers:\n{numbers}compliance: {{consent_mode: opt_out}}\n")
    digest = hashlib.sha256(b"bench.key").hexdigest()
    (folder / "keys.yaml").write_text(f"keys:\n  - {{id: bench, name: bench, sha256: {digest}}}\n")
    return {
        "HARKARA_GOVERNANCE_FILE": str(folder / "governance.yaml"),
        "HARKARA_API_KEYS_FILE": str(folder / "keys.yaml"),
    }


@contextlib.contextmanager
def ingestion(bootstrap: str, prefix: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The service as a process, ready."""
    environment = os.environ | files(folder) | {
        "HARKARA_KAFKA_BOOTSTRAP": bootstrap,
        "HARKARA_KAFKA_TOPIC_PREFIX": prefix,
        "HARKARA_PARTITIONS": "6",
        "HARKARA_PEPPER": "a pepper of the benchmark",
        "HARKARA_APP_SECRETS": SECRET,
        "HARKARA_VERIFY_TOKEN": "token",
        "HARKARA_DATA_DIR": str(folder / "data"),
        "HARKARA_HTTP_HOST": "127.0.0.1",
        "HARKARA_HTTP_PORT": str(port),
    }  # fmt: skip
    with (folder / "ingestion.log").open("wb") as log:
        command = [sys.executable, "-m", "harkara.runtime.serve", "ingestion"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((folder / "ingestion.log").read_text()[-2000:])
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (Linux)."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def machine_seconds() -> float:
    """Of all cores together since boot in which they worked, or were not there."""
    found = machine()
    return found.busy + found.stolen


class Cores:
    """How many cores everything else took: above 0.3 the figures are the neighbours' as much as ours."""

    def __init__(self, *ours: int) -> None:
        self._ours = ours
        self._at, self._busy, self._own = time.monotonic(), machine_seconds(), self._own_seconds()

    def _own_seconds(self) -> float:
        return sum(cpu_seconds(pid) for pid in self._ours)

    def taken_by_others(self) -> float:
        """Since the last time it was asked."""
        at, busy, own = time.monotonic(), machine_seconds(), self._own_seconds()
        share = (busy - self._busy - (own - self._own)) / (at - self._at)
        self._at, self._busy, self._own = at, busy, own
        return max(0.0, share)


async def appended(settings: ServiceSettings) -> int:
    """How many records are on webhook-events."""
    consumer = AIOKafkaConsumer(**settings.kafka.aiokafka_options())
    await consumer.start()
    try:
        topic = f"{settings.kafka.topic_prefix}webhook-events"
        ends = await consumer.end_offsets([TopicPartition(topic, n) for n in range(settings.partitions)])
        return sum(ends.values())
    finally:
        await consumer.stop()


def measure(arguments: argparse.Namespace, kafka_server: Server, folder: Path) -> None:
    bootstrap = kafka_server.address
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    kafka = KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix)
    settings = ServiceSettings(service="bench", kafka=kafka, partitions=6, replication_factor=1)
    asyncio.run(ensure_topics(settings))
    with ingestion(bootstrap, prefix, folder, arguments.port) as service:
        command = [sys.executable, __file__, "--drive", *sys.argv[1:], "--port", str(arguments.port)]
        answered, before = 0, cpu_seconds(service.pid)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
            assert driver.stdout is not None
            pids = [service.pid, driver.pid, kafka_server.pid if isinstance(kafka_server, EmbeddedKafka) else None]
            cores = Cores(*(pid for pid in pids if pid is not None))
            for line in driver.stdout:
                result = json.loads(line)
                spent, answered = cpu_seconds(service.pid), answered + int(result["answered_200"])
                cpu_ms = (spent - before) * 1000 / max(1, result["answered_200"])
                before = spent
                shown = {key: round(value, 1) if isinstance(value, float) else value for key, value in result.items()}
                others = round(cores.taken_by_others(), 2)
                cpu = {"ingestion_cpu_ms_per_request": round(cpu_ms, 2), "cores_of_others": others}
                print(json.dumps(shown | cpu), flush=True)
        if driver.returncode:
            raise SystemExit("the driver failed")
        there = asyncio.run(appended(settings))
        print(json.dumps({"answered_200": answered, "records_on_webhook_events": there}))
        if there < answered:
            raise SystemExit("webhooks were answered 200 that are not on the topic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        drive(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        kafka = pick_kafka(Path(folder) / "kafka", arguments.port + 1, arguments.port + 2)
        try:
            kafka.prepare()
            kafka.spawn()
            kafka.wait_ready()
            measure(arguments, kafka, Path(folder))
        finally:
            kafka.stop()


if __name__ == "__main__":
    main()
