"""How many lifecycle events a second one message-state folds, beside a bare Faust table. Exits 1 below the bars.

    python -m bench.message_state                     # Kafka of HARKARA_KAFKA_BOOTSTRAP, else an embedded one
    python -m bench.message_state --messages 20000

The events lie on `message-lifecycle` before the clock starts: six of each message (received, cleared, submitted, sent,
delivered, read), the messages mixed as they are in production. Then, twice in turn, each in a process of its own on
uvloop: a stock Faust app that writes each event as it is into a table with a changelog (JSON, memory store, the same
linger), and message-state's own projection with its production settings. Time is counted from the first record of the
changelog to the last one acknowledged; CPU is that process's, client and threads included. Bars: 3,500 events/s, and
75 % of the bare table in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import faust
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from yarl import URL

from bench.webhook_edge import Cores
from harkara.contracts.event import event_id
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import MESSAGE_LIFECYCLE, MESSAGE_STATE
from harkara.devstack.brokers import pick_kafka
from harkara.message_state.effects import Projection
from harkara.message_state.settings import Settings
from harkara.runtime.clock import SystemClock
from harkara.runtime.faust_app import COMMIT_SECONDS, ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.kafka import Output, open_writer
from harkara.runtime.settings import KafkaSettings
from harkara.runtime.topic_admin import ensure_topics

BAR_PER_SECOND, BAR_SHARE = 3500.0, 0.75
PARTITIONS = 6
HOMES = [f"10000000000{n:04}" for n in range(1, 13)]
AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
STEPS = ("received", "cleared", "submitted", "sent", "delivered", "read")
APART = 500  # messages whose steps are mixed with each other's: what is under way at one time
WRITE_AT_ONCE = 2000
DEADLINE_SECONDS = 300.0


@dataclass(frozen=True)
class Measured:
    """One run of one of the two."""

    name: str
    events: int
    seconds: float
    cpu_seconds: float
    others: float

    @property
    def per_second(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.name:<13} {self.per_second:8.0f} events/s, {1e6 * self.cpu_seconds / self.events:6.1f} us of CPU "
            f"each, {self.cpu_seconds / self.seconds:.2f} cores; others {self.others:.2f}"
        )


def step(message: int, number: int) -> Output:
    """One event of one message."""
    status, at = STEPS[number], AT + timedelta(seconds=number)
    home, message_id = HOMES[message % len(HOMES)], f"m-{message:026}"
    fields: dict[str, Any] = {"message_id": message_id, "home": home, "status": status, "at": at}
    if number < 2:
        fields |= {"producer": "campaigns", "person_key": f"{message:032x}", "category": "utility", "run_id": "r-1"}
    else:
        fields |= {
            "attempt": 1,
            "phone_number_id": home,
            "wamid": f"wamid.HBgMOTE5OTk5OTAwMDExFQIAERgS{message:012}AA==",
        }
    if number > 2:
        fields["pricing"] = {"category": "utility", "type": "regular", "model": "PMP", "billable": True}
    event = MessageLifecycle.model_validate(fields)
    return Output(MESSAGE_LIFECYCLE, home, home, event, event_id("bench", message, number), at, subject=message_id)


async def fill(settings: Settings, messages: int) -> None:
    """Put the events on their topic."""
    async with open_writer(settings, "bench") as writer:
        for start in range(0, messages, APART):
            group = range(start, min(start + APART, messages))
            await writer.write([step(message, number) for number in range(len(STEPS)) for message in group])


class Ends:
    """How many records a topic holds."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._consumer = AIOKafkaConsumer(**settings.kafka.aiokafka_options())
        self._partitions = [TopicPartition(name, number) for number in range(settings.partitions)]

    async def __aenter__(self) -> Callable[[], Awaitable[int]]:
        await self._consumer.start()
        return self.count

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def count(self) -> int:
        """Now."""
        return sum((await self._consumer.end_offsets(self._partitions)).values())


async def timed(name: str, events: int, count: Callable[[], Awaitable[int]], alive: Callable[[], None]) -> Measured:
    """From the first record of the changelog to the last."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (first := await count()):
        alive()
        await asyncio.sleep(0.02)
    cores, at, cpu = Cores(os.getpid()), time.monotonic(), time.process_time()
    while (now := await count()) < events:
        alive()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name}: {now} of {events} in {DEADLINE_SECONDS:.0f} s")
        await asyncio.sleep(0.05)
    seconds, used = time.monotonic() - at, time.process_time() - cpu
    return Measured(name, events - first, seconds, used, cores.taken_by_others())


async def ours(settings: Settings, events: int) -> Measured:
    """message-state's projection."""

    def define(app: ProjectionApp) -> None:
        Projection(app, settings, SystemClock())

    task = asyncio.create_task(FaustComponent(settings, "message-state", define).run())
    async with Ends(settings, settings.kafka.topic(MESSAGE_STATE)) as count:
        try:
            return await timed("message-state", events, count, lambda: task.result() if task.done() else None)
        finally:
            task.cancel()
            await asyncio.wait([task])


