"""An agent's stream taken in bursts: what Faust does for each event, without its cost for each event.

Faust gives the event loop a turn and asks its sensors before and after every event. Here a burst is one turn; the
event is taken only where its partition is still owned, and acknowledged only after it was folded without an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

BURST_EVENTS = 100  # about 10 ms at the most; Faust's fetcher gives way after so many too, so the queue stays short

Take = Callable[[Any], Awaitable[None] | None]
"""Folds one of Faust's messages; what it returns is awaited before the next one."""


async def fold_stream(stream: Any, take: Take, burst_ended: Callable[[], None]) -> None:
    """Take every message of the stream until it is stopped; `burst_ended` is called after each burst."""
    started = await stream.maybe_start()
    try:
        while not stream.should_stop:
            await _burst(stream, take, await stream.channel.__anext__())
            burst_ended()
            await asyncio.sleep(0)
    except StopAsyncIteration:
        return  # thrown into the stream's queue: how Faust tells an agent to end
    finally:
        stream._channel_stop_iteration(stream.channel)
        if started:
            await stream.stop()
            stream.service_reset()


async def _burst(stream: Any, take: Take, event: Any) -> None:
    app, queue = stream.app, stream.channel.queue
    consumer, acking = app.consumer, app.topics.acking_topics
    inbound = app.monitor.stream_inbound_time  # by which Faust notices a stream that has stopped
    for left in reversed(range(BURST_EVENTS)):
        message = event.message
        if app.flow_control.is_active() and message.generation_id == app.consumer_generation_id:
            if message.topic in acking and not message.tracked:
                message.tracked = True
                consumer.unacked.add(message)
            inbound[message.tp] = monotonic()
            folding = take(message)
            if folding is not None:
                await folding
            message.ack(consumer)
        if not left or queue.empty():
            return
        event = queue.get_nowait()
