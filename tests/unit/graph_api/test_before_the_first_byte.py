"""What goes wrong before the first byte is known not to have left, and what goes wrong after it is in doubt.

The far side is a real server that counts the bytes that reach it: the only judge of what has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from harkara.graph_api.client import GraphClient
from harkara.graph_api.outcome import Accepted, InDoubt, NotSent, Outcome
from tests.support.wait import eventually

ANSWER = b'{"messages": [{"id": "wamid.A"}]}'
BODY = {"to": "x"}


class Counting:
    """Counts bytes and connections; answers everything, or nothing (`silent`)."""

    def __init__(self, *, silent: bool = False) -> None:
        self.bytes = self.connections = self.ended = 0
        self.silent = silent
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while part := await reader.read(65_536):
            self.bytes += len(part)
            if not self.silent:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
        writer.close()
        self.ended += 1


@asynccontextmanager
async def counting(*, silent: bool = False) -> AsyncIterator[Counting]:
    far = Counting(silent=silent)
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    async with server:
        yield far


async def asked(far: Counting, token: str, **more: float) -> Outcome:
    graph = GraphClient(f"http://127.0.0.1:{far.port}", "v26.0", lambda: token, **more)  # type: ignore[arg-type]
    outcome = await graph.send("1", BODY)
    await graph.aclose()
    await eventually(lambda: far.ended == far.connections)
    return outcome


@pytest.mark.req("FHL-3")
@pytest.mark.parametrize("token", ["EAAX\n", "EAAX\r\nX-Other: 1", "EAA\x00X"])
async def test_a_header_that_cannot_be_written_is_known_not_to_have_left(token: str) -> None:
    async with counting() as far:
        assert await asked(far, token) == NotSent("impossible")
        assert far.bytes == 0


@pytest.mark.parametrize("base", ["graph.facebook.com", "htps://graph.facebook.com", "http://", "http://[::1"])
async def test_an_address_that_is_none_is_known_not_to_have_been_asked(base: str) -> None:
    graph = GraphClient(base, "v26.0", lambda: "EAAX")
    assert await graph.send("1", BODY) == NotSent("impossible")
    await graph.aclose()


async def test_what_the_far_side_may_have_is_in_doubt() -> None:
    """The counterpart: of a request that has left, nothing is taken for not sent."""
    async with counting() as far:
        assert await asked(far, "EAAX") == Accepted("wamid.A")
    async with counting(silent=True) as far:
        assert await asked(far, "EAAX", timeout_seconds=0.2) == InDoubt("timeout")
        assert far.bytes > 0


async def test_a_connection_that_closed_before_the_request_is_no_doubt() -> None:
    """It is closed between the check of the caller and the step that writes: the very turn of the loop in which the far
    side's end of an idle connection comes in."""
    async with counting() as far:
        graph = GraphClient(f"http://127.0.0.1:{far.port}", "v26.0", lambda: "EAAX", max_connections=1)
        assert await graph.send("1", BODY) == Accepted("wamid.A")
        before = far.bytes
        connector = cast(Any, graph)._way_out._connector
        ((idle, _),) = [each for queue in connector._conns.values() for each in queue]

        def closes() -> bool:
            idle.transport.close()
            return True

        assert await graph.send("1", BODY, before_call=closes) == NotSent("connect")
        await graph.aclose()
        await eventually(lambda: far.ended == far.connections)
        assert far.bytes == before


async def test_a_request_leaves_in_the_step_in_which_its_caller_was_asked() -> None:
    """Nothing else runs in between: neither the end of the caller's time nor another call's refusal."""
    async with counting() as far:
        graph = GraphClient(f"http://127.0.0.1:{far.port}", "v26.0", lambda: "EAAX")
        told = list[str]()

        def asked() -> bool:
            asyncio.get_running_loop().call_soon(told.append, "the next step")
            return True

        def in_time() -> bool:
            told.append("leaves")
            return True

        assert await graph.send("1", BODY, before_call=asked, in_time=in_time) == Accepted("wamid.A")
        assert told[:2] == ["leaves", "the next step"]
        await graph.aclose()
        await eventually(lambda: far.ended == far.connections)


async def test_a_call_that_is_too_late_leaves_its_connection_to_the_next() -> None:
    """Whether the caller's no came when a connection was at hand or as the first byte was about to leave."""
    async with counting() as far:
        graph = GraphClient(f"http://127.0.0.1:{far.port}", "v26.0", lambda: "EAAX", max_connections=1)
        assert await graph.send("1", BODY, before_call=lambda: False) == NotSent("lease")
        assert await graph.send("1", BODY, in_time=lambda: False) == NotSent("lease")
        assert far.bytes == 0
        assert await graph.send("1", BODY) == Accepted("wamid.A")
        assert far.connections == 1
        await graph.aclose()
        await eventually(lambda: far.ended == far.connections)


async def test_an_answer_that_comes_in_pieces_after_a_preliminary_one_is_read_whole() -> None:
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        for part in (b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le",
                     b"ngth: %d\r\n\r\n" % len(ANSWER), ANSWER[:5], ANSWER[5:]):  # fmt: skip
            writer.write(part)
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        graph = GraphClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "v26.0", lambda: "EAAX")
        assert await graph.send("1", BODY) == Accepted("wamid.A")
        await graph.aclose()
        await over.wait()


async def test_a_read_leaves_with_its_connection_and_is_told_so() -> None:
    """So is a request without a body."""
    async with counting() as far:
        graph = GraphClient(f"http://127.0.0.1:{far.port}", "v26.0", lambda: "EAAX")
        with pytest.raises(Exception, match="InDoubt"):
            await graph.health_status("1")  # answered with something else: read, and no health
        assert far.bytes > 0
        await graph.aclose()
