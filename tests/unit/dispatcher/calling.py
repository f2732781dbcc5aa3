"""Calls whose surroundings object to nothing."""

from __future__ import annotations

from collections.abc import Callable

from harkara.dispatcher.calls import Calls
from harkara.dispatcher.failpoints import Failpoints
from harkara.dispatcher.senders import Senders
from harkara.dispatcher.state import Message
from harkara.runtime.clock import SystemClock


def calling(senders: Senders, began: Callable[[Message], None] = lambda message: None) -> Calls:
    """By these senders; `began` is told of each that passed its gate."""
    return Calls(
        senders=senders,
        clock=SystemClock(),
        failpoints=Failpoints.parse(""),
        gate=lambda message, number: None,
        wake=lambda: None,
        token_lost=lambda number: None,
        barred=lambda number, outcome, since=None: None,
        began=began,
    )
