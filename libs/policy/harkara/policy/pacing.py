"""How fast one number may call: sliding windows, delays with jitter, rests, even spacing inside the second.

Pure: the state is a function of the attempts noted, so a restart that replays the journal resets no limit, and the
delay after an attempt is a function of the number and the attempt's time alone. Times are Unix seconds. Requirement
rows DSP-3..DSP-8; the figures come from the number's pacing profile in governance.yaml.

Why rests: a profile that asks for a coefficient of variation of 0.4 cannot have it from its jitter. Gaps between 2 s
and 3.5 s have at most 0.28 (two points), and where 20 a minute force a mean of 3 s at most 0.24; filled up to the last
place, the window even makes the gaps repeat every 20 calls. But 2 s and 0..1.5 s are 2.75 s in the mean, so five
seconds of every minute are to spare: they are spent at random, as a few longer rests, and 3 % more besides, so that
the window itself seldom waits (`rests_of`).
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass, field

from harkara.policy.governance import Profile
from harkara.policy.second import Second
from harkara.policy.tally import Tally
from harkara.policy.throttle import Cut, rate_at

SPACING_BURST_SECONDS = 0.05  # calls start in group commits, on a busy machine 50 ms apart: one may be made up for
FAST_BURST_SECONDS = 0.2
"""What a fast number may make up for while it calls: what several stalls left open. A gap that a stall left in its
second comes again a second later, with what was made up behind it, and so do the gaps of other stalls."""
CATCH_UP = 3
"""A fast number makes up at three times its rate. Of a heap at one moment all but the first would start late; while it
is made up for, what came free in the second meanwhile waits behind it and is lost. Simulated with four stalls of 12 ms
in the mean a second: at twice the rate 0.7 of 1,000 calls/s are lost so, at three times 0.3, at four times 0.2; and
the clock sees at most 1,010, 1,015 and 1,020 starts in a second (what `TIMER_SECONDS` holds of each)."""
AHEAD_SECONDS = 0.04
"""How long before its start a fast number's call is decided: as long as two group commits are apart and a slow one
takes. So its attempt is journaled when its time comes, and no time is lost to a commit. With 0.03 two quiet cores were
too late for 7 of 100 places, with this for 2."""
FAST_PER_SECOND = 300  # from here on several calls fall between two commits
TIMER_SECONDS = 0.005
"""By how much a call decided ahead may start after its place in the second: its way to Meta varies by more. One that
starts later has its place that much before its start. Simulated with a stall of 20 to 40 ms in each second and what
may be made up for: 998 of 1,000 calls/s; 996 without either."""
ARRIVAL_SECONDS = 0.015
"""By how much a call may be slower on its way than the one that takes its place a second later: Meta counts when they
arrive. A number that is not fast waits for that; it costs 1.5 % of 80 calls/s. Without it an exact sliding second
refused 1 of 47,000 calls. With 0.01 ten numbers on a disturbed machine had 10 to 18 calls refused in a minute, and a
refusal halves a number's rate: they made 3 to 9 % fewer calls than without refusals."""
REST_COST = 0.03  # share of the rate given up for rests
VARIATION_MARGIN = 0.08  # above what is asked for: the window, where it waits, takes some of the variation back
INBOUND_SHARE = 0.75  # of a second's calls at most: a flood of incoming messages slows a number, it does not silence it
LATEST_BACK_SECONDS = 5.0  # attempts are noted in the order of their times, but for a clock that was set back
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """A pacing profile's figures; None or 0: no such limit. At most `per_x` calls in any x, not in any calendar x.

    `media_per_hour` counts media messages only. `gap_variation`: the least coefficient of variation of the gaps under
    a full queue (0: as it comes). `randomised_order`: equal priorities leave in random order. `typing_seconds`: for
    how long an answer is announced by the typing indicator, at least and at most (0.0: not at all).
    """

    per_second: int | None = None
    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    base_delay_seconds: float = 0.0
    max_jitter_seconds: float = 0.0
    media_per_hour: int | None = None
    gap_variation: float = 0.0
    randomised_order: bool = False
    typing_seconds: tuple[float, float] = (0.0, 0.0)

    def windows(self) -> tuple[tuple[int, float], ...]:
        """(calls, seconds) of each limit that is set."""
        pairs = ((self.per_second, 1.0), (self.per_minute, 60.0), (self.per_hour, 3600.0), (self.per_day, 86_400.0))
        return tuple((calls, seconds) for calls, seconds in pairs if calls)


def limits_of(profile: Profile) -> Limits:
    """A profile's figures in seconds; of a profile with stages those of its last."""
    return Limits(
        per_second=profile.per_second,
        per_minute=profile.per_minute,
        per_hour=profile.per_hour,
        per_day=profile.per_day,
        base_delay_seconds=profile.base_delay_ms / 1000,
        max_jitter_seconds=profile.max_jitter_ms / 1000,
        media_per_hour=profile.media_per_hour,
        gap_variation=profile.gap_variation,
        randomised_order=profile.randomised_order,
        typing_seconds=(profile.typing_min_ms / 1000, profile.typing_max_ms / 1000),
    )


