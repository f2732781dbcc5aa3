"""The pace as a lane keeps it: over restarts, changes of the policy, refusals, and together with the queue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from statistics import mean, pstdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.numbers import NumberEvent
from harkara.dispatcher.evidence import take_echo
from harkara.dispatcher.journal import decoded, encoded
from harkara.dispatcher.limits import repace
from harkara.dispatcher.pairs import BURST, INTERVAL_SECONDS, Pairs
from harkara.dispatcher.wakeup import next_wake
from harkara.graph_api.errors import policy_for, policy_without_body
from harkara.graph_api.outcome import GraphError, NotSent, Outcome, Refused
from harkara.graph_simulator.limits import PairLimits
from harkara.policy.governance import BUILT_IN_PROFILES
from harkara.policy.pacing import AHEAD_SECONDS, CATCH_UP, Limits, limits_of
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, TWO, HandDriven, order, refused

EASY = settings(deadline=None, max_examples=50)
ROUND_SECONDS = 0.015  # the commit interval: a lane looks at its clock this often while it is busy


def work_off(lane: HandDriven, until: float, most: int = 100_000) -> list[float]:
    """The lane wakes when it wants to, a round late; every call is accepted at once. When each new call was made."""
    times: list[float] = []
    before = len(lane.attempts)
    while len(times) < most:
        while lane.under_way:
            lane.answer(ACCEPTED, *lane.under_way[0])
            times += [lane.now] * (len(lane.attempts) - before - len(times))
        wake = next_wake(lane.state, lane.around, lane.now, None)
        if wake is None or wake > until:
            return times
        lane.round(max(wake - lane.now, 0.0) + ROUND_SECONDS)
        times += [lane.now] * (len(lane.attempts) - before - len(times))
    return times


def photo(message_id: str, **more: Any) -> dict[str, Any]:
    """An order with a picture."""
    return order(message_id, form="session", session={"type": "image", "id": "900"}, **more)


def next_times(lane: HandDriven) -> list[object]:
    """All that decides when a number may call again."""
    return [
        (number, each.pace.next_at(), each.pace.next_at(media=True), each.pace.rate(lane.now), each.pairs.whole_at)
        for number, each in sorted(lane.state.numbers.items())
        if each.pace.last
    ]


@pytest.mark.req("DSP-6")
def test_a_restart_resets_no_window() -> None:
    lane = HandDriven(limits=Limits(per_minute=5))
    lane.take(*(order(f"message-{n}") for n in range(12)))
    assert len(lane.attempts) == 5
    for message_id, *_ in list(lane.attempts):
        lane.answer(ACCEPTED, message_id)
    for _ in range(5):
        lane.round(5)
        lane.crash()
    assert len(lane.attempts) == 5
    lane.round(36)
    assert len(lane.attempts) == 10


@pytest.mark.req("DSP-4", "DSP-5")
def test_ten_thousand_gaps_of_a_lane_under_the_governance_profile() -> None:
    """As the lane paces them, its rounds and the window of 20 a minute included."""
    lane = HandDriven(limits=limits_of(BUILT_IN_PROFILES["governance"]))
    lane.take(*(order(f"message-{n}", life=5 * 86_400) for n in range(10_001)))
    times = [START, *work_off(lane, START + 5 * 86_400)]
    gaps = [b - a for a, b in pairwise(times)]
    assert len(gaps) == 10_000
    assert min(gaps) >= 2.0
    assert pstdev(gaps) / mean(gaps) >= 0.4
    assert 60 / mean(gaps) >= 0.9 * 20
    assert all(times[index + 20] - times[index] >= 60 for index in range(len(times) - 20))
    assert [each[0] for each in lane.attempts[:50]] != [f"message-{n}" for n in range(50)]


@pytest.mark.req("DSP-6", "DSP-18")
@EASY
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.3, 7.0, 400.0])), min_size=1, max_size=25))
def test_the_next_owner_knows_the_pace_from_the_journal(steps: list[tuple[int, float]]) -> None:
    """Whatever happened to the calls, a lane that is read from its journal may call when the old one might."""
    lane = HandDriven(limits=Limits(5, 9, 20, 60, 0.5, 1.0, 4, 0.4))
    codes = [refused(130429), refused(131016, 500), refused(131056)]
    outcomes: list[Outcome] = [ACCEPTED, NotSent("lease"), NotSent("connect"), *codes]
    for count, (which, seconds) in enumerate(steps):
        made = photo(f"photo-{count}", at=lane.now) if count % 3 == 0 else order(f"text-{count}", at=lane.now)
        lane.take(made | {"person_key": f"person-{count % 2}"})
        for message_id, attempt in list(lane.under_way):
            lane.answer(outcomes[which], message_id, attempt)
        lane.round(seconds)
    before = next_times(lane)
    lane.crash()
    assert next_times(lane) == before


@pytest.mark.req("DSP-8")
def test_a_changed_profile_holds_at_once_and_counts_what_was_sent() -> None:
    lane = HandDriven(limits=Limits(per_second=10))
    lane.take(*(order(f"message-{n}") for n in range(40)))
    work_off(lane, START + 3, most=20)
    sent = len(lane.attempts)
    change(lane, Limits(per_second=10, per_minute=sent + 2))
    work_off(lane, START + 50)
    assert len(lane.attempts) == sent + 2
    lane.crash()
    work_off(lane, START + 50)
    assert len(lane.attempts) == sent + 2
    change(lane, Limits(per_second=10))
    assert lane.round(ROUND_SECONDS), "what is free sooner is looked at sooner"
    work_off(lane, START + 60)
    assert len(lane.attempts) == 40


def change(lane: HandDriven, limits: Limits) -> None:
    """The limits of every number are others, from the next round on."""
    lane.limits = limits
    for number, facts in lane.fleet.items():
        lane.fleet[number] = replace(facts, limits=limits)
    repace(lane.state, lane.around)


@pytest.mark.req("DSP-21")
def test_a_text_overtakes_media_that_wait_for_their_hour() -> None:
    lane = HandDriven(limits=Limits(per_second=10, media_per_hour=2))
    lane.take(*(photo(f"photo-{n}") for n in range(3)), order("text-1"), start=False)
    times = work_off(lane, START + 60)
    assert [each[0] for each in lane.attempts] == ["photo-0", "photo-1", "text-1"]
    assert times[-1] < START + 2
    lane.crash()
    (at,) = work_off(lane, START + 4000)
    assert START + 3600 <= at <= START + 3661
    assert lane.attempts[-1][0] == "photo-2"


@pytest.mark.req("DSP-21")
def test_a_text_does_not_overtake_the_photo_before_it_to_the_same_person() -> None:
    lane = HandDriven(limits=Limits(per_second=10, media_per_hour=1))
    asha = {"person_key": "asha"}
    lane.take(photo("photo-0"), photo("photo-1", **asha), order("text-1", **asha), order("text-2"), start=False)
    work_off(lane, START + 4000)
    assert [each[0] for each in lane.attempts] == ["photo-0", "text-2", "photo-1", "text-1"]


def test_forty_five_at_once_to_one_person_then_one_in_six_seconds_and_others_overtake() -> None:
    lane = HandDriven(capacity=500)
    lane.take(*(order(f"message-{n}", person_key="asha") for n in range(50)), order("other"), start=False)
    times = work_off(lane, START + 29)
    assert len(times) == 45 + 1 + 4
    assert [each[0] for each in lane.attempts].index("other") <= 45
    assert [b - a for a, b in pairwise(times[-5:])][1:] == pytest.approx([6.0] * 3, abs=0.05)
    lane.crash()
    (last,) = work_off(lane, START + 100)
    assert last == pytest.approx(START + 30, abs=0.2)
    entries = [entry.kind for entry in lane.journal]
    assert entries.count("step") <= 2 * 51, "waiting costs no records"


@EASY
@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["asha", "ravi"]), st.booleans()), max_size=300))
def test_meta_never_finds_a_pair_too_fast(arrivals: list[tuple[float, str, bool]]) -> None:
    """The simulator's own limit is the judge; a restart in between changes nothing, as the attempts are replayed."""
    pairs, meta, now, made = Pairs(), PairLimits(), START, list[tuple[str, float]]()
    for wait, person, restarted in arrivals:
        now = max(now + wait / 10, pairs.next_at(person))
        pairs.note(person, now)
        made.append((person, now))
        assert meta.take(ONE, person, now)
        if restarted:
            pairs = Pairs()
            for each, at in made:
                pairs.note(each, at)


