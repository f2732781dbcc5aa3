"""The runnable dispatcher: wiring only."""

from __future__ import annotations

from harkara.dispatcher.dispatcher import Dispatcher
from harkara.dispatcher.emitter import Emitter
from harkara.dispatcher.limits import needs_restart
from harkara.dispatcher.settings import Settings
from harkara.policy.governance import load
from harkara.runtime.policy_watch import PolicyFile, PolicyWatch
from harkara.runtime.service import Service


def create(settings: Settings) -> Service:
    """Replicas first, the emitter before the lanes; stopped in the opposite order. Raises ValueError for a policy
    file or a failpoint that is wrong."""
    emitter = Emitter(settings)
    governance = load(settings.governance_file)
    dispatcher = Dispatcher(settings, governance, emitter)
    policy = PolicyWatch(
        settings, PolicyFile(settings.governance_file, governance, load, needs_restart), [dispatcher.follow]
    )
    tables = [dispatcher.denials.table, dispatcher.number_states.table]
    if governance.portfolios:
        tables.append(dispatcher.leases.table)
    return Service(settings, [policy, *tables, emitter, dispatcher])
