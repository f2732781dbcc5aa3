"""The machine's clock is set while a lane works, or between two owners: limits hold in real time, none goes silent."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harkara.dispatcher.journal import EMITTED, instant
from harkara.dispatcher.lane_clock import MOST_READINGS, READING_SECONDS, STEP_SECONDS, LaneClock, set_time
from harkara.dispatcher.rebase import SET_BACK_SECONDS
from harkara.dispatcher.scribe import Scribe
from harkara.graph_api.outcome import NotSent
from harkara.policy.pacing import Limits
from harkara.policy.tally import MINUTE_SECONDS
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, TIMEOUT, HandDriven, order, refused

HOUR, DAY = 3600.0, 86_400.0


def clock_is_set(lane: HandDriven, step: float) -> None:
    """As the shell does it: the step is written before the next decision."""
    lane.now += step
    lane.write(lambda scribe: scribe.clock_set(step))


def states(lane: HandDriven) -> object:
    """What a restart must bring back of every number's times."""
    return {
        number: (each.pace.next_at(), each.pace.next_at(media=True), list(each.pace.minute), each.pairs.whole_at)
        for number, each in lane.state.numbers.items()
    }


class TestSilence:
    @pytest.mark.req("DSP-6")
    @pytest.mark.parametrize("step", [-5.0, -HOUR, -400 * DAY, 5.0, HOUR, 400 * DAY])
    def test_the_next_call_goes_when_it_would_have_gone(self, step: float) -> None:
        lane = HandDriven(limits=Limits(per_second=1, per_minute=3))
        lane.take(*(order(f"m{n}", life=1000 * DAY) for n in range(6)))
        for _ in range(5):
            lane.round(1.02)
        assert len(lane.attempts) == 3, "the minute is full"
        clock_is_set(lane, step)
        lane.round(53.0)
        assert len(lane.attempts) == 3, "the minute is full still: the step freed nothing"
        lane.round(3.0)
        assert len(lane.attempts) == 4, "and is over when it would have been"

    @given(st.floats(-400 * DAY, 400 * DAY))
    def test_what_explains_a_decision_stays_to_the_microsecond(self, step: float) -> None:
        """Else a hold of which a fraction of a microsecond was left is over when the decision is made again."""
        lane = HandDriven()
        lane.take(order("m1", life=1000 * DAY), order("m2", life=1000 * DAY))
        lane.answer(refused(132015), "m1")
        lane.answer(refused(131016, 500), "m2")
        clock_is_set(lane, step)
        (hold,), message = lane.state.holds.values(), lane.state.messages["m2"]
        assert message.status == "retrying"
        assert hold.until is not None and message.until is not None
        for at in (hold.until, hold.at, message.until):
            assert at == instant(at).timestamp()

    def test_a_number_that_was_paused_goes_on_when_its_pause_is_over(self) -> None:
        lane = HandDriven()
        lane.take(order("m1"), order("m2"))
        lane.answer(refused(131048), "m1")
        (hold,) = [each for key, each in lane.state.holds.items() if key == ("number", ONE)]
        assert hold.until is not None
        pause = hold.until - lane.now
        clock_is_set(lane, -DAY)
        calls = len(lane.attempts)
        lane.round(pause - 1.0)
        assert len(lane.attempts) == calls
        lane.round(2.0)
        assert len(lane.attempts) > calls

    def test_an_open_breaker_and_a_delay_before_a_retry_are_over_in_their_time(self) -> None:
        lane = HandDriven()
        lane.take(order("m1"))
        lane.answer(NotSent("connect"), "m1")
        clock_is_set(lane, -HOUR)
        calls = len(lane.attempts)
        lane.round(1.0)
        assert len(lane.attempts) == calls + 1, "half open"
        lane.answer(refused(131016, 500), "m1")
        clock_is_set(lane, -HOUR)
        for _ in range(60):
            lane.round(1.0)
        assert lane.attempts[-1][1] == 3, "tried again, although its time seemed an hour away"

    def test_a_person_that_slept_for_the_pair_limit_is_written_to_in_their_time(self) -> None:
        lane = HandDriven(limits=Limits(per_second=80))
        lane.take(*(order(f"m{n:02}", person_key="asha") for n in range(47)))
        for _ in range(47):
            for message_id, attempt in list(lane.under_way):
                lane.answer(ACCEPTED, message_id, attempt)
            lane.round(0.02)
        assert len(lane.attempts) == 45
        clock_is_set(lane, -HOUR)
        for _ in range(7):
            lane.round(1.0)
        assert len(lane.attempts) == 46

    def test_a_doubt_ends_in_its_time_and_never_before_its_call_has_ended(self) -> None:
        for step in (-HOUR, HOUR):
            lane = HandDriven()
            lane.take(order(category="authentication"))
            lane.answer(TIMEOUT)
            lane.state.accounts = {ONE: "waba-1"}
            clock_is_set(lane, step)
            lane.state.heard_of(ONE, lane.now + 1, lane.now + 1)
            lane.round(13.0)
            assert lane.status() == "in_doubt", "the older call may be under way still"
            lane.round(9.0)
            assert len(lane.attempts) == 2


