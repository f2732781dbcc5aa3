"""When a message goes: once, inside its recipient's hours, within its life; or it is refused and says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.event import Reason
from harkara.contracts.intents import Category
from harkara.policy.hours import DAY
from harkara.policy.opening import MOST_SPANS, Opening, opening
from tests.unit.policy.cases import NOW, policy
from tests.unit.policy.test_hours import ZONES, days_of_change, is_within, unix

HOUR = timedelta(hours=1)
INDIA = ("Asia/Kolkata",)
NIGHT = {"quiet_hours": {"utility": "23:00-07:00", "marketing": "21:00-09:00"}}
MORNING = {"morning": {"hours": "05:55-06:05", "time_zone": "Asia/Kolkata", "contract": "agreement, clause 4"}}


def opened(
    zones: tuple[str, ...] = INDIA,
    category: Category = "utility",
    window: str | None = None,
    earliest: datetime = NOW,
    life: timedelta = 24 * HOUR,
    **routing: Any,
) -> Opening | Reason:
    return opening(category, zones, window, earliest, earliest + life, policy(routing=NIGHT | routing))


def at(*of: int) -> datetime:
    return datetime.fromtimestamp(unix(*of), UTC)


def spans(found: Opening | Reason) -> list[tuple[datetime, datetime]]:
    assert isinstance(found, Opening), found
    return [(span.start, span.end) for span in found.hours]


@pytest.mark.req("CMP-16", "CMP-17")
def test_at_six_in_india_it_waits_until_seven() -> None:
    found = opened()
    assert isinstance(found, Opening) and found.due == at(2026, 11, 21, 1, 30)
    assert spans(found) == [(at(2026, 11, 21, 1, 30), at(2026, 11, 21, 17, 30))]
    assert found.exception is None


def test_hours_are_per_category_and_codes_and_answers_have_none() -> None:
    marketing = opened(category="marketing")
    assert isinstance(marketing, Opening) and marketing.due == at(2026, 11, 21, 3, 30)
    for category in ("authentication", "service"):
        assert opened(category=category) == Opening(NOW)
    assert opened(quiet_hours={"utility": "none"}) == Opening(NOW)


def test_by_day_it_goes_at_once_and_is_told_when_the_night_begins() -> None:
    found = opened(earliest=at(2026, 11, 21, 6), life=24 * HOUR)
    assert isinstance(found, Opening) and found.due == at(2026, 11, 21, 6)
    assert [start for start, _ in spans(found)] == [at(2026, 11, 21, 1, 30), at(2026, 11, 22, 1, 30)]
    assert opened(earliest=at(2026, 11, 21, 6), life=HOUR) == Opening(at(2026, 11, 21, 6))


def test_messages_of_one_day_share_their_hours() -> None:
    """A million of them wait in a lane; each with hours of its own would cost as much memory as the messages."""
    lives = [opened(earliest=at(2026, 11, 21, 6, 0, n), life=24 * HOUR) for n in range(60)]
    assert len({tuple(spans(each)) for each in lives}) == 1


def test_a_fraction_of_a_second_before_the_day_is_still_night() -> None:
    found = opened(earliest=at(2026, 11, 21, 1, 29, 59) + timedelta(microseconds=1))
    assert isinstance(found, Opening) and found.due == at(2026, 11, 21, 1, 30)


def test_a_whole_life_has_a_span_a_day_and_no_more_than_the_bound() -> None:
    found = opened(life=timedelta(days=6))
    assert 6 <= len(spans(found)) <= MOST_SPANS


def test_a_window_is_for_its_hours_and_quiet_hours_hold_in_it() -> None:
    found = opened(window="office", send_windows={"office": {"hours": "06:30-08:00"}})
    assert spans(found) == [(at(2026, 11, 21, 1, 30), at(2026, 11, 21, 2, 30))]
    assert isinstance(found, Opening) and found.due == at(2026, 11, 21, 1, 30) and found.exception is None


@pytest.mark.req("B16")
def test_a_contracted_window_is_the_exception_and_says_so() -> None:
    found = opened(window="morning", earliest=at(2026, 11, 21, 0, 0), send_windows=MORNING)
    assert isinstance(found, Opening)
    assert (found.due, found.exception) == (at(2026, 11, 21, 0, 25), "morning")
    assert spans(found) == [(at(2026, 11, 21, 0, 25), at(2026, 11, 21, 0, 35))]


@pytest.mark.req("B16")
def test_a_contracted_window_is_an_exception_where_nobody_knows_whether_it_is_night() -> None:
    """Each use of the contract is on record, that to somebody whose number tells no zone too."""
    found = opened((), window="morning", earliest=at(2026, 11, 21, 0, 0), send_windows=MORNING)
    assert isinstance(found, Opening) and (found.due, found.exception) == (at(2026, 11, 21, 0, 25), "morning")
    late = {"late": {"hours": "10:00-11:00", "time_zone": "Asia/Kolkata", "contract": "agreement, clause 4"}}
    by_day = opened((), window="late", send_windows=late, default_time_zone="Asia/Kolkata")
    assert isinstance(by_day, Opening) and by_day.exception is None
    nobodys = opened((), window="morning", send_windows=MORNING, quiet_hours={"utility": "none"})
    assert isinstance(nobodys, Opening) and nobodys.exception is None
    bare = {"late": {"hours": "10:00-11:00", "time_zone": "Asia/Kolkata"}}
    no_contract = opened((), window="late", send_windows=bare, quiet_hours={"utility": "none"})
    assert isinstance(no_contract, Opening) and no_contract.exception is None


def test_a_contracted_window_by_day_is_no_exception() -> None:
    window = {"morning": {"hours": "10:00-11:00", "contract": "agreement, clause 4"}}
    found = opened(window="morning", send_windows=window)
    assert isinstance(found, Opening) and found.exception is None
    found = opened(window="morning", send_windows=MORNING, quiet_hours={"utility": "none"})
    assert isinstance(found, Opening) and found.exception is None


def test_a_window_of_a_fixed_zone_needs_no_zone_of_the_recipient_unless_quiet_hours_do() -> None:
    found = opened((), window="morning", earliest=at(2026, 11, 21, 0, 0), send_windows=MORNING)
    assert isinstance(found, Opening) and found.due == at(2026, 11, 21, 0, 25)
    bare = {"morning": {"hours": "05:55-06:05", "time_zone": "Asia/Kolkata"}}
    refused = opened((), window="morning", send_windows=bare)
    assert isinstance(refused, Reason) and refused.code == "zone_unknown"
    here = opened((), window="morning", send_windows=bare, quiet_hours={"utility": "none"})
    assert isinstance(here, Opening)


def test_the_policys_zone_stands_in_for_an_unknown_one() -> None:
    found = opened((), default_time_zone="Asia/Kolkata")
    assert found == opened()
    assert opened(("Asia/Kolkata",), default_time_zone="UTC") == opened()


def test_a_refusal_names_the_rule_and_the_zone() -> None:
    found = opened(life=HOUR)
    assert isinstance(found, Reason)
    assert found.text == (
        "By the quiet hours 23:00-07:00 of utility messages there is no time to send it within its life, "
        "in Asia/Kolkata."
    )
    several = opened(("Asia/Kolkata", "Asia/Tokyo"), life=timedelta(seconds=30))
    assert isinstance(several, Reason) and "2 time zones" in several.text
    both = opened(window="late", life=HOUR, send_windows={"late": {"hours": "20:00-21:00"}})
    assert isinstance(both, Reason) and "quiet hours" in both.text and "'late' (20:00-21:00)" in both.text


@pytest.mark.req("CMP-17")
def test_a_refusal_says_that_there_is_no_zone_of_the_name_given() -> None:
    of = policy(routing=NIGHT)
    told = opening("utility", INDIA, None, NOW, NOW + HOUR, of, unknown_zone=True)
    plain = opening("utility", INDIA, None, NOW, NOW + HOUR, of)
    assert isinstance(told, Reason) and isinstance(plain, Reason)
    assert told.text == f"{plain.text} There is no time zone of the name that the intent gives."
    assert (told.code, told.rule, told.details) == (plain.code, plain.rule, {"time_zone": "unknown"})
    assert opening("utility", INDIA, None, NOW, NOW + 24 * HOUR, of, unknown_zone=True) == opened()


@pytest.mark.req("B16", "CMP-16", "CMP-17")
@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from([zone for zone in ZONES if days_of_change(zone)]),
    pick=st.integers(0, 1000),
    second=st.integers(0, 2 * DAY),
    first=st.integers(0, 47),
    length=st.integers(1, 24),
    life_hours=st.integers(1, 72),
)
def test_in_every_zone_around_every_change_of_clocks_each_message_goes_once_and_never_at_night(
    name: str, pick: int, second: int, first: int, length: int, life_hours: int
) -> None:
    """Never inside quiet hours; never lost: refused only where no second of its life is open, else due at the first
    that is; never twice: one due time, and spans that lie apart."""
    last = (first + length) % 48
    quiet = f"{first // 2:02}:{first % 2 * 30:02}-{last // 2:02}:{last % 2 * 30:02}"
    day = days_of_change(name)[pick % len(days_of_change(name))]
    start, zone = (day - 1) * DAY + second, ZoneInfo(name)
    earliest = datetime.fromtimestamp(start, UTC)
    life = timedelta(hours=life_hours)
    found = opened((name,), earliest=earliest, life=life, quiet_hours={"utility": quiet})
    end = start + life_hours * 3600
    steps = [each for each in range(start, end, 600) if not is_within(quiet, zone, each)]
    if isinstance(found, Reason):
        assert found.code == "no_send_time" and steps == []
        return
    due = int(found.due.timestamp())
    assert start <= due < end and not is_within(quiet, zone, due)
    assert not steps or due <= steps[0]
    assert due == start or is_within(quiet, zone, due - 1)
    told = [(int(a.timestamp()), int(b.timestamp())) for a, b in spans(found)] or [(due, end)]
    assert all(b < c for (_, b), (c, _) in pairwise(told))
    assert [each for each in range(start, end, 600) if any(a <= each < b for a, b in told)] == steps


def test_of_a_life_that_no_message_has_the_first_twenty_spans_are_told() -> None:
    found = spans(opened(life=timedelta(days=30)))
    assert len(found) == 20
    assert [start for start, _ in found] == [at(2026, 11, 21, 1, 30) + timedelta(days=day) for day in range(20)]