def test_a_pair_waits_no_longer_than_meta_asks_for() -> None:
    pairs = Pairs()
    for _ in range(BURST):
        assert pairs.next_at("asha") <= START
        pairs.note("asha", START)
    assert pairs.next_at("asha") == START + INTERVAL_SECONDS
    pairs.forget("asha")
    assert pairs.next_at("asha") <= START


def test_pairs_are_forgotten_once_their_quota_is_whole() -> None:
    pairs, now = Pairs(), START
    for count in range(60_000):
        now += 0.001
        pairs.note(f"person-{count}", now)
        assert len(pairs.whole_at) <= 2 * 6001


def test_who_still_owes_a_little_is_not_forgotten() -> None:
    pairs, meta = Pairs(), PairLimits()
    for _ in range(BURST):
        pairs.note("asha", START)
        assert meta.take(ONE, "asha", START)
    now = START + BURST * INTERVAL_SECONDS - 2.5
    for count in range(200):
        pairs.note(f"person-{count}", now)
    for _ in range(BURST):
        now = max(now, pairs.next_at("asha"))
        pairs.note("asha", now)
        assert meta.take(ONE, "asha", now)


def test_calls_that_never_left_use_up_nobodys_quota() -> None:
    lane = HandDriven()
    lane.take(order())
    for _ in range(BURST + 5):
        lane.answer(NotSent("lease"))
    assert len(lane.attempts) == BURST + 6


