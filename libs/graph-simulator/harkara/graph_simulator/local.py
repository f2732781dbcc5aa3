"""The simulator in a thread of this process, for the tests of whoever talks to Meta: see README.md, "In tests".

with running(Settings(sim_webhook_url=...)) as simulator:
    client = MyClient(base_url=simulator.base_url, token="EAATEST-one")
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from harkara.graph_simulator.app import Calendar, WebhookSender, build_app, build_simulator
from harkara.graph_simulator.settings import Settings
from harkara.graph_simulator.simulator import Simulator

START_SECONDS = 10.0
"""Far above the half second that a start takes; a thread that does not start must not hang its caller."""


@dataclass(frozen=True, slots=True)
class Running:
    """A simulator that answers at `base_url`. Ask it over HTTP: its state belongs to the other thread."""

    base_url: str
    simulator: Simulator


@contextlib.contextmanager
def running(settings: Settings | None = None) -> Iterator[Running]:
    """A simulator on a free port of 127.0.0.1, until the block is left. Raises TimeoutError where it does not start."""
    simulator = build_simulator(settings or Settings())
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(build_app(simulator), lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(_serve(server, simulator, listener),), daemon=True)
    thread.start()
    try:
        _wait_until_started(server)
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", simulator)
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
        listener.close()


async def _serve(server: uvicorn.Server, simulator: Simulator, listener: socket.socket) -> None:
    beside = [asyncio.create_task(part.run()) for part in (WebhookSender(simulator), Calendar(simulator))]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)


def _wait_until_started(server: uvicorn.Server) -> None:
    tick, waited = threading.Event(), 0.0
    while not server.started:
        if waited >= START_SECONDS:
            raise TimeoutError("the simulator did not start")
        tick.wait(0.02)
        waited += 0.02
