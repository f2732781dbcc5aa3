"""sla-tracker: how each run stands against its deadline."""

from __future__ import annotations

from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.service import Component, Service
from harkara.sla_tracker.effects import Projection, Reporter, Runs
from harkara.sla_tracker.settings import Settings

APP_ID = "sla-tracker"


def components(settings: Settings, clock: Clock) -> list[Component]:
    """The replica of what is published, the projection, and who reports."""
    runs = Runs()
    replica = ReplicaTable(settings, "runs", Runs.TOPICS, runs.apply, clock)
    reporter = Reporter(settings, clock, runs, replica, APP_ID)

    def define(app: ProjectionApp) -> None:
        reporter.projection = Projection(app, settings, clock, runs)

    return [replica, FaustComponent(settings, APP_ID, define), reporter]


def create(settings: Settings) -> Service:
    """The service."""
    return Service(settings, components(settings, SystemClock()))
