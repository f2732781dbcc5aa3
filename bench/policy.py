"""How many intents the guard and the router decide on, with a million persons known. Exits 1 below a bar.

    python -m bench.policy                                  # both, about 5 minutes
    python -m bench.policy --persons 100000 --intents 20000 # shorter
    python -m bench.policy --links 1000000                  # every person is also known by a user id

Real processes on a real broker. `consent-state` holds the persons (every tenth opted in for marketing too), each row
the bytes that the guard's projection writes, with a time and an id of its own; `person-identities` the links, as
ingestion writes them, all of them carried before. For each service: how long its replicas take to be complete, what it
holds in memory then, how many intents a second it decides on when they are all there (between 15 and 90 % of them),
processor time an intent, and, at a steady 300/s, how long from the write of an intent to the write of what it became
(the records' own times).
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

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.dispatch_rig import PARTITIONS, Process, Rig, eventually, free_port, number_id, rig
from harkara.compliance_guard.core import projected
from harkara.contracts.consent import ConsentEvent, Purpose
from harkara.contracts.envelope import Headers, encode
from harkara.contracts.event import Event, event_id
from harkara.contracts.identity import person_key
from harkara.contracts.intents import ClearedIntent, SendIntent, Template
from harkara.contracts.partition import partition_for
from harkara.contracts.persons import PersonAlias, alias_record_key
from harkara.contracts.topics import (
    CLEARED_INTENTS,
    CONSENT_STATE,
    DISPATCH_ORDERS,
    PERSON_IDENTITIES,
    SEND_INTENTS,
    Topic,
)
from harkara.devstack.brokers import pick_kafka

PEPPER = "a-pepper-of-the-benchmark"
NUMBERS = [number_id(index) for index in range(1, 9)]
WRITTEN_TO = 90_000  # as many invented phone numbers as there are
SOMEBODY, SOME_ID, SOME_TIME = b"a" * 32, b"b" * 32, b"2026-01-01T00:00:00Z"
Record = tuple[str, str, bytes, Headers]
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
    produce(made, topic, encoded(events), per_second)


def encoded(events: Iterator[tuple[str, str, Event]]) -> Iterator[Record]:
    """As every writer of events does."""
    for index, (home, key, event) in enumerate(events):
        yield home, key, *encode(event, event_id=event_id(key, index), source="bench", time=datetime.now(UTC))


def produce(made: Rig, topic: Topic, records: Iterator[Record], per_second: float | None = None) -> None:
    """(home, key, value, headers): all at once, or at a rate."""
    producer = Producer(made.kafka.librdkafka_options() | {"linger.ms": 5, "log_level": 3})
    name, started = made.kafka.topic(topic), time.monotonic()
    for index, (home, key, value, headers) in enumerate(records):
        if per_second is not None:
            time.sleep(max(0.0, started + index / per_second - time.monotonic()))
        while True:
            try:
                producer.produce(name, value, key, partition_for(home, made.partitions), headers=[*headers])
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()


def person(index: int) -> str:
    """Those that are written to here, and many who are not."""
    return person_key(PEPPER.encode(), phone(index)) if index < WRITTEN_TO else event_id("person", index)


def known_persons(count: int) -> Iterator[Record]:
    """Opted in. The projection makes one row of each kind; the others are its text with their own key, time and id."""
    rows = [opted_in("transactional"), opted_in(None)]
    begun = datetime.now(UTC).replace(microsecond=0) - timedelta(days=300)
    for index in range(count):
        key, at = person(index), begun + timedelta(seconds=index)
        row = rows[index % 10 == 0].replace(SOMEBODY, key.encode()).replace(SOME_ID, event_id("opt-in", index).encode())
        yield key, key, row.replace(SOME_TIME, at.isoformat().removesuffix("+00:00").encode() + b"Z"), []


def opted_in(purpose: Purpose | None) -> bytes:
    """The row of somebody who opted in once."""
    event = ConsentEvent(
        event_id=SOME_ID.decode(),
        person_key=SOMEBODY.decode(),
        standing="opted_in",
        purpose=purpose,
        source="api",
        at=datetime.fromisoformat(SOME_TIME.decode()),
    )
    return orjson.dumps(projected(None, event))


def known_links(count: int) -> Iterator[Record]:
    """A user id for each person."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=200)
    for index in range(count):
        alias = PersonAlias(
            person_key=person(index),
            alias_key=event_id("user id", index),
            kind="user_id",
            at=at + timedelta(seconds=index),
        )
        key = alias_record_key(alias)
        yield alias.person_key, key, *encode(alias, event_id=event_id(key), source="ingestion", time=alias.at)


def carried(made: Rig) -> None:
    """The guard's job on links has done them all, as in every start but the first one."""
    options = {"group.id": made.kafka.group("compliance-guard-identities"), "enable.auto.commit": False, "log_level": 3}
    consumer, name = Consumer(made.kafka.librdkafka_options() | options), made.kafka.topic(PERSON_IDENTITIES)
    partitions = [TopicPartition(name, each) for each in range(made.partitions)]
    for each in partitions:
        each.offset = consumer.get_watermark_offsets(each, timeout=10)[1]
    consumer.commit(offsets=partitions, asynchronous=False)
    consumer.close()


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


def measured(made: Rig, hop: Hop, persons: int, links: int, intents: int) -> dict[str, Any]:
    """One service, alone."""
    started = time.monotonic()
    process = service(made, hop.name)
    eventually(process.ready, 300, hop.name, every=0.2)
    figures: dict[str, Any] = {"persons": persons if hop.persons else 0, "links": links}
    figures |= {"ready_seconds": time.monotonic() - started, "ready_cpu_seconds": process.cpu_seconds()}
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
    parser.add_argument("--links", type=int, default=0)
    parser.add_argument("--intents", type=int, default=60_000)
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
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
                with rig(kafka.address, Path(folder), NUMBERS, "cloud-api", partitions=arguments.partitions) as made:
                    if hop.persons:
                        produce(made, CONSENT_STATE, known_persons(arguments.persons))
                    if arguments.links:
                        produce(made, PERSON_IDENTITIES, known_links(arguments.links))
                        carried(made)
                    figures = measured(made, hop, arguments.persons, arguments.links, arguments.intents)
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
