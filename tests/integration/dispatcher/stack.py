"""Dispatcher processes on the tests' broker, with the simulator in Meta's place and its ledger as the witness."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from harkara.contracts.envelope import decode
from harkara.contracts.event import Event, event_id
from harkara.contracts.intents import Candidate, Category, DispatchOrder, Form, Template, Text
from harkara.contracts.lifecycle import MessageLifecycle, State, advance
from harkara.contracts.topics import DISPATCH_ORDERS, MESSAGE_LIFECYCLE, Topic
from harkara.devstack.forked import ForkedProcess
from harkara.runtime.kafka import Output, Writer, start_producer
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.support.kafka import read_all
from tests.support.wait import eventually

PARTITIONS = 4
ONE, TWO, POOLED, PARTNER = "100000000000011", "100000000000012", "100000000000013", "100000000000014"
WABA = "200000000000011"
NUMBERS = {ONE: ONE, TWO: TWO, POOLED: "pool-a", PARTNER: "pool-a"}
WORLD = """
app_id: "400000000000001"
wabas:
  - id: "{waba}"
    name: Example Advisers
    portfolio: "300000000000001"
    token: EAATEST-everything
    numbers:
{numbers}
    templates:
      - {{name: daily_update, language: en, body: "Good morning {{{{1}}}}."}}
      - {{name: weekly_update, language: en, body: "This week, {{{{1}}}}."}}
      - {{name: festival_offer, language: en, category: MARKETING, body: "An offer for {{{{1}}}}."}}
      - {{name: festival_offer, language: hi, category: MARKETING, body: "{{{{1}}}} के लिए।", quality: GREEN}}
"""
WORLD_NUMBER = (
    '      - {{phone_number_id: "{id}", display_phone_number: "+91 99999 009{index:02}", token: EAATEST-{id}}}'
)
GOVERNANCE = """
numbers:
{numbers}
pools:
  - {{name: pool-a, numbers: ["{pooled}", "{partner}"]}}
compliance: {{consent_mode: opt_out}}
routing: {{quiet_hours: {{utility: none, marketing: none, authentication: none, service: none}}}}
dispatch:
  in_doubt_timeout_seconds: {{utility: 12, marketing: 12, authentication: 12, service: 12}}
  request_timeout_seconds: 3
