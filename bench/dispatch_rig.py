"""What the dispatcher's benchmark runs on: a broker, the lean Graph API, dispatcher processes, orders and journals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.lean_graph import EDGE_SECONDS
from harkara.contracts.envelope import Headers, encode
from harkara.contracts.event import event_id
from harkara.contracts.intents import Candidate, DispatchOrder, Template
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import DISPATCH_JOURNAL, DISPATCH_ORDERS
from harkara.dispatcher.inbox import INPUTS
from harkara.dispatcher.journal import EMITTED, Entry, encoded
from harkara.dispatcher.lane_log import LaneLog
from harkara.dispatcher.settings import Settings
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.telemetry import new_traceparent
from harkara.runtime.topic_admin import ensure_topics

ROOT = Path(__file__).parent.parent
PARTITIONS = 4
ACCEPTED = "harkara_dispatcher_accepted_total"
LAG = "harkara_dispatcher_journal_to_call_seconds_bucket"


def number_id(index: int) -> str:
    """An invented phone_number_id."""
    return f"{100_000_000_000_000 + index}"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetched(url: str) -> str | None:
    """The answer's text where it is a 200."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return None


def eventually(found: Any, timeout_seconds: float, what: str, every: float = 0.05) -> None:
    """Wait for a condition. Raises SystemExit."""
    deadline = time.monotonic() + timeout_seconds
    while not found():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {timeout_seconds:.0f} s")
        time.sleep(every)


@dataclass(frozen=True)
class Sample:
    """A dispatcher at one moment: seconds of processor, calls accepted, samples per bucket of journal-to-call."""

    at: float
    cpu_seconds: float
    accepted: float
    resident_bytes: int
    lags: dict[float, float]


