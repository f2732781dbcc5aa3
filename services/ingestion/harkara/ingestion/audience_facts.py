"""Everyone's consent, windows, numbers and templates, as guard and router know them, and the portfolios' leases, as the
lanes do: what a preview is made of."""

from __future__ import annotations

from harkara.contracts.event import Event
from harkara.contracts.topics import (
    CONSENT_STATE,
    NUMBER_STATE,
    PERSON_IDENTITIES,
    PORTFOLIO_LEASES,
    QUEUE_STATE,
    SERVICE_WINDOWS,
    TEMPLATE_STATE,
    Topic,
)
from harkara.ingestion.portfolios import Ledgers
from harkara.policy.known import Known
from harkara.policy.standings import Standings
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.settings import ServiceSettings

SHORT_READ = 500  # records applied without a pause, about 15 ms: Meta's webhooks wait in the same event loop


class AudienceFacts:
    """Feeds all three from their topics. Ready at once: webhooks and single messages need none of this, and a million
    persons take half a minute to read; until then previews are refused (503), and runs accepted without verdicts."""

    name = "audience-facts"

    def __init__(self, settings: ServiceSettings, consents: Standings, around: Known, ledgers: Ledgers) -> None:
        self._settings = settings
        self._consents = consents
        self._around = around
        self._ledgers = ledgers
        self._table = self._made()

    def fresh(self) -> bool:
        """Whether all of it is known as of at most 2 s ago."""
        return self._table.fresh()

    def ready(self) -> str | None:
        """Nothing else waits for it."""
        return None

    async def run(self) -> None:
        """Read until cancelled; run again after an error of Kafka's, it reads from the beginning, which changes nothing
        of what is known already."""
        self._table = self._made()
        await self._table.run()

    def _made(self) -> ReplicaTable:
        topics = (
            CONSENT_STATE, PERSON_IDENTITIES, SERVICE_WINDOWS, NUMBER_STATE, QUEUE_STATE, TEMPLATE_STATE,
            PORTFOLIO_LEASES,
        )  # fmt: skip
        return ReplicaTable(self._settings, "audience-facts", topics, self._apply, batch_records=SHORT_READ)

    def _apply(self, topic: Topic, key: str, event: Event | None) -> None:
        if topic is PORTFOLIO_LEASES:
            self._ledgers.apply(event)
            return
        if topic in (CONSENT_STATE, PERSON_IDENTITIES):
            self._consents.apply(topic, key, event)
        if topic is not CONSENT_STATE:
            self._around.apply(topic, key, event)
