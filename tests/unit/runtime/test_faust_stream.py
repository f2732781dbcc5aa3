"""Events on their way to a fold: acknowledged when folded, and only those of partitions that are still owned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from harkara.runtime.faust_stream import BURST_EVENTS, fold_stream
from tests.support.wait import eventually


@dataclass(eq=False)
class Message:
    """One of Faust's, as far as it is looked at."""

    offset: int
    generation_id: int = 1
    topic: str = "t"
    tracked: bool = False
    acked: bool = False
    tp: tuple[str, int] = ("t", 0)

    def ack(self, consumer: Any) -> None:
        assert self in consumer.unacked, "tracked before it is folded"
        self.acked = True


class Queue(asyncio.Queue[Any]):
    """A channel's: an error in it is thrown at whoever takes it."""

    def get_nowait(self) -> Any:
        found = super().get_nowait()
        if isinstance(found, Exception):
            raise found
        return found


class Channel:
    def __init__(self) -> None:
        self.queue = Queue()

    async def __anext__(self) -> Any:
        return await self.queue.get()


@dataclass
class Stream:
    """Faust's stream with a queue that the test fills."""

    channel: Channel = field(default_factory=Channel)
    should_stop: bool = False
    flowing: bool = True
    ended: bool = False

    def __post_init__(self) -> None:
        self.app = SimpleNamespace(
            consumer=SimpleNamespace(unacked=set()),
            topics=SimpleNamespace(acking_topics={"t"}),
            monitor=SimpleNamespace(stream_inbound_time={}),
            flow_control=SimpleNamespace(is_active=lambda: self.flowing),
            consumer_generation_id=1,
        )

    async def maybe_start(self) -> bool:
        return False

    def _channel_stop_iteration(self, channel: Channel) -> None:
        self.ended = True

    def put(self, *messages: Message) -> None:
        for message in messages:
            self.channel.queue.put_nowait(SimpleNamespace(message=message))

    def end(self) -> None:
        self.channel.queue.put_nowait(StopAsyncIteration())


async def test_all_are_folded_in_their_order_and_in_bursts() -> None:
    stream, folded, bursts = Stream(), list[int](), list[int]()
    messages = [Message(number) for number in range(2 * BURST_EVENTS + 7)]
    stream.put(*messages)
    stream.end()

    def take(message: Message) -> None:
        folded.append(message.offset)

    await asyncio.wait_for(fold_stream(stream, take, lambda: bursts.append(len(folded))), 5)
    assert folded == [message.offset for message in messages] and all(message.acked for message in messages)
    assert bursts[:2] == [BURST_EVENTS, 2 * BURST_EVENTS] and stream.ended


async def test_what_another_owner_will_read_is_neither_folded_nor_acknowledged() -> None:
    stream, folded = Stream(), list[int]()
    old, mine, late = Message(1, generation_id=0), Message(2), Message(3)

    def take(message: Message) -> None:
        folded.append(message.offset)
        stream.flowing = False  # partitions are taken away while it is folded

    stream.put(old, mine, late)
    stream.end()
    await asyncio.wait_for(fold_stream(stream, take, lambda: None), 5)
    assert folded == [2] and [message.acked for message in (old, mine, late)] == [False, True, False]


async def test_what_could_not_be_folded_is_not_acknowledged_and_ends_the_agent() -> None:
    stream, messages = Stream(), [Message(1), Message(2), Message(3)]
    stream.put(*messages)

    def take(message: Message) -> None:
        if message.offset == 2:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await asyncio.wait_for(fold_stream(stream, take, lambda: None), 5)
    assert [message.acked for message in messages] == [True, False, False] and stream.ended


async def test_what_folding_waits_for_comes_before_its_acknowledgement_and_the_next_event() -> None:
    stream, folded, may_go = Stream(), list[int](), asyncio.Event()
    messages = [Message(1), Message(2)]
    stream.put(*messages)
    stream.end()

    async def waiting() -> None:
        await may_go.wait()

    def take(message: Message) -> Awaitable[None] | None:
        folded.append(message.offset)
        return waiting() if message.offset == 1 else None

    folding = asyncio.create_task(fold_stream(stream, take, lambda: None))
    await eventually(lambda: folded == [1], timeout_seconds=5, every=0.001)
    assert not messages[0].acked
    may_go.set()
    await asyncio.wait_for(folding, 5)
    assert folded == [1, 2] and all(message.acked for message in messages)
