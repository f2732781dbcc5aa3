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


def test_a_stretch_counts_the_accepted_that_came_in_it() -> None:
    now = [100.0]
    ledger = Ledger(limit=2, clock=lambda: now[0])
    for at in (100.0, 100.5, 100.9, 101.0, 101.5):  # the third is refused
        now[0] = at
        ledger.takes("1", body(f"m-{at}.1"))
    counted = [
        json.loads(ledger.arrived(*stretch))["arrived"] for stretch in ((100.0, 101.0), (100.5, 101.5), (0, 1e9))
    ]
    assert counted == [2, 2, 4], "its begin belongs to it, its end does not"


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
