"""Where a webhook is safe while Kafka comes and goes. The broker is a fake; the disk is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from harkara.ingestion.addressing import Addresses
from harkara.ingestion.effects import TooLarge, Unavailable
from harkara.ingestion.metrics import SPOOL_DAMAGED
from harkara.ingestion.records import RecordMaker
from harkara.ingestion.settings import Settings
from harkara.ingestion.spool import Spool, SpoolInUse
from harkara.ingestion.webhook_log import WebhookLog
from harkara.policy.governance import Governance
from harkara.runtime.clock import ManualClock
from harkara.runtime.kafka import Output, RawOutput
from tests.support.wait import eventually
from tests.unit.ingestion.conftest import LONE, NOW


@dataclass
class Broker:
    """Acknowledges while `there`; when it is `slow`, never. A record naming `heavy` is larger than it takes."""

    there: bool = True
    slow: bool = False
    known_away: bool = False
    heavy: str | None = None
    written: list[str] = field(default_factory=list)

    def ready(self) -> str | None:
        return "away" if self.known_away else None

    async def write(self, outputs: Sequence[Output | RawOutput]) -> None:
        if self.slow:
            await asyncio.Event().wait()
        if not self.there:
            raise Unavailable("away")
        names = [name_of(each) for each in outputs]
        if self.heavy in names:
            raise TooLarge("too large")
        self.written += names

    def goes(self) -> None:
        self.there, self.known_away = False, True

    def comes(self) -> None:
        self.there, self.known_away, self.slow = True, False, False


def name_of(output: Output | RawOutput) -> str:
    assert isinstance(output, Output)
    value = output.event.model_dump()["value"] if output.event is not None else {}
    return str(value["statuses"][0]["id"])


def body(name: str) -> bytes:
    value = {"metadata": {"phone_number_id": LONE}, "statuses": [{"id": name, "status": "sent", "timestamp": "1"}]}
    changes = [{"field": "messages", "value": value}]
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]})


@dataclass
class Setting:
    broker: Broker
    log: WebhookLog
    maker: RecordMaker
    clock: ManualClock

    async def send(self, name: str) -> None:
        raw, now = body(name), self.clock.now()
        await self.log.append(raw, now, self.maker.records(raw, now).outputs)


@asynccontextmanager
async def opened(
    governance: Governance, folder: Path, broker: Broker | None = None, most_bytes: int = 1 << 20
) -> AsyncIterator[Setting]:
    settings = Settings(data_dir=folder, webhook_spool_max_bytes=most_bytes, spool_after_seconds=0.2)
    maker, clock, broker = RecordMaker(Addresses(governance), 6), ManualClock(NOW), broker or Broker()
    log = WebhookLog(settings, broker, maker, clock)
    assert log.ready() == "opening the spool"
    running = asyncio.create_task(log.run())
    try:
        await eventually(lambda: running.done() or log._spool is not None, every=0.002)
        yield Setting(broker, log, maker, clock)
    finally:
        running.cancel()
        await asyncio.wait([running])


def left(folder: Path) -> int:
    spool = Spool(folder / "webhook-spool", 1 << 20)
    try:
        return spool.waiting
    finally:
        spool.close()


async def test_while_kafka_is_there_nothing_touches_the_disk(governance: Governance, tmp_path: Path) -> None:
    async with opened(governance, tmp_path) as at:
        await at.send("a")
        assert at.broker.written == ["a"]
        assert at.log.ready() is None
        assert not list((tmp_path / "webhook-spool").glob("*.seg"))


@pytest.mark.req("B5")
@pytest.mark.parametrize("known", [True, False])
async def test_what_comes_while_kafka_is_away_is_there_afterwards_and_in_order(
    governance: Governance, tmp_path: Path, known: bool
) -> None:
    async with opened(governance, tmp_path) as at:
        at.broker.there, at.broker.known_away = False, known
        for n in range(30):
            await at.send(f"{n:02}")
        at.clock.advance(90)
        at.broker.known_away = True
        assert at.log.ready() == "30 webhooks wait for Kafka in the spool, the oldest for 90 s"
        at.broker.comes()
        late = [asyncio.create_task(at.send(f"late-{n}")) for n in range(5)]
        await asyncio.gather(*late)
        await eventually(lambda: len(at.broker.written) >= 35)
        assert at.broker.written == [f"{n:02}" for n in range(30)] + [f"late-{n}" for n in range(5)]
        await eventually(lambda: at.log.ready() is None and not at.log.spooling)
        await at.send("direct")
        assert at.broker.written[-1] == "direct"
    assert left(tmp_path) == 0


async def test_an_acknowledgement_that_does_not_come_is_not_waited_for(governance: Governance, tmp_path: Path) -> None:
    async with opened(governance, tmp_path) as at:
        at.broker.slow = True
        began = asyncio.get_running_loop().time()
        await at.send("a")
        first = asyncio.get_running_loop().time() - began
        await at.send("b")
        assert 0.2 <= first < 1.0
        assert asyncio.get_running_loop().time() - began - first < 0.15  # it goes behind the first, and asks nobody
        at.broker.goes()


@pytest.mark.parametrize("millisecond", [0, 1, 457, 999])
async def test_the_time_of_receipt_and_the_ids_are_those_of_the_first_time(
    governance: Governance, tmp_path: Path, millisecond: int
) -> None:
    broker = Broker()
    seen: list[Output | RawOutput] = []
    write = broker.write

    async def watched(outputs: Sequence[Output | RawOutput]) -> None:
        await write(outputs)
        seen.extend(outputs)

    broker.write = watched  # type: ignore[method-assign]
    broker.goes()
    async with opened(governance, tmp_path, broker) as at:
        at.clock.at += timedelta(milliseconds=millisecond)
        expected = at.maker.records(body("a"), at.clock.now()).outputs
        await at.send("a")
        at.clock.advance(3600)
        at.broker.comes()
        await eventually(lambda: seen == list(expected))


async def test_a_stop_replays_what_waits_if_kafka_is_there(governance: Governance, tmp_path: Path) -> None:
    async with opened(governance, tmp_path) as at:
        at.broker.goes()
        for n in range(50):
            await at.send(str(n))
        at.broker.comes()
    assert len(at.broker.written) == 50
    assert left(tmp_path) == 0


@pytest.mark.req("B5")
async def test_what_waits_outlives_a_stop_and_goes_first_in_the_next_process(
    governance: Governance, tmp_path: Path
) -> None:
    async with opened(governance, tmp_path) as at:
        at.broker.goes()
        await asyncio.gather(*(at.send(str(n)) for n in range(50)))
    assert at.broker.written == []
    async with opened(governance, tmp_path) as at:
        await at.send("new")
        await eventually(lambda: len(at.broker.written) == 51)
        assert at.broker.written == [*(str(n) for n in range(50)), "new"]


async def test_a_full_spool_refuses_and_keeps_what_it_promised(governance: Governance, tmp_path: Path) -> None:
    async with opened(governance, tmp_path, most_bytes=5 * (len(body("00")) + 20)) as at:
        at.broker.goes()
        results = await asyncio.gather(*(at.send(f"{n:02}") for n in range(9)), return_exceptions=True)
        assert [type(each) for each in results] == [type(None)] * 5 + [Unavailable] * 4
        at.broker.comes()
        await eventually(lambda: len(at.broker.written) == 5)
        await eventually(lambda: at.log.ready() is None)


async def test_without_a_spool_kafkas_word_is_the_answer(governance: Governance, tmp_path: Path) -> None:
    async with opened(governance, tmp_path, most_bytes=0) as at:
        await at.send("a")
        at.broker.goes()
        with pytest.raises(Unavailable):
            await at.send("b")


async def test_before_it_is_open_nothing_is_promised(governance: Governance, tmp_path: Path) -> None:
    maker, clock = RecordMaker(Addresses(governance), 6), ManualClock(NOW)
    log = WebhookLog(Settings(data_dir=tmp_path), Broker(), maker, clock)
    with pytest.raises(Unavailable):
        await log.append(body("a"), NOW, maker.records(body("a"), NOW).outputs)


async def test_what_kafka_never_takes_is_set_aside_and_holds_up_nothing(governance: Governance, tmp_path: Path) -> None:
    async with opened(governance, tmp_path) as at:
        at.broker.heavy = "2"
        at.broker.goes()
        for n in range(5):
            await at.send(str(n))
        at.broker.comes()
        await eventually(lambda: at.broker.written == ["0", "1", "3", "4"])
    (aside,) = (tmp_path / "webhook-spool").glob("refused-*.json")
    assert aside.read_bytes() == body("2")


@dataclass
class Spoilt(Broker):
    """As Kafka's idempotent producer: after a refusal nothing goes through it until it is replaced."""

    spoilt: bool = False

    def ready(self) -> str | None:
        return "a new producer is being made" if self.spoilt else super().ready()

    async def write(self, outputs: Sequence[Output | RawOutput]) -> None:
        if self.spoilt:
            raise Unavailable("out of sequence")
        try:
            await super().write(outputs)
        except TooLarge:
            self.spoilt = True
            asyncio.get_running_loop().call_later(0.02, setattr, self, "spoilt", False)
            raise