class TestBetweenOwners:
    """A new owner's clock is behind: the journal's newest entry lies ahead of it."""

    def test_its_attempts_count_from_now_on_and_no_longer(self) -> None:
        lane = HandDriven(limits=Limits(per_second=1, per_minute=3))
        lane.take(*(order(f"m{n}") for n in range(6)))
        for _ in range(5):
            lane.round(1.02)
        lane.now -= HOUR
        lane.crash()
        for _ in range(50):
            lane.round(1.0)
        assert len(lane.attempts) == 3, "three in this minute, one may not know since when"
        for _ in range(8):
            lane.round(1.0)
        assert len(lane.attempts) == 4

    def test_again_and_again_costs_no_more_than_once(self) -> None:
        """What the first new owner made of it is written down: the second does not begin the minute anew."""
        lane = HandDriven(limits=Limits(per_second=1, per_minute=3))
        lane.take(*(order(f"m{n}") for n in range(6)))
        for _ in range(5):
            lane.round(1.02)
        lane.now -= HOUR
        for _ in range(6):
            lane.crash()
            lane.round(10.1)
        assert len(lane.attempts) == 4

    def test_a_journal_in_which_nobody_wrote_a_step_down_is_understood(self) -> None:
        """One of a version that did not look at the clock; the newest entries are right, those ahead are not."""
        lane = HandDriven(limits=Limits(per_second=10))
        lane.take(order("m1"))
        lane.answer(ACCEPTED, "m1")
        lane.now -= HOUR
        lane.take(order("m2", at=lane.now))
        lane.round(1.0)
        assert [each[0] for each in lane.attempts] == ["m1", "m2"]
        lane.crash()
        assert lane.state.number(ONE).pace.next_at() <= lane.now + 1.0

    def test_clocks_that_differ_by_little_are_taken_as_they_are(self) -> None:
        lane = HandDriven(limits=Limits(per_second=1))
        lane.take(order("m1"))
        lane.now -= SET_BACK_SECONDS / 2
        lane.crash()
        assert not [entry for entry in lane.journal if entry.kind == "clock"]


@pytest.mark.parametrize("step", [-HOUR, -3.7, 3.7, HOUR])
def test_a_restart_after_a_step_finds_the_times_as_they_were(step: float) -> None:
    lane = HandDriven(limits=Limits(per_second=2, per_minute=20, per_hour=100, media_per_hour=10))
    lane.take(*(order(f"m{n}") for n in range(10)))
    for n in range(4):
        lane.round(0.6)
        lane.answer(ACCEPTED if n % 2 else NotSent("lease"), lane.under_way[0][0])
    clock_is_set(lane, step)
    lane.round(0.7)
    before = states(lane)
    lane.crash()
    assert states(lane) == before


