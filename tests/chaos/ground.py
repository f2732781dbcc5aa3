"""The ground on which chaos runs: a broker of its own that may be killed, and rounds with topics of their own on it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson
from aiokafka.admin import AIOKafkaAdminClient

from harkara.contracts.commands import SendCommand
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.topics import DISPATCH_JOURNAL, MESSAGE_LIFECYCLE, SEND_COMMANDS
from harkara.devstack.forked import ForkServer
from harkara.devstack.kafka_server import EmbeddedKafka
from harkara.devstack.ports import free_ports
from tests.chaos.syscalls import attach
from tests.chaos.verdict import CLAIMED, DOUBTED, SETTLED, Verdict, judged, message_of
from tests.integration.dispatcher.stack import ONE, POOLED, TWO, Process, Stack, free_port, order, stack
from tests.support.kafka import read_all
from tests.support.wait import eventually

SENDERS = ((ONE,), (TWO,), (POOLED,))
LATENCY_MS = 30  # calls of several rounds are under way at once, and a kill finds some of them
IN_DOUBT_SECONDS = 4.0  # after it a message without an echo is `unknown`; nothing is ever sent again by the clock
SETTLE_SECONDS = 120.0  # a round's messages stand still within a tenth of this on an idle machine
RECIPIENTS = 10_000  # invented numbers end in five digits
PROFILE = "profiles: {{chaos: {{per_second: {per_second}}}}}\n"


@dataclass
class Round:
    """One set of topics with a simulator: messages go in, processes come and go, the ledger judges at the end."""

    stack: Stack
    homes: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    last: Verdict | None = None

    async def send(self, name: str, count: int) -> list[str]:
        """`count` orders over all senders, each to a recipient of its own; their ids."""
        orders = [self._order(name, n) for n in range(count)]
        self.homes |= {each.message_id: each.home for each in orders}
        await self.stack.send(orders)
        return [each.message_id for each in orders]

    def _order(self, name: str, n: int) -> DispatchOrder:
        to = f"+9199999{(len(self.homes) + n) % RECIPIENTS + 60_000:05}"
        return order(f"{name}-{n:03}", SENDERS[n % 3], to=to, category="marketing" if n % 2 else "utility")

    async def cancel(self, message_ids: Sequence[str]) -> None:
        """Ask for the end of these, wherever they stand by now."""
        now = datetime.now(UTC)
        commands = [
            SendCommand(
                command_id=f"cancel-{each}",
                home=self.homes[each],
                kind="cancel_message",
                target=each,
                actor="chaos",
                at=now,
            )
            for each in message_ids
        ]
        self.cancelled.update(message_ids)
        await self.stack.write(SEND_COMMANDS, [(each.home, each.home, each, each.command_id) for each in commands])

    async def has_begun(self) -> bool:
        """Whether Meta has one of the messages."""
        return bool(await self.stack.ledger())

    async def settled(self) -> bool:
        """Whether Meta has every message, or it is in doubt by name, or cancelled as was asked for."""
        statuses = await self.stack.statuses()
        ends = {each: (*SETTLED, "cancelled") if each in self.cancelled else SETTLED for each in self.homes}
        return all(statuses.get(message_id) in wanted for message_id, wanted in ends.items())

    async def verdict(self) -> Verdict:
        """As things stand."""
        self.last = judged(self.homes, await self.stack.states(), await self.stack.ledger(), self.cancelled)
        return self.last

    async def concluded(self) -> Verdict:
        """The verdict once everything stands still: what the ledger has is told by an echo and must then be known as
        sent, what it does not have must end `unknown` or be sent; a call that came late shows as a duplicate or a lost
        one."""
        try:
            await eventually(self.settled, SETTLE_SECONDS, every=0.5)
        except AssertionError:
            return await self.verdict()  # it names what is lost
        statuses, entries = await self.stack.statuses(), await self.stack.ledger()
        doubtful = {message_id for message_id in self.homes if statuses[message_id] in DOUBTED}
        told = {message_of(entry): entry for entry in entries if message_of(entry) in doubtful}
        for message_id, entry in told.items():
            attempt = int(str(entry["opaque"]).rpartition(".")[2])
            await self.stack.echo(message_id, self.homes[message_id], attempt, entry["wamid"])
        await eventually(lambda: self.stack.all_are(told, "sent"), SETTLE_SECONDS, every=0.5)
        await eventually(lambda: self._are_decided(doubtful - told.keys()), SETTLE_SECONDS, every=0.5)
        return await self.verdict()

    async def _are_decided(self, message_ids: Iterable[str]) -> bool:
        """Whether each is `unknown`, or was sent after all: a process that woke up may know that it never began the
        call, and then makes it; the ledger says whether that was the only one."""
        statuses = await self.stack.statuses()
        return all(statuses[each] == "unknown" or statuses[each] in CLAIMED for each in message_ids)

    def governed(self, *changes: tuple[str, str], per_second: int | None = None) -> None:
        """Change the policy file of processes that start from now on; `per_second`: each number's pace."""
        path = self.stack.folder / "governance.yaml"
        text = path.read_text("utf-8")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        if per_second is not None:
            text = text.replace("    token_env:", "    profile: chaos\n    token_env:")
            text = PROFILE.format(per_second=per_second) + text
        path.write_text(text, "utf-8")


