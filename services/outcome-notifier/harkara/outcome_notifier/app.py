"""outcome-notifier: what became of each message, as events and as signed callbacks to its producer."""

from __future__ import annotations

from harkara.outcome_notifier.callbacks import CallbackLoop
from harkara.outcome_notifier.effects import OutcomeLoop
from harkara.outcome_notifier.following import CallbackLoops, CallbacksFile
from harkara.outcome_notifier.settings import Settings
from harkara.runtime.clock import Clock, SystemClock
from harkara.runtime.service import Component, Service


def components(settings: Settings, clock: Clock) -> list[Component]:
    """The loop that writes outcomes, and one per endpoint. Raises ValueError where the callbacks file is wrong."""
    outcomes = OutcomeLoop(settings, clock)
    if settings.callbacks_file is None:
        return [outcomes]
    file = CallbacksFile(settings.callbacks_file)
    return [outcomes, CallbackLoops(file, lambda endpoint: CallbackLoop(settings, endpoint, clock))]


def create(settings: Settings) -> Service:
    """The service."""
    return Service(settings, components(settings, SystemClock()))
