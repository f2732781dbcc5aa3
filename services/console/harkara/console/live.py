"""Live pages: what somebody watches is looked up about once a second, for all who watch it, and pushed on change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import psycopg
import structlog

from harkara.console.metrics import LIVE_CLIENTS, LIVE_DROPPED

WAITING_EVENTS = 4  # per client; each holds a whole view, so whoever is that far behind gains by reconnecting
KEEPALIVE_SECONDS = 15.0  # below the idle time-outs of common proxies (60 s)
RECONNECT_MS = 3000

Render = Callable[[], Awaitable[str | None]]
log = structlog.get_logger()


class TooManyClients(Exception):
    """The bound on watching pages is reached."""


@dataclass(eq=False)
class Client:
    """One page that watches one view. `gone` is set when it is dropped or its view has ended."""

    events: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(WAITING_EVENTS))
    gone: bool = False


@dataclass
class _View:
    render: Render
    clients: set[Client] = field(default_factory=set)
    shown: str | None = None


class Live:
    """The hub, as a component. A view is looked up only while somebody watches it."""

    name = "live"

    def __init__(self, interval_seconds: float, most_clients: int) -> None:
        self._interval_seconds = interval_seconds
        self._most_clients = most_clients
        self._views: dict[str, _View] = {}
        self._clients = 0

    def ready(self) -> str | None:
        """Always: a page works without being live."""
        return None

    async def run(self) -> None:
        """Look up and push until cancelled, then let every client go."""
        try:
            while True:
                await self.push_changes()
                await asyncio.sleep(self._interval_seconds)
        finally:
            for view in self._views.values():
                for client in view.clients:
                    client.gone = True
                    if not client.events.full():
                        client.events.put_nowait(None)  # wakes the one that waits

    async def push_changes(self) -> None:
        """One round: render each watched view and push it to its clients if it changed."""
        for view in list(self._views.values()):
            try:
                now = await view.render()
            except psycopg.OperationalError as error:
                log.info("live_view_not_refreshed", error=type(error).__name__)
                return  # Postgres is away; the pages keep what they show and their last refresh's time
            if now is not None and now != view.shown:
                view.shown = now
                for client in view.clients:
                    _push(client, now)

    def watch(self, name: str, render: Render) -> Client:
        """Start watching the view `name`, which `render` makes. Raises TooManyClients."""
        if self._clients >= self._most_clients:
            raise TooManyClients
        client = Client()
        view = self._views.setdefault(name, _View(render))
        view.clients.add(client)
        if view.shown is not None:
            _push(client, view.shown)
        self._count(1)
        return client

    def leave(self, name: str, client: Client) -> None:
        """Stop watching; a view that nobody watches is forgotten."""
        view = self._views.get(name)
        if view is None or client not in view.clients:
            return
        view.clients.discard(client)
        if not view.clients:
            del self._views[name]
        self._count(-1)

    async def stream(self, name: str, client: Client) -> AsyncIterator[str]:
        """The client's server-sent events, until it leaves or is dropped."""
        try:
            yield f"retry: {RECONNECT_MS}\n\n"
            while not client.gone:
                try:
                    text = await asyncio.wait_for(client.events.get(), KEEPALIVE_SECONDS)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if text is None:
                    return
                yield "event: view\n" + "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"
        finally:
            self.leave(name, client)

    def _count(self, by: int) -> None:
        self._clients += by
        LIVE_CLIENTS.set(self._clients)


def _push(client: Client, text: str) -> None:
    try:
        client.events.put_nowait(text)
    except asyncio.QueueFull:
        client.gone = True
        LIVE_DROPPED.inc()
