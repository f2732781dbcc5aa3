"""A number's pace: no window is exceeded whatever happens, nothing idles for nothing, profiles keep their word."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.graph_simulator.limits import SlidingSecond
from harkara.policy.governance import BUILT_IN_PROFILES, Profile, Stage
from harkara.policy.pacing import INBOUND_SHARE, Limits, Pace, limits_of, next_fraction, paced, rests_of

ONE = "100000000000011"
START = 1_800_000_000.0
EASY = settings(deadline=None)  # the machine may be busy; what counts is what is found
SECOND_SLACK_SECONDS = 0.015  # a margin of the second is no idling: calls do not travel equally fast
MINUTE_SLACK_SECONDS = 60.0  # of the windows of an hour and a day, which count per minute

LIMITS = st.builds(
    Limits,
    per_second=st.one_of(st.none(), st.integers(1, 20)),
    per_minute=st.one_of(st.none(), st.integers(1, 60)),
    per_hour=st.one_of(st.none(), st.integers(1, 90)),
    per_day=st.one_of(st.none(), st.integers(1, 90)),
    media_per_hour=st.one_of(st.none(), st.integers(1, 30)),
    base_delay_seconds=st.sampled_from([0.0, 0.5, 5.0]),
    max_jitter_seconds=st.sampled_from([0.0, 1.0]),
    gap_variation=st.sampled_from([0.0, 0.4]),
)
ARRIVALS = st.lists(
    st.tuples(st.one_of(st.just(0.0), st.floats(0, 30), st.floats(0, 40_000)), st.booleans()), max_size=150
)
"""(seconds until the next message wants to go, whether it is a media message)"""
Call = tuple[float, bool]


def run(pace: Pace, arrivals: list[Call], now: float = START) -> list[Call]:
    """Call as soon as it is allowed, after waiting at least each arrival's seconds."""
    calls = []
    for wait, media in arrivals:
        now = max(now + wait, pace.next_at(media))
        pace.note(now, media)
        calls.append((now, media))
    return calls


def replayed(pace: Pace, limits: Limits, calls: list[Call]) -> Pace:
    """The pace of the next owner of the lane, who reads which calls were made."""
    other = paced(ONE, limits)
    other.cut = pace.cut
    for at, media in calls:
        other.note(at, media)
    return other


def check_windows(calls: list[Call], limits: Limits, first: int = 0) -> None:
    """From call `first` on, no window that ends with a call holds more than its limit, older calls included."""
    media = [at for at, is_media in calls if is_media]
    windows = [([at for at, _ in calls], allowed, seconds) for allowed, seconds in limits.windows()]
    windows += [(media, limits.media_per_hour, 3600.0)] if limits.media_per_hour else []
    since = calls[first][0] if first < len(calls) else float("inf")
    for times, allowed, seconds in windows:
        for earlier, later in zip(times, times[allowed:], strict=False):
            assert later < since or later - earlier >= seconds - 1e-6, (allowed, seconds)


@pytest.mark.req("DSP-6", "DSP-7", "DSP-18", "DSP-21")
@EASY
@given(LIMITS, ARRIVALS)
def test_no_window_of_any_length_holds_more_than_its_limit(limits: Limits, arrivals: list[Call]) -> None:
    check_windows(run(paced(ONE, limits), arrivals), limits)


@pytest.mark.req("DSP-6")
@EASY
@given(LIMITS, ARRIVALS, st.integers(0, 150))
def test_a_restart_changes_nothing(limits: Limits, arrivals: list[Call], at: int) -> None:
    pace = paced(ONE, limits)
    calls = run(pace, arrivals[:at])
    other = replayed(pace, limits, calls)
    assert (other.next_at(), other.next_at(media=True)) == (pace.next_at(), pace.next_at(media=True))
    now = calls[-1][0] if calls else START
    assert run(other, arrivals[at:], now) == run(pace, arrivals[at:], now)


@pytest.mark.req("DSP-18")
@EASY
@given(LIMITS, LIMITS, ARRIVALS, st.integers(0, 150), st.booleans())
def test_a_changed_profile_counts_what_was_sent_under_the_old_one(
    old: Limits, new: Limits, arrivals: list[Call], at: int, restarted: bool
) -> None:
    before = paced(ONE, old)
    calls = run(before, arrivals[:at])
    after = replayed(before, new, calls) if restarted else paced(ONE, new, before)
    calls += run(after, arrivals[at:], calls[-1][0] if calls else START)
    check_windows(calls, new, first=min(at, len(arrivals)))


