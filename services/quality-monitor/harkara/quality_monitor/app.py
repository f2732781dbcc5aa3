"""quality-monitor: what each number may do now."""

from __future__ import annotations

from harkara.policy.governance import load
from harkara.quality_monitor.effects import ClientOf, Numbers, Poller, Projection, client_for
from harkara.quality_monitor.portfolios import LimitTeller, PortfolioLoop
from harkara.quality_monitor.settings import Settings
from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.service import Component, Service

APP_ID = "quality-monitor"


def components(settings: Settings, clock: Clock, client_of: ClientOf) -> list[Component]:
    """The projection, who asks Meta, and where the policy names portfolios the owner of their ledgers."""
    governance = load(settings.governance_file)
    numbers = Numbers(governance, settings.partitions)
    poller = Poller(settings, numbers, clock, client_of)
    limits = LimitTeller(settings, governance, clock, poller.limits)

    def define(app: ProjectionApp) -> None:
        poller.projection = Projection(app, numbers, clock)

    ledgers: list[Component] = [PortfolioLoop(settings, clock), limits] if governance.portfolios else []
    return [FaustComponent(settings, APP_ID, define), poller, *ledgers]


def create(settings: Settings) -> Service:
    """The service."""
    return Service(settings, components(settings, SystemClock(), client_for(settings)))