def test_what_was_given_back_after_a_step_takes_no_place() -> None:
    """An attempt is known by the time that it was noted for, and both have moved."""
    lane = HandDriven(limits=Limits(per_minute=2))
    lane.take(order("m1"), order("m2"))
    clock_is_set(lane, -HOUR)
    lane.answer(NotSent("lease"), "m1")
    pace = lane.state.number(ONE).pace
    assert len(pace.minute) == len([entry for entry in lane.under_way]) and pace.day.total == len(pace.minute)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_what_a_lane_shows_and_has_heard_moves_too(step: float) -> None:
    lane = HandDriven()
    lane.take(order("m1"), order("m2"))
    lane.answer(ACCEPTED, "m1")
    lane.answer(refused(131048), "m2")
    lane.state.accounts = {ONE: "waba-1"}
    lane.state.heard_of(ONE, lane.now - 3.0, lane.now)
    own = lane.state.number(ONE)
    own.typing = [lane.now + 2.0]
    clock_is_set(lane, step)
    assert lane.state.channel(ONE).read_at == lane.now, "webhooks came just now, and not an hour ago or ahead"
    assert own.accepted(lane.now + 30.0)[0] == 1 and own.accepted(lane.now + 61.0)[0] == 0
    assert own.typing == [lane.now + 2.0]
    lane.verdict(ONE, "open", resumed_at=lane.now - 1.0)
    assert ("number", ONE) in lane.state.holds, "said before the hold"
    lane.verdict(ONE, "open", version=2, resumed_at=lane.now + 1.0)
    assert ("number", ONE) not in lane.state.holds


def test_a_resume_from_before_a_halt_does_not_end_it_however_the_clock_is_set() -> None:
    """When Meta said it may be Meta's time or ours: of the two the later one counts, and never one that lies ahead."""
    for step in (-HOUR, HOUR):
        lane = HandDriven()
        lane.take(order("m1"))
        lane.answer(refused(190, 401), "m1")
        lane.round(600.0)
        lane.take(order("m2"))
        clock_is_set(lane, step)
        assert lane.state.holds["number", ONE].at <= lane.now
        lane.verdict(ONE, "open", resumed_at=lane.now - (300.0 if step < 0 else 700.0))
        assert ("number", ONE) in lane.state.holds
        lane.verdict(ONE, "open", version=2, resumed_at=lane.now + 1.0)
        assert ("number", ONE) not in lane.state.holds


def test_a_step_is_forgotten_with_the_entries_before_it() -> None:
    lane = HandDriven()
    lane.take(order("m1"))
    clock_is_set(lane, 5.0)
    lane.round(8 * DAY)
    (key,) = {entry.key for entry in lane.journal if entry.kind == "clock"}
    assert [entry.data for entry in lane.journal if entry.key == key][-1] is None


LIMITS = Limits(per_second=2, per_minute=6, per_hour=20, per_day=60)
STEPS = st.one_of(st.floats(-3 * DAY, 3 * DAY), st.floats(-120.0, 120.0))
EVENTS = st.lists(
    st.tuples(st.floats(0.0, 1500.0), st.sampled_from(["step", "step", "crash", "both", "nothing"]), STEPS),
    min_size=1,
    max_size=12,
)


@dataclass
class Real:
    """A lane under a clock that is set, watched in real seconds, always with something to send. `unknown`: how much of
    the steps nobody could know, for they came between two owners and the journal had been silent for as long, or which
    are so small that they are taken as they are."""

    lane: HandDriven
    calls: list[float] = field(default_factory=list)
    now: float = 0.0
    wrote: float = 0.0
    sent: int = 0
    unknown: float = 0.0

    def live(self, seconds: float) -> None:
        """Rounds at every moment that the lane itself would wake for, and some others."""
        end = self.now + seconds
        while self.now < end:
            if not self.lane.state.number(ONE).standing[1]:
                self.sent += 1
                self.lane.take(order(f"m{self.sent:05}", at=self.lane.now, life=1000 * DAY), start=False)
            self.lane.round()
            for message_id, attempt in list(self.lane.under_way):
                self.calls.append(self.now)
                self.lane.answer(ACCEPTED, message_id, attempt)
                self.wrote = self.now
            assert not self.lane.under_way
            due = self.lane.state.number(ONE).pace.next_at() - self.lane.now
            passed = min(max(due, 0.05), 30.0, end - self.now + 0.001)
            self.now += passed
            self.lane.now += passed

    def happens(self, what: str, step: float) -> None:
        """The clock is set while the lane is owned, the owner ends, or both at once as far as anybody can see."""
        if what == "step":
            clock_is_set(self.lane, step)
        elif what == "both":  # one forward cannot be told from time that passed
            self.lane.now -= abs(step)
            self.lane.crash()
            self.unknown += min(abs(step), self.now - self.wrote + SET_BACK_SECONDS)
        elif what == "crash":
            self.lane.crash()