@dataclass(slots=True)
class Pace:
    """One number's pace. It remembers every attempt of the last minute, and counts per minute for a day and, of media,
    for an hour: more than its limits ask for, so that a change of the limits forgets nothing. Memory is bounded by the
    rate: a number at 1,000/s holds 60,000 times (2 MB), one at 20/min 20 and 6 kB of counts."""

    limits: Limits
    seed: int
    minute: deque[float] = field(default_factory=deque)
    second: Second = field(default_factory=lambda: Second(0))
    inbound: deque[float] = field(default_factory=deque)
    day: Tally = field(default_factory=lambda: Tally(24))
    media: Tally = field(default_factory=lambda: Tally(1))
    last: float = 0.0
    not_before: float = 0.0
    slot: float = 0.0
    cut: Cut | None = None
    rests: tuple[float, float] = (0.0, 0.0)
    _long_until: float = 0.0
    _media_until: float = 0.0
    _ahead: float = field(init=False)
    _least_gap: float = field(init=False)
    _far: bool = field(init=False)

    def __post_init__(self) -> None:
        # what the limits alone say; a pace keeps its limits
        per_second = self.limits.per_second or 0
        self._ahead = AHEAD_SECONDS if per_second >= FAST_PER_SECOND else 0.0
        catching_up = 1 / (per_second * CATCH_UP) if self._ahead else 0.0
        self._least_gap = max(self.limits.base_delay_seconds, catching_up)
        self._far = any((self.limits.per_hour, self.limits.per_day, self.limits.media_per_hour))

    def note(self, at: float, media: bool = False) -> None:
        """An attempt was made at `at`: it counts in every window and starts the delay before the next."""
        self.minute.append(at)
        while self.minute[0] <= at - 60.0:
            self.minute.popleft()
        per_second = self.limits.per_second
        if per_second:
            self.second.add(at)
            self._space(at, 1 / (per_second if self.cut is None else self.rate(at)))
        self.last, self.not_before = at, at + self.gap_after(at)
        self.day.add(at)
        if media:
            self.media.add(at)
        if self._far:
            self.look_far()

    def began(self, noted: float, at: float) -> None:
        """A call noted at `noted` starts only now, at `at`: its commit took that long. Meta's second counts from
        here, and a commit that took 50 ms before one that took 5 would put more than a second's calls into a second.

        Simulated with commits of 3 to 12 ms: refused by an exact sliding second 1.5 % without this, none with it.
        """
        place = at - TIMER_SECONDS if self._ahead else at
        if place > noted or not self._ahead:
            self.second.began(noted, place)

    def note_inbound(self, at: float) -> None:
        """A message came in at `at`: Meta counts it into the number's throughput. It takes a place in the second.

        Of a flood the newest are kept: its places stay taken for as long as it lasts, and not only until the first of
        them are a second old.
        """
        full = self.limits.per_second
        if not full:
            return
        while self.inbound and self.inbound[0] <= at - 1.0:
            self.inbound.popleft()
        flooded = len(self.inbound) >= int(full * INBOUND_SHARE)
        if flooded and self.inbound:
            self.second.forget(self.inbound.popleft())
        elif flooded:
            return
        self.inbound.append(at)
        self.second.add(at)
        if not flooded and self.rate(at) >= full:  # a rate that Meta's refusals have shown is what was left beside it
            self._space(at, 1 / full)

    def forget(self, at: float, media: bool = False) -> None:
        """The attempt noted at `at` surely never left: its place in the windows is free again."""
        _take_out(self.minute, at)
        self.second.forget(at)
        self.day.add(at, -1)
        if media:
            self.media.add(at, -1)
        self.look_far()

    def throttle(self, cut: Cut) -> None:
        """Meta said that the number is too fast: nothing before `cut.until`, then at the cut's rate."""
        self.cut = cut
        self.slot = max(self.slot, cut.until)

    def rate(self, now: float) -> float:
        """Calls per second that may be made now by the per-second limit and what Meta said; infinite without one."""
        return rate_at(self.cut, self.limits.per_second or float("inf"), now)

    def next_at(self, media: bool = False) -> float:
        """The earliest time at which the next call may start; `media`: of a media message."""
        limits = self.limits
        earliest = max(self.not_before, self.slot, self._long_until)
        oldest = self.second.oldest_if_full if limits.per_second else None
        if oldest is not None:
            earliest = max(earliest, oldest + (1.0 if self._ahead else 1.0 + ARRIVAL_SECONDS))
        if limits.per_minute and len(self.minute) >= limits.per_minute:
            earliest = max(earliest, self.minute[-limits.per_minute] + 60.0)
        return max(earliest, self._media_until) if media else earliest

    def ahead(self) -> float:
        """Seconds before its start at which a call may be decided; 0.0 for a number that is not fast: a call that is
        decided and has not begun is in doubt after a crash, and what a commit takes is little beside its gaps.

        Simulated with commits of 3 to 12 ms: 999 calls/s of 1,000 with this, 956 without.
        """
        return self._ahead

    def in_last_day(self, now: float) -> int:
        """Attempts of the last 24 h, as the limit per day counts them."""
        self.day.reach(now)
        return self.day.total

    def copy(self) -> Pace:
        """One that goes its own way, for a schedule that is only thought."""
        return Pace(
            self.limits, self.seed, self.minute.copy(), self.second.copy(), self.inbound.copy(), self.day.copy(),
            self.media.copy(), self.last, self.not_before, self.slot, self.cut, self.rests, self._long_until,
            self._media_until,
        )  # fmt: skip

    def _space(self, at: float, seconds: float) -> None:
        """The next place in the second is that much later; never a second ahead, where calls were made under a faster
        profile or came in together."""
        calling = self._ahead and at - self.last < 1.0
        burst = FAST_BURST_SECONDS if calling else SPACING_BURST_SECONDS
        slot = (self.slot if self.slot > at - burst else at - burst) + seconds
        self.slot = slot if slot < at + 1.0 else at + 1.0

    def gap_after(self, at: float) -> float:
        """The delay after an attempt: base, jitter and perhaps a rest, drawn from the number and the time alone; of a
        fast number at least what its catching up leaves."""
        gap = self._least_gap
        chance, longest = self.rests
        if self.limits.max_jitter_seconds or chance:
            seed, jitter = next_fraction(self.seed ^ int(at * 1e6))
            seed, draw = next_fraction(seed)
            gap += jitter * self.limits.max_jitter_seconds
            if draw < chance:
                gap = max(gap, 1 / (self.limits.per_second or float("inf"))) + longest * draw / chance
        return gap

    def look_far(self) -> None:
        """Until when the windows of an hour and a day, and that of media, are full."""
        limits = self.limits
        if limits.per_hour or limits.per_day:
            self._long_until = max(
                self.day.free_at(limits.per_hour, 3600.0) if limits.per_hour else 0.0,
                self.day.free_at(limits.per_day, 86_400.0) if limits.per_day else 0.0,
            )
        if limits.media_per_hour:
            self._media_until = self.media.free_at(limits.media_per_hour, 3600.0)


