"""When the calls of a number go, worked out by hand: gaps, windows, a slowed number, turns, several numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import fmean

import pytest

from harkara.contracts.numbers import QueueFlow, QueuePace, QueueWindow
from harkara.policy.pacing import Limits, paced
from harkara.policy.schedule import MIX_SECONDS, Schedule, mixed_place, nth_call, pace_shown, turns_before
from harkara.policy.throttle import Cut

START = 1_800_000_000.0  # a whole minute
ONE = "100000000000001"


def instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def schedule(*windows: QueueWindow, now: float = 0.0, next_at: float | None = 0.0, **more: float) -> Schedule:
    told = None if next_at is None else instant(next_at)
    return Schedule(QueuePace.model_validate({"next_at": told, "windows": windows} | more), START + now)


def times(made: Schedule, *numbers: int) -> list[float]:
    found = [made.at(number) for number in numbers]
    return [round(at - START, 4) for at in found if at is not None]


def window(calls: int, seconds: float, used: int = 0, *opens: tuple[int, float]) -> QueueWindow:
    return QueueWindow(calls=calls, seconds=seconds, used=used, opens=tuple((n, instant(at)) for n, at in opens))


@pytest.mark.req("ING-11", "B24")
def test_calls_go_one_gap_after_another_from_the_first_that_is_allowed() -> None:
    assert times(schedule(gap_seconds=2.0, next_at=5.0), 1, 2, 3) == [5.0, 7.0, 9.0]
    assert times(schedule(gap_seconds=2.0, next_at=5.0, now=6.5), 3, 1) == [10.5, 6.5]
    assert times(schedule(per_second=4.0), 1, 2, 5) == [0.0, 0.25, 1.0]
    assert times(schedule(per_second=4.0, gap_seconds=0.5), 1, 3) == [0.0, 1.0]
    assert times(schedule(), 1, 100) == [0.0, 0.0]
    assert schedule(next_at=None).at(1) is None


@pytest.mark.req("ING-11", "B24")
def test_a_window_lets_a_call_go_when_an_earlier_one_has_left_it() -> None:
    assert times(schedule(window(2, 60.0)), 1, 2, 3, 4, 5) == [0.0, 0.0, 60.0, 60.0, 120.0]
    assert times(schedule(window(1, 3600.0), now=30.0), 1, 2) == [30.0, 3660.0], "an hour is counted in whole minutes"
    assert times(schedule(window(2, 60.0), window(3, 600.0)), 3, 4) == [60.0, 660.0]


@pytest.mark.req("ING-11", "B24")
def test_what_was_called_before_opens_a_window_as_it_was_told() -> None:
    full = schedule(window(10, 60.0, 10, (1, 10.0), (5, 50.0)))
    assert times(full, 1, 2, 3, 5) == [10.0, 20.0, 30.0, 50.0]
    part = schedule(window(10, 60.0, 7, (4, 40.0)))
    assert times(part, 1, 3, 4, 5, 10, 11) == [0.0, 0.0, 40.0, 40.0, 40.0, 60.0]


@pytest.mark.req("B24")
def test_a_slowed_number_climbs_from_its_lower_rate() -> None:
    slowed = {"per_second": 80.0, "slowed_to": 2.0, "slowed_until": START + 10, "next_at": 10.0}
    assert times(schedule(**slowed), 1, 2, 3) == [10.0, 10.5, round(10.5 + 1 / 2.04, 4)]
    assert times(schedule(per_second=80.0, slowed_to=2.0, next_at=10.0), 1, 2) == [10.0, 10.0125]


def test_beyond_five_thousand_calls_the_pace_of_the_long_run_is_taken() -> None:
    made = schedule(window(6000, 60.0))
    assert times(made, 5100, 5000, 5001, 4999) == [1.0, 0.0, 0.01, 0.0]
    assert schedule().long_run == 1e-6
    assert schedule(window(6000, 60.0), window(10, 5.0), per_second=4.0, gap_seconds=0.1).long_run == 0.5
    assert schedule(window(6000, 60.0), per_second=4.0, gap_seconds=0.1).long_run == 0.25
    assert schedule(per_second=4.0, gap_seconds=0.7).long_run == 0.7


@pytest.mark.req("B24")
def test_the_gap_that_is_told_is_the_mean_of_those_that_are_kept() -> None:
    for limits in (
        Limits(per_second=1, base_delay_seconds=2.0, max_jitter_seconds=1.5, gap_variation=0.4),
        Limits(per_second=1, base_delay_seconds=2.0, max_jitter_seconds=1.0),
    ):
        pace = paced(ONE, limits)
        kept = fmean(pace.gap_after(START + number) for number in range(20_000))
        assert pace_shown(pace, START).gap_seconds == pytest.approx(kept, rel=0.02)


def test_the_next_call_is_told_by_what_holds_it_longest() -> None:
    pace = paced(ONE, Limits(per_second=1, base_delay_seconds=5.0))
    assert pace_shown(pace, START).next_at == instant(0)
    assert pace_shown(pace, START, START + 60).next_at == instant(60)
    assert pace_shown(pace, START, None).next_at is None
    pace.note(START)
    assert pace_shown(pace, START).next_at == instant(5)
    assert (pace_shown(pace, START).per_second, pace_shown(pace, START).slowed_to) == (1, None)
    pace.throttle(Cut(10.0, START + 7))
    told = pace_shown(pace, START)
    assert (told.slowed_to, told.slowed_until, told.next_at) == (10.0, instant(7), instant(7))


@pytest.mark.req("ING-11")
def test_of_a_window_it_is_told_how_much_is_used_and_when_it_opens() -> None:
    pace = paced(ONE, Limits(per_minute=3, per_hour=4, per_day=1000))
    for at in (-60.0, -50.0, -20.0, -20.0):
        pace.note(START + at)
    minute, hour, day = pace_shown(pace, START).windows
    assert (minute.calls, minute.seconds, minute.used) == (3, 60.0, 3)
    assert minute.opens == ((1, instant(10)), (2, instant(40)), (3, instant(40)))
    assert (hour.calls, hour.seconds, hour.used, day.calls, day.seconds, day.used) == (4, 3600.0, 4, 1000, 86_400.0, 4)
    assert [number for number, _ in hour.opens] == [1, 4]
    assert [number for number, _ in day.opens] == [997, 1000]
    assert pace_shown(paced(ONE, Limits(per_second=1)), START).windows == ()


def test_a_window_that_was_made_smaller_opens_when_enough_have_left() -> None:
    pace = paced(ONE, Limits(per_minute=2))
    for at in (-30.0, -20.0, -10.0):
        pace.note(START + at)
    (minute,) = pace_shown(pace, START).windows
    assert (minute.used, minute.opens) == (3, ((1, instant(40)), (2, instant(50))))


def test_of_many_openings_two_dozen_are_told_from_the_first_to_the_last() -> None:
    pace = paced(ONE, Limits(per_minute=47))
    for number in range(47):
        pace.note(START - 47 + number)
    (minute,) = pace_shown(pace, START).windows
    assert minute.opens == tuple((number, instant(12 + number)) for number in range(1, 48, 2))


def test_a_mixed_place_is_within_ten_minutes_and_its_numbers_and_messages_own() -> None:
    places = [mixed_place(ONE, f"message-{number}", START) - START for number in range(500)]
    assert all(0 <= place < MIX_SECONDS for place in places)
    assert (min(places) < 12, max(places) > 588, len(set(places))) == (True, True, 500)
    assert mixed_place(ONE, "message-1", START) == START + places[1]
    assert mixed_place("100000000000002", "message-1", START) != START + places[1]
    assert MIX_SECONDS == 600.0


def flow(name: str, queued: int, priority: int = 1, weight: float = 1.0, *places: float) -> QueueFlow:
    return QueueFlow(flow=name, queued=queued, priority=priority, weight=weight, places=places)


@pytest.mark.req("ING-11", "B24")
@pytest.mark.parametrize(
    ("flows", "weight", "turns"),
    [
        ([], 1.0, 0),
        ([flow("mine", 4)], 1.0, 4),
        ([flow("mine", 4), flow("urgent", 5, 3), flow("mine", 2, 2), flow("later", 9, 0)], 1.0, 11),
        ([flow("other", 10)], 1.0, 1),
        ([flow("mine", 4), flow("other", 10)], 1.0, 9),
        ([flow("mine", 4), flow("other", 3)], 1.0, 7),
        ([flow("mine", 4), flow("other", 10, 1, 2.0)], 1.0, 14),
        ([flow("mine", 3), flow("other", 10)], 2.0, 5),
    ],
)
def test_who_goes_before_by_priority_by_share_and_in_ones_own_flow(
    flows: list[QueueFlow], weight: float, turns: int
) -> None:
    assert turns_before(flows, "mine", 1, weight) == turns
    assert weight != 1.0 or turns_before(flows, "mine", 1) == turns


def of(producer: str, name: str, queued: int, weight: float = 1.0, flows: int = 1) -> QueueFlow:
    return QueueFlow(producer=producer, flow=name, queued=queued, priority=1, weight=weight, flows=flows)


@pytest.mark.req("B14", "B24")
@pytest.mark.parametrize(
    ("flows", "weight", "turns"),
    [
        ([of("bulk", f"run-{n}", 100) for n in range(20)], 1.0, 1),
        ([of("bulk", f"run-{n}", 100) for n in range(20)], 2.0, 0),
        ([*(of("bulk", f"run-{n}", 100) for n in range(20)), of("shop", "run-a", 4)], 1.0, 4 + 5),
        ([of("shop", "run-a", 4), of("shop", "run-b", 100), of("shop", "shop", 2)], 1.0, 4 + 5 + 2),
        ([of("shop", "run-a", 4), of("shop", "run-b", 100), of("bulk", "run-c", 100)], 1.0, 9 + 10),
        ([of("shop", "run-a", 4), of("shop", "run-b", 100), of("bulk", "run-c", 100)], 0.5, 9 + 20),
        ([of("shop", "run-a", 4), of("shop", "", 100, flows=6), of("bulk", "run-c", 100)], 1.0, 34 + 35),
        ([of("shop", "run-a", 4), of("", "", 100, 7.0, flows=7)], 1.0, 4 + 35),
        ([of("shop", "run-a", 2), of("shop", "run-a", 2), of("bulk", "run-c", 3), of("bulk", "run-c", 3)], 1.0, 4 + 5),
    ],
)
def test_producers_share_by_weight_and_their_runs_evenly(flows: list[QueueFlow], weight: float, turns: int) -> None:
    assert turns_before(flows, "run-a", 1, weight, producer="shop") == turns


@pytest.mark.parametrize(
    ("place", "turns"), [(None, 10), (-1.0, 0), (0.0, 0), (4.0, 2), (10.0, 5), (16.0, 8), (20.0, 10), (21.0, 10)]
)
def test_in_a_mixed_flow_those_with_an_earlier_place_go_before(place: float | None, turns: int) -> None:
    assert turns_before([flow("mine", 10, 1, 1.0, 0.0, 10.0, 20.0)], "mine", 1, place=place) == turns
    assert turns_before([flow("mine", 10, 1, 1.0, 3.0)], "mine", 1, place=place) == 10, "one place tells nothing"


def test_in_a_mixed_flow_of_four_parts_each_holds_a_third() -> None:
    mine = flow("mine", 30, 1, 1.0, 0.0, 10.0, 20.0, 40.0)
    assert [turns_before([mine], "mine", 1, place=at) for at in (5.0, 15.0, 30.0)] == [5, 15, 25]


@pytest.mark.req("B24")
def test_several_numbers_send_side_by_side() -> None:
    def made() -> list[Schedule]:
        return [schedule(per_second=10.0), schedule(gap_seconds=1 / 30), schedule(next_at=None)]

    first, last, beyond = (nth_call(made(), number) for number in (1, 5000, 9000))
    assert first == START
    assert last is not None and last == pytest.approx(START + 125, abs=0.1)
    assert beyond == pytest.approx(last + 100, abs=0.001)
    assert nth_call([schedule(next_at=None)], 1) is None
    assert nth_call([], 1) is None