@dataclass
class Ground:
    """A broker and a folder; rounds take place one after the other. `broker`: one that may be killed, else None."""

    bootstrap: str
    broker: EmbeddedKafka | None
    folder: Path
    nursery: ForkServer
    evidence: Path | None = None  # where a round that fails leaves its logs, ledger and events
    tracers: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """The broker's."""
        return int(self.bootstrap.rpartition(":")[2])

    @asynccontextmanager
    async def round(
        self, *, latency_ms: int = LATENCY_MS, fates: Mapping[str, float] | None = None
    ) -> AsyncIterator[Round]:
        """A round; at its end every process of it is stopped and its topics are deleted. `fates`: the simulator's, by
        name, each with its probability."""
        prefix = f"c{uuid.uuid4().hex[:8]}."
        folder = self.folder / prefix
        folder.mkdir()
        scenario = {"HARKARA_SIM_LATENCY_MS": str(latency_ms), "HARKARA_SIM_MAGIC_SUFFIXES": "false"}
        scenario["HARKARA_SIM_FATES"] = orjson.dumps(dict(fates or {})).decode()
        async with stack(self.bootstrap, prefix, folder, **scenario) as made:
            running = Round(made)
            waits = ", ".join(f"{name}: {IN_DOUBT_SECONDS}" for name in ("utility", "marketing", "service"))
            running.governed(("utility: 12, marketing: 12, authentication: 12, service: 12", waits))
            try:
                yield running
            except Exception:
                await self._bring_back_the_broker()
                await self._keep_evidence(running, folder)
                raise
            if running.last is not None and not running.last.holds:
                await self._keep_evidence(running, folder)
        await self._delete_topics(prefix)

    async def _bring_back_the_broker(self) -> None:
        """A part that broke off while its broker was dead leaves the next one a living broker."""
        if self.broker is not None and not Path(f"/proc/{self.broker.pid}").exists():
            self.broker.spawn()
            await asyncio.to_thread(self.broker.wait_ready)

    async def _keep_evidence(self, running: Round, folder: Path) -> None:
        """Logs, policy, everything that was accepted, every lifecycle event and the journals as they are."""
        if self.evidence is None:
            return
        kept = self.evidence / folder.name
        shutil.copytree(folder, kept)
        (kept / "ledger.json").write_bytes(orjson.dumps(await running.stack.ledger()))
        for topic in (MESSAGE_LIFECYCLE, DISPATCH_JOURNAL):
            name = running.stack.settings.kafka.topic(topic)
            records = await read_all(self.bootstrap, name, read_committed=True)
            lines = [b"%d %d %s %s" % (r.partition, r.offset, r.key or b"-", r.value or b"-") for r in records]
            (kept / f"{topic.name}.txt").write_bytes(b"\n".join(lines))

    async def start(
        self, running: Round, name: str = "dispatcher-0", *, trace: Sequence[str] = (), **environment: str
    ) -> Process:
        """A dispatcher, forked from a process that has imported most of it; `trace`: options of strace, which then
        holds it from before its first network call."""
        port, log = free_port(), running.stack.folder / f"{name}.log"
        variables = running.stack.variables(name, port) | environment
        process = await self.nursery.start(name, "dispatcher", variables, log)
        started = Process(name, process, port, log)
        running.stack.processes.append(started)
        if trace:
            started.signal(signal.SIGSTOP)  # it is still importing
            await eventually(lambda: is_stopped(started), every=0.005)
            self.tracers[process.pid] = await attach(process.pid, *trace)
            started.signal(signal.SIGCONT)
        return started

    async def ended(self, process: Process, timeout_seconds: float) -> int:
        """Its exit code, and its trace is written whole. Raises TimeoutError."""
        code = await process.ended(timeout_seconds)
        tracer = self.tracers.pop(process.process.pid, None)
        if tracer is not None:
            await tracer.wait()
        return code

    async def _delete_topics(self, prefix: str) -> None:
        """A broker holds some ten thousand partitions; a campaign makes thousands."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=60_000)
        await admin.start()
        try:
            await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(prefix)])
        finally:
            await admin.close()


@asynccontextmanager
async def ground(bootstrap: str | None = None, evidence: Path | None = None) -> AsyncIterator[Ground]:
    """On that broker, or on one that is nobody else's and may be killed."""
    with tempfile.TemporaryDirectory(prefix="harkara-chaos-") as name:
        folder = Path(name)
        nursery = ForkServer(folder / "nursery.log")
        await nursery.open()
        broker = None if bootstrap else EmbeddedKafka(folder / "kafka", *free_ports(2))
        address = broker.address if broker is not None else bootstrap or ""
        try:
            if broker is not None:
                await asyncio.to_thread(broker.prepare)
                broker.spawn()  # by this thread: the broker dies with it
                await asyncio.to_thread(broker.wait_ready)
            yield Ground(address, broker, folder, nursery, evidence)
        finally:
            await nursery.close()
            if broker is not None:
                await asyncio.to_thread(broker.stop)


def is_stopped(process: Process) -> bool:
    """Whether SIGSTOP has taken hold."""
    stat = Path(f"/proc/{process.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"
