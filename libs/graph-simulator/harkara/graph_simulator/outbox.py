"""The webhook sender: waits until updates are due, gathers, signs, posts, and tries again until it is answered 200."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import httpx

from harkara.graph_api.egress import GraphTransport
from harkara.graph_api.signature import HEADER, sign
from harkara.graph_simulator.bodies import JsonObject, envelope, messages_change, wire_bytes
from harkara.graph_simulator.metrics import WEBHOOK_PENDING, WEBHOOK_UPDATES
from harkara.graph_simulator.world import NumberSpec

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
"""1, 2, 4 ... 60 s: Meta publishes no schedule, only "immediately, then with decreasing frequency"."""


@dataclass(frozen=True, slots=True)
class Update:
    """One status or inbound message of a number. `contact` is given where Meta gives one."""

    waba_id: str
    number: NumberSpec
    part: str
    content: JsonObject
    contact: JsonObject | None = None


@dataclass(slots=True)
class Post:
    """One POST: exactly these bytes, however often."""

    raw: bytes
    updates: int
    tries: int = 0


@dataclass(slots=True)
class OutboxStats:
    """Counts since start. `dropped`: updates given up after the last try."""

    posted: int = 0
    updates: int = 0
    retried: int = 0
    dropped: int = 0


_Due: TypeAlias = tuple[float, int, "Update | Post"]


class Outbox:
    """Bounded by its owner: `pending` counts every update not yet answered with 200; refuse work above a limit."""

    def __init__(
        self,
        url: str | None,
        secret: Callable[[], str],
        clock: Callable[[], float],
        *,
        batch: int = 100,
        linger_seconds: float = 0.005,
        concurrency: int = 8,
        timeout_seconds: float = 10.0,
        tries: int = 40,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self._secret = secret
        self._clock = clock
        self._batch = batch
        self._linger_seconds = linger_seconds
        self._concurrency = concurrency
        self._timeout_seconds = timeout_seconds
        self._tries = tries
        self._transport = transport
        self._due: list[_Due] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._ready: asyncio.Queue[Post] = asyncio.Queue(maxsize=concurrency * 2)
        self.pending = 0
        self.stats = OutboxStats()

    def schedule(self, update: Update, at: float) -> None:
        """Sends the update at `at` (seconds of the clock), with others of its account and number."""
        if self.url is None:
            return
        self.pending += 1
        self._push(at, update)

    def schedule_body(self, body: JsonObject, at: float) -> None:
        """Sends a whole body of its own (management fields)."""
        if self.url is None:
            return
        self.pending += 1
        self._push(at, Post(wire_bytes(body), 1))

    def _push(self, at: float, what: Update | Post) -> None:
        heapq.heappush(self._due, (at, next(self._order), what))
        if self._due[0][0] >= at:
            self._wake.set()

    async def run(self) -> None:
        """Sends until cancelled; what is pending then is not sent."""
        transport = self._transport or GraphTransport(
            max_connections=self._concurrency, keepalive_seconds=10.0, connect_timeout_seconds=self._timeout_seconds
        )
        client = httpx.AsyncClient(transport=transport, timeout=self._timeout_seconds, trust_env=False)
        async with client as http, asyncio.TaskGroup() as tasks:
            for _ in range(self._concurrency):
                tasks.create_task(self._post_forever(http))
            await self._release_forever()

    async def _release_forever(self) -> None:
        while True:
            for post in self._take_due():
                await self._ready.put(post)
            await self._sleep_until_due()

    async def _sleep_until_due(self) -> None:
        self._wake.clear()
        wait = self._due[0][0] - self._clock() if self._due else None
        try:
            async with asyncio.timeout(None if wait is None else max(wait, 0)):
                await self._wake.wait()
        except TimeoutError:
            pass  # the first one is due
        await asyncio.sleep(self._linger_seconds)  # what falls due meanwhile goes out in the same POST

    def _take_due(self) -> list[Post]:
        now = self._clock()
        posts: list[Post] = []
        updates: dict[str, list[Update]] = {}
        while self._due and self._due[0][0] <= now:
            what = heapq.heappop(self._due)[2]
            if isinstance(what, Post):
                posts.append(what)
            else:
                updates.setdefault(what.waba_id, []).append(what)
        for waba_id, found in updates.items():
            for start in range(0, len(found), self._batch):
                part = found[start : start + self._batch]
                posts.append(Post(wire_bytes(envelope(waba_id, list(_changes(part)))), len(part)))
        return posts

    async def _post_forever(self, http: httpx.AsyncClient) -> None:
        while True:
            post = await self._ready.get()
            post.tries += 1
            if await self._answered_200(http, post.raw):
                self.stats.posted += 1
                self.stats.updates += post.updates
                self._settle(post, "delivered")
            elif post.tries >= self._tries:
                self.stats.dropped += post.updates
                self._settle(post, "dropped")
            else:
                self.stats.retried += 1
                wait = min(FIRST_RETRY_SECONDS * 2.0 ** (post.tries - 1), LONGEST_RETRY_SECONDS)
                self._push(self._clock() + wait, post)

    def _settle(self, post: Post, result: str) -> None:
        self.pending -= post.updates
        WEBHOOK_UPDATES.labels(result).inc(post.updates)
        WEBHOOK_PENDING.set(self.pending)

    async def _answered_200(self, http: httpx.AsyncClient, raw: bytes) -> bool:
        assert self.url is not None
        headers = {
            HEADER: sign(self._secret(), raw),
            "Content-Type": "application/json",
            "User-Agent": "facebookexternalua",
        }
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await http.post(self.url, content=raw, headers=headers)
        except (httpx.HTTPError, TimeoutError):
            return False
        return response.status_code == 200


def _run_of(update: Update) -> tuple[str, str, bool]:
    return update.number.phone_number_id, update.part, update.contact is None


def _changes(updates: Iterable[Update]) -> Iterable[JsonObject]:
    """One change for every run of updates of one number and kind; statuses without contact stand apart."""
    for (_, part, _bare), run in itertools.groupby(updates, _run_of):
        found = list(run)
        contacts = {str(u.contact["user_id"]): u.contact for u in found if u.contact is not None}
        parts: dict[str, list[JsonObject]] = {"contacts": list(contacts.values()), part: [u.content for u in found]}
        yield messages_change(found[0].number, **parts)
