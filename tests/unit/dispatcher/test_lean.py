"""What keeps the lanes lean: who is looked at, who is shown, what is shared, what the collector leaves alone."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.numbers import QueueState
from harkara.contracts.topics import QUEUE_STATE
from harkara.dispatcher.evolve import SHALLOW, evolve
from harkara.dispatcher.garbage import RECOVERIES, THRESHOLDS, calm
from harkara.dispatcher.journal import Entry
from harkara.dispatcher.observe import SHOWN_AGAIN_SECONDS, queue_states, show_again
from harkara.dispatcher.orders import message_of, order_of
from harkara.dispatcher.replay import MOST_ASIDE, replay
from harkara.dispatcher.sealed import seal
from harkara.dispatcher.state import LaneState, Message
from harkara.dispatcher.wakeup import next_wake
from harkara.policy.pacing import Limits, paced
from tests.unit.dispatcher.lanes import (
    ACCEPTED,
    HOME,
    LEASE,
    ONE,
    START,
    THREE,
    TIMEOUT,
    TWO,
    HandDriven,
    order,
    refused,
)

ALL = (ONE, TWO, THREE)


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_only_busy_numbers_are_looked_at_and_nothing_is_missed(seed: int) -> None:
    """Whenever the lane has done what it could, a look at every number finds nothing more to call."""
    random, lane = Random(seed), HandDriven(limits=Limits(per_second=4, per_minute=30), capacity=3)
    for step in range(150):
        act = random.random()
        if act < 0.5:
            numbers = random.sample(ALL, 2)
            lane.take(order(f"message-{step}", numbers, person_key=f"person-{random.randrange(9)}", at=lane.now))
        elif act < 0.7 and lane.under_way:
            outcomes = (ACCEPTED, ACCEPTED, LEASE, TIMEOUT, refused(131016, 500), refused(130429, 429))
            lane.answer(random.choice(outcomes), *random.choice(lane.under_way))
        elif act < 0.73:
            lane.verdict(random.choice(ALL), random.choice(("open", "halted")), step + 1)
        elif act < 0.75:
            lane.crash()
        else:
            lane.round(random.choice((0.02, 0.25, 3.0, 61.0)))
        while (
            lane.round()
        ):  # one that finds its number closed goes to another's queue, and from there in the next round
            pass
        for number in lane.state.numbers:
            lane.state.look_again(number)
        assert not lane.round()


def test_a_thousand_numbers_that_have_nothing_to_send_are_not_looked_at() -> None:
    lane = HandDriven()
    for n in range(1000):
        lane.state.number(f"number-{n}")
    lane.take(order())
    assert set(lane.state.busy) <= {ONE}
    lane.answer(ACCEPTED)
    assert lane.state.busy == {}
    assert next_wake(lane.state, lane.around, lane.now, None) == lane.state.horizon.next_forget()


def test_a_paced_number_is_looked_at_when_its_pace_allows_and_not_before() -> None:
    lane = HandDriven(limits=Limits(base_delay_seconds=3.0))
    lane.take(order("message-1"), order("message-2"))
    assert lane.state.busy == {ONE: START + 3.0}
    assert next_wake(lane.state, lane.around, lane.now, None) == START + 3.0
    assert not lane.round(2.9)
    assert len(lane.round(0.1)) == 1


def test_a_text_that_comes_while_only_media_wait_is_called_at_once() -> None:
    lane = HandDriven(limits=Limits(media_per_hour=1))
    photo = {"form": "session", "session": {"type": "image", "id": "900"}}
    lane.take(order("message-1", **photo), order("message-2", **photo))
    assert [attempt[0] for attempt in lane.attempts] == ["message-1"]
    lane.take(order("message-3"))
    assert [attempt[0] for attempt in lane.attempts] == ["message-1", "message-3"]


def test_a_text_that_sleeps_while_only_media_wait_is_called_when_it_wakes() -> None:
    lane = HandDriven(limits=Limits(media_per_hour=1), capacity=80)
    photo = {"form": "session", "session": {"type": "image", "id": "900"}}
    lane.take(order("photo-1", **photo), order("photo-2", **photo))
    lane.take(*(order(f"asha-{n:02}", person_key="asha") for n in range(46)))
    for n in range(45):
        lane.answer(ACCEPTED, f"asha-{n:02}")
    assert len(lane.attempts) == 1 + 45
    assert lane.state.number(ONE).next_at() == pytest.approx(START + 6.0)
    lane.round(6.0)
    assert [attempt[0] for attempt in lane.attempts][46:] == ["asha-45"]


def test_queue_states_are_shown_in_turns() -> None:
    lane = HandDriven()
    numbers = [f"{n:03}" for n in range(10)]
    lane.fleet.update({number: lane.fleet[ONE] for number in numbers})
    lane.state.touched = set(numbers)
    shown = Counter[str]()
    for _ in range(4):
        emissions = queue_states(lane.state, lane.around, lane.now, QUEUE_STATE, 3)
        assert len(emissions) <= 3
        shown.update(emission.key for emission in emissions)
    assert shown == Counter(numbers)
    assert not lane.state.touched


@pytest.mark.req("ING-12", "B14")
def test_a_new_owner_shows_every_number_of_its_lane_and_again_now_and_then() -> None:
    """The owner before it showed 20 held messages of a number that never sent, and ended before it showed none."""
    lane = HandDriven()
    lane.fleet[THREE] = replace(lane.fleet[THREE], partition=1)

    def shown(seconds: float) -> dict[str, int]:
        lane.round(seconds)
        show_again(lane.state, lane.around, 0, lane.now)
        found = [each.event for each in queue_states(lane.state, lane.around, lane.now, QUEUE_STATE, 100)]
        return {each.phone_number_id: each.held for each in found if isinstance(each, QueueState)}

    lane.verdict(ONE, "halted")
    lane.take(*(order(f"message-{n}", run_id="r") for n in range(20)))
    assert shown(0.0) == {ONE: 20, TWO: 0}
    lane.command("cancel_run", "r")
    lane.crash()
    assert shown(1.0) == {ONE: 0, TWO: 0}
    assert shown(SHOWN_AGAIN_SECONDS / 2) == {}
    assert shown(SHOWN_AGAIN_SECONDS / 2) == {ONE: 0, TWO: 0}
    assert shown(-3600.0) == {ONE: 0, TWO: 0}, "a clock that was set back keeps no number silent"


def test_what_a_run_has_in_common_is_held_once() -> None:
    first, second = (message_of(order(f"message-{n}"), n, None) for n in range(2))
    assert first.plan is second.plan
    assert first.home is second.home
    assert first.template_key is second.template_key


def packed(state: LaneState) -> list[str]:
    """The messages that are small."""
    return [each.message_id for each in state.messages.values() if each.sealed == small(each)]


def small(message: Message) -> bytes:
    return seal(message.intent_hash, message.trace, message.content, packed=True)


def test_what_is_read_back_and_waits_is_small_and_whole() -> None:
    """Where the lane is not deep it is packed no sooner than what comes while the lane runs."""
    orders = {f"message-{n}": order(f"message-{n}") for n in range(SHALLOW + 3)}
    entries = [
        Entry(message_id, n + 1, "order", START, HOME, {"order": each, "status": "queued"})
        for n, (message_id, each) in enumerate(orders.items())
    ]
    end = {"status": "cancelled", "attempt": 0, "hash": "hash of message-1"}
    entries.insert(2, Entry("message-1", 2, "end", START, HOME, end))
    read, came = LaneState(), LaneState()
    assert list(replay(read, entries, after=SHALLOW + 2)) == entries[-1:]
    for entry in entries:
        evolve(came, entry)
    assert [*read.messages] == [*came.messages] == [each for each in orders if each != "message-1"]
    assert packed(came) == [*came.messages][SHALLOW:]
    assert packed(read) == [*read.messages][SHALLOW - MOST_ASIDE :]
    assert {each.message_id: order_of(each)["template"] for each in read.messages.values()} == {
        message_id: each["template"] for message_id, each in orders.items() if message_id != "message-1"
    }


@given(st.lists(st.tuples(st.floats(0.0, 0.3), st.floats(0.0, 0.4), st.integers(1, 4)), min_size=5, max_size=80))
def test_never_more_calls_begin_within_a_second_however_long_the_commits_take(
    rounds: list[tuple[float, float, int]],
) -> None:
    """Each round: a pause, a commit of that length, and at most so many calls, which begin when it is done."""
    pace, now, begun = paced(ONE, Limits(per_second=5)), START, list[float]()
    for pause, commit, most in rounds:
        now += pause
        count = 0
        while count < most and pace.next_at() <= now:
            pace.note(now)
            count += 1
        if count:
            pace.began(now, now + commit)
            begun += [now + commit] * count
        now += commit
    for index in range(5, len(begun)):
        assert begun[index] - begun[index - 5] >= 1.0 - 1e-6


def test_the_collector_looks_seldom_and_not_at_what_a_recovery_built() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        calm()
        assert gc.get_threshold() == THRESHOLDS
        both_are_in, inner_is_out = threading.Event(), threading.Event()

        def other() -> None:
            with RECOVERIES.one():
                both_are_in.set()
                assert inner_is_out.wait(10)

        thread = threading.Thread(target=other)
        with RECOVERIES.one():
            assert not gc.isenabled()
            thread.start()
            assert both_are_in.wait(10)
        assert not gc.isenabled(), "another lane is still being rebuilt"
        inner_is_out.set()
        thread.join(10)
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
