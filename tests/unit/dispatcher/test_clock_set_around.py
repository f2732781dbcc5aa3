"""The machine's clock is set: what is followed after it was sent, what is held, and what others were told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harkara.contracts.numbers import NumberEvent
from harkara.dispatcher.journal import Entry
from harkara.dispatcher.projection import implied
from harkara.dispatcher.rebase import SET_BACK_SECONDS
from tests.unit.dispatcher.fallbacks import falling_back, in_two_forms
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, TWO, HandDriven, order, refused

HOUR = 3600.0


def clock_is_set(lane: HandDriven, step: float) -> None:
    """As the shell does it: the step is written before the next decision."""
    lane.now += step
    lane.write(lambda scribe: scribe.clock_set(step))
    lane.round()


@pytest.mark.req("DSP-4")
@pytest.mark.parametrize("restarts", [False, True])
def test_a_text_is_followed_for_its_late_refusal_as_long_as_ever(restarts: bool) -> None:
    lane = HandDriven()
    lane.take(in_two_forms())
    lane.answer(ACCEPTED)
    clock_is_set(lane, 700.0)
    if restarts:
        lane.crash()
    lane.round(1.0)
    lane.failed(131047)
    assert [form for *_, form in lane.attempts] == ["session", "template"]


class TestFallback:
    @staticmethod
    def waiting() -> HandDriven:
        """Of a message that Meta took, and whose other content goes when nothing was delivered in an hour."""
        lane = HandDriven()
        lane.state.accounts = {ONE: "waba-1"}
        lane.take(falling_back(after=int(HOUR)))
        lane.answer(ACCEPTED)
        return lane

    @staticmethod
    def heard(lane: HandDriven) -> None:
        lane.state.heard_of(ONE, lane.now, lane.now)
        lane.round()

    @pytest.mark.parametrize("restarts", [False, True])
    @pytest.mark.parametrize("step", [-4000.0, 4000.0])
    def test_the_other_content_goes_when_it_would_have_gone(self, step: float, restarts: bool) -> None:
        lane = self.waiting()
        lane.round(60.0)
        clock_is_set(lane, step)
        if restarts:
            lane.crash()
            lane.state.accounts = {ONE: "waba-1"}
        lane.now += HOUR - 70.0
        self.heard(lane)
        assert len(lane.attempts) == 1
        lane.now += 20.0
        self.heard(lane)
        assert len(lane.attempts) == 2

    def test_a_status_from_after_the_sending_counts_as_such(self) -> None:
        """The sending was noted by a clock that was ahead; Meta's is right."""
        lane = self.waiting()
        clock_is_set(lane, -2 * HOUR)
        lane.now += 10.0
        self.heard(lane)
        lane.round(HOUR - 10.0)
        assert len(lane.attempts) == 2

    def test_the_end_of_its_life_stays(self) -> None:
        lane = self.waiting()
        watch = lane.state.watches.find("message-1")
        assert watch is not None
        until = watch.until
        clock_is_set(lane, -HOUR)
        assert watch.until == until


@pytest.mark.req("DSP-6")
def test_a_small_step_of_the_clock_tells_nobody_anything() -> None:
    """Nor where the hold of a template is over a moment later than they were told."""
    lane = HandDriven()
    lane.take(order("message-1"))
    lane.answer(refused(132015))
    lane.take(*(order(f"held-{n:03}") for n in range(100)))
    before, calls = len(lane.journal), len(lane.attempts)
    for step in (0.06, -0.2, SET_BACK_SECONDS / 2):
        lane.now += step
        lane.write(lambda scribe, step=step: scribe.clock_set(step))  # type: ignore[misc]
        assert not lane.state.unplaced, "nobody looks at them again"
    assert [entry.kind for entry in lane.journal[before:]] == ["clock"] * 3
    (hold,) = lane.state.holds.values()
    assert hold.until is not None
    lane.now = hold.until - 0.01
    lane.round()
    assert len(lane.journal) == before + 3 and len(lane.attempts) == calls
    assert {message.due for message in lane.state.messages.values()} == {hold.until}, "they wait, and do not spin"
    lane.round(0.07)
    assert len(lane.attempts) > calls


def test_a_large_step_of_the_clock_tells_until_when_each_is_held() -> None:
    lane = HandDriven()
    lane.take(order("message-1"))
    lane.answer(refused(131048))
    clock_is_set(lane, -HOUR)
    (hold,) = lane.state.holds.values()
    (message,) = lane.state.messages.values()
    assert message.until == hold.until and lane.journal[-1].kind == "step"


def compacted(journal: list[Entry]) -> list[Entry]:
    """What the topic keeps in the end."""
    newest = {entry.key: place for place, entry in enumerate(journal)}
    return [entry for place, entry in enumerate(journal) if newest[entry.key] == place and entry.data is not None]


@pytest.mark.parametrize("written", [True, False])
def test_a_halt_outlives_compaction_like_the_living_lane(written: bool) -> None:
    """An older resume must not end it where the entries between the halt and the step are gone."""
    lane = HandDriven()
    lane.verdict(ONE, "open", resumed_at=START - HOUR / 2)
    lane.take(order("message-1"))
    lane.answer(refused(131042))
    lane.round(3000.0)
    lane.command("pause_run", "run-1")
    lane.now += 600.0 - HOUR
    if written:
        lane.write(lambda scribe: scribe.clock_set(-HOUR))
    else:
        lane.crash()
    lane.now += HOUR
    lane.command("resume_run", "run-1")
    living = lane.state.holds["number", ONE].at
    lane.journal = compacted(lane.journal)
    lane.crash()
    lane.round()
    assert lane.state.holds["number", ONE].at == pytest.approx(living, abs=1e-3)
    assert len(lane.attempts) == 1


def test_what_others_were_told_of_a_hold_is_over_when_it_is() -> None:
    lane = HandDriven()
    lane.fleet[TWO] = replace(lane.fleet[TWO], partition=1)
    lane.take(order("message-1"), order("message-2"))
    lane.answer(refused(80007), "message-1")
    clock_is_set(lane, -2 * HOUR)
    lane.round(60.0)
    before = len(lane.journal)
    lane.answer(refused(80007), "message-2")
    told = {
        emission.event.phone_number_id
        for entry in lane.journal[before:]
        for emission in implied(entry)
        if isinstance(emission.event, NumberEvent)
    }
    assert TWO in told, "it goes on a minute before this number does, and must not"
