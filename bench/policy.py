"""How many intents the guard and the router decide on, with a million persons known. Exits 1 below a bar.

    python -m bench.policy                                  # both, about 5 minutes
    python -m bench.policy --persons 100000 --intents 20000 # shorter

Real processes on a real broker. `consent-state` holds the persons (every tenth opted in for marketing too), as a guard
would have left it. For each service: how long its replicas take to be complete, what it holds in memory then, how many
intents a second it decides on when they are all there (between 15 and 90 % of them), processor time an intent, and, at
a steady 300/s, how long from the write of an intent to the write of what it became (the records' own times).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.dispatch_rig import Process, Rig, eventually, free_port, number_id, rig
from harkara.contracts.consent import ConsentState, PurposeConsent
from harkara.contracts.envelope import encode
from harkara.contracts.event import Event, event_id
from harkara.contracts.identity import person_key
from harkara.contracts.intents import ClearedIntent, SendIntent, Template
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import CLEARED_INTENTS, CONSENT_STATE, DISPATCH_ORDERS, SEND_INTENTS, Topic
from harkara.devstack.brokers import pick_kafka

PEPPER = "a-pepper-of-the-benchmark"
NUMBERS = [number_id(index) for index in range(1, 9)]
WRITTEN_TO = 90_000  # as many invented phone numbers as there are
BARS = {
    "per_second": (">=", 3000.0), "ready_seconds": ("<=", 30.0), "resident_mb": ("<=", 400.0),
    "latency_p99_ms": ("<=", 60.0),
}  # fmt: skip


@dataclass(frozen=True)
class Hop:
    """A service, what it reads and what it makes of it."""

    name: str
    reads: Topic
    writes: Topic
    event: Callable[[int], Event]
    persons: bool


def phone(index: int) -> str:
    return f"+9199999{10_000 + index % WRITTEN_TO:05}"


def intent(index: int) -> SendIntent:
    return SendIntent(
        message_id=event_id("bench", index),
        sender=NUMBERS[index % len(NUMBERS)],
        to=phone(index),
        category="marketing" if index % 10 == 0 else "utility",
        content=Template(name="daily_update", language="en", body=("Asha",)),
        producer="bench",
        run_id="run-of-the-benchmark",
    )


def cleared(index: int) -> ClearedIntent:
    wanted, now, person = intent(index), datetime.now(UTC), person_key(PEPPER.encode(), phone(index))
    return ClearedIntent(
        intent=wanted, intent_hash=wanted.hash(), home=wanted.sender, person_key=person,
        received_at=now, expires_at=now + timedelta(hours=20), policy_version="bench",
    )  # fmt: skip


def write(made: Rig, topic: Topic, events: Iterator[tuple[str, str, Event]], per_second: float | None = None) -> None:
    """(home, key, event): all at once, or at a rate."""
    producer = Producer(made.kafka.librdkafka_options() | {"linger.ms": 5, "log_level": 3})
    name, started = made.kafka.topic(topic), time.monotonic()
    for index, (home, key, event) in enumerate(events):
        if per_second is not None:
            time.sleep(max(0.0, started + index / per_second - time.monotonic()))
        value, headers = encode(event, event_id=event_id(key, index), source="bench", time=datetime.now(UTC))
        while True:
            try:
                producer.produce(name, value, key, partition_for(home, made.partitions), headers=[*headers])
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()


def known_persons(count: int) -> Iterator[tuple[str, str, Event]]:
    """Opted in, most of them nobody that is written to here."""
    at = datetime.now(UTC) - timedelta(days=30)
    for index in range(count):
        key = person_key(PEPPER.encode(), phone(index)) if index < WRITTEN_TO else f"{index:032x}"
        word = PurposeConsent(standing="opted_in", at=at, event_id=event_id("opt-in", index), source="api")
        yield key, key, ConsentState(person_key=key, transactional=word, marketing=word if index % 10 == 0 else None)


def written(made: Rig, topic: Topic) -> int:
    """Records of the topic."""
    consumer = Consumer(made.kafka.librdkafka_options() | {"group.id": "bench-ends", "log_level": 3})
    try:
        name = made.kafka.topic(topic)
        return sum(
            consumer.get_watermark_offsets(TopicPartition(name, each), timeout=10)[1] for each in range(made.partitions)
        )
    finally:
        consumer.close()


def latencies(made: Rig, hop: Hop, first: int) -> list[float]:
    """Milliseconds from the write of each intent after the `first` ones to that of what became of it."""
    times: dict[str, list[int]] = {}
    options = {
        "group.id": "bench-latency",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "log_level": 3,
    }
    consumer = Consumer(made.kafka.librdkafka_options() | options)
    names = [made.kafka.topic(hop.reads), made.kafka.topic(hop.writes)]
    consumer.assign([TopicPartition(name, each, 0) for name in names for each in range(made.partitions)])
    wanted = {event_id("bench", first + index) for index in range(3000)}
    while True:
        records = consumer.consume(5000, timeout=3.0)
        if not records:
            break
        for record in records:
            body = json.loads(record.value() or b"{}")
            message_id = body.get("message_id") or body.get("intent", {}).get("message_id")
            if message_id in wanted:
                times.setdefault(message_id, []).append(record.timestamp()[1])
    consumer.close()
    return sorted(float(max(both) - min(both)) for both in times.values() if len(both) == 2)


def of(hop: Hop, first: int, end: int) -> Iterator[tuple[str, str, Event]]:
    """Intents in turn over the numbers."""
    for index in range(first, end):
        number = NUMBERS[index % len(NUMBERS)]
        yield number, number, hop.event(index)


def measured(made: Rig, hop: Hop, persons: int, intents: int) -> dict[str, Any]:
    """One service, alone."""
    started = time.monotonic()
    process = service(made, hop.name)
    eventually(process.ready, 300, hop.name, every=0.2)
    figures: dict[str, Any] = {"persons": persons if hop.persons else 0, "ready_seconds": time.monotonic() - started}
    time.sleep(3)
    figures["resident_mb"] = process.resident_bytes() / 1e6
    process.popen.send_signal(19)  # it stands still while the intents are written
    write(
        made, hop.reads, ((NUMBERS[i % len(NUMBERS)], NUMBERS[i % len(NUMBERS)], hop.event(i)) for i in range(intents))
    )
    process.popen.send_signal(18)
    marks: list[tuple[float, float, int]] = []
    for share in (0.15, 0.90):
        eventually(lambda share=share: written(made, hop.writes) >= share * intents, 300, f"{share} of it", every=0.05)
        marks.append((time.monotonic(), process.cpu_seconds(), written(made, hop.writes)))
    eventually(lambda: written(made, hop.writes) >= intents, 120, "all of it", every=0.2)
    (at, cpu, count), (then, more, end) = marks
    figures |= {"per_second": (end - count) / (then - at), "cpu_ms": (more - cpu) * 1000 / (end - count)}
    write(made, hop.reads, of(hop, intents, intents + 3000), per_second=300)
    eventually(lambda: written(made, hop.writes) >= intents + 3000, 60, "the steady ones", every=0.2)
    found = latencies(made, hop, intents)
    figures |= {f"latency_p{share}_ms": found[len(found) * share // 100] for share in (50, 99)}
    process.stop()
    return figures


def service(made: Rig, name: str) -> Process:
    port = free_port()
    variables = {
        "HARKARA_KAFKA_BOOTSTRAP": made.bootstrap,
        "HARKARA_KAFKA_TOPIC_PREFIX": made.prefix,
        "HARKARA_PARTITIONS": str(made.partitions),
        "HARKARA_REPLICATION_FACTOR": "1",
        "HARKARA_GOVERNANCE_FILE": str(made.folder / f"{made.prefix}governance.yaml"),
        "HARKARA_HTTP_HOST": "127.0.0.1",
        "HARKARA_HTTP_PORT": str(port),
        "HARKARA_INSTANCE": f"bench-{name}",
        "HARKARA_DATA_DIR": str(made.folder / name),
        "HARKARA_PEPPER": PEPPER,
    }
    return made.spawn(name, ["-m", "harkara.runtime.serve", name], port, variables)


HOPS = (
    Hop("compliance-guard", SEND_INTENTS, CLEARED_INTENTS, intent, persons=True),
    Hop("window-router", CLEARED_INTENTS, DISPATCH_ORDERS, cleared, persons=False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=1_000_000)
    parser.add_argument("--intents", type=int, default=60_000)
    parser.add_argument("--only", choices=[hop.name for hop in HOPS])
    arguments = parser.parse_args()
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="harkara-bench-") as folder:
        kafka = pick_kafka(Path(folder) / "kafka", free_port(), free_port())
        try:
            kafka.prepare()
            kafka.spawn()
            kafka.wait_ready()
            for hop in HOPS:
                if arguments.only not in (None, hop.name):
                    continue
                with rig(kafka.address, Path(folder), NUMBERS, "cloud-api") as made:
                    if hop.persons:
                        write(made, CONSENT_STATE, known_persons(arguments.persons))
                    figures = measured(made, hop, arguments.persons, arguments.intents)
                missed += judged(hop.name, figures)
        finally:
            kafka.stop()
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f}")
    if missed:
        raise SystemExit("missed: " + ", ".join(missed))


def judged(name: str, figures: dict[str, Any]) -> list[str]:
    """Print the figures; the bars that they miss."""
    print(json.dumps({"service": name} | {k: round(v, 3) for k, v in figures.items()}), flush=True)
    missed = []
    for key, (kind, bar) in BARS.items():
        good = figures[key] <= bar if kind == "<=" else figures[key] >= bar
        print(f"    {'ok    ' if good else 'MISSED'} {key} {figures[key]:.1f} {kind} {bar:g}", flush=True)
        missed += [] if good else [f"{name}: {key}"]
    return missed


if __name__ == "__main__":
    main()
