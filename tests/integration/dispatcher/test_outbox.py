"""A lane's events are written beside its next round: in order, marked when they are there, again by the next owner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harkara.contracts.topics import MESSAGE_LIFECYCLE
from harkara.dispatcher.breath import Breath
from harkara.dispatcher.emitter import NotWritten
from harkara.dispatcher.journal import EMITTED, Entry, step_key
from harkara.dispatcher.outbox import ENTRIES_AT_ONCE, MOST_UNACKNOWLEDGED, Outbox
from harkara.dispatcher.projection import Emission, implied
from harkara.dispatcher.settings import Settings
from harkara.runtime.clock import SystemClock
from harkara.runtime.settings import KafkaSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.dispatcher.emitting import emitting, records, subject_of
from tests.support.wait import eventually

HOME = "pool-a"
DAY = 86_400.0
MANY = 4 * ENTRIES_AT_ONCE + 1


class Unhurried(Breath):
    """Pauses after each part, so that what is written can be met between two."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.pauses = 0

    async def take(self) -> None:
        """A pause, each time."""
        self.pauses += 1
        await asyncio.sleep(0)


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str) -> Settings:
    kafka = KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix)
    made = Settings(kafka=kafka, partitions=1, replication_factor=1, instance="dispatcher-0", linger_seconds=0.0)
    await ensure_topics(made)
    return made


def step(seq: int, **more: Any) -> Entry:
    """Implies one event, of the message of that number."""
    data = {"status": "held", "attempt": 0, "reason": "run_paused"} | more
    return Entry(step_key(f"message-{seq}"), seq, "step", time.time(), HOME, data)


def mark(seq: int, of: int) -> Entry:
    """Implies nothing."""
    return Entry(EMITTED, seq, "emitted", time.time(), "lane-0", {"seq": of})


def steps(first: int, count: int = MANY) -> list[Entry]:
    return [step(seq) for seq in range(first, first + count)]


def unprojectable(seq: int) -> Entry:
    """Raises KeyError when it is projected."""
    return Entry(step_key(f"message-{seq}"), seq, "step", time.time(), HOME, {"attempt": 0})


def subjects(settings: Settings) -> list[str]:
    """The messages of the lifecycle topic's records, in their order."""
    return [subject_of(record) for record in records(settings, MESSAGE_LIFECYCLE)]


def named(*seqs: int) -> list[str]:
    return [f"message-{seq}" for seq in seqs]


def nobody() -> None:
    """Told of nothing."""


def emitted(outbox: Outbox, seq: int) -> Callable[[], Awaitable[bool]]:
    async def is_there() -> bool:
        return outbox.look() == seq

    return is_there


def done_waiting(outbox: Outbox) -> Callable[[], Awaitable[bool]]:
    async def looked() -> bool:
        outbox.look()
        return not outbox.waits

    return looked


async def test_two_writes_keep_their_order_and_the_mark_follows_what_is_acknowledged(settings: Settings) -> None:
    told: list[int] = []
    async with emitting(settings) as emitter:
        breath = Unhurried()
        outbox = Outbox(emitter, breath)
        await outbox.write(steps(1), lambda: told.append(1))
        assert (outbox.look(), breath.pauses, outbox.waits) == (0, 0, True), "it is written beside what follows"
        await outbox.write([*steps(MANY + 1), mark(2 * MANY + 1, 0)], lambda: told.append(2))
        assert breath.pauses == 5, "the first is handed over before the second begins"
        await outbox.settle(20)
        await eventually(emitted(outbox, 2 * MANY + 1))
        assert not outbox.waits and told == [1, 2]
    assert subjects(settings) == named(*range(1, 2 * MANY + 1))


async def test_a_mark_alone_writes_nothing_and_asks_for_no_other(settings: Settings) -> None:
    async with emitting(settings) as emitter:
        outbox = Outbox(emitter, Breath(SystemClock()))
        outbox.take_over([], 7)
        await outbox.write([mark(8, 7)], nobody)
        began = outbox.waits  # until somebody looks
        await eventually(done_waiting(outbox))
        assert began
        assert outbox.emitted == 7
        await outbox.write([], nobody)
        assert not outbox.waits
    assert subjects(settings) == []