@dataclass
class Process:
    """A child process with its log."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    port: int

    def ready(self) -> bool:
        """Whether /readyz answers 200. Raises SystemExit with the log's end where the process has ended."""
        if self.popen.poll() is not None:
            raise SystemExit(f"{self.name} ended\n{self.log.read_text()[-3000:]}")
        return fetched(f"http://127.0.0.1:{self.port}/readyz") is not None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not end."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(40)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()
        self.popen.wait()

    def cpu_seconds(self) -> float:
        """User and system time of all its threads (Linux)."""
        parts = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """What it holds in memory now."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.popen.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def sample(self) -> Sample:
        """What a dispatcher has done so far."""
        at = time.monotonic()
        text = fetched(f"http://127.0.0.1:{self.port}/metrics") or ""
        cpu = self.cpu_seconds()
        accepted, lags = 0.0, dict[float, float]()
        for line in text.splitlines():
            if line.startswith(ACCEPTED):
                accepted += float(line.rpartition(" ")[2])
            elif line.startswith(LAG):
                lags[float(line.partition('le="')[2].partition('"')[0])] = float(line.rpartition(" ")[2])
        return Sample(at, cpu, accepted, self.resident_bytes(), lags)


@dataclass
class Rig:
    """One measurement's topics and processes. `numbers`: the homes are the numbers, or `pool` where that is given."""

    bootstrap: str
    folder: Path
    numbers: Sequence[str]
    profile: str
    pool: str | None = None
    partitions: int = PARTITIONS
    prefix: str = field(default_factory=lambda: f"bench-{uuid.uuid4().hex[:6]}.")
    processes: list[Process] = field(default_factory=list)
    graph_port: int = 0
    kafka: KafkaSettings = field(init=False)

    def __post_init__(self) -> None:
        self.kafka = KafkaSettings(bootstrap=self.bootstrap, topic_prefix=self.prefix)

    def home(self, number: str) -> str:
        """The home of one of the numbers."""
        return self.pool or number

    def prepare(self, *, latency_seconds: float = 0.06, limit: int = 0) -> None:
        """Topics, policy file, and the Graph API."""
        settings = ServiceSettings(service="bench", kafka=self.kafka, partitions=self.partitions, replication_factor=1)
        asyncio.run(ensure_topics(settings))
        (self.folder / f"{self.prefix}governance.yaml").write_text(self._governance())
        self.graph_port = free_port()
        command = ["-m", "bench.lean_graph", str(self.graph_port), "--latency", str(latency_seconds)]
        self.spawn("lean-graph", [*command, "--limit", str(limit)], self.graph_port, {})
        eventually(lambda: fetched(f"http://127.0.0.1:{self.graph_port}/counts"), 20, "the lean Graph API")

    def dispatcher(self, instance: str = "bench-0", *, wait: bool = True, **environment: str) -> Process:
        """A dispatcher process, ready with all its lanes."""
        port = free_port()
        variables = {
            "HARKARA_KAFKA_BOOTSTRAP": self.bootstrap,
            "HARKARA_KAFKA_TOPIC_PREFIX": self.prefix,
            "HARKARA_PARTITIONS": str(self.partitions),
            "HARKARA_REPLICATION_FACTOR": "1",
            "HARKARA_GOVERNANCE_FILE": str(self.folder / f"{self.prefix}governance.yaml"),
            "HARKARA_HTTP_HOST": "127.0.0.1",
            "HARKARA_HTTP_PORT": str(port),
            "HARKARA_INSTANCE": instance,
            "HARKARA_GRAPH_BASE_URL": f"http://127.0.0.1:{self.graph_port}",
            "HARKARA_LOG_LEVEL": "INFO",
            "BENCH_TOKEN": "EAATEST-bench",
        }
        made = self.spawn(instance, ["-m", "harkara.runtime.serve", "dispatcher"], port, variables | environment)
        if wait:
            eventually(made.ready, 120, "the dispatcher")
        return made

    def bare_sender(self, seconds: float, warm_up_seconds: float = 5.0) -> dict[str, float]:
        """The figures of a sender without safety, alone on this rig. Raises CalledProcessError where it failed."""
        url = f"http://127.0.0.1:{self.graph_port}/v26.0/{self.numbers[0]}/messages"
        command = ["-m", "bench.bare_sender", self.bootstrap, self.kafka.topic(DISPATCH_JOURNAL), url]
        ended = subprocess.run(
            [sys.executable, *command, "--seconds", str(seconds), "--warm-up", str(warm_up_seconds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
            timeout=seconds + warm_up_seconds + 60,
        )
        return dict(json.loads(ended.stdout))

    def counts(self) -> dict[str, Any]:
        """What the Graph API has seen."""
        return dict(json.loads(fetched(f"http://127.0.0.1:{self.graph_port}/counts") or "{}"))

    def calls_per_second(self, begin: float, end: float) -> float:
        """What reached the Graph API and was accepted between two moments (monotonic seconds). Counted there, each call
        by its own time: a dispatcher says what it has counted only when it comes to answer. Waits for the edge."""
        time.sleep(max(0.0, end + EDGE_SECONDS - time.monotonic()))
        answer = json.loads(fetched(f"http://127.0.0.1:{self.graph_port}/arrived/{begin}/{end}") or "{}")
        return float(answer["arrived"]) / (end - begin)

    def close(self) -> None:
        """Stop every process."""
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()

    def order(self, index: int, number: str, life_seconds: float = 80_000) -> DispatchOrder:
        """An order as the router writes it: a template with one parameter, to one of 90,000 invented persons."""
        at, to = datetime.now(UTC), f"+9199999{10_000 + index % 90_000:05}"
        return DispatchOrder(
            message_id=event_id("bench", self.prefix, index),
            home=self.home(number),
            intent_hash=event_id("intent", index),
            to=to,
            person_key=event_id("person", index),
            category="utility",
            priority=1,
            producer="bench",
            plan=(Candidate(phone_number_id=number, form="template"),),
            template=Template(name="daily_update", language="en", body=("Asha",)),
            run_id="run-of-the-benchmark",
            expires_at=at + timedelta(seconds=life_seconds),
            received_at=at,
            policy_version="bench",
        )

    def feed(self, count: int, per_second: float | None = None, ahead: int = 0) -> Iterator[int]:
        """Write `count` orders in turn over the numbers: `ahead` at once, the others at a rate (None: all at once).

        Those that go at a rate are made before the first is written: who writes orders has machines of its own, and
        here would take the broker's time. Yields how many are written, several times a second, so that the caller can
        look around.
        """
        producer = Producer(self.kafka.librdkafka_options() | {"linger.ms": 10, "log_level": 3})
        made = map(self._record, range(count))
        records = made if per_second is None else iter([*made])
        topic, started, written = self.kafka.topic(DISPATCH_ORDERS), time.monotonic(), 0
        while written < count:
            due = count if per_second is None else ahead + int((time.monotonic() - started) * per_second)
            for home, value, headers in islice(records, min(due, count, written + 2000) - written):
                producer.produce(topic, value, home, partition_for(home, self.partitions), headers=[*headers])
                written += 1
            producer.poll(0)
            yield written
            if per_second is not None:
                time.sleep(0.02)
        producer.flush()

    def _record(self, index: int) -> tuple[str, bytes, Headers]:
        """An order as it is written: its home, value and headers."""
        order = self.order(index, self.numbers[index % len(self.numbers)])
        value, headers = encode(
            order,
            event_id=order.message_id,
            source="router",
            time=order.received_at,
            subject=order.message_id,
            traceparent=new_traceparent(),
        )
        return order.home, value, headers

    def journal(self, lanes: dict[str, Iterable[Entry]]) -> None:
        """Write what each number's lane has journaled, as if an owner had, all of it emitted, and the offsets that
        belong to it. Sequences are given here: numbers may share a lane. The last word is a transaction of the lane's
        own, so that the broker knows its owner, as that of every lane that was ever worked."""
        producer, seqs = Producer(self.kafka.librdkafka_options() | {"linger.ms": 20, "log_level": 3}), Counter[int]()
        for number, entries in lanes.items():
            partition = partition_for(self.home(number), self.partitions)
            for entry in entries:
                seqs[partition] += 1
                self._append(producer, partition, entry._replace(seq=seqs[partition]))
        producer.flush()
        settings = Settings(kafka=self.kafka, instance="before")
        for partition, seq in seqs.items():
            log = LaneLog(settings, partition)
            log.open()
            log.commit([Entry(EMITTED, seq + 1, "emitted", time.time(), "bench", {"seq": seq})], [], None)
            log.close()
        self._commit_offsets()

    def _append(self, producer: Producer, partition: int, entry: Entry) -> None:
        value = encoded(entry)
        while True:
            try:
                producer.produce(self.kafka.topic(DISPATCH_JOURNAL), value, entry.key, partition)
                return
            except BufferError:
                producer.poll(0.2)

    def _commit_offsets(self) -> None:
        options = {"group.id": self.kafka.group("dispatcher"), "enable.auto.commit": False, "log_level": 3}
        consumer = Consumer(self.kafka.librdkafka_options() | options)
        wanted = [
            TopicPartition(self.kafka.topic(topic), partition, 0)
            for topic in INPUTS
            for partition in range(self.partitions)
        ]
        consumer.commit(offsets=wanted, asynchronous=False)
        consumer.close()

    def _governance(self) -> str:
        rows = "".join(
            f'  - {{phone_number_id: "{number}", display_phone_number: "+9199999{index:05}", '
            f'waba_id: "200000000000001", portfolio_id: "300000000000001", profile: {self.profile}, '
            "token_env: BENCH_TOKEN}\n"
            for index, number in enumerate(self.numbers)
        )
        listed = ", ".join(f'"{number}"' for number in self.numbers)
        pools = "" if self.pool is None else f"pools:\n  - {{name: {self.pool}, numbers: [{listed}]}}\n"
        profiles = "profiles:\n  quick: {per_second: 1000}\n"  # as cloud-api-high, without its minute
        return f"numbers:\n{rows}{pools}{profiles}compliance: {{consent_mode: opt_out}}\n"

    def spawn(self, name: str, command: list[str], port: int, environment: dict[str, str]) -> Process:
        """A child process of this rig, its log in the folder."""
        log = self.folder / f"{self.prefix}{name}.log"
        with log.open("ab") as out:
            popen = subprocess.Popen(
                [sys.executable, *command],
                env=os.environ | environment,
                cwd=ROOT,
                stdout=out,
                stderr=out,
            )
        made = Process(name, popen, log, port)
        self.processes.append(made)
        return made


@contextlib.contextmanager
def rig(
    bootstrap: str,
    folder: Path,
    numbers: Sequence[str],
    profile: str,
    *,
    pool: str | None = None,
    partitions: int = PARTITIONS,
    **graph: Any,
) -> Iterator[Rig]:
    """A prepared rig, its processes stopped at the end."""
    made = Rig(bootstrap, folder, numbers, profile, pool, partitions)
    try:
        made.prepare(**graph)
        yield made
    finally:
        made.close()
