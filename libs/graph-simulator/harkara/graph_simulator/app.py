"""graph-simulator: wiring only."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import FastAPI

from harkara.graph_simulator.control import control_router
from harkara.graph_simulator.graph import graph_routes
from harkara.graph_simulator.ledger import Ledger
from harkara.graph_simulator.openapi import with_graph_paths
from harkara.graph_simulator.outbox import Outbox
from harkara.graph_simulator.people import PERSONAL
from harkara.graph_simulator.scenario import FATES
from harkara.graph_simulator.settings import Settings
from harkara.graph_simulator.simulator import WINDOW_CLOSED, Simulator
from harkara.graph_simulator.world import load_world
from harkara.runtime.service import Service


def build_simulator(settings: Settings) -> Simulator:
    """The simulator of these settings, with the ledger of an earlier process where a file is set."""
    outbox = Outbox(
        settings.sim_webhook_url,
        settings.sim_app_secret.get_secret_value,
        time.time,
        batch=settings.sim_webhook_batch,
        linger_seconds=settings.sim_webhook_linger_ms / 1000,
        concurrency=settings.sim_webhook_concurrency,
        timeout_seconds=settings.sim_webhook_timeout_seconds,
        tries=settings.sim_webhook_tries,
    )
    ledger = Ledger(settings.sim_ledger_file, settings.sim_ledger_limit)
    world = load_world(settings.sim_world_file)
    simulator = Simulator(world, settings.sim_scenario, ledger, outbox, time.time, settings.sim_pending_limit)
    simulator.resume({**FATES, **PERSONAL, WINDOW_CLOSED.name: WINDOW_CLOSED})
    return simulator


class WebhookSender:
    """The component that lets webhooks out; without it statuses only pile up."""

    name = "webhook-sender"

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def run(self) -> None:
        """Sends until cancelled; what is pending then is sent by the next process that has the ledger file."""
        await self._simulator.outbox.run()

    def ready(self) -> str | None:
        """The simulator has nothing to wait for."""
        return None


class Calendar:
    """The component that does what falls due while nobody calls: reviews end, pauses end, upgrades are done."""

    name = "calendar"
    LONGEST_SLEEP_SECONDS = 0.25
    """What is put into the agenda meanwhile waits at most so long; each call does what is due by itself."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            now = self._simulator.advance()
            next_at = self._simulator.agenda.next_at
            wait = self.LONGEST_SLEEP_SECONDS if next_at is None else next_at - now
            await asyncio.sleep(min(max(wait, 0.001), self.LONGEST_SLEEP_SECONDS))

    def ready(self) -> str | None:
        """The simulator has nothing to wait for."""
        return None


def build_app(simulator: Simulator) -> FastAPI:
    """The HTTP application around a simulator."""
    app = FastAPI(title="Graph API simulator", docs_url="/_simulator/docs", openapi_url="/_simulator/openapi.json")
    app.include_router(control_router(simulator))
    own = app.openapi

    def with_graph() -> dict[str, Any]:
        return with_graph_paths(own())

    app.openapi = with_graph  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    app.router.routes.extend(graph_routes(simulator))
    return app


def create(settings: Settings) -> Service:
    """The runnable service."""
    simulator = build_simulator(settings)
    return Service(settings, [WebhookSender(simulator), Calendar(simulator)], build_app(simulator))