@pytest.mark.parametrize("by", ["look", "written", "write", "unmarked"])
async def test_what_writing_raised_comes_up_and_no_mark_passes_it(settings: Settings, by: str) -> None:
    async with emitting(settings) as emitter:
        outbox = Outbox(emitter, Unhurried())
        await outbox.write([*steps(1), unprojectable(MANY + 1)], nobody)
        ways: dict[str, Callable[[], Any]] = {
            "look": lambda: eventually(done_waiting(outbox)),
            "written": outbox.written,
            "write": lambda: outbox.write([step(99)], nobody),
            "unmarked": lambda: outbox.write_unmarked([]),
        }
        with pytest.raises(KeyError):
            await ways[by]()
        assert outbox.emitted == 0
    assert "message-99" not in subjects(settings)


async def test_no_mark_passes_what_the_broker_did_not_take_however_often_one_looks(settings: Settings) -> None:
    ahead = step(2)._replace(at=time.time() + DAY)
    async with emitting(settings) as emitter:
        outbox = Outbox(emitter, Breath(SystemClock()))
        for entry in (step(1), ahead, step(3)):
            await outbox.write([entry], nobody)
        await outbox.settle(20)
        for _ in range(2):
            with pytest.raises(NotWritten):
                outbox.look()
            assert outbox.emitted == 1


async def test_what_was_broken_off_is_written_by_whoever_takes_over(settings: Settings) -> None:
    async with emitting(settings) as emitter:
        breath = Unhurried()
        outbox = Outbox(emitter, breath)
        await outbox.write(steps(1), nobody)
        while breath.pauses < 2:
            await asyncio.sleep(0)
        await outbox.stop()
        assert not outbox.waits and outbox.emitted == 0
        await outbox.stop()  # nothing is being written any more
        outbox.take_over(steps(1), 0)
        await asyncio.wait_for(outbox.write_pending([step(MANY + 1)]), 20)
        assert outbox.look() == MANY + 1 and not outbox.waits
    found = subjects(settings)
    begun, rest = found[: -(MANY + 1)], found[-(MANY + 1) :]
    assert begun == named(*range(1, 2 * ENTRIES_AT_ONCE + 1))
    assert rest == named(*range(1, MANY + 2)), "from the mark on, in order"


async def test_what_an_earlier_owner_had_under_way_moves_no_mark_of_the_next(settings: Settings) -> None:
    async with emitting(settings) as emitter:
        outbox = Outbox(emitter, Breath(SystemClock()))
        told: list[int] = []
        await outbox.write(steps(1), lambda: told.append(1))
        await outbox.written()
        await outbox.stop()
        outbox.take_over([], 3)

        async def is_acknowledged() -> bool:
            return told == [1]

        await eventually(is_acknowledged)
        assert outbox.look() == 3 and not outbox.waits


async def test_the_unmarked_go_in_order_and_move_no_mark(settings: Settings) -> None:
    async with emitting(settings) as emitter:
        outbox = Outbox(emitter, Unhurried())
        outbox.take_over([], 4)
        await outbox.write_unmarked(_ask(100))
        await outbox.settle(20)
        assert outbox.look() == 4, "nothing was written before it"
        await outbox.write(steps(5), nobody)
        await outbox.write_unmarked(_ask(101))
        await outbox.write([step(5 + MANY)], nobody)
        await outbox.settle(20)
        await eventually(emitted(outbox, 5 + MANY))
    assert subjects(settings) == named(100, *range(5, 5 + MANY), 101, 5 + MANY)


async def test_a_round_waits_while_too_much_is_not_acknowledged(settings: Settings) -> None:
    slow = settings.model_copy(update={"linger_seconds": 2.0})
    async with emitting(slow) as emitter:
        outbox, began = Outbox(emitter, Breath(SystemClock())), time.monotonic()
        for seq in range(1, MOST_UNACKNOWLEDGED + 2):
            await outbox.write([step(seq)], nobody)
        assert time.monotonic() - began < 1.5, "up to there nobody waits"
        for seq in range(MOST_UNACKNOWLEDGED + 2, MOST_UNACKNOWLEDGED + 4):
            await outbox.write([step(seq)], nobody)
        assert outbox.look() > 0, "the oldest was awaited"
        await outbox.settle(20)


def _ask(number: int) -> list[Emission]:
    """As one for places, but on the topic of the others, that its order among them can be seen."""
    return implied(step(number))
