"""From a stored event to the page that shows it: woken by the read side, not found by a look now and then."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from statistics import quantiles
from time import perf_counter

import httpx
import pytest
import uvicorn

from harkara.console.settings import Settings
from harkara.contracts.event import event_id
from harkara.contracts.topics import MESSAGE_LIFECYCLE
from harkara.runtime.http_port import uvicorn_config
from harkara.runtime.kafka import Output
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.console.conftest import KEY, Console, running
from tests.integration.console.test_read_side import AT, HOME, MESSAGE, lifecycle
from tests.support.wait import eventually

EVENTS = 50
SEED = 13
LONGEST_PAUSE_SECONDS = 0.15  # about twice the gap between two looks: some events meet it, others do not
HOUR_SECONDS = 3600.0
VIEW = {"view": f"message:{MESSAGE}"}


class Server(uvicorn.Server):
    """Without uvicorn's signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def browsing(console: Console) -> AsyncIterator[httpx.AsyncClient]:
    """The console on a socket, as streams need it, and a client of it."""
    server = Server(uvicorn_config(console.settings, console.service.http_app))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await eventually(lambda: server.started)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base, headers={"X-API-Key": KEY}, timeout=30) as client:
            yield client
        server.should_exit = True
        await serving


def held(number: int) -> Output:
    """The message waits once more; the page's history names the reason."""
    at, reason = AT + timedelta(seconds=number), {"code": f"wait_{number}", "text": "It waits."}
    event = lifecycle(MESSAGE, "held", at, rank=number, reason=reason)
    return Output(MESSAGE_LIFECYCLE, HOME, HOME, event, event_id(MESSAGE, number), at, MESSAGE)


async def note(stream: httpx.Response, seen: dict[int, float]) -> None:
    """When each number first stood in an event of the stream."""
    async for line in stream.aiter_lines():
        for found in re.findall(r"wait_(\d+)<", line):
            seen.setdefault(int(found), perf_counter())


@pytest.mark.req("WHK-13")
async def test_an_event_is_pushed_when_it_is_stored_and_the_bounds_hold(settings: Settings) -> None:
    await ensure_topics(settings)
    hourly = settings.model_copy(update={"live_interval_seconds": HOUR_SECONDS, "live_clients": 1})
    chance, seen, stored = random.Random(SEED), dict[int, float](), dict[int, float]()
    loop = asyncio.get_running_loop()
    async with running(hourly) as console, browsing(console) as browser:
        await console.write([held(0)])
        await console.until(f"/api/v1/messages/{MESSAGE}/status", lambda a: a["status"] == "held")
        async with browser.stream("GET", "/events", params=VIEW) as stream:
            noting = asyncio.create_task(note(stream, seen))
            await eventually(lambda: 0 in seen)
            for number in range(1, EVENTS + 1):
                due = loop.time() + chance.uniform(0, LONGEST_PAUSE_SECONDS)
                await eventually(lambda due=due: loop.time() >= due, every=0.005)
                await console.write([held(number)])
                stored[number] = perf_counter()
                await eventually(lambda number=number: number in seen, every=0.002)
            busy = await browser.get("/events", params=VIEW)
            assert (busy.status_code, busy.headers["retry-after"]) == (503, "30")
            fetched = await browser.get("/view", params=VIEW)
            assert f"wait_{EVENTS}<" in fetched.text and "<html" not in fetched.text
            noting.cancel()
        assert (await browser.get("/view", params={"view": "message:m-nobody"})).status_code == 404
    took = sorted(1000 * (seen[number] - stored[number]) for number in stored)
    cuts = quantiles(took, n=20)
    print(f"\n{EVENTS} events: pushed {cuts[9]:.0f} ms (median), {cuts[18]:.0f} ms (p95), {took[-1]:.0f} ms (slowest)")
