"""template-manager: what is known of each message template."""

from __future__ import annotations

from harkara.policy.governance import load
from harkara.policy.reload import needs_restart
from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.policy_watch import PolicyFile, PolicyWatch
from harkara.runtime.service import Component, Service
from harkara.template_manager.effects import Accounts, ClientOf, Projection, Reader, client_for
from harkara.template_manager.settings import Settings

APP_ID = "template-manager"


def components(settings: Settings, clock: Clock, client_of: ClientOf | None = None) -> list[Component]:
    """The projection, who reads the lists, and the policy's watch. Raises ValueError for a policy that is wrong."""
    governance = load(settings.governance_file)
    accounts = Accounts(governance, settings.partitions)
    reader = Reader(settings, accounts, clock, client_of or client_for(settings, accounts))

    def define(app: ProjectionApp) -> None:
        reader.projection = Projection(app, clock, reader.heard)

    file = PolicyFile(settings.governance_file, governance, load, needs_restart)
    return [FaustComponent(settings, APP_ID, define), reader, PolicyWatch(settings, file, [reader.follow])]


def create(settings: Settings) -> Service:
    """The service."""
    return Service(settings, components(settings, SystemClock()))