@EASY
@given(LIMITS, LIMITS, ARRIVALS)
def test_a_change_and_a_restart_come_to_the_same(old: Limits, new: Limits, arrivals: list[Call]) -> None:
    before = paced(ONE, old)
    calls = run(before, arrivals)
    changed, restarted = paced(ONE, new, before), replayed(before, new, calls)
    for media in (False, True):
        assert changed.next_at(media) == pytest.approx(restarted.next_at(media), abs=1.0)


@EASY
@given(LIMITS, ARRIVALS)
def test_nobody_waits_for_nothing(limits: Limits, arrivals: list[Call]) -> None:
    """The next call is never later than the delay, the even spacing and the windows ask for, but for a minute where
    an hour or a day is full."""
    pace = paced(ONE, limits)
    calls: list[Call] = []
    for wait, media in arrivals:
        due = calls[-1][0] + wait if calls else START
        calls += run(pace, [(0.0, media)], due)
        assert calls[-1][0] <= max(due, _owed(limits, pace, calls[:-1], media)) + 1e-6


def _owed(limits: Limits, pace: Pace, calls: list[Call], media: bool) -> float:
    times = [at for at, _ in calls]
    owed = [0.0]
    if times:
        spacing = 1 / limits.per_second if limits.per_second else 0.0
        delay = max(limits.base_delay_seconds + limits.max_jitter_seconds, spacing)
        owed.append(times[-1] + delay + rests_of(limits)[1])
    for allowed, seconds in limits.windows():
        slack = MINUTE_SLACK_SECONDS if seconds > 60 else SECOND_SLACK_SECONDS if seconds == 1 else 0.0
        owed += [times[-allowed] + seconds + slack] if len(times) >= allowed else []
    if media and limits.media_per_hour:
        of_media = [at for at, is_media in calls if is_media][-limits.media_per_hour :]
        owed += [of_media[0] + 3660.0] if len(of_media) == limits.media_per_hour else []
    return max(owed)


@EASY
@given(LIMITS, ARRIVALS, st.data())
def test_what_never_left_takes_no_place(limits: Limits, arrivals: list[Call], data: st.DataObject) -> None:
    """A call that surely was not made is given back: windows then are as if it had never been."""
    pace = paced(ONE, limits)
    calls = run(pace, arrivals)
    dropped = data.draw(st.sets(st.integers(0, max(len(calls) - 1, 0)), max_size=20)) if calls else set()
    for index in dropped:
        pace.forget(*calls[index])
    kept = [call for index, call in enumerate(calls) if index not in dropped]
    other = replayed(pace, limits, kept)
    now = calls[-1][0] if calls else START
    assert [at for at in pace.minute if at > now - 60] == [at for at in other.minute if at > now - 60]
    assert pace.in_last_day(now) == other.in_last_day(now)
    check_windows(kept + run(pace, [(0.0, True)] * 10, now), limits, first=len(kept))


def test_a_second_is_filled_evenly() -> None:
    times = [at for at, _ in run(paced(ONE, Limits(per_second=80)), [(0.0, False)] * 400)]
    assert times[-1] - times[0] == pytest.approx(399 / 80, abs=0.15)
    assert max(sum(start <= at < start + 0.1 for at in times) for start in times) <= 2 * 8 + 1


@pytest.mark.parametrize(("name", "rate"), [("cloud-api", 80), ("cloud-api-high", 1000)])
def test_a_full_queue_goes_at_metas_throughput(name: str, rate: int) -> None:
    times = [at for at, _ in run(paced(ONE, limits_of(BUILT_IN_PROFILES[name])), [(0.0, False)] * (10 * rate))]
    assert (len(times) - 1) / (times[-1] - times[0]) == pytest.approx(rate, rel=0.01)


@pytest.mark.req("DSP-4", "DSP-5", "DSP-6")
def test_the_governance_profile_is_slow_uneven_and_loses_little_by_it() -> None:
    """2,000 ms and 0 to 1,500 ms more, at most 20 a minute, and a coefficient of variation of at least 0.4 over 10,000
    gaps under a full queue: within the jitter's own range no distribution has more than 0.29, so some are rests."""
    limits = limits_of(BUILT_IN_PROFILES["governance"])
    calls = run(paced(ONE, limits), [(0.0, False)] * 10_001)
    gaps = [b - a for (a, _), (b, _) in pairwise(calls)]
    ordinary = [gap for gap in gaps if gap <= 3.5]
    assert min(gaps) >= 2.0
    assert pstdev(gaps) / mean(gaps) >= 0.4
    assert min(pstdev(part) / mean(part) for part in (gaps[n : n + 2000] for n in range(0, 10_000, 2000))) >= 0.4
    assert len(ordinary) / len(gaps) > 0.85
    assert 60 / mean(gaps) >= 0.9 * 20
    assert max(gaps) < 20
    check_windows(calls, limits)
    assert limits.randomised_order


