"""The webhook sender: waits until updates are due, gathers, signs, posts, and tries again until it is answered 200.

On the way it does what the scenario asks for: POSTs doubled, late, out of order, wrongly signed, updates left out.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import httpx

from harkara.graph_api.egress import GraphTransport
from harkara.graph_api.signature import HEADER, sign
from harkara.graph_simulator.bodies import JsonObject, envelope, messages_change, wire_bytes
from harkara.graph_simulator.metrics import WEBHOOK_PENDING, WEBHOOK_UPDATES
from harkara.graph_simulator.scenario import WebhookFaults
from harkara.graph_simulator.subscriptions import Routes
from harkara.graph_simulator.world import NumberSpec

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 3_600.0
LONGEST_DOUBLED_SECONDS = 60.0
RETRY_SHARE = 0.1
HORIZON_SECONDS = 7 * 86_400.0
"""1, 2, 4 ... 60 s, then a tenth of the POST's age up to an hour, for 7 days: Meta publishes no schedule, only
"immediately, then with decreasing frequency over 7 days"."""
MAX_BATCH = 1_000
MAX_BODY_BYTES = 3_000_000
"""Updates and bytes of one POST at most (Meta, webhooks overview)."""


@dataclass(frozen=True, slots=True)
class Update:
    """One status or inbound message of a number. `contact` is given where Meta gives one."""

    waba_id: str
    number: NumberSpec
    part: str
    content: JsonObject
    contact: JsonObject | None = None
    field: str = "messages"


@dataclass(slots=True)
class Post:
    """One POST: exactly these bytes, however often."""

    raw: bytes
    updates: int
    url: str
    first_at: float = 0.0
    tries: int = 0
    spoiled: bool = False
    wrongly_signed: bool = False


@dataclass(slots=True)
class OutboxStats:
    """Counts since start. `dropped`: updates given up after the last try; `withheld`: left out on purpose."""

    posted: int = 0
    updates: int = 0
    retried: int = 0
    dropped: int = 0
    withheld: int = 0
    doubled: int = 0
    wrongly_signed: int = 0


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
        tries: int = 1_000,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.routes = Routes(url)
        self.faults = WebhookFaults()
        self.time_scale = 1.0
        self._random = Random(1)  # noqa: S311 - seeded on purpose: a run can be repeated
        self.secret = secret
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

    @property
    def url(self) -> str | None:
        """The app's callback."""
        return self.routes.app_url

    def spoil(self, faults: WebhookFaults, time_scale: float) -> None:
        """Puts faults in force; a new seed starts a new sequence of chances."""
        self.faults, self.time_scale = faults, time_scale
        self._random = Random(faults.seed)  # noqa: S311 - seeded on purpose

    def schedule(self, update: Update, at: float) -> None:
        """Sends the update at `at` (seconds of the clock), with others of its account and number."""
        if self.routes.nowhere:
            return
        self.pending += 1
        self._push(at, update)

    def schedule_body(self, body: JsonObject, at: float, updates: int = 1) -> None:
        """Sends a whole body of its own (management fields) to the app's callback, if that wants the field."""
        change = body["entry"][0]["changes"][0]
        number = (
            change["value"].get("metadata", {}).get("phone_number_id") if isinstance(change["value"], dict) else None
        )
        url = self.routes.url_for(body["entry"][0]["id"], number, change["field"])
        if url is None:
            return
        self.pending += updates
        self._push(at, Post(wire_bytes(body), updates, url, at))

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
        updates: dict[tuple[str, str], list[Update]] = {}
        while self._due and self._due[0][0] <= now:
            what = heapq.heappop(self._due)[2]
            if isinstance(what, Post):
                posts.append(what)
                continue
            url = self.routes.url_for(what.waba_id, what.number.phone_number_id, what.field)
            if url is None or (self.faults.missing and self._random.random() < self.faults.missing):
                self._withhold(1)
            else:
                updates.setdefault((what.waba_id, url), []).append(what)
        for (waba_id, url), found in updates.items():
            if self.faults.shuffle:
                self._random.shuffle(found)
            for start in range(0, len(found), self._batch):
                part = found[start : start + self._batch]
                posts.append(Post(wire_bytes(envelope(waba_id, list(_changes(part)))), len(part), url, now))
        return posts if self.faults.none else list(self._spoiled(posts, now))

    def _withhold(self, updates: int) -> None:
        self.pending -= updates
        self.stats.withheld += updates
        WEBHOOK_PENDING.set(self.pending)

    def _spoiled(self, posts: list[Post], now: float) -> Iterable[Post]:
        faults, chance = self.faults, self._random.random
        if faults.shuffle:
            self._random.shuffle(posts)
        for post in posts:
            if post.spoiled:
                yield post
                continue
            post.spoiled = True
            post.wrongly_signed = chance() < faults.wrong_signature
            if chance() < faults.late:
                self._push(now + faults.late_seconds, post)
                continue
            yield post
            if chance() < faults.duplicate:
                self.stats.doubled += 1
                yield Post(post.raw, 0, post.url, now, spoiled=True)
            if chance() < faults.unknown_field:
                value = {"field": "unheard_of_update", "value": {"event": "SOMETHING_NEW", "at": int(now)}}
                yield Post(wire_bytes(envelope("0", [value], int(now))), 0, post.url, now, spoiled=True)

    async def _post_forever(self, http: httpx.AsyncClient) -> None:
        while True:
            post = await self._ready.get()
            if await self._answered_200(http, post):
                self.stats.posted += 1
                self.stats.updates += post.updates
                self._settle(post, "delivered")
                continue
            post.tries += 1
            wait = self.next_try(post, self._clock())
            if wait is None:
                self.stats.dropped += post.updates
                self._settle(post, "dropped")
            else:
                self.stats.retried += 1
                self._push(self._clock() + wait, post)

    def next_try(self, post: Post, now: float) -> float | None:
        """Seconds until the next try of a POST that failed; None: it is given up."""
        age = now - post.first_at
        doubled = FIRST_RETRY_SECONDS * min(2.0 ** max(post.tries - 1, 0), LONGEST_DOUBLED_SECONDS)
        wait = min(max(doubled, age * RETRY_SHARE), LONGEST_RETRY_SECONDS)
        given_up = post.tries >= self._tries or age + wait > HORIZON_SECONDS / self.time_scale
        return None if given_up else wait

    def _settle(self, post: Post, result: str) -> None:
        self.pending -= post.updates
        WEBHOOK_UPDATES.labels(result).inc(post.updates)
        WEBHOOK_PENDING.set(self.pending)

    async def _answered_200(self, http: httpx.AsyncClient, post: Post) -> bool:
        signature = sign(self.secret(), post.raw)
        if post.wrongly_signed:  # the first try only, so that the retry brings it
            post.wrongly_signed = False
            self.stats.wrongly_signed += 1
            signature = sign("another secret", post.raw)
        headers = {HEADER: signature, "Content-Type": "application/json", "User-Agent": "facebookexternalua"}
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await http.post(post.url, content=post.raw, headers=headers)
        except (httpx.HTTPError, TimeoutError):
            return False
        return response.status_code == 200


def _run_of(update: Update) -> tuple[str, str, bool]:
    return update.number.phone_number_id, update.field + update.part, update.contact is None


def _changes(updates: Iterable[Update]) -> Iterable[JsonObject]:
    """One change for every run of updates of one number and kind; statuses without contact stand apart."""
    for _, run in itertools.groupby(updates, _run_of):
        found = list(run)
        contacts = {
            str(u.contact.get("user_id", u.contact.get("wa_id"))): u.contact for u in found if u.contact is not None
        }
        parts: dict[str, list[JsonObject]] = {
            "contacts": list(contacts.values()),
            found[0].part: [u.content for u in found],
        }
        yield messages_change(found[0].number, found[0].field, **parts)
