"""Consent by the API on a real broker: what was recorded is read back whole from the topic that keeps it for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harkara.contracts.consent import ConsentEvent
from harkara.contracts.event import event_id
from harkara.contracts.identity import person_key
from harkara.contracts.topics import CONSENT_EVENTS
from harkara.runtime.kafka import Output
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.ingestion.process import API_KEY, PEPPER, ingestion, settings_for
from tests.support.services import write

ASHA = "+919999900011"
PERSON = person_key(PEPPER.encode(), ASHA)
OTHERS = 3_000


def by_another(person: str, number: int, at: datetime) -> Output:
    """A word of somebody's, as the guard writes it."""
    event = ConsentEvent(
        event_id=event_id("another", number), person_key=person, standing="opted_out", source="keyword", at=at
    )
    return Output(CONSENT_EVENTS, person, person, event, event.event_id, at)


@pytest.mark.req("CMP-4")
async def test_the_history_of_one_person_among_thousands(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    await ensure_topics(settings)
    then = datetime.now(UTC) - timedelta(days=2)
    words = [by_another(event_id("person", n), n, then) for n in range(OTHERS)]
    words.insert(OTHERS // 2, by_another(PERSON, OTHERS, then))
    await write(settings, words)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    given = {
        "phone": ASHA, "standing": "opted_in", "purpose": "all", "at": (then + timedelta(days=1)).isoformat(),
        "origin": "branch", "proof": "form-9", "language": "hi",
    }  # fmt: skip
    async with ingestion(kafka_bootstrap, topic_prefix, tmp_path) as running:
        answer = await running.http.post("/api/v1/consent", json=given, headers=headers)
        assert answer.status_code == 202, answer.text
        found = (await running.http.get(f"/api/v1/consent/{PERSON}", headers=headers)).json()
        assert [(each["standing"], each["source"]) for each in found["history"]] == [
            ("opted_in", "api"), ("opted_out", "keyword"),
        ]  # fmt: skip
        assert found["transactional"]["denied"] is None and found["language"] == "hi"
        unknown = await running.http.get(f"/api/v1/consent/{event_id('nobody')}", headers=headers)
        assert unknown.status_code == 404
    assert ASHA.lstrip("+") not in running.log.read_text()