@pytest.mark.req("DSP-15")
@pytest.mark.parametrize(
    "outcome",
    [
        refused(130429),
        refused(2494055),
        Refused(GraphError(429, None), policy_without_body(429)),
        Refused(GraphError(400, 130429), policy_for(130429), retry_after_seconds=40.0),
    ],
    ids=["130429", "2494055", "429 without a body", "with Retry-After"],
)
def test_whatever_says_too_fast_cuts_the_rate_and_spends_no_attempt(outcome: Refused) -> None:
    """Five times in a row and more: the message is not to blame, so it never fails of it."""
    lane = HandDriven(limits=Limits(per_second=80))
    lane.take(order(life=86_400))
    for _ in range(5):
        refused_at = lane.now
        lane.answer(outcome)
        while not lane.under_way:
            lane.round(0.5)
        assert lane.now - refused_at >= (outcome.retry_after_seconds or 1.0)
    assert lane.state.number(ONE).pace.rate(lane.now) < 40
    lane.answer(ACCEPTED)
    assert lane.status() == "submitted"


def test_a_long_retry_after_lets_the_queue_go_by_another_number() -> None:
    lane = HandDriven(limits=Limits(per_second=80), capacity=1)
    lane.take(order("message-1", (ONE, TWO)), order("message-2", (ONE, TWO)))
    lane.answer(Refused(GraphError(429, 130429), policy_for(130429), retry_after_seconds=600.0))
    assert [each[2] for each in lane.attempts] == [ONE, TWO]
    event = next(each.event for each in lane.emissions() if isinstance(each.event, NumberEvent))
    assert (event.kind, event.phone_number_id) == ("rate_limited", ONE)


@pytest.mark.req("DSP-15")
def test_too_fast_halves_the_rate_once_and_a_restart_keeps_it() -> None:
    lane = HandDriven(limits=Limits(per_second=80), capacity=80)
    lane.take(*(order(f"message-{n}") for n in range(400)))
    work = [lane.round(0.0125) for _ in range(10)]
    first = list(lane.under_way)
    assert len(work) and len(first) > 10
    lane.now += 0.05
    for message_id, attempt in first:
        lane.answer(refused(130429), message_id, attempt)
    cuts = [entry for entry in lane.journal if entry.kind == "throttle"]
    assert len(cuts) == 1
    assert lane.state.number(ONE).pace.rate(lane.now) == 40
    assert {message.spent for message in lane.state.messages.values()} == {0}
    assert not lane.state.holds
    lane.crash()
    assert lane.state.number(ONE).pace.rate(lane.now) == 40
    sent = len(lane.attempts)
    quiet_until = lane.state.number(ONE).pace.next_at()
    assert 1.0 <= quiet_until - lane.now <= 1.25
    times = work_off(lane, quiet_until + 5)
    assert len(times) == len(lane.attempts) - sent == pytest.approx(5 * 44, rel=0.1)
    (again,) = [decoded(entry.key.encode(), encoded(entry)) for entry in cuts]
    assert again.data == cuts[0].data


