"""The lifecycle from some moment on, joined as it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harkara.contracts.envelope import decode
from harkara.contracts.lifecycle import MessageLifecycle, State, advance
from harkara.contracts.topics import MESSAGE_LIFECYCLE
from harkara.runtime.settings import KafkaSettings
from tests.support.topic_tail import TopicTail, topic_tail


class LifecycleTail:
    """`states`: every message of which something was heard under its id, as of the last `catch_up`."""

    def __init__(self, tail: TopicTail) -> None:
        self.states: dict[str, State] = {}
        self._tail = tail

    async def catch_up(self) -> None:
        """Read up to where the topic ends now."""
        for record in await self._tail.news():
            event = decode(MESSAGE_LIFECYCLE.events, record.value, record.headers, fallback_id="").event
            assert isinstance(event, MessageLifecycle), event
            if event.message_id is not None:
                self.states[event.message_id] = advance(self.states.get(event.message_id), event)


@asynccontextmanager
async def lifecycle_tail(kafka: KafkaSettings) -> AsyncIterator[LifecycleTail]:
    """From the topic's end as it is now."""
    name = kafka.topic(MESSAGE_LIFECYCLE)
    async with topic_tail(kafka.bootstrap, [name], from_the_end=True, read_committed=True) as tail:
        yield LifecycleTail(tail)