@pytest.mark.req("DSP-5")
@pytest.mark.parametrize("wanted", [0.2, 0.4, 0.5])
@pytest.mark.parametrize("figures", [(80, None, 0.0, 0.0), (1, 30, 0.0, 0.0), (5, 20, 5.0, 0.0), (10, None, 1.0, 2.0)])
def test_any_profile_may_ask_for_uneven_gaps(wanted: float, figures: tuple[int, int | None, float, float]) -> None:
    limits = Limits(figures[0], figures[1], None, None, figures[2], figures[3], None, wanted)
    calls = run(paced(ONE, limits), [(0.0, False)] * 6000)
    gaps = [b - a for (a, _), (b, _) in pairwise(calls)]
    assert pstdev(gaps) / mean(gaps) >= wanted
    assert mean(gaps) <= 1.12 * max(figures[2] + figures[3] / 2, 1 / figures[0], 60 / figures[1] if figures[1] else 0)


@pytest.mark.req("DSP-7", "DSP-21")
def test_the_conservative_profile_has_its_figures() -> None:
    limits = limits_of(BUILT_IN_PROFILES["conservative"])
    assert limits == Limits(5, 20, 1000, None, 5.0, 0.0, 100)
    times = [at for at, _ in run(paced(ONE, limits), [(0.0, False)] * 200)]
    assert [b - a for a, b in pairwise(times)] == pytest.approx([5.0] * 199)


@pytest.mark.req("DSP-3", "DSP-8")
@pytest.mark.parametrize(
    ("age_days", "per_day", "per_minute"),
    [(0, 20, 5), (2, 20, 5), (3, 100, 15), (13, 100, 15), (14, 500, 30), (900, 500, 30)],
)
def test_trust_grows_with_age(age_days: int, per_day: int, per_minute: int) -> None:
    """Cold until three days, warm until fourteen, then hot; always 3 to 5 seconds between two messages."""
    limits = limits_of(BUILT_IN_PROFILES["trust-level"].at_age(age_days))
    assert (limits.per_day, limits.per_minute) == (per_day, per_minute)
    calls = run(paced(ONE, limits), [(0.0, False)] * (per_day + 1))
    gaps = [b - a for (a, _), (b, _) in pairwise(calls)]
    assert min(gaps) >= 3.0
    assert [gap for gap in gaps[: per_minute - 1] if gap > 5.0] == []
    assert calls[-1][0] - calls[0][0] >= 86_400.0
    check_windows(calls, limits)


def test_a_number_that_is_not_there_yet_is_cold() -> None:
    assert BUILT_IN_PROFILES["trust-level"].at_age(-5).per_day == 20


@pytest.mark.req("DSP-22")
def test_a_profile_of_ones_own_may_be_as_loose_as_one_likes_and_have_stages() -> None:
    """For development: nothing but Meta's highest throughput. In production: as strict as the built-in ones."""
    loose = limits_of(Profile(per_second=1000))
    calls = run(paced(ONE, loose), [(0.0, True)] * 3000)
    assert calls[-1][0] - calls[0][0] < 3.1
    strict = Profile(per_second=2, stages=(Stage(until_days=1, per_second=1, media_per_hour=3),))
    assert limits_of(strict.at_age(0)) == Limits(per_second=1, media_per_hour=3)
    assert limits_of(strict.at_age(1)) == Limits(per_second=2)


@pytest.mark.req("DSP-21")
def test_media_waits_for_its_hour_and_texts_do_not() -> None:
    pace = paced(ONE, Limits(per_second=80, media_per_hour=100))
    run(pace, [(0.0, True)] * 100)
    assert pace.next_at() < START + 10
    assert START + 3600 <= pace.next_at(media=True) <= START + 3660 + 10


