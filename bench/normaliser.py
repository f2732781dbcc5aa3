"""How many statuses a second a normaliser takes, beside a loop that only copies as many records. Exits 1 below the bar.

    python -m bench.normaliser                       # Kafka of HARKARA_KAFKA_BOOTSTRAP, else an embedded one
    python -m bench.normaliser --statuses 60000 --batch 10

The raw changes lie on `webhook-events` before the clock starts: statuses of 12 numbers, `--batch` of them in a change,
each with its pricing, our mark, a contact and both names of its recipient. Then, twice in turn, in this one process on
uvloop: the bare loop (aiokafka, the same batches: fetch, send a record of the same size for each status, await every
acknowledgement, commit) and the normaliser's own loop with its production settings. Time is counted from the first
fetched batch to the last commit; CPU is this process's, client included. `others` says how many cores were taken by
somebody else meanwhile, Kafka too: above 0.5 the rates are the neighbours' as much as ours, the CPU a status is not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.webhook_edge import Cores
from harkara.contracts.envelope import encode
from harkara.contracts.event import event_id
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import MESSAGE_LIFECYCLE, NUMBER_COMMANDS, WEBHOOK_EVENTS, Topic
from harkara.contracts.webhooks import WebhookChange
from harkara.devstack.brokers import pick_kafka
from harkara.ingestion.app import BATCH, NORMALISER, normaliser
from harkara.ingestion.people import Told
from harkara.policy.governance import Governance, load
from harkara.runtime.kafka import Output, RawOutput, open_writer, start_consumer, start_producer
from harkara.runtime.loop import Incoming, Loop
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.topic_admin import ensure_topics

BAR_PER_SECOND = 6000
PARTITIONS = 6
NUMBERS = [f"10000000000{n:04}" for n in range(1, 13)]
AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
PEPPER = b"a pepper of the benchmark"
COPY_TOPIC: Topic = NUMBER_COMMANDS  # where the bare loop writes: nobody reads it here
WRITE_AT_ONCE = 2000


@dataclass(frozen=True)
class Measured:
    """One run of one loop."""

    name: str
    statuses: int
    seconds: float
    cpu_seconds: float
    others: float

    @property
    def per_second(self) -> float:
        """Statuses a second."""
        return self.statuses / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.name:<11} {self.per_second:8.0f} statuses/s, {1e6 * self.cpu_seconds / self.statuses:6.1f} us of "
            f"CPU each, {self.cpu_seconds / self.seconds:.2f} cores; others {self.others:.2f}"
        )


def change(number: int, batch: int) -> Output:
    """A raw change as the edge writes it, with that many statuses."""
    phone_number_id = NUMBERS[number % len(NUMBERS)]
    statuses = [status(number * batch + each) for each in range(batch)]
    contacts = [{"wa_id": each["recipient_id"], "user_id": each["recipient_user_id"]} for each in statuses]
    metadata = {"display_phone_number": "919999900001", "phone_number_id": phone_number_id}
    value = {"messaging_product": "whatsapp", "metadata": metadata, "contacts": contacts, "statuses": statuses}
    event = WebhookChange(entry_id="200000000000001", field="messages", value=value, received_at=AT)
    return Output(WEBHOOK_EVENTS, phone_number_id, phone_number_id, event, event_id("bench", number), AT)


def status(number: int) -> dict[str, object]:
    """A delivery; persons come back every 20,000 messages."""
    return {
        "id": f"wamid.HBgMOTE5OTk5OTAwMDExFQIAERgS{number:012}AA==",
        "status": "delivered",
        "timestamp": "1795156204",
        "recipient_id": f"9199999{number % 20_000:05}",
        "recipient_user_id": f"IN.{number % 20_000:020}",
        "biz_opaque_callback_data": f"m-{number:026}.1",
        "pricing": {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "utility"},
    }


def governance_in(folder: Path) -> Governance:
    """A file with the 12 numbers."""
    rows = [
        f'  - {{phone_number_id: "{pnid}", display_phone_number: "+9199999000{n:02}", waba_id: "200000000000001", '
        f'portfolio_id: "300000000000001", token_env: TOKEN}}'
        for n, pnid in enumerate(NUMBERS, 1)
    ]
    path = folder / "governance.yaml"
    path.write_text("numbers:\n" + "\n".join(rows) + "\ncompliance: {consent_mode: opt_out}\n", "utf-8")
    return load(path)


async def fill(settings: ServiceSettings, statuses: int, batch: int) -> None:
    """Put the raw changes on their topic."""
    async with open_writer(settings, "bench") as writer:
        for start in range(0, statuses // batch, WRITE_AT_ONCE):
            end = min(start + WRITE_AT_ONCE, statuses // batch)
            await writer.write([change(number, batch) for number in range(start, end)])


async def bare(settings: ServiceSettings, name: str, statuses: int, batch: int) -> Measured:
    """Copy: nothing is decoded and nothing decided."""
    event = MessageLifecycle.model_validate(
        {
            "message_id": f"m-{1:026}", "home": NUMBERS[0], "status": "delivered", "attempt": 1, "at": AT,
            "phone_number_id": NUMBERS[0], "wamid": str(status(1)["id"]),
            "pricing": {"billable": True, "model": "PMP", "type": "regular", "category": "utility"},
        }
    )  # fmt: skip
    value, headers = encode(event, event_id=event_id("bare"), source="bench", time=AT, subject=event.message_id)
    topic = settings.kafka.topic(COPY_TOPIC)
    consumer = await start_consumer(settings, [WEBHOOK_EVENTS], group=name)
    producer = await start_producer(settings)
    try:
        batch_at = await consumer.getmany(timeout_ms=10_000, max_records=BATCH)
        watch, done = Watch(name), 0
        while batch_at:
            futures = []
            for partition, records in batch_at.items():
                for _ in range(len(records) * batch):
                    sent = await producer.send(
                        topic, value, key=b"k", partition=partition.partition, headers=list(headers)
                    )
                    futures.append(sent)
            await asyncio.gather(*futures)
            await consumer.commit()
            done += len(futures)
            if done >= statuses:
                return watch.stopped(done)
            batch_at = await consumer.getmany(timeout_ms=10_000, max_records=BATCH)
        raise RuntimeError(f"{done} of {statuses} statuses were read")
    finally:
        await consumer.stop()
        await producer.stop()


async def ours(settings: ServiceSettings, governance: Governance, name: str, statuses: int) -> Measured:
    """The normaliser's loop, from its first record until the last lifecycle event is on the topic."""
    decide, watch = normaliser(governance, PEPPER, Told()), list[Watch]()

    def first(incoming: Incoming) -> Iterable[Output | RawOutput]:
        if not watch:
            watch.append(Watch("normaliser"))
        return decide(incoming)

    loop = Loop(settings, name=name, topics=[WEBHOOK_EVENTS], decide=first, batch_records=BATCH)  # type: ignore[arg-type]
    before = await records_on(settings, MESSAGE_LIFECYCLE)
    task = asyncio.create_task(loop.run())
    try:
        while await records_on(settings, MESSAGE_LIFECYCLE) - before < statuses:
            if task.done():
                task.result()
            await asyncio.sleep(0.1)
        return watch[0].stopped(statuses)
    finally:
        task.cancel()
        await asyncio.wait([task])