@pytest.mark.parametrize("heavy", ["0", "2", "4"])
async def test_a_refusal_that_spoils_the_producer_holds_up_nothing(
    governance: Governance, tmp_path: Path, heavy: str
) -> None:
    async with opened(governance, tmp_path, Spoilt(heavy=heavy)) as at:
        at.broker.goes()
        for n in range(5):
            await at.send(str(n))
        at.broker.comes()
        await eventually(lambda: at.broker.written == [str(n) for n in range(5) if str(n) != heavy])
        await eventually(lambda: at.log.ready() is None)
    assert left(tmp_path) == 0


async def test_what_the_disk_loses_is_counted(governance: Governance, tmp_path: Path) -> None:
    before = SPOOL_DAMAGED._value.get()
    async with opened(governance, tmp_path) as at:
        at.broker.goes()
        await at.send("a")
        (path,) = (tmp_path / "webhook-spool").glob("*.seg")
        size = path.stat().st_size
        path.write_bytes(bytes(size))
        at.broker.comes()
        await eventually(lambda: SPOOL_DAMAGED._value.get() == before + size)


async def test_two_processes_never_share_a_spool(governance: Governance, tmp_path: Path) -> None:
    async with opened(governance, tmp_path) as at:
        other = WebhookLog(Settings(data_dir=tmp_path), Broker(), at.maker, at.clock)
        with pytest.raises(SpoolInUse):
            await other.run()


async def test_a_client_that_leaves_takes_nothing_with_it(governance: Governance, tmp_path: Path) -> None:
    async with opened(governance, tmp_path) as at:
        at.broker.goes()
        leaving = asyncio.create_task(at.send("a"))
        staying = asyncio.create_task(at.send("b"))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        at.clock.at += timedelta(seconds=1)
        at.broker.comes()
        await eventually(lambda: at.broker.written[-1:] == ["b"])
