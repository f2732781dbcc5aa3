"""quality-monitor: what each number may do now."""

from __future__ import annotations

from harkara.policy.governance import Governance, load
from harkara.policy.reload import moved_portfolios, needs_restart
from harkara.quality_monitor.effects import ClientOf, Numbers, Poller, Projection, client_for
from harkara.quality_monitor.portfolios import LimitTeller, PortfolioLoop
from harkara.quality_monitor.settings import Settings
from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.policy_watch import PolicyFile, PolicyWatch
from harkara.runtime.service import Component, Service

APP_ID = "quality-monitor"


def components(settings: Settings, clock: Clock, client_of: ClientOf) -> list[Component]:
    """The projection, who asks Meta, the policy's watch, and where the policy names portfolios the owner of their
    ledgers."""
    governance = load(settings.governance_file)
    numbers = Numbers(governance, settings.partitions)
    poller = Poller(settings, numbers, clock, client_of)
    limits = LimitTeller(settings, governance, clock, poller.limits)

    def define(app: ProjectionApp) -> None:
        poller.projection = Projection(app, numbers, clock)

    ledgers: list[Component] = [PortfolioLoop(settings, clock), limits] if governance.portfolios else []
    file = PolicyFile(settings.governance_file, governance, load, _needs_restart)
    policy = PolicyWatch(settings, file, [numbers.follow, limits.follow])
    return [FaustComponent(settings, APP_ID, define), poller, *ledgers, policy]


def _needs_restart(old: Governance, new: Governance) -> list[str]:
    return needs_restart(old, new) + moved_portfolios(old, new)


def create(settings: Settings) -> Service:
    """The service."""
    return Service(settings, components(settings, SystemClock(), client_for(settings)))
