"""A process frozen between the check of its calls and their writing: what is late by then does not leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from harkara.graph_api.client import GraphClient
from harkara.graph_api.outcome import Accepted, NotSent
from tests.support.wait import eventually

ANSWER = b'{"messages": [{"id": "wamid.A"}]}'
ACCEPTED = Accepted("wamid.A")
LATE = NotSent("lease")
AT_ONCE = 6  # calls of one turn of the event loop


class Far:
    """Accepts everything and counts; on how many connections, too."""

    def __init__(self) -> None:
        self.asked = self.connections = self.ended = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            self.ended += 1


class Clock:
    """Jumps beyond every lease when it has been asked for `freezes_at` checks."""

    def __init__(self, freezes_at: int) -> None:
        self.freezes_at = freezes_at
        self.checks = 0

    def check(self) -> bool:
        """What a caller asks when a connection is at hand."""
        in_time = self.in_time()
        self.checks += in_time
        return in_time

    def in_time(self) -> bool:
        return self.checks < self.freezes_at


@asynccontextmanager
async def far_side(timeout_seconds: float = 30.0) -> AsyncIterator[tuple[Far, GraphClient]]:
    far = Far()
    server = await asyncio.start_server(far.answer, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    graph = GraphClient(address, "v26.0", lambda: "EAATEST", timeout_seconds=timeout_seconds)
    async with server:
        yield far, graph
        await graph.aclose()


async def sent(graph: GraphClient, clock: Clock) -> list[object]:
    sends = (graph.send("1", {"to": "x"}, before_call=clock.check, in_time=clock.in_time) for _ in range(AT_ONCE))
    return list(await asyncio.gather(*sends))


@pytest.mark.req("DSP-19")
@pytest.mark.parametrize("checks", [1, 3, AT_ONCE])
async def test_of_several_calls_at_once_none_leaves_after_a_sleep(checks: int) -> None:
    """Their connections are at hand in one turn of the loop; so many are checked, then comes a long sleep. Each leaves
    in the step of its own check: the last one checked is late, and those after it."""
    async with far_side() as (far, graph):
        assert await sent(graph, Clock(1000)) == [ACCEPTED] * AT_ONCE
        assert (far.asked, far.connections) == (AT_ONCE, AT_ONCE)
        in_time = checks - 1
        assert await sent(graph, Clock(checks)) == [ACCEPTED] * in_time + [LATE] * (AT_ONCE - in_time)
        assert far.asked == AT_ONCE + in_time, "the lease had run out for the others"
        assert await sent(graph, Clock(1000)) == [ACCEPTED] * AT_ONCE
        assert (far.asked, far.connections) == (2 * AT_ONCE + in_time, AT_ONCE)


async def test_whoever_is_not_late_leaves_on_the_connection_that_it_had() -> None:
    async with far_side() as (far, graph):
        for _ in range(3):
            assert await sent(graph, Clock(1000)) == [ACCEPTED] * AT_ONCE
        assert (far.asked, far.connections) == (3 * AT_ONCE, AT_ONCE)


async def test_a_sleep_before_the_checks_keeps_the_connections() -> None:
    async with far_side() as (far, graph):
        await sent(graph, Clock(1000))
        assert await sent(graph, Clock(0)) == [LATE] * AT_ONCE
        assert await sent(graph, Clock(1000)) == [ACCEPTED] * AT_ONCE
        assert (far.asked, far.connections) == (2 * AT_ONCE, AT_ONCE)


class Asleep(Clock):
    """Sleeps through the call's time-out, too, and the event loop with it."""

    def check(self) -> bool:
        time.sleep(0.2)
        return super().check()


async def test_a_sleep_longer_than_the_time_out_says_nothing_of_the_far_side() -> None:
    """Or its breaker would open for an endpoint that was never asked."""
    async with far_side(timeout_seconds=0.1) as (far, graph):
        assert await graph.send("1", {"to": "x"}, before_call=Asleep(1).check, in_time=lambda: False) == LATE
        await eventually(lambda: far.ended == 1)
        assert far.asked == 0