def test_a_status_may_say_too_fast_too_and_an_old_one_says_nothing() -> None:
    lane = HandDriven(limits=Limits(per_second=80))
    lane.take(order("message-1"), order("message-2"))
    for name in ("message-1", "message-2"):
        lane.write(
            lambda scribe, name=name: take_echo(scribe, lane.around, name, 1, "wamid.E", ONE, START - 60, 130429)  # type: ignore[misc]
        )
    assert lane.state.number(ONE).pace.rate(lane.now) == 80
    lane.take(order("message-3"))
    for code in (131026, 133016):  # not about the rate; about it, but not of this kind
        lane.write(
            lambda scribe, code=code: take_echo(scribe, lane.around, "message-3", 1, "wamid.E", ONE, START, code)  # type: ignore[misc]
        )
    assert lane.state.number(ONE).pace.rate(lane.now) == 80
    lane.write(lambda scribe: take_echo(scribe, lane.around, "message-3", 1, "wamid.E", ONE, START, 130429))
    assert lane.state.number(ONE).pace.rate(lane.now) == 40


@pytest.mark.req("DSP-12")
def test_a_rate_error_of_the_number_still_pauses_it_for_half_an_hour() -> None:
    lane = HandDriven(limits=Limits(per_second=80))
    lane.take(order())
    lane.answer(refused(131048))
    assert lane.state.number(ONE).pace.cut is None
    (at,) = work_off(lane, START + 7200)
    assert at == pytest.approx(START + 1800, abs=1)
    lane.take(order("message-2", at=lane.now))
    lane.answer(refused(133016), "message-2")  # a rate error, too, for which the policy halts the number
    assert lane.state.number(ONE).pace.cut is None


def test_an_outage_uses_up_no_day() -> None:
    """A call that surely never left takes no place of a young number's twenty a day."""
    lane = HandDriven(limits=Limits(per_second=1, per_day=20))
    lane.take(*(order(f"message-{n}", life=5 * 86_400) for n in range(20)))
    fail(lane, START + 3600)
    assert len(lane.attempts) > 40
    work_off(lane, START + 7200)
    assert len(lane.state.messages) == 0


def fail(lane: HandDriven, until: float) -> None:
    """Nothing can be reached until then."""
    while lane.now < until:
        for message_id, attempt in list(lane.under_way):
            lane.answer(NotSent("connect"), message_id, attempt)
        lane.round(1.0)


@EASY
@given(st.lists(st.floats(0.0, 3.0), max_size=60), st.data())
def test_over_restarts_and_changes_no_window_is_exceeded(waits: list[float], data: st.DataObject) -> None:
    """A lane with a full queue that dies and whose limits change at any time: what was in force at a call was kept."""
    choices = [Limits(5, 9), Limits(3, None, 30), Limits(1, 4, None, 25), Limits(10, 20, 40, 50, 0.2, 0.2)]
    lane = HandDriven(limits=choices[0], capacity=1000)
    lane.take(*(order(f"message-{n}", life=5 * 86_400) for n in range(200)))
    made: list[tuple[float, Limits]] = [(lane.now, lane.limits) for _ in lane.attempts]
    for wait in waits:
        what = data.draw(st.sampled_from(["round", "round", "restart", "change"]))
        if what == "restart":
            lane.crash()
        elif what == "change":
            change(lane, data.draw(st.sampled_from(choices)))
        made += [(lane.now, lane.limits) for _ in lane.round(wait)]
    check(made)


def check(made: Iterable[tuple[float, Limits]]) -> None:
    """Each call against the windows in force when it was made."""
    times: list[float] = []
    for at, limits in made:
        times.append(at)
        for allowed, seconds in limits.windows():
            assert len(times) <= allowed or at - times[-allowed - 1] >= seconds - 1e-6, (allowed, seconds)


def test_a_fast_number_journals_its_next_calls_ahead_each_with_its_own_time() -> None:
    lane = HandDriven(limits=Limits(per_second=1000), capacity=256)
    lane.take(*[order(f"message-{n}", to=f"+9199999{n:05d}") for n in range(200)], start=False)
    started = lane.round()
    times = [message.called_at for message in started]
    assert times[0] == lane.now and times == sorted(times)
    assert lane.now + AHEAD_SECONDS - 0.001 < times[-1] <= lane.now + AHEAD_SECONDS + 0.0001
    assert len(started) == 91, "40 ms ahead, at three times its rate while it makes up for the 50 of a busy machine"
    wakes = next_wake(lane.state, lane.around, lane.now, None)
    assert wakes == pytest.approx(times[-1] + 0.001 / CATCH_UP - AHEAD_SECONDS)
