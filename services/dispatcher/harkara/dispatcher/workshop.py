"""What all lanes of a process share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import Consumer

from harkara.dispatcher.emitter import Emitter
from harkara.dispatcher.failpoints import Failpoints
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.senders import Senders
from harkara.dispatcher.settings import Settings
from harkara.graph_api.outcome import Refused
from harkara.runtime.clock import Clock


class Bars(Protocol):
    """Stops, before the next call of any lane here can start, what shares the token or account that was refused."""

    def __call__(self, number: str, outcome: Refused, since: float | None = None) -> None:
        """`since`: when a status said so (Unix seconds); None: an answer says so now."""


@dataclass(frozen=True)
class Workshop:
    """What all lanes of a process share. `fresh()`: the replicas are complete, so calls may start. `member()` is
    what the group knew us by at the last assignment, `offsets` reads what the group has committed."""

    settings: Settings
    clock: Clock
    around: Surroundings
    senders: Senders
    emitter: Emitter
    failpoints: Failpoints
    member: Callable[[], object]
    offsets: Consumer
    threads: Executor
    fresh: Callable[[], bool]
    token_lost: Callable[[str], None]
    barred: Bars
    room: Callable[[str, int], None]
