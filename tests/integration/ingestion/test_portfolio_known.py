"""What the portfolios' ledger publishes reaches the preview of a run, and the preview waits for none of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from harkara.contracts.event import event_id
from harkara.contracts.portfolios import PortfolioLease
from harkara.contracts.topics import PORTFOLIO_LEASES
from harkara.runtime.kafka import Output, open_writer
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.ingestion.process import API_KEY, GOVERNANCE, LONE, ingestion, settings_for
from tests.support.wait import eventually

PORTFOLIO = "998877665544332"
POLICY = f"""{GOVERNANCE}
portfolios:
  - {{id: "{PORTFOLIO}", limit: 250}}
"""
RUN = {
    "name": "morning", "sessionId": LONE, "category": "authentication",
    "template": {"name": "daily_update", "language": "en"},
    "audience": [{"to": f"+9199999{n:05}"} for n in range(300)],
}  # fmt: skip


@pytest.mark.req("B7", "ING-17")
async def test_a_lease_is_known_to_the_next_preview(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix)
    await ensure_topics(settings)
    async with ingestion(kafka_bootstrap, topic_prefix, tmp_path, policy=POLICY) as service:
        told: dict[str, Any] = {}

        async def is_said(state: str) -> bool:
            nonlocal told
            answer: httpx.Response = await service.http.post(
                "/api/v1/runs/preview", json=RUN, headers={"Authorization": f"Bearer {API_KEY}"}
            )
            assert answer.status_code in (200, 503), answer.text
            told = answer.json()["portfolios"][0] if answer.status_code == 200 else {}
            return told.get("state") == state

        await eventually(lambda: is_said("unknown"), timeout_seconds=30)
        assert (told["people"], told["heldAtLeast"]) == (300, None)
        now = datetime.now(UTC)
        lease = PortfolioLease(portfolio_id=PORTFOLIO, version=3, at=now, limit=250, used=10)
        async with open_writer(settings, "quality-monitor") as writer:
            identity = event_id("lease", PORTFOLIO, 3)
            await writer.write([Output(PORTFOLIO_LEASES, PORTFOLIO, PORTFOLIO, lease, identity, now)])
        await eventually(lambda: is_said("limited"), timeout_seconds=30)
        assert [told[each] for each in ("limit", "used", "heldAtLeast", "held", "heldAtMost")] == [250, 10, 50, 60, 60]