async def bare(settings: Settings, events: int) -> Measured:
    """A stock Faust table."""
    name = settings.kafka.group("bare")
    app = faust.App(
        name, broker=URL(f"aiokafka://{settings.kafka.bootstrap}"), store="memory://", web_enabled=False,
        topic_partitions=settings.partitions, topic_replication_factor=1, topic_disable_leader=True,
        producer_linger=settings.linger_seconds, broker_commit_interval=COMMIT_SECONDS, autodiscover=False,
        datadir=settings.data_dir, table_standby_replicas=0, canonical_url=URL("http://bare.local"),
        consumer_auto_offset_reset="earliest",
    )  # fmt: skip
    table = app.Table("copies", key_type=str, partitions=settings.partitions)
    topic = app.topic(settings.kafka.topic(MESSAGE_LIFECYCLE), value_serializer="json", key_type=bytes)

    @app.agent(topic)
    async def copy(stream: Any) -> None:
        async for event in stream.events():
            table[event.value["message_id"]] = event.value

    changelog = f"{name}-copies-changelog"
    await make_compacted(settings, changelog)
    starting = asyncio.create_task(app.start())
    try:
        async with Ends(settings, changelog) as count:
            return await timed("bare table", events, count, lambda: starting.result() if starting.done() else None)
    finally:
        await app.stop()


async def make_compacted(settings: Settings, name: str) -> None:
    """The table's topic, so that its records can be counted from the first on."""
    admin = AIOKafkaAdminClient(**settings.kafka.aiokafka_options())
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, settings.partitions, 1, topic_configs={"cleanup.policy": "compact"})])
    finally:
        await admin.close()


def settings_from(bootstrap: str, prefix: str, folder: Path) -> Settings:
    """message-state's own."""
    kafka = KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix)
    return Settings(kafka=kafka, partitions=PARTITIONS, replication_factor=1, data_dir=folder)


def in_a_process(which: str, bootstrap: str, messages: int) -> Measured:
    """One measurement, on topics of its own."""
    command = [sys.executable, "-m", "bench.message_state", "--child", which, "--bootstrap", bootstrap]
    made = subprocess.run([*command, "--messages", str(messages)], check=True, stdout=subprocess.PIPE)
    return Measured(**json.loads(made.stdout.splitlines()[-1]))


async def child(which: str, bootstrap: str, messages: int) -> Measured:
    """What a child process does."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_from(bootstrap, f"b{uuid.uuid4().hex[:8]}.", Path(folder))
        await ensure_topics(settings)
        await fill(settings, messages)
        return await {"ours": ours, "bare": bare}[which](settings, messages * len(STEPS))


def compare(bootstrap: str, messages: int) -> bool:
    """Both, twice in turn; whether the better runs hold the bars."""
    runs: dict[str, list[Measured]] = {"bare": [], "ours": []}
    for _ in range(2):
        for which, found in runs.items():
            found.append(in_a_process(which, bootstrap, messages))
            print(found[-1], flush=True)
    best, copy = (max(each.per_second for each in runs[which]) for which in ("ours", "bare"))
    held = best >= BAR_PER_SECOND and best >= BAR_SHARE * copy
    print(
        f"message-state {best:.0f} events/s, {100 * best / copy:.0f} % of the bare table; bars {BAR_PER_SECOND:.0f}/s "
        f"and {100 * BAR_SHARE:.0f} % {'HELD' if held else 'MISSED'}; load average {os.getloadavg()[0]:.1f}"
    )
    return held


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.message_state", description=__doc__)
    parser.add_argument("--messages", type=int, default=15_000)
    parser.add_argument("--port", type=int, default=18580, help="of the embedded Kafka")
    parser.add_argument("--child", choices=("ours", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("--bootstrap", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(asdict(uvloop.run(child(arguments.child, arguments.bootstrap, arguments.messages)))))
        return 0
    with tempfile.TemporaryDirectory() as made:
        kafka = pick_kafka(Path(made) / "kafka", arguments.port, arguments.port + 1)
        try:
            kafka.prepare()
            kafka.spawn()
            kafka.wait_ready()
            held = compare(kafka.address, arguments.messages)
        finally:
            kafka.stop()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
