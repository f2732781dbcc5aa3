"""The console finds an hour's backlog: every message, each step once, at the time when it happened, in that order."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pytest

from harkara.console.settings import Settings
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.console.conftest import running
from tests.integration.console.test_read_side import AT, STEPS, history_of
from tests.support.backlog import SEED, twice_and_mixed
from tests.support.services import write
from tests.support.wait import eventually

MESSAGES = 150  # of 14 records each


@pytest.mark.req("WHK-5", "ING-19")
async def test_an_hours_backlog(settings: Settings, postgres_database: str) -> None:
    await ensure_topics(settings)
    await write(settings, twice_and_mixed(each for n in range(MESSAGES) for each in history_of(f"m-{n:08d}")))
    async with running(settings) as console:

        def all_there() -> bool:
            return kept(postgres_database) == ({"read": MESSAGES}, MESSAGES * len(STEPS))

        await eventually(all_there, timeout_seconds=60, every=0.5)
        for n in range(0, MESSAGES, 10):
            answer = (await console.http.get(f"/api/v1/messages/m-{n:08d}/status")).json()
            history = [(step["status"], datetime.fromisoformat(step["at"])) for step in answer["history"]]
            wanted = [(status, AT + timedelta(seconds=second)) for second, status in enumerate(STEPS)]
            assert history == wanted, f"seed {SEED}"
            assert (answer["status"], datetime.fromisoformat(answer["at"])) == wanted[-1]


def kept(database: str) -> tuple[dict[str, int], int]:
    """Messages by their status, and how many events in all."""
    with psycopg.connect(database) as connection:
        statuses = connection.execute("SELECT status, count(*) FROM messages GROUP BY status").fetchall()
        events = connection.execute("SELECT count(*) FROM message_events").fetchone()
    assert events is not None
    return {str(status): int(count) for status, count in statuses}, int(events[0])