"""
GOVERNANCE_NUMBER = """  - phone_number_id: "{id}"
    display_phone_number: "+919999900{index:03}"
    waba_id: "{waba}"
    portfolio_id: "300000000000001"
    token_env: TOKEN_{id}"""


def _filled(text: str, per_number: str) -> str:
    rows = [per_number.format(id=number, index=index, waba=WABA) for index, number in enumerate(NUMBERS)]
    return text.format(waba=WABA, pooled=POOLED, partner=PARTNER, numbers="\n".join(rows))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def order(
    message_id: str,
    numbers: Iterable[str] = (ONE,),
    *,
    to: str = "+919999950050",
    form: Form = "template",
    category: Category = "utility",
    life_seconds: float = 600,
    received_at: datetime | None = None,
    **more: Any,
) -> DispatchOrder:
    """An order to the first of `numbers`, the others being its fallbacks."""
    numbers, at = list(numbers), received_at or datetime.now(UTC)
    values: dict[str, Any] = {
        "message_id": message_id,
        "home": NUMBERS[numbers[0]],
        "intent_hash": event_id(message_id),
        "to": to,
        "person_key": event_id("person", to),
        "category": category,
        "priority": 1,
        "producer": "tests",
        "plan": tuple(Candidate(phone_number_id=number, form=form) for number in numbers),
        "session": Text(body="Good morning") if form == "session" else None,
        "template": Template(name="daily_update", language="en", body=("Asha",)),
        "expires_at": at + timedelta(seconds=life_seconds),
        "received_at": at,
        "policy_version": "tests",
    }
    return DispatchOrder(**(values | more))


@dataclass
class Process:
    """A service process, its log and its port."""

    name: str
    process: asyncio.subprocess.Process | ForkedProcess
    port: int
    log: Path

    async def ready(self) -> bool:
        """Whether /readyz says so; fails the test where the process has ended."""
        assert self.process.returncode is None, self.log.read_text()[-4000:]
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def metric(self, line: str) -> float:
        """The value of one sample, 0 where it is not there."""
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"http://127.0.0.1:{self.port}/metrics")).text
        return next((float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line + " ")), 0.0)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    async def ended(self, timeout_seconds: float = 40) -> int:
        """Its exit code."""
        return await asyncio.wait_for(self.process.wait(), timeout_seconds)


@dataclass
class Stack:
    """One test's topics, simulator and dispatchers."""

    settings: ServiceSettings
    folder: Path
    writer: Writer
    graph_port: int = 0
    processes: list[Process] = field(default_factory=list)

    async def start(self, name: str, instance: str, **environment: str) -> Process:
        """A service as a process of its own."""
        port = free_port()
        log = self.folder / f"{instance}.log"
        variables = self.variables(instance, port) | environment
        command = (sys.executable, "-m", "harkara.runtime.serve", name)
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(*command, env=variables, stdout=out, stderr=out)
        started = Process(instance, process, port, log)
        self.processes.append(started)
        return started

    def variables(self, instance: str, port: int) -> dict[str, str]:
        """The environment of a process of this stack."""
        kafka = self.settings.kafka
        return os.environ | {
            "HARKARA_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "HARKARA_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
            "HARKARA_PARTITIONS": str(PARTITIONS),
            "HARKARA_REPLICATION_FACTOR": "1",
            "HARKARA_GOVERNANCE_FILE": str(self.folder / "governance.yaml"),
            "HARKARA_PEPPER": "a pepper of the integration tests",
            "HARKARA_HTTP_HOST": "127.0.0.1",
            "HARKARA_HTTP_PORT": str(port),
            "HARKARA_INSTANCE": instance,
            "HARKARA_GRAPH_BASE_URL": f"http://127.0.0.1:{self.graph_port}",
            "HARKARA_SIM_WORLD_FILE": str(self.folder / "world.yaml"),
            **{f"TOKEN_{number}": f"EAATEST-{number}" for number in NUMBERS},
        }

    async def dispatcher(self, instance: str = "dispatcher-0", **environment: str) -> Process:
        """A dispatcher, ready."""
        started = await self.start("dispatcher", instance, **environment)
        await eventually(started.ready, timeout_seconds=60)
        return started

    async def send(self, orders: Iterable[DispatchOrder], topic: Topic = DISPATCH_ORDERS) -> None:
        """Write orders as the router does."""
        await self.write(topic, [(each.home, each.home, each, each.message_id) for each in orders])

    async def write(self, topic: Topic, rows: Iterable[tuple[str, str, Event, str | None]]) -> None:
        """(partition key, key, event, subject) rows."""
        now = datetime.now(UTC)
        await self.writer.write(
            [
                Output(topic, partition_key, key, event, event_id(key, subject, now.isoformat()), now, subject)
                for partition_key, key, event, subject in rows
            ]
        )

    async def echo(self, message_id: str, home: str, attempt: int, wamid: str, status: str = "sent") -> None:
        """A status of Meta for that attempt, as the normaliser writes it."""
        event = MessageLifecycle.model_validate(
            {"message_id": message_id, "home": home, "status": status, "attempt": attempt, "wamid": wamid,
             "at": datetime.now(UTC)}
        )  # fmt: skip
        await self.write(MESSAGE_LIFECYCLE, [(home, home, event, message_id)])

    async def ledger(self) -> list[dict[str, Any]]:
        """Everything that the simulator accepted."""
        entries: list[dict[str, Any]] = []
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{self.graph_port}") as http:
            while True:
                url = f"/_simulator/ledger?after={len(entries)}"
                page = (await http.get(url)).json()["entries"]
                if not page:
                    return entries
                entries += page

    async def accepted(self) -> Counter[str]:
        """How often each message was accepted."""
        return Counter(entry["opaque"].partition(".")[0] for entry in await self.ledger())

    async def events(self, topic: Topic) -> list[Any]:
        """Every event of a topic, decoded."""
        records = await read_all(self.settings.kafka.bootstrap, self.settings.kafka.topic(topic))
        return [decode(topic.events, each.value, each.headers, fallback_id="").event for each in records]

    async def states(self) -> dict[str, State]:
        """Each message's state, joined from the lifecycle."""
        states: dict[str, State] = {}
        for event in await self.events(MESSAGE_LIFECYCLE):
            states[event.message_id] = advance(states.get(event.message_id), event)
        return states

    async def statuses(self) -> dict[str, str]:
        """Each message's status."""
        return {message_id: state["status"] for message_id, state in (await self.states()).items()}

    async def all_are(self, message_ids: Iterable[str], *wanted: str) -> bool:
        """Whether every one of these messages has one of these statuses."""
        found = await self.statuses()
        return all(found.get(message_id) in wanted for message_id in message_ids)


@asynccontextmanager
async def stack(bootstrap: str, prefix: str, folder: Path, **scenario: str) -> AsyncIterator[Stack]:
    """Topics, simulator; stops every process that was started in it."""
    (folder / "governance.yaml").write_text(_filled(GOVERNANCE, GOVERNANCE_NUMBER), "utf-8")
    (folder / "world.yaml").write_text(_filled(WORLD, WORLD_NUMBER), "utf-8")
    settings = ServiceSettings(
        service="tests",
        kafka=KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix),
        partitions=PARTITIONS,
        replication_factor=1,
    )
    await ensure_topics(settings)
    producer = await start_producer(settings)
    made = Stack(settings, folder, Writer(producer, settings.kafka, PARTITIONS, "ingestion"))
    try:
        simulator = await made.start("graph-simulator", "simulator", **scenario)
        await eventually(simulator.ready, timeout_seconds=60)
        made.graph_port = simulator.port
        yield made
    finally:
        for each in made.processes:
            if each.process.returncode is None:
                each.process.send_signal(signal.SIGCONT)
                each.process.terminate()
        for each in made.processes:
            try:
                await each.ended()
            except TimeoutError:
                each.process.kill()
                await each.ended()
        await producer.stop()
