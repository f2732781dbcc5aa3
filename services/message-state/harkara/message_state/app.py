"""message-state: each message's current state, a projection of message-lifecycle; and what is not heard of."""

from __future__ import annotations

from fastapi import FastAPI

from harkara.contracts.lifecycle import State
from harkara.contracts.topics import NUMBER_STATE
from harkara.message_state.effects import Projection
from harkara.message_state.reconciler import Numbers, Reconciler
from harkara.message_state.routes import build_app
from harkara.message_state.settings import Settings
from harkara.policy.governance import Governance, load
from harkara.policy.sections import Silence
from harkara.runtime.api_keys import ApiKeys
from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.policy_watch import PolicyFile, PolicyWatch
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.service import Component, Service

APP_ID = "message-state"


class Parts:
    """The components, and the projection of the app that runs: there is one from its first start on."""

    def __init__(self, settings: Settings, clock: Clock, rules: Silence) -> None:
        self._projection: Projection | None = None
        numbers = Numbers()
        replica = ReplicaTable(settings, "numbers", [NUMBER_STATE], numbers.apply, clock)

        def define(app: ProjectionApp) -> None:
            self._projection = Projection(app, settings, clock, rules)

        self.components: list[Component] = [
            replica,
            FaustComponent(settings, APP_ID, define),
            Reconciler(settings, clock, APP_ID, numbers, replica, lambda: self._projection),
        ]

    @property
    def owned(self) -> frozenset[int]:
        """The partitions whose states are held here."""
        return self._projection.owned if self._projection is not None else frozenset()

    def find(self, message_id: str) -> State | None:
        """The message's state, where it is held here."""
        return self._projection.find(message_id) if self._projection is not None else None


def create(settings: Settings) -> Service:
    """The service. Raises ValueError with one sentence where a file is missing or wrong."""
    governance = load(settings.governance_file)
    parts = Parts(settings, SystemClock(), governance.telemetry.silence)
    web: FastAPI | None = None
    if settings.api_keys_file is not None:
        web = build_app(ApiKeys.from_file(settings.api_keys_file), parts)
    policy = PolicyWatch(settings, PolicyFile(settings.governance_file, governance, load, _needs_restart), [])
    return Service(settings, [*parts.components, policy], web)


def _needs_restart(old: Governance, new: Governance) -> list[str]:
    return ["telemetry.silence is another"] if old.telemetry.silence != new.telemetry.silence else []
