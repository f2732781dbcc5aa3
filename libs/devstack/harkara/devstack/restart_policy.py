"""When a crashed process is started again: pure, time is an argument."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """At most `limit` restarts within any `window_seconds`; the n-th waits `first_delay_seconds` * 2^(n-1).

    5 a minute: a process killed on purpose is back at once. One that was never ready gets `limit_before_ready`: a wrong
    setting stays wrong, and somebody is waiting to be told; two cover a server that was a moment late.
    """

    limit: int = 5
    limit_before_ready: int = 2
    window_seconds: float = 60.0
    first_delay_seconds: float = 0.2


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after `delay_seconds`."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it down: it crashed `crashes` times within the window."""

    crashes: int


def recent(policy: RestartPolicy, crash_times: Sequence[float], now: float) -> tuple[float, ...]:
    """The crashes that still count: all that anyone needs to remember, at most limit + 1 of them."""
    return tuple(time for time in crash_times if now - time < policy.window_seconds)[-(policy.limit + 1) :]


def decide(policy: RestartPolicy, crash_times: Sequence[float], now: float, *, was_ready: bool) -> Restart | GiveUp:
    """`crash_times` in seconds of any clock that never goes back, the newest crash (at `now`) included."""
    crashes = len(recent(policy, crash_times, now))
    if crashes > (policy.limit if was_ready else policy.limit_before_ready):
        return GiveUp(crashes)
    return Restart(policy.first_delay_seconds * 2 ** (max(crashes, 1) - 1))
