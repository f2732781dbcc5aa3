"""Meta's limits: messages of a number in any second, of a number to one person, people of a portfolio, calls."""

from __future__ import annotations

from collections import deque

PAIR_INTERVAL_SECONDS = 6.0
PAIR_BURST = 45
MAX_PAIRS = 200_000  # about 50 MB; a pair's quota is whole after at most 4.5 minutes


class SlidingSecond:
    """At most `per_second` messages in any window of one second."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def take(self, now: float, per_second: int) -> bool:
        """Counts a message at `now` (seconds), or says False and counts nothing."""
        times = self._times
        while times and times[0] <= now - 1.0:
            times.popleft()
        if len(times) >= per_second:
            return False
        times.append(now)
        return True


class HourlyCalls:
    """At most `per_hour` calls in a fixed hour (management calls; Meta counts them in hours)."""

    __slots__ = ("_count", "_hour")

    def __init__(self) -> None:
        self._hour = -1
        self._count = 0

    def take(self, now: float, per_hour: int) -> bool:
        """Counts a call at `now` (seconds since 1970), or says False."""
        hour = int(now // 3600)
        if hour != self._hour:
            self._hour, self._count = hour, 0
        if self._count >= per_hour:
            return False
        self._count += 1
        return True

    def percent(self, per_hour: int) -> int:
        """The share of the hour's calls that is used, 0 to 100, as X-Business-Use-Case-Usage has it."""
        return min(100, 100 * self._count // per_hour)

    @staticmethod
    def minutes_left(now: float) -> int:
        """Minutes until the next hour begins, at least 1: `estimated_time_to_regain_access`."""
        return max(1, int((3600 - now % 3600) // 60))


class Attempts:
    """At most `most` attempts within any `seconds` (registrations: 10 in 72 hours, Meta)."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def take(self, now: float, most: int, seconds: float) -> bool:
        """Counts an attempt, or says False; what is refused is not counted."""
        while self._times and self._times[0] <= now - seconds:
            self._times.popleft()
        if len(self._times) >= most:
            return False
        self._times.append(now)
        return True


class PortfolioPeople:
    """Unique people whom a portfolio wrote to outside a service window within the last `seconds` (Meta: 24 h).

    Each person counts from the first such message, so a second one within that time needs no further place. Bounded by
    the largest limit that is enforced (100,000 people): above the limit nobody is added.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def take(self, person: str, now: float, most: int, seconds: float) -> bool:
        """Whether the person is among the portfolio's people of these hours, or there is a place for them."""
        since = self._since
        while since and (oldest := next(iter(since.items())))[1] <= now - seconds:
            del since[oldest[0]]
        if person in since:
            return True
        if len(since) >= most:
            return False
        since[person] = now
        return True

    def __len__(self) -> int:
        return len(self._since)


class PairLimits:
    """One message per 6 s and pair, with 45 borrowed at once: after a burst of N the quota is whole after N x 6 s.

    Each pair is one float: the time at which its quota is whole again (generic cell rate algorithm). From `max_pairs`
    on, those whose quota is whole are dropped at each message, which forgets nothing.
    """

    def __init__(self, max_pairs: int = MAX_PAIRS) -> None:
        self._max_pairs = max_pairs
        self._whole_at: dict[tuple[str, str], float] = {}

    def take(self, phone_number_id: str, recipient: str, now: float) -> bool:
        """Counts a message of this number to this person, or says False and counts nothing."""
        pair = (phone_number_id, recipient)
        whole_at = max(self._whole_at.get(pair, now), now)
        if whole_at - now > (PAIR_BURST - 1) * PAIR_INTERVAL_SECONDS:
            return False
        if len(self._whole_at) >= self._max_pairs:
            self._whole_at = {key: at for key, at in self._whole_at.items() if at > now}
        self._whole_at[pair] = whole_at + PAIR_INTERVAL_SECONDS
        return True
