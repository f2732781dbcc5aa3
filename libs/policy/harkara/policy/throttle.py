"""What a number does when Meta says that it sends too fast (130429): half the rate at once, back little by little.

Additive increase, multiplicative decrease. The figures follow from two aims: where Meta takes a quarter of what the
profile says, at most 1 % of the calls are refused; after a storm of refusals the number is back at 90 % of its rate
within a minute. So the climb is gentle (to nine tenths of the rate that was refused) while the refusal is fresh, and
steep once it is 20 s old. A number that is refused again at once waits twice as long, up to 30 s (DSP-15).
"""

from __future__ import annotations

from dataclasses import dataclass

GENTLE_SECONDS = 20.0
GENTLE_SHARE = 0.8  # of the halved rate, gained within GENTLE_SECONDS: 1.8 halves are nine tenths of what was refused
FULL_CLIMB_SECONDS = 45.0  # from nothing to the full rate at the steep climb: 20 s + 0.8 of these stay below a minute
LOWEST_SHARE = 0.05  # of the full rate, and never below 1/s: enough calls to see within a second that Meta takes them
FIRST_BREATH_SECONDS = 1.0  # Meta's window is a second: after it the calls that were too many do not count any more
LONGEST_BREATH_SECONDS = 30.0
AT_ONCE_SECONDS = 1.0
JITTER = 0.25


@dataclass(frozen=True, slots=True)
class Cut:
    """A number was told that it is too fast. From `until` (Unix seconds; no call before) it may make `rate` calls/s
    and more as time passes. `row`: how many cuts before it came right after one another."""

    rate: float
    until: float
    row: int = 0


def rate_at(cut: Cut | None, full: float, now: float) -> float:
    """Calls per second that the number may make at `now`, of `full` that its profile allows."""
    if cut is None:
        return full
    since = max(0.0, now - cut.until)
    gentle = cut.rate * (1 + GENTLE_SHARE * min(since, GENTLE_SECONDS) / GENTLE_SECONDS)
    return min(full, gentle + max(0.0, since - GENTLE_SECONDS) * full / FULL_CLIMB_SECONDS)


def next_cut(
    before: Cut | None, full: float, called_at: float, now: float, asked_seconds: float, fraction: float
) -> Cut | None:
    """The cut after a call made at `called_at` was refused, or None: it was made before the last cut could help.

    `asked_seconds` is the answer's Retry-After (0: none), `fraction` in [0, 1) the jitter's part.
    """
    if before is not None and called_at < before.until:
        return None
    lowest = min(full, max(1.0, full * LOWEST_SHARE))
    row = before.row + 1 if before is not None and called_at < before.until + AT_ONCE_SECONDS else 0
    breath = min(FIRST_BREATH_SECONDS * 2.0**row, LONGEST_BREATH_SECONDS) * (1 + JITTER * fraction)
    return Cut(max(lowest, rate_at(before, full, now) / 2), now + max(breath, asked_seconds), min(row, 10))
