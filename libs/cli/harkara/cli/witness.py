"""The readers that the demonstration judges by: the simulator's ledger over HTTP, and topics straight from Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx
import orjson
from aiokafka import TopicPartition

from harkara.cli.evidence import Accepted
from harkara.contracts.topics import MESSAGE_LIFECYCLE, MESSAGE_STATE, QUEUE_STATE, WEBHOOK_EVENTS, Topic
from harkara.runtime.kafka import start_consumer
from harkara.runtime.settings import ServiceSettings

LEDGER_PAGE = 5_000
WATCHED = (MESSAGE_STATE, QUEUE_STATE, WEBHOOK_EVENTS, MESSAGE_LIFECYCLE)


async def read_ledger(client: httpx.AsyncClient, simulator_url: str) -> list[Accepted]:
    """Every accepted message, page by page. Callback data that is not ours is given the wamid as message id."""
    found: list[Accepted] = []
    after = 0
    while True:
        answer = await client.get(f"{simulator_url}/_simulator/ledger", params={"after": after, "limit": LEDGER_PAGE})
        answer.raise_for_status()
        entries = answer.json()["entries"]
        found += [_accepted(entry) for entry in entries]
        if len(entries) < LEDGER_PAGE:
            return found
        after = entries[-1]["seq"]


def _accepted(entry: Mapping[str, Any]) -> Accepted:
    message_id, _, attempt = str(entry.get("opaque") or "").rpartition(".")
    return Accepted(
        message_id=message_id or entry["wamid"],
        attempt=int(attempt) if attempt.isdigit() else 0,
        wamid=entry["wamid"],
        phone_number_id=entry["phone_number_id"],
        accepted_at_ms=entry["accepted_at_ms"],
    )


class Watch:
    """Follows `message-state`, `queue-state` and the raw webhooks while a run is under way; keeps the newest.

    `left_open`: messages whose attempt was under way when a dispatcher died, by the journal that its successor read.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self.states: dict[str, dict[str, Any]] = {}
        self.queues: dict[str, dict[str, Any]] = {}
        self.webhook_at_ms: dict[tuple[str, str], int] = {}
        self.projected_at_ms: dict[tuple[str, str], int] = {}
        self.left_open: set[str] = set()
        self.changed_at = 0.0

    async def run(self) -> None:
        """Read until cancelled."""
        consumer = await start_consumer(self._settings, group=None)
        topics = {self._settings.kafka.topic(t): t for t in WATCHED}
        try:
            consumer.assign([TopicPartition(name, p) for name in topics for p in range(self._settings.partitions)])
            while True:
                batch = await consumer.getmany(timeout_ms=200, max_records=2000)
                for partition, records in batch.items():
                    for record in records:
                        self._take(topics[partition.topic], record.key, record.value, record.timestamp)
        finally:
            await consumer.stop()

    def _take(self, topic: Topic, key: bytes | None, value: bytes | None, timestamp_ms: int) -> None:
        name = (key or b"").decode()
        if value is None:
            return
        body = orjson.loads(value)
        if topic is QUEUE_STATE:
            self.queues[name] = body
        elif topic is WEBHOOK_EVENTS:
            self._take_webhook(body, timestamp_ms)
        elif topic is MESSAGE_LIFECYCLE:
            if body.get("status") == "in_doubt" and body.get("reason", {}).get("code") == "owner_lost":
                self.left_open.add(body["message_id"])
        elif "message_id" in body:
            self._take_state(body, timestamp_ms)

    def _take_webhook(self, body: dict[str, Any], timestamp_ms: int) -> None:
        for status in body.get("value", {}).get("statuses", ()):
            self.webhook_at_ms.setdefault((status.get("id", ""), status.get("status", "")), timestamp_ms)

    def _take_state(self, body: dict[str, Any], timestamp_ms: int) -> None:
        self.changed_at = asyncio.get_running_loop().time()
        self.states[body["message_id"]] = body | {"facts": _with_epoch(body.get("facts", {}))}
        for attempt in body.get("attempts", {}).values():
            for status in attempt.get("seen", ()):
                self.projected_at_ms.setdefault((attempt.get("wamid", ""), status), timestamp_ms)

    def webhook_to_state_ms(self) -> list[float]:
        """From the edge's receipt of each status to its being in `message-state`, in milliseconds."""
        return [self.projected_at_ms[key] - at for key, at in self.webhook_at_ms.items() if key in self.projected_at_ms]


def _with_epoch(facts: dict[str, Any]) -> dict[str, Any]:
    if "received_at" not in facts:
        return facts
    at = datetime.fromisoformat(facts["received_at"])
    return facts | {"received_at_ms": at.timestamp() * 1000}
