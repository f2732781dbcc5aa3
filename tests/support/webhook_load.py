"""Webhooks under load against an edge that comes and goes: what was answered 200 is remembered, and looked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import orjson
from aiokafka import ConsumerRecord

from harkara.graph_api.signature import HEADER, sign
from tests.support.kafka import read_all

REPEAT_SECONDS = 0.02  # after a refusal, as Meta repeats, only sooner
PAUSE_SECONDS = 0.01  # of a client after each answer: some hundred webhooks a second, and cores left for the service


def status_body(names: Iterable[str], phone_number_id: str) -> bytes:
    """One webhook with a `sent` status for each of these wamids."""
    statuses = [{"id": name, "status": "sent", "timestamp": "1795156200"} for name in names]
    value = {"metadata": {"phone_number_id": phone_number_id}, "statuses": statuses}
    entry = {"id": "112233445566778", "changes": [{"field": "messages", "value": value}]}
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]})


@dataclass
class WebhookLoad:
    """`senders` clients post to `url` one after the other; a refused webhook is repeated until it is taken, as Meta
    does. `answered`: wamids in the order of their 200, by client; `refused`: answers other than 200."""

    url: str
    secret: str
    phone_number_id: str
    senders: int = 6
    statuses: int = 3
    answered: dict[int, list[str]] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Webhooks answered 200."""
        return sum(map(len, self.answered.values())) // self.statuses

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Post until the end of the context."""
        async with httpx.AsyncClient(timeout=20) as http:
            tasks = [asyncio.create_task(self._post(http, n)) for n in range(self.senders)]
            try:
                yield
                assert not [task for task in tasks if task.done()], [task for task in tasks if task.done()]
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _post(self, http: httpx.AsyncClient, sender: int) -> None:
        mine, number = self.answered.setdefault(sender, []), len(self.answered[sender])
        while True:
            names = [f"wamid.{sender}.{number + each}" for each in range(self.statuses)]
            raw = status_body(names, self.phone_number_id)
            while not await self._taken(http, raw):
                await asyncio.sleep(REPEAT_SECONDS)
            mine += names
            number += self.statuses
            await asyncio.sleep(PAUSE_SECONDS)

    async def _taken(self, http: httpx.AsyncClient, raw: bytes) -> bool:
        try:
            answer = await http.post(self.url, content=raw, headers={HEADER: sign(self.secret, raw)})
        except httpx.TransportError:
            return False  # nobody is there, or it died with the request
        if answer.status_code != 200:
            self.refused[answer.status_code] += 1
        return answer.status_code == 200

    def missing(self, records: Iterable[ConsumerRecord]) -> list[str]:
        """What was answered 200 and is on no record."""
        there = {name for record in records for name in wamids_of(record)}
        return [name for names in self.answered.values() for name in names if name not in there]

    def out_of_order(self, records: Iterable[ConsumerRecord]) -> list[str]:
        """Of each client, what is on the topic for the first time behind something it sent after it was answered."""
        furthest: dict[str, int] = {}
        seen: set[str] = set()
        late = []
        for record in records:
            for name in wamids_of(record):
                _, sender, number = name.split(".")
                if name not in seen and int(number) < furthest.get(sender, -1):
                    late.append(name)
                seen.add(name)
                furthest[sender] = max(furthest.get(sender, -1), int(number))
        return late


def wamids_of(record: ConsumerRecord) -> Iterator[str]:
    """The wamids of a raw change."""
    for status in orjson.loads(record.value)["value"]["statuses"]:
        yield status["id"]


async def raw_changes(bootstrap: str, prefix: str) -> list[ConsumerRecord]:
    """`webhook-events` as it stands."""
    return await read_all(bootstrap, f"{prefix}webhook-events")
