"""The Graph API of the benchmarks: it must be as strict as it says, or a bar passes that should not."""

from __future__ import annotations

import asyncio
import json
import socket

from bench.dispatch import percentile
from bench.dispatch_rig import Sample
from bench.lean_graph import Connection, Ledger
from harkara.graph_api.client import GraphClient
from harkara.graph_api.outcome import Accepted, Refused


def body(opaque: str) -> bytes:
    return json.dumps({"to": "+919999900011", "biz_opaque_callback_data": opaque}).encode()


def test_the_call_beyond_the_limit_is_refused_until_a_second_has_passed() -> None:
    now = [100.0]
    ledger = Ledger(limit=3, clock=lambda: now[0])
    assert [ledger.takes("1", body(f"m-{n}.1")) for n in range(5)] == [True, True, True, False, False]
    assert ledger.takes("2", body("other.1")), "each number has its own second"
    now[0] += 1.0
    assert ledger.takes("1", body("m-9.1"))
    assert (ledger.refused, ledger.doubled, ledger.most_in_a_second) == (2, 0, 3)


def test_the_same_attempt_twice_is_counted() -> None:
    ledger = Ledger()
    for opaque in ("m-1.1", "m-1.2", "m-1.1"):
        ledger.takes("1", body(opaque))
    assert ledger.doubled == 1
    assert json.loads(ledger.shown())["accepted"] == 3


def arrived(every: float, until: float, begin: float, end: float, pause: tuple[float, float] = (0.0, 0.0)) -> float:
    """What is counted of calls from 100.0 on, of which those in the pause come at its end."""
    now = [0.0]
    ledger = Ledger(clock=lambda: now[0])
    for n in range(int((until - 100.0) / every)):
        at = 100.0 + n * every
        now[0] = pause[1] if pause[0] <= at < pause[1] else at
        ledger.takes("1", body(f"m-{n}.1"))
    return float(json.loads(ledger.arrived(begin, end))["arrived"])


def test_a_stretch_counts_the_calls_that_came_in_it() -> None:
    assert round(arrived(0.1, 200.0, 110.0, 120.0), 6) == 100
    assert round(arrived(0.1, 115.0, 110.0, 120.0), 6) == 44.5, "of the stretches of a second the mean"
    assert arrived(0.1, 110.0, 110.0, 120.0) == 0


def test_a_pause_at_the_edge_of_a_stretch_neither_takes_nor_gives_what_went_by_in_it() -> None:
    even = arrived(0.001, 125.0, 110.0, 120.0)
    assert abs(arrived(0.001, 125.0, 110.0, 120.0, (109.98, 110.02)) - even) < 1
    assert abs(arrived(0.001, 125.0, 110.0, 120.0, (119.98, 120.02)) - even) < 1
    assert abs(arrived(0.001, 125.0, 110.0, 120.0, (119.0, 119.04)) - even) < 1


def test_what_is_refused_has_not_arrived() -> None:
    now = [100.0]
    ledger = Ledger(limit=2, clock=lambda: now[0])
    for at in (100.0, 102.5, 102.6, 102.7, 110.0):
        now[0] = at
        ledger.takes("1", body(f"m-{at}.1"))
    assert json.loads(ledger.arrived(101.0, 105.0))["arrived"] == 2


async def test_it_speaks_with_our_client() -> None:
    ledger = Ledger(limit=1)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(ledger, 0.01), "127.0.0.1", 0)
    listener: socket.socket = server.sockets[0]
    graph = GraphClient(f"http://127.0.0.1:{listener.getsockname()[1]}", "v26.0", lambda: "EAATEST-one")
    first = await graph.send("100000000000011", {"biz_opaque_callback_data": "message-1.1"})
    second = await graph.send("100000000000011", {"biz_opaque_callback_data": "message-2.1"})
    await graph.aclose()
    server.close()
    await server.wait_closed()
    assert isinstance(first, Accepted) and first.wamid.startswith("wamid.LEAN")
    assert isinstance(second, Refused) and second.error.code == 130429


def test_a_percentile_is_interpolated_within_its_bucket() -> None:
    infinity = float("inf")
    before = Sample(0.0, 0.0, 0.0, 0, {0.01: 5.0, 0.02: 5.0, infinity: 5.0})
    after = Sample(1.0, 0.0, 0.0, 0, {0.01: 55.0, 0.02: 105.0, infinity: 105.0})
    assert percentile(before, after, 0.5) == 0.01
    assert round(percentile(before, after, 0.75), 6) == 0.015