def test_what_people_write_takes_places_in_the_second() -> None:
    """Meta counts both directions: as many as its own window lets through, and not one refused."""
    pace, meta = paced(ONE, Limits(per_second=80)), SlidingSecond()
    now, sent, heard = START, 0, 0
    while now < START + 20:
        now += 0.005
        if heard < 50 * (now - START):
            heard += 1
            pace.note_inbound(now)
            meta.take(now, 80)  # it comes whether Meta has room or not
        if pace.next_at() <= now:
            pace.note(now)
            sent += 1
            assert meta.take(now, 80), "Meta would have refused it"
    assert sent == pytest.approx(30 * 20, rel=0.03)


def test_a_flood_of_incoming_messages_slows_a_number_and_does_not_silence_it() -> None:
    pace = paced(ONE, Limits(per_second=80))
    now, sent = START, 0
    while now < START + 20:
        now += 0.001
        pace.note_inbound(now)
        if pace.next_at() <= now:
            pace.note(now)
            sent += 1
    assert sent / 20 == pytest.approx(80 * (1 - INBOUND_SHARE), rel=0.1)


@pytest.mark.parametrize("every_ms", [20, 140, 500, 900])
def test_a_flood_that_comes_in_heaps_keeps_its_places(every_ms: int) -> None:
    """A fetch from Kafka brings many at once; between two of them the number does not call as if nobody wrote."""
    pace = paced(ONE, Limits(per_second=10))
    sent = 0
    for now_ms in range(20_000):
        now = START + now_ms / 1000
        if now_ms % every_ms == 0:
            for place in range(50 * every_ms // 1000):
                pace.note_inbound(now + place / 1e6)
        if pace.next_at() <= now:
            pace.note(now)
            sent += 1
    assert sent / 20 == pytest.approx(10 - int(10 * INBOUND_SHARE), abs=0.5)


def test_a_copy_goes_its_own_way() -> None:
    pace = paced(ONE, limits_of(BUILT_IN_PROFILES["trust-level"]))
    run(pace, [(0.0, True)] * 40)
    before = (pace.next_at(), pace.next_at(media=True), pace.in_last_day(pace.last))
    run(pace.copy(), [(0.0, True)] * 40, pace.last)
    assert (pace.next_at(), pace.next_at(media=True), pace.in_last_day(pace.last)) == before


def test_a_day_of_attempts_is_counted_as_the_limit_counts_it() -> None:
    pace = paced(ONE, Limits(per_day=500))
    calls = run(pace, [(100.0, False)] * 900)
    last = calls[-1][0]
    inside = sum(at > last - 86_400 for at, _ in calls)
    assert inside <= pace.in_last_day(last) <= min(500, inside + 1)
    assert pace.in_last_day(last + 86_400 + 60) == 0


def test_memory_is_bounded_by_the_rate_whatever_the_limits() -> None:
    pace = paced(ONE, Limits(per_second=20, per_day=1_000_000))
    run(pace, [(0.0, False)] * 10_000)
    assert len(pace.minute) <= 20 * 60 + 1
    assert len(pace.second) == 20


def test_fractions_are_even_and_the_same_for_the_same_seed() -> None:
    seed, found = 7, []
    for _ in range(5000):
        seed, fraction = next_fraction(seed)
        found.append(fraction)
    assert all(0 <= fraction < 1 for fraction in found)
    assert mean(found) == pytest.approx(0.5, abs=0.02)
    assert next_fraction(7)[1] == found[0]


def test_a_slower_profile_after_a_restart_does_not_pay_for_what_the_faster_one_sent() -> None:
    fast = paced(ONE, limits_of(BUILT_IN_PROFILES["cloud-api-high"]))
    calls = run(fast, [(0.0, False)] * 5000)
    slow = replayed(fast, limits_of(BUILT_IN_PROFILES["cloud-api"]), calls)
    assert slow.next_at() <= calls[-1][0] + 1.0


class _Asked(float):
    """A time that counts how often it is compared with another."""

    times = 0

    def __eq__(self, other: object) -> bool:
        _Asked.times += 1
        return float(self) == other

    __hash__ = float.__hash__


def test_calls_that_never_left_are_given_back_without_a_look_at_the_whole_minute() -> None:
    pace = paced(ONE, Limits(per_second=1000))
    noted = [_Asked(START + place / 1000) for place in range(20_000)]
    for at in noted:
        pace.note(at)
    _Asked.times = 0
    for at in noted[-200:]:
        pace.forget(at)
    assert len(pace.minute) == 19_800 and len(pace.second) == 800
    assert _Asked.times < 200 * 5000, "the second's 1,000 a few times, not the minute's 20,000"