def _take_out(times: deque[float], at: float) -> None:
    """From the newest on: an outage gives hundreds of calls back at once, among 60,000 times."""
    for place, time in enumerate(reversed(times), 1):
        if time == at:
            del times[-place]
            return
        if time < at - LATEST_BACK_SECONDS:
            return


def paced(phone_number_id: str, limits: Limits, before: Pace | None = None) -> Pace:
    """A number's pace under `limits`; a changed profile keeps the attempts that were made under the old one.

    The seed is the number's own, so equal profiles do not beat in time.
    """
    pace = Pace(limits, zlib.crc32(phone_number_id.encode()), rests=rests_of(limits))
    if before is None:
        pace.second = Second(limits.per_second or 0)
        return pace
    pace.minute, pace.inbound, pace.day, pace.media = before.minute, before.inbound, before.day, before.media
    pace.second = Second(limits.per_second or 0, before.second.starts or before.minute)
    pace.last, pace.slot, pace.cut = before.last, before.slot, before.cut
    pace.not_before = pace.last + pace.gap_after(pace.last) if pace.last else 0.0
    pace.look_far()
    return pace


def rests_of(limits: Limits) -> tuple[float, float]:
    """(chance of a rest after a call, longest rest in seconds; its length is even between 0 and that).

    The mean gap is to be REST_COST above what the limits force, the coefficient of variation VARIATION_MARGIN above
    what is asked for: two equations for two figures.
    """
    spacing = 1 / limits.per_second if limits.per_second else 0.0
    mean = max(limits.base_delay_seconds + limits.max_jitter_seconds / 2, spacing)
    variance = limits.max_jitter_seconds**2 / 12
    forced = max(mean, 60.0 / limits.per_minute if limits.per_minute else 0.0)
    wanted_mean = forced * (1 + REST_COST)
    wanted_deviation = wanted_mean * (limits.gap_variation + VARIATION_MARGIN)
    if not limits.gap_variation or not forced or variance >= wanted_deviation**2:
        return 0.0, 0.0
    rest_mean = wanted_mean - mean
    second_moment = wanted_deviation**2 - variance + rest_mean**2
    longest = max(1.5 * second_moment / rest_mean, 2 * rest_mean)
    return 2 * rest_mean / longest, longest


def next_fraction(seed: int) -> tuple[int, float]:
    """splitmix64: the next seed and a number in [0, 1)."""
    seed = (seed + 0x9E3779B97F4A7C15) & _MASK
    mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return seed, ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)
