"""Messages that Meta took and whose order has another content, to go in their place if they are not delivered (RTW-7).

A watch lasts until Meta says what became of the message, at most for the message's life: afterwards nothing may be
sent any more. Its order lies in the journal under a key of its own, since the message's end takes the place of the
order there, and leaves the journal as soon as the watch is over.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from harkara.dispatcher.timers import Timers

MOST_WATCHED = 20_000
"""Of one lane, some 15 MB. Most are delivered within seconds, so this is what 1,000 calls/s leave of a run of 200,000
when one phone in ten is off. A message beyond it goes without a fallback, and says so."""


@dataclass(slots=True)
class Watch:
    """One message: by `attempt` it is with Meta, by `number`, since `since`; watched until `until`. `after`: when its
    fallback goes although nothing was said (None: never). Times are Unix seconds; `resent`: an older attempt of it is
    of unknown fate. `packed` holds its order. `due` belongs to the timers."""

    message_id: str
    attempt: int
    number: str
    since: float
    until: float
    after: float | None
    resent: bool
    trace: str | None
    packed: bytes
    due: float | None = None

    @property
    def order(self) -> dict[str, Any]:
        """The DispatchOrder's JSON."""
        order: dict[str, Any] = orjson.loads(zlib.decompress(self.packed))
        return order


class Watches:
    """The watches of one lane."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch] = {}
        self.timers: Timers[Watch] = Timers()

    def __len__(self) -> int:
        return len(self._watches)

    @property
    def full(self) -> bool:
        """Whether no further message can be watched."""
        return len(self._watches) >= MOST_WATCHED

    def find(self, message_id: str) -> Watch | None:
        """The message's watch, if it has one."""
        return self._watches.get(message_id)

    def add(self, message_id: str, since: float, data: dict[str, Any]) -> None:
        """What the journal says of a watch: {order, attempt, number, until, after, resent, trace}."""
        self.remove(message_id)
        until, after = data["until"], data.get("after")
        packed = zlib.compress(orjson.dumps(data["order"]), 1)
        resent, trace = data.get("resent", False), data.get("trace")
        watch = Watch(message_id, data["attempt"], data["number"], since, until, after, resent, trace, packed)
        self._watches[message_id] = watch
        self._look_in_time(watch)

    def remove(self, message_id: str) -> bool:
        """It is over; whether there was one."""
        watch = self._watches.pop(message_id, None)
        if watch is not None and watch.due is not None:
            self.timers.move(watch, None)
        return watch is not None

    def put_off(self, watch: Watch, at: float) -> None:
        """Look at it again then, or when it ends (Unix seconds)."""
        self.timers.move(watch, min(watch.until, at))

    def rebase(self, step: float) -> None:
        """The clock was set by `step` seconds: who waits for a delivery goes on waiting. `until` is the sender's."""
        for watch in self._watches.values():
            watch.since += step
            watch.after = None if watch.after is None else watch.after + step
            self._look_in_time(watch)

    def _look_in_time(self, watch: Watch) -> None:
        self.timers.move(watch, watch.until if watch.after is None else min(watch.until, watch.after))
