"""The router's job on records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from harkara.contracts.intents import ClearedIntent
from harkara.policy.fallback import as_ordered, decide_fallback, told
from harkara.policy.governance import Governance
from harkara.policy.known import Known
from harkara.policy.routing import Planned, Surroundings, plan
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output
from harkara.runtime.loop import Incoming, Refused
from harkara.window_router import core
from harkara.window_router.metrics import FALLBACKS, WINDOWS, decided


class Router:
    """Plans cleared intents."""

    def __init__(self, governance: Governance, known: Known, clock: Clock) -> None:
        self._governance = governance
        self._known = known
        self._clock = clock
        WINDOWS.set_function(known.open_windows)

    def follow(self, governance: Governance) -> None:
        """Decide by this policy from the next intent on."""
        self._governance = governance

    def route(self, incoming: Incoming) -> Iterable[Output]:
        """The events that a cleared intent leads to."""
        cleared = incoming.envelope.event
        if not isinstance(cleared, ClearedIntent):
            raise Refused("the record is no ClearedIntent")
        now = self._clock.now()
        numbers = (number.phone_number_id for number in self._governance.numbers_of(cleared.home))
        around = answering(cleared, self._known.around(cleared.person_key, numbers))
        decision = plan(cleared, self._governance, around, now)
        outcome = decision.plan[0].form if isinstance(decision, Planned) else decision.reason.code
        decided(outcome).inc()
        fallback = decide_fallback(cleared, self._governance, around, now)
        if fallback is not None:
            FALLBACKS.labels(told(as_ordered(fallback, cleared.intent))).inc()
        return core.outputs(cleared, decision, self._governance.version, now, fallback)


def answering(cleared: ClearedIntent, around: Surroundings) -> Surroundings:
    """What a confirmation answers has opened the window to its sender, whether that has been read here yet or not."""
    if cleared.answers is None:
        return around
    sender, known = cleared.intent.sender, around.last_inbound_at
    return replace(around, last_inbound_at={**known, sender: max(cleared.answers, known.get(sender, cleared.answers))})


def gate_on(fresh: Callable[[], bool]) -> Callable[[], str | None]:
    """Without knowing the windows and the numbers as of at most 2 s ago no form and no number can be chosen."""
    return lambda: None if fresh() else "windows and number states are not known up to now, so nothing is routed"
