"""A person known by phone and user id, on a real broker: a STOP under one name refuses under the other (B17)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from harkara.compliance_guard.app import create
from harkara.compliance_guard.settings import Settings
from harkara.contracts.persons import PersonAlias, alias_record_key
from harkara.contracts.topics import INBOUND_MESSAGES, PERSON_IDENTITIES
from harkara.runtime.kafka import Output
from tests.integration.compliance_guard.test_compliance_guard import (
    ASHA,
    RAVI,
    consent_of,
    decided,
    feed,
    inbound,
    intent,
    key_of,
    send,
    settings,
)
from tests.support.services import ready, running, write
from tests.support.wait import eventually

__all__ = ["settings"]  # the fixture
ASHAS_ID, RAVIS_ID = "IN.20451873365519208877", "IN.20451873365519208878"


async def link(settings: Settings, phone: str, user_id: str) -> None:
    at = datetime.now(UTC)
    alias = PersonAlias(person_key=key_of(phone), alias_key=key_of(user_id), kind="user_id", at=at)
    key = alias_record_key(alias)
    await write(settings, [Output(PERSON_IDENTITIES, alias.person_key, key, alias, key, at)])


async def stop_by(settings: Settings, user_id: str) -> None:
    message = inbound(f"wamid.{user_id}", "STOP").model_copy(
        update={"from_phone": None, "user_id": user_id, "person_key": key_of(user_id)}
    )
    await feed(settings, INBOUND_MESSAGES, [("advisors", message)])


@pytest.mark.req("B17")
async def test_a_stop_by_user_id_refuses_by_phone_whichever_was_known_first(settings: Settings) -> None:
    await link(settings, ASHA, ASHAS_ID)
    service = create(settings)
    async with running(service.components):
        await ready(service.components)
        await stop_by(settings, ASHAS_ID)  # the link came first
        await stop_by(settings, RAVIS_ID)

        async def all_heard() -> bool:
            return [await consent_of(settings, each) for each in (ASHAS_ID, RAVIS_ID)] == ["opted_out"] * 2

        await eventually(all_heard, timeout_seconds=30)
        await link(settings, RAVI, RAVIS_ID)  # the word came first

        async def under_the_phones() -> bool:
            return [await consent_of(settings, each) for each in (ASHA, RAVI)] == ["opted_out"] * 2

        await eventually(under_the_phones, timeout_seconds=30)  # where the lanes look
        await send(settings, intent("m-to-asha-1"), intent("m-to-ravi-1", to=RAVI))
        assert [await decided(settings, each) for each in ("m-to-asha-1", "m-to-ravi-1")] == ["opted_out"] * 2