@pytest.mark.req("DSP-6", "DSP-7")
@settings(max_examples=25, deadline=None)
@given(EVENTS)
@example([(0.25, "both", 1.0)])
def test_limits_hold_in_real_time_and_no_silence_is_longer_than_they_need(
    events: list[tuple[float, str, float]],
) -> None:
    real = Real(HandDriven(limits=LIMITS))
    for seconds, what, step in events:
        real.live(seconds)
        real.happens(what, step)
    real.live(300.0)
    for most, window in LIMITS.windows():
        for at, later in zip(real.calls, real.calls[most:], strict=False):
            assert later - at >= window - 1e-3, (most, window)
    for before, after in pairwise([*real.calls, real.now]):
        assert after - before <= longest_silence(real.calls, before) + real.unknown, before


def longest_silence(calls: list[float], at: float) -> float:
    """How long the limits may keep a number silent after its call at `at`: what its windows need, and the minute by
    which those of an hour and a day are coarser."""
    waits = [1.0]
    for most, window in LIMITS.windows():
        here = bisect_left(calls, at)
        if here + 1 >= most:
            coarse = MINUTE_SECONDS + 1.0 if window > MINUTE_SECONDS else 1.0
            waits.append(calls[here + 1 - most] + window + coarse - at)
    return max(waits)


class Machine:
    """A machine whose clock is set, and which puts a process to sleep between two readings where told."""

    def __init__(self) -> None:
        self.real, self.offset, self.naps = 1000.0, START, list[float]()

    def now(self) -> datetime:
        if self.naps:
            self.real += self.naps.pop(0)
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.real + self.offset)

    def monotonic(self) -> float:
        return self.real


class TestLaneClock:
    @pytest.mark.parametrize("step", [-HOUR, -STEP_SECONDS * 1.1, STEP_SECONDS * 1.1, HOUR])
    def test_a_step_is_told_once_and_the_time_is_the_new_one(self, step: float) -> None:
        machine = Machine()
        clock = LaneClock(machine)
        machine.real += 7.0
        assert clock.look() == 0.0
        machine.offset += step
        machine.real += 1.0
        assert clock.now() == pytest.approx(machine.real + machine.offset - step, abs=1e-4), "until it is looked at"
        assert clock.look() == pytest.approx(step, abs=1e-4)
        assert clock.now() == pytest.approx(machine.real + machine.offset, abs=1e-4)
        assert clock.look() == 0.0

    def test_a_round_writes_it_down_before_it_decides(self) -> None:
        machine, lane = Machine(), HandDriven(limits=Limits(per_minute=1))
        clock = LaneClock(machine)
        lane.now = clock.now()
        lane.take(order(at=lane.now))
        machine.offset -= HOUR
        scribe = Scribe(lane.state, lane.now)
        scribe.write(EMITTED, "emitted", "lane-0", {"seq": 0})
        step = set_time(scribe, clock)
        assert step == pytest.approx(-HOUR, abs=1e-4)
        said = [(entry.kind, entry.data) for entry in scribe.entries]
        assert said == [("emitted", {"seq": 0}), ("clock", {"step": step})], "after what the last commit's time decided"
        assert scribe.now == pytest.approx(machine.real + machine.offset, abs=1e-4)
        assert lane.state.number(ONE).pace.next_at() == pytest.approx(scribe.now + 60.0, abs=1e-3)
        assert (set_time(scribe, clock), len(scribe.entries)) == (0.0, 2)

    def test_a_little_is_followed_without_a_word(self) -> None:
        machine = Machine()
        clock = LaneClock(machine)
        machine.offset += STEP_SECONDS / 2
        assert clock.look() == 0.0
        assert clock.now() == pytest.approx(machine.real + machine.offset, abs=1e-4)

    def test_time_that_only_passes_is_no_step(self) -> None:
        machine, draw = Machine(), random.Random(1)
        clock = LaneClock(machine)
        for _ in range(200):
            machine.real += draw.expovariate(1 / 600)
            assert clock.look() == 0.0

    @pytest.mark.parametrize("naps", [1, MOST_READINGS])
    def test_a_process_that_slept_between_the_readings_takes_its_sleep_for_no_step(self, naps: int) -> None:
        machine = Machine()
        clock = LaneClock(machine)
        machine.naps = [READING_SECONDS * 100] * naps
        assert clock.look() == 0.0
        machine.naps.clear()
        machine.offset -= 5.0
        assert clock.look() == pytest.approx(-5.0, abs=1e-4)
