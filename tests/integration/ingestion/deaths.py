"""The normaliser killed under load: what is on its topics at the end against what the pure functions say.

Used by a test with two deaths and by the chaos campaign with many.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from harkara.contracts.envelope import decode, header
from harkara.contracts.event import Event
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import (
    CONSENT_EVENTS,
    INBOUND_MESSAGES,
    MESSAGE_LIFECYCLE,
    NUMBER_EVENTS,
    PERSON_IDENTITIES,
    SERVICE_WINDOWS,
    TEMPLATE_EVENTS,
    WEBHOOK_EVENTS,
    Topic,
)
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.core import split
from harkara.ingestion.normalise import normalise
from harkara.policy.governance import load
from harkara.runtime.kafka import Output
from harkara.runtime.settings import ServiceSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.ingestion.process import GOVERNANCE, PARTITIONS, PEPPER, Ingestion, ingestion, settings_for
from tests.support.services import write
from tests.support.topic_tail import TopicTail, topic_tail
from tests.support.wait import eventually
from tests.support.webhook_pile import packed, updates
from tests.support.webhook_world import World

COPIES = 24  # of all samples, doubled: 7,500 updates, some two seconds of work at full speed
WRITTEN: tuple[Topic, ...] = (
    MESSAGE_LIFECYCLE, INBOUND_MESSAGES, SERVICE_WINDOWS, CONSENT_EVENTS, NUMBER_EVENTS, TEMPLATE_EVENTS,
    PERSON_IDENTITIES,
)  # fmt: skip
STANDSTILL_SECONDS = 60  # a successor has the partitions after a session of 6 to 10 s, on a busy machine later
AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)

Found = dict[str, dict[str, set[str]]]
"""Topic -> event id -> the contents it was written with."""


@dataclass
class Deaths:
    """What a run came to: how many deaths, and everything in which the topics differ from what they should hold."""

    seed: int
    deaths: int
    statuses: int
    repeated: int
    differences: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Nothing lost, nothing invented, the same states."""
        return not self.differences

    def __str__(self) -> str:
        figures = f"seed {self.seed}: {self.deaths} deaths, {self.statuses} statuses, {self.repeated} records repeated"
        return "; ".join([figures, *self.differences])


async def killed_under_load(bootstrap: str, prefix: str, folder: Path, *, seed: int, deaths: int) -> Deaths:
    """Write all samples many times over, in the seed's order; kill the normaliser as often as asked while it works."""
    chance = random.Random(seed)
    settings = settings_for(bootstrap, prefix)
    await ensure_topics(settings)
    governance_file = folder / "reference.yaml"
    governance_file.write_text(GOVERNANCE, "utf-8")
    world = World(load(governance_file), PEPPER.encode(), AT)
    raw, expected, left = reference(world, chance)
    await write(settings, raw)
    total = len(expected[MESSAGE_LIFECYCLE.name])
    for death, share in enumerate(sorted(chance.uniform(0.02, 0.8) for _ in range(deaths))):
        async with ingestion(bootstrap, prefix, _made(folder / f"life-{death}")) as running:
            await _lines_on(settings, running, int(2 * total * share))
            await running.kill()
    names = [settings.kafka.topic(topic) for topic in (*WRITTEN, WEBHOOK_EVENTS.dlq)]
    async with topic_tail(bootstrap, names) as tail:
        written = Written(settings, tail)
        async with ingestion(bootstrap, prefix, _made(folder / "last")):
            await _all_there(written, expected, left)
        await written.catch_up()
    return _judged(written, world, expected, left, Deaths(seed, deaths, total, 0))


async def _all_there(written: Written, expected: Found, left: set[tuple[str, str]]) -> None:
    """Wait until nothing is missing any more. How long all of it takes is no promise; where it stands still, the
    verdict names what is lost."""
    with suppress(AssertionError):
        while missing := written.missing(expected, left):

            async def less_is_missing(before: int = missing) -> bool:
                await written.catch_up()
                return written.missing(expected, left) < before

            await eventually(less_is_missing, timeout_seconds=STANDSTILL_SECONDS, every=0.5)


