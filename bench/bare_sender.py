"""A sender without what makes one safe to use: the yardstick that the dispatcher's figures are set against.

    python -m bench.bare_sender BOOTSTRAP TOPIC URL --seconds 15 --rate 1000

It makes up its messages, writes each attempt and each outcome to a journal in group commits, starts the call once the
attempt is committed, and posts through httpx on aiohttp's connections. It reads no topic, recovers nothing, holds
nothing back and emits no event. What a message takes it says what the machine is worth in that minute. Prints one JSON
line: calls_per_second, cpu_ms_per_message, lag_p50_ms and lag_p99_ms (from the decision to the call).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from itertools import count

import httpx
import httpx_aiohttp
import uvloop
from confluent_kafka import Producer

CONNECTIONS = 256
COMMITS_APART_SECONDS = 0.015
TEMPLATE = {"name": "daily_update", "language": {"code": "en"}}


class BareSender:
    """`rate`: calls in any second, 0 for as many as there are connections for."""

    def __init__(self, bootstrap: str, topic: str, url: str, rate: int) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": topic,
                "retry.backoff.ms": 5,
                "linger.ms": 0,
                "log_level": 3,
            }
        )
        self._topic, self._url, self._rate = topic, url, rate
        self._ids, self._outcomes, self._starts = count(), list[str](), deque[float]()
        self._under_way, self._failure = set[asyncio.Task[None]](), list[BaseException]()
        self.lags, self.accepted = list[float](), 0

    async def run(self, warm_up_seconds: float, seconds: float) -> dict[str, float]:
        """Send; the figures of the time after the warm-up. Raises what a call or a commit raised."""
        transport = httpx_aiohttp.AiohttpTransport(limits=httpx.Limits(max_connections=CONNECTIONS))
        async with httpx.AsyncClient(transport=transport, headers={"Authorization": "Bearer EAATEST-bench"}) as client:
            self._producer.init_transactions()
            await self._send_for(client, warm_up_seconds)
            self.lags.clear()
            at, cpu, before = time.monotonic(), time.process_time(), self.accepted
            await self._send_for(client, seconds)
            took, spent, sent = time.monotonic() - at, time.process_time() - cpu, self.accepted - before
            await asyncio.gather(*self._under_way)
            await asyncio.get_running_loop().run_in_executor(None, self._commit, [], self._outcomes)
        self.lags.sort()
        return {
            "calls_per_second": sent / took,
            "cpu_ms_per_message": spent * 1000 / sent,
            "lag_p50_ms": self.lags[len(self.lags) // 2] * 1000,
            "lag_p99_ms": self.lags[len(self.lags) * 99 // 100] * 1000,
        }

    async def _send_for(self, client: httpx.AsyncClient, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self._round(client)

    async def _round(self, client: httpx.AsyncClient) -> None:
        """What may start now is journaled with what has ended, in one transaction, and only then begun."""
        if self._failure:
            raise self._failure[0]
        decided_at = time.monotonic()
        started = [f"bare-{next(self._ids):09}" for _ in range(self._room(decided_at))]
        self._starts.extend([decided_at] * len(started))
        outcomes, self._outcomes = self._outcomes, []
        await asyncio.get_running_loop().run_in_executor(None, self._commit, started, outcomes)
        for message_id in started:
            task = asyncio.create_task(self._call(client, message_id, decided_at))
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        await asyncio.sleep(max(0.0, decided_at + COMMITS_APART_SECONDS - time.monotonic()))

    def _room(self, now: float) -> int:
        """How many may start."""
        while self._starts and self._starts[0] <= now - 1.0:
            self._starts.popleft()
        connections = CONNECTIONS - len(self._under_way)
        return min(connections, self._rate - len(self._starts)) if self._rate else connections

    def _commit(self, started: list[str], outcomes: list[str]) -> None:
        self._producer.begin_transaction()
        for message_id in started:
            self._producer.produce(self._topic, json.dumps({"attempt": 1}), message_id, 0)
        for message_id in outcomes:
            self._producer.produce(self._topic, json.dumps({"attempt": 1, "status": "submitted"}), message_id, 0)
        self._producer.commit_transaction()

    async def _call(self, client: httpx.AsyncClient, message_id: str, decided_at: float) -> None:
        body = {
            "messaging_product": "whatsapp",
            "to": "+919999910000",
            "type": "template",
            "template": TEMPLATE,
            "biz_opaque_callback_data": f"{message_id}.1",
        }
        self.lags.append(time.monotonic() - decided_at)
        answer = await client.post(self._url, json=body)
        answer.raise_for_status()
        if not answer.json()["messages"][0]["id"]:
            raise ValueError("accepted without an id")
        self._outcomes.append(message_id)
        self.accepted += 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure.append(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bootstrap")
    parser.add_argument("topic", help="a journal of its own")
    parser.add_argument("url", help="of a number's messages")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--warm-up", type=float, default=5.0)
    parser.add_argument("--rate", type=int, default=1000, help="0: no limit")
    arguments = parser.parse_args()
    sender = BareSender(arguments.bootstrap, arguments.topic, arguments.url, arguments.rate)
    print(json.dumps(uvloop.run(sender.run(arguments.warm_up, arguments.seconds))), flush=True)


if __name__ == "__main__":
    main()
