"""Live pages: what somebody watches is looked up when its rows were written, for all who watch it, pushed on change.

The read side tells the hub of each batch that it has stored, so that an event is on its page within 100 ms (WHK-13).
What another console stored nobody tells here: a look at everything each `interval_seconds` finds it, within half a
second. Whoever is behind, and whoever watches what is too large for an event, is told to fetch the view instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from time import perf_counter

import psycopg
import structlog

from harkara.console.metrics import LIVE_CLIENTS, LIVE_DROPPED
from harkara.runtime.problems import Problem

WAITING_EVENTS = 4  # per client; each is a whole view, so whoever is that far behind gains by fetching the newest
BEAT_SECONDS = 15.0  # WHK-13 asks for 30 at most; below the idle time-outs of common proxies (60 s)
MOST_EVENT_BYTES = 64 * 1024  # WHK-13; an overview of 20 runs and 10 numbers has about 20 kB
RECONNECT_MS = 3000  # for clients that leave reconnecting to their library; our page has a backoff of its own
LOOKED_UP_TOGETHER = 4  # half of the pool's connections: the read side and the API keep theirs

Render = Callable[[], Awaitable[str | None]]
log = structlog.get_logger()


class TooManyClients(Exception):
    """The bound on watching pages is reached."""


class Word(Enum):
    """What a client is told instead of a view."""

    REFETCH = "refetch"
    END = "end"


@dataclass(eq=False)
class Client:
    """One page that watches one view. `gone`: its view has ended. `behind`: told to fetch, and has not taken it yet."""

    events: asyncio.Queue[str | Word] = field(default_factory=lambda: asyncio.Queue(WAITING_EVENTS))
    gone: bool = False
    behind: bool = False


@dataclass
class _View:
    what: str
    render: Render
    clients: set[Client] = field(default_factory=set)
    shown: str | None = None


class Live:
    """The hub, as a component. A view is looked up only while somebody watches it.

    `interval_seconds`: between two looks at everything. `gap_seconds`: between two looks at what was written. Both are
    from start to start and grow to twice of what such a look took: open pages leave time for the read side.
    `beat_seconds` is the class's, for a test to shorten.
    """

    name = "live"
    beat_seconds = BEAT_SECONDS

    def __init__(self, interval_seconds: float, most_clients: int, gap_seconds: float = 0.0) -> None:
        self._interval_seconds = interval_seconds
        self._gap_seconds = gap_seconds
        self._most_clients = most_clients
        self._views: dict[str, _View] = {}
        self._clients = 0
        self._woken = asyncio.Event()
        self._written: set[str] = set()
        self._away = False

    def ready(self) -> str | None:
        """Always: a page works without being live."""
        return None

    def wake(self, written: Collection[str]) -> None:
        """Rows of these views were stored (`overview`, `run:<id>`, `message:<id>`): the watched ones of them are looked
        up soon, `gap_seconds` after the last look at the earliest."""
        found = {view.what for view in self._views.values() if view.what in written}
        self._written |= found
        if found:
            self._woken.set()

    async def run(self) -> None:
        """Look up and push until cancelled, then let every client go."""
        everything_at = perf_counter()
        try:
            while True:
                began = perf_counter()
                everything, written = began >= everything_at, self._take_written()
                await self.push_changes(None if everything else written)
                took = perf_counter() - began
                if everything:
                    everything_at = began + max(self._interval_seconds, 2 * took)
                await asyncio.sleep(max(self._gap_seconds - took, 0.0 if everything else took))
                await self._woken_or_after(everything_at - perf_counter())
        finally:
            for view in self._views.values():
                _end(view)

    async def push_changes(self, written: Collection[str] | None = None) -> None:
        """One look: render each watched view (of those `written`) and push it to its clients if it changed."""
        views = [view for view in self._views.values() if written is None or view.what in written]
        for start in range(0, len(views), LOOKED_UP_TOGETHER):
            answered = await asyncio.gather(*map(self._refresh, views[start : start + LOOKED_UP_TOGETHER]))
            if not all(answered):
                return  # Postgres is away; the pages keep what they show and their last refresh's time

    def shown(self, name: str) -> str | None:
        """What its watchers were last shown of the view; None where nobody watches it."""
        view = self._views.get(name)
        return view.shown if view else None

    def watch(self, name: str, render: Render, first: str | None = None, what: str = "") -> Client:
        """Start watching the view `name`, which `render` makes; `first`: as it was a moment ago, to begin with; `what`:
        as `wake` calls it, where those who may see less watch the same under another name. Raises TooManyClients.
        """
        if self._clients >= self._most_clients:
            raise TooManyClients
        client = Client()
        view = self._views.setdefault(name, _View(what or name, render, shown=first))
        view.clients.add(client)
        if view.shown is not None:
            _push(client, _event(view.shown))
        self._count(1)
        self.wake({view.what})  # what was stored since `first` was made had nobody here to tell
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

    async def stream(self, name: str, client: Client) -> AsyncGenerator[str, None]:
        """The client's server-sent events until it leaves or its view has ended: `view` with the HTML, `refetch` where
        it must fetch that, `beat` where there was nothing to say."""
        try:
            yield f"retry: {RECONNECT_MS}\n\n"
            while not client.gone:
                try:
                    said = await asyncio.wait_for(client.events.get(), self.beat_seconds)
                except TimeoutError:
                    yield f"event: beat\ndata: {self.beat_seconds:g}\n\n"
                    continue
                if said is Word.END:
                    return
                if isinstance(said, str):
                    yield _framed(said)
                else:
                    client.behind = False
                    yield "event: refetch\ndata: \n\n"
        finally:
            self.leave(name, client)

    def _take_written(self) -> set[str]:
        """What is stored from here on, while we look, wakes us once more."""
        written, self._written = self._written, set()
        self._woken.clear()
        return written

    async def _woken_or_after(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), max(0.0, seconds))
        except TimeoutError:
            return

    async def _refresh(self, view: _View) -> bool:
        """Look one view up. False: Postgres does not answer."""
        try:
            now = await view.render()
        except psycopg.OperationalError as error:
            if not self._away:
                log.info("live_views_not_refreshed", error=type(error).__name__)
            self._away = True
            return False
        except Problem:  # what it showed is not there any more
            _end(view)
            return True
        self._away = False
        if now is not None and now != view.shown:
            view.shown = now
            event = _event(now)
            for client in view.clients:
                _push(client, event)
        return True

    def _count(self, by: int) -> None:
        self._clients += by
        LIVE_CLIENTS.set(self._clients)


def _framed(text: str) -> str:
    return "event: view\n" + "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"


def _event(text: str) -> str | Word:
    return text if len(_framed(text).encode()) <= MOST_EVENT_BYTES else Word.REFETCH


def _push(client: Client, event: str | Word) -> None:
    """Whoever has no room for it fetches the newest instead of all that it missed."""
    if client.behind or client.gone:
        return
    if client.events.full():
        LIVE_DROPPED.inc()
        event = Word.REFETCH
    if event is Word.REFETCH:
        client.behind = True
        _forget_waiting(client)
    client.events.put_nowait(event)


def _end(view: _View) -> None:
    for client in view.clients:
        client.gone = True
        _forget_waiting(client)
        client.events.put_nowait(Word.END)  # wakes the one that waits


def _forget_waiting(client: Client) -> None:
    while not client.events.empty():
        client.events.get_nowait()
