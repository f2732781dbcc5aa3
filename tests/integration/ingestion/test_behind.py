"""The normaliser finds an hour's backlog of raw webhooks: every event with Meta's time and one id, nothing lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from harkara.contracts.envelope import header
from harkara.contracts.event import event_id
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import (
    INBOUND_MESSAGES,
    MESSAGE_LIFECYCLE,
    SERVICE_WINDOWS,
    WEBHOOK_EVENTS,
    WEBHOOK_EVENTS_URGENT,
    Topic,
)
from harkara.contracts.webhooks import InboundMessage, ServiceWindow, WebhookChange
from harkara.runtime.kafka import Output
from harkara.runtime.settings import ServiceSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.ingestion.process import LONE, ingestion, settings_for
from tests.support.backlog import HOUR, SEED, twice_and_mixed
from tests.support.kafka import read_all
from tests.support.services import write
from tests.support.wait import eventually

MESSAGES, WRITTEN = 300, 200
STATUSES = ("sent", "delivered", "read")


def change(value: dict[str, Any], at: datetime, topic: Topic = WEBHOOK_EVENTS) -> Output:
    """A raw change, as the webhook's route wrote it then."""
    event = WebhookChange(
        entry_id="112233445566778",
        field="messages",
        value={"messaging_product": "whatsapp", "metadata": {"phone_number_id": LONE}} | value,
        entry_time=int(at.timestamp()),
        received_at=at,
    )
    return Output(topic, LONE, LONE, event, event_id(event), at)


def status(message: int, name: str, at: datetime) -> dict[str, Any]:
    return {
        "id": f"wamid.{message}",
        "status": name,
        "timestamp": str(int(at.timestamp())),
        "recipient_id": "919999910001",
        "biz_opaque_callback_data": f"m-{message:08d}.1",
    }


def written(person: int, at: datetime) -> dict[str, Any]:
    phone = f"91999992{person:04d}"
    text = {"body": "Namaste"}
    return {
        "id": f"wamid.in.{person}",
        "from": phone,
        "timestamp": str(int(at.timestamp())),
        "type": "text",
        "text": text,
    }


async def records(settings: ServiceSettings, topic: Topic) -> list[ConsumerRecord]:
    return await read_all(settings.kafka.bootstrap, settings.kafka.topic(topic))


def once(found: dict[Any, set[tuple[str | None, datetime]]]) -> dict[Any, datetime]:
    """The time of each, which has one id however often it was written."""
    assert all(len(each) == 1 for each in found.values()), f"two events of one thing, seed {SEED}"
    return {key: next(iter(each))[1] for key, each in found.items()}


@pytest.mark.req("WHK-2", "WHK-5", "ING-19")
async def test_an_hours_backlog(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    await ensure_topics(settings)
    then = (datetime.now(UTC) - HOUR).replace(microsecond=0)
    times = {name: then + timedelta(seconds=n) for n, name in enumerate(STATUSES)}
    backlog = [
        change({"statuses": [status(message, name, at)]}, at)
        for message in range(MESSAGES)
        for name, at in times.items()
    ]
    before_the_upgrade = {person: WEBHOOK_EVENTS for person in range(WRITTEN // 2)}
    backlog += [
        change({"messages": [written(person, then)]}, then, before_the_upgrade.get(person, WEBHOOK_EVENTS_URGENT))
        for person in range(WRITTEN)
    ]
    await write(settings, twice_and_mixed(backlog))
    async with ingestion(kafka_bootstrap, topic_prefix, tmp_path):

        async def all_read() -> bool:
            lifecycle = await records(settings, MESSAGE_LIFECYCLE)
            return len(lifecycle) == 2 * 3 * MESSAGES and len(await records(settings, SERVICE_WINDOWS)) == 2 * WRITTEN

        await eventually(all_read, timeout_seconds=60, every=0.5)
    steps: dict[Any, set[tuple[str | None, datetime]]] = {}
    for record in await records(settings, MESSAGE_LIFECYCLE):
        step = MessageLifecycle.model_validate_json(record.value or b"")
        steps.setdefault((step.message_id, step.status), set()).add((header(record.headers, "ce_id"), step.at))
    assert once(steps) == {(f"m-{m:08d}", name): at for m in range(MESSAGES) for name, at in times.items()}
    heard: dict[Any, set[tuple[str | None, datetime]]] = {}
    for record in await records(settings, INBOUND_MESSAGES):
        inbound = InboundMessage.model_validate_json(record.value or b"")
        heard.setdefault(inbound.wamid, set()).add((header(record.headers, "ce_id"), inbound.sent_at))
    assert once(heard) == {f"wamid.in.{person}": then for person in range(WRITTEN)}
    opened = [ServiceWindow.model_validate_json(each.value or b"") for each in await records(settings, SERVICE_WINDOWS)]
    assert {window.last_inbound_at for window in opened} == {then}, "a window opens when the person wrote"
    assert len({window.person_key for window in opened}) == WRITTEN
    assert await records(settings, WEBHOOK_EVENTS.dlq) + await records(settings, WEBHOOK_EVENTS_URGENT.dlq) == []