class Watch:
    """Wall clock, this process's CPU, and what others took, from when it is made."""

    def __init__(self, name: str) -> None:
        self._name, self._cores = name, Cores(os.getpid())
        self._at, self._cpu = time.monotonic(), time.process_time()

    def stopped(self, statuses: int) -> Measured:
        """What was measured."""
        seconds, cpu = time.monotonic() - self._at, time.process_time() - self._cpu
        return Measured(self._name, statuses, seconds, cpu, self._cores.taken_by_others())


_counters: dict[str, AIOKafkaConsumer] = {}


async def records_on(settings: ServiceSettings, topic: Topic) -> int:
    """How many records the topic holds."""
    name = settings.kafka.topic(topic)
    if name not in _counters:
        _counters[name] = AIOKafkaConsumer(**settings.kafka.aiokafka_options())
        await _counters[name].start()
    ends = await _counters[name].end_offsets([TopicPartition(name, n) for n in range(settings.partitions)])
    return sum(ends.values())


async def measure(
    settings: ServiceSettings, folder: Path, statuses: int, batch: int, say: Callable[[str], None]
) -> bool:
    """Both loops, twice in turn; whether the normaliser's better run reaches the bar."""
    await ensure_topics(settings)
    governance = governance_in(folder)
    await fill(settings, statuses, batch)
    runs: dict[str, list[Measured]] = {"bare copy": [], "normaliser": []}
    for turn in range(2):
        runs["bare copy"].append(await bare(settings, f"bare-{turn}", statuses, batch))
        runs["normaliser"].append(await ours(settings, governance, f"{NORMALISER}-{turn}", statuses))
    for measured in (each for pair in zip(*runs.values(), strict=True) for each in pair):
        say(str(measured))
    for counter in _counters.values():
        await counter.stop()
    best, copy = (max(each.per_second for each in runs[name]) for name in ("normaliser", "bare copy"))
    held = best >= BAR_PER_SECOND
    say(
        f"normaliser {best:.0f} statuses/s, {100 * best / copy:.0f} % of the bare copy; bar {BAR_PER_SECOND}/s "
        f"{'HELD' if held else 'MISSED'}; load average {os.getloadavg()[0]:.1f}"
    )
    return held


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.normaliser", description=__doc__)
    parser.add_argument("--statuses", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=10, help="statuses in a change")
    parser.add_argument("--port", type=int, default=18480, help="of the embedded Kafka")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        kafka = pick_kafka(folder / "kafka", arguments.port, arguments.port + 1)
        try:
            kafka.prepare()
            kafka.spawn()
            kafka.wait_ready()
            settings = ServiceSettings(
                service="bench",
                kafka=KafkaSettings(bootstrap=kafka.address, topic_prefix=f"b{uuid.uuid4().hex[:8]}."),
                partitions=PARTITIONS,
                replication_factor=1,
            )
            held = uvloop.run(measure(settings, folder, arguments.statuses, arguments.batch, print))
        finally:
            kafka.stop()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
