"""What stands behind the edge may end with Kafka, the edge may not: it takes webhooks into the spool meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiokafka.errors import KafkaError

from harkara.ingestion.metrics import REVIVED
from harkara.runtime.service import Component

PAUSE_SECONDS = 1.0  # soon enough after Kafka is back, no storm of connections while it is not

log = structlog.get_logger()


class Revived:
    """A component that is made anew whenever an error of Kafka's ended it; any other error ends the process, as ever.

    Made anew, not run again: what it held of a lost batch is gone with it, and the batch is read again.
    """

    def __init__(self, make: Callable[[], Component]) -> None:
        self._make = make
        self._component = make()
        self.name = self._component.name

    def ready(self) -> str | None:
        """As the component of now says."""
        return self._component.ready()

    async def run(self) -> None:
        """Until cancelled, or until it ends by another error."""
        while True:
            try:
                await self._component.run()
            except (KafkaError, OSError) as error:
                log.warning("component_revived", component=self.name, error=type(error).__name__)
                REVIVED.labels(self.name).inc()
                await asyncio.sleep(PAUSE_SECONDS)
                self._component = self._make()
