"""message-state: each message's current state, a projection of message-lifecycle."""

from __future__ import annotations

from harkara.message_state.effects import Projection
from harkara.message_state.settings import Settings
from harkara.runtime.clock import SystemClock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.service import Service

APP_ID = "message-state"


def create(settings: Settings) -> Service:
    """The service."""

    def define(app: ProjectionApp) -> None:
        Projection(app, settings, SystemClock())

    return Service(settings, [FaustComponent(settings, APP_ID, define)])
