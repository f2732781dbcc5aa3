"""The portfolios' leases as a replica: what quality-monitor's ledger grants the homes of this process (`places.py`)."""

from __future__ import annotations

from collections.abc import Callable

from harkara.contracts.event import Event
from harkara.contracts.portfolios import PortfolioLease
from harkara.contracts.topics import PORTFOLIO_LEASES, Topic
from harkara.dispatcher.places import Key, Leases
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.settings import ServiceSettings


class LeaseReplica:
    """Every portfolio's newest lease; `changed` is told of each home for which a lease says something new, as
    (portfolio, home).

    Nothing waits for it to be fresh: from an old lease a lane reads fewer units than it has, so it waits, and sends
    what needs none.
    """

    def __init__(self, settings: ServiceSettings, changed: Callable[[Key], None]) -> None:
        self.leases = Leases()
        self._changed = changed
        self.table = ReplicaTable(settings, "dispatcher-leases", (PORTFOLIO_LEASES,), self._apply)

    def _apply(self, _: Topic, portfolio_id: str, event: Event | None) -> None:
        for home in self.leases.take(event) if isinstance(event, PortfolioLease) else ():
            self._changed((portfolio_id, home))