def reference(world: World, chance: random.Random) -> tuple[list[Output], Found, set[tuple[str, str]]]:
    """The raw records; what must come of them; and the ids and reasons on the DLQ."""
    pile = updates(COPIES) * 2
    chance.shuffle(pile)
    raw: list[Output] = []
    expected: Found = {topic.name: {} for topic in WRITTEN}
    left: set[tuple[str, str]] = set()
    for number, body in enumerate(packed(pile)):
        size = len(orjson.dumps(body))
        at = AT + timedelta(seconds=number)
        for change in split(body, f"{number:064}", size, at)[0]:
            assert isinstance(change.event, WebhookChange)
            raw.append(Output(WEBHOOK_EVENTS, change.partition_key, change.key, change.event, change.id, at))
            found = normalise(change.event, change.id, world.governance, world.pepper)
            for each in found.emissions:
                expected[each.topic.name].setdefault(each.id, set()).add(_content(each.event))
                if isinstance(each.event, MessageLifecycle):
                    world.join(each.event)
            names = [change.id] if found.whole else [f"{change.id}-{n}" for n in range(len(found.left))]
            left |= {(name, reason) for name, (reason, _) in zip(names, found.left, strict=True)}
    return raw, expected, left


class Written:
    """What is on the normaliser's topics, as of the last `catch_up`. `lifecycle`: every record of that topic."""

    def __init__(self, settings: ServiceSettings, tail: TopicTail) -> None:
        self.found: Found = {topic.name: {} for topic in WRITTEN}
        self.lifecycle: list[Event] = []
        self.dead: set[tuple[str, str]] = set()
        self._topics = {settings.kafka.topic(topic): topic for topic in (*WRITTEN, WEBHOOK_EVENTS.dlq)}
        self._tail = tail

    async def catch_up(self) -> None:
        """Read up to where the topics end now."""
        for record in await self._tail.news():
            self._take(self._topics[record.topic], record)

    def missing(self, expected: Found, left: set[tuple[str, str]]) -> int:
        """How much of it is not there yet."""
        return len(left - self.dead) + sum(len(ids.keys() - self.found[name].keys()) for name, ids in expected.items())

    def _take(self, topic: Topic, record: ConsumerRecord) -> None:
        if topic.name == WEBHOOK_EVENTS.dlq.name:
            self.dead.add((header(record.headers, "ce_id") or "", header(record.headers, "dlq-reason") or ""))
            return
        envelope = decode(topic.events, record.value, record.headers, fallback_id="none")
        self.found[topic.name].setdefault(envelope.id, set()).add(_content(envelope.event))
        if topic.name == MESSAGE_LIFECYCLE.name:
            self.lifecycle.append(envelope.event)


def _content(event: Any) -> str:
    """Meta's repetition in another webhook is the same event, got at another time."""
    kept = event.model_dump(mode="json", exclude={"received_at"}, exclude_none=True)
    return json.dumps(kept, sort_keys=True)


def _judged(written: Written, world: World, expected: Found, left: set[tuple[str, str]], result: Deaths) -> Deaths:
    found = written.found
    for name, events in expected.items():
        if lost := events.keys() - found[name].keys():
            result.differences.append(f"{len(lost)} lost of {name}")
        if invented := found[name].keys() - events.keys():
            result.differences.append(f"{len(invented)} invented on {name}")
        if other := [each for each in found[name] if not found[name][each] <= events.get(each, set())]:
            result.differences.append(f"{len(other)} of another content on {name}")
    result.repeated = len(written.lifecycle) - len(expected[MESSAGE_LIFECYCLE.name])
    again = World(world.governance, world.pepper, AT)
    for event in written.lifecycle:
        again.join(event)
    ends, wanted = again.ends(), world.ends()
    result.differences += [f"{name} differ" for name in ("states", "waiting", "billed") if ends[name] != wanted[name]]
    if written.dead != left:
        result.differences.append(f"the DLQ has {len(written.dead)} parts, {len(left)} belong there")
    return result


async def _lines_on(settings: ServiceSettings, running: Ingestion, least: int) -> None:
    """Wait until that many lifecycle records are there, looking often enough to kill in the middle of the work."""
    async with _ends(settings) as ends:

        async def reached() -> bool:
            assert running.process.returncode is None, running.log.read_text()
            return await ends() >= least

        await eventually(reached, timeout_seconds=60, every=0.005)


@asynccontextmanager
async def _ends(settings: ServiceSettings) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap)
    await consumer.start()
    partitions = [TopicPartition(settings.kafka.topic(MESSAGE_LIFECYCLE), number) for number in range(PARTITIONS)]

    async def total() -> int:
        return sum((await consumer.end_offsets(partitions)).values())

    try:
        yield total
    finally:
        await consumer.stop()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
