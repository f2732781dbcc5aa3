"""Quiet hours and send windows against the wall clock itself, in every zone, on every day on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.policy.hours import DAY, open_spans, zone_named, zones_for, zones_of

ZONES = sorted(available_timezones())
FIRST_DAY, LAST_DAY = datetime(2024, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
NIGHT = "23:00-07:00"


def unix(*of: int) -> int:
    return int(datetime(*of, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


def shown(zone: ZoneInfo, at: int) -> int:
    """What the wall clock shows, in seconds of the day."""
    local = datetime.fromtimestamp(at, zone)
    return local.hour * 3600 + local.minute * 60 + local.second


def is_within(hours: str, zone: ZoneInfo, at: int) -> bool:
    """The definition: the wall clock shows a time within the hours."""
    first, last = (int(clock[:2]) * 3600 + int(clock[3:]) * 60 for clock in hours.split("-"))
    now = shown(zone, at)
    return first <= now < last if first < last else now >= first or now < last


@cache
def days_of_change(name: str) -> tuple[int, ...]:
    """The days of UTC, of five years, on which the zone's clock is set."""
    zone = ZoneInfo(name)
    found, before = [], zone.utcoffset(FIRST_DAY)
    for number in range(1, (LAST_DAY - FIRST_DAY).days + 1):
        at = FIRST_DAY + timedelta(days=number)
        after = at.astimezone(zone).utcoffset()
        if after != before:
            found.append(int(at.timestamp()) // DAY - 1)
        before = after
    return tuple(found)


def jumps(name: str, day: int) -> list[int]:
    """The seconds of a day at which the zone's clock is set, found second by second around a coarse look."""
    zone = ZoneInfo(name)
    found = []
    for minute in range(day * DAY, (day + 1) * DAY, 60):
        if shown(zone, minute + 60) != (shown(zone, minute) + 60) % DAY:
            found += [s + 1 for s in range(minute, minute + 60) if shown(zone, s + 1) != (shown(zone, s) + 1) % DAY]
    return found


def holds(zone: ZoneInfo, hours: str, spans: tuple[tuple[int, int], ...], start: int, end: int, at: int) -> None:
    """At that second, inside [start, end): open exactly if the wall clock says that it is not quiet."""
    if start <= at < end:
        is_open = any(a <= at < b for a, b in spans)
        assert is_open != is_within(hours, zone, at), (zone, hours, at)


@pytest.mark.req("B16", "CMP-16", "CMP-17")
def test_in_every_zone_on_every_day_of_change_nothing_is_open_in_quiet_hours_and_nothing_else_is_closed() -> None:
    """Checked at each minute's step of a coarse grid, and one second around every edge of every span and every jump."""
    checked = changes = 0
    for name in ZONES:
        zone = ZoneInfo(name)
        for day in days_of_change(name):
            changes += 1
            start, end = (day - 1) * DAY, (day + 2) * DAY
            for hours in (NIGHT, "02:30-03:15", "00:00-24:00" if day % 7 == 0 else "01:00-02:00"):
                spans = open_spans((name,), hours, None, start, end)
                assert all(a < b for a, b in spans) and list(spans) == sorted(spans)
                edges = {edge + step for span in spans for edge in span for step in (-1, 0, 1)}
                for at in edges | set(range(start, end, 1200)):
                    holds(zone, hours, spans, start, end, at)
                    checked += 1
    assert changes > 1500, "the zones of the world change their clocks more than this often in five years"
    assert checked > 500_000


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from([zone for zone in ZONES if days_of_change(zone)]),
    pick=st.integers(0, 1000),
    first=st.integers(0, 1439),
    length=st.integers(1, 1439),
)
def test_any_hours_on_any_day_of_change_to_the_second(name: str, pick: int, first: int, length: int) -> None:
    last = (first + length) % 1440
    hours = f"{first // 60:02}:{first % 60:02}-{last // 60:02}:{last % 60:02}"
    days = days_of_change(name)
    day, zone = days[pick % len(days)], ZoneInfo(name)
    spans = open_spans((name,), hours, None, day * DAY, (day + 1) * DAY)
    near = {edge + step for edge in [*jumps(name, day), *(e for s in spans for e in s)] for step in (-1, 0, 1)}
    for at in near:
        holds(zone, hours, spans, day * DAY, (day + 1) * DAY, at)


def test_a_message_waits_for_the_end_of_the_night_in_india() -> None:
    """01:00 in India is 19:30 the day before in UTC; the night ends at 01:30 UTC."""
    now = unix(2026, 11, 20, 19, 30)
    assert open_spans(("Asia/Kolkata",), NIGHT, None, now, now + DAY) == (
        (unix(2026, 11, 21, 1, 30), unix(2026, 11, 21, 17, 30)),
    )


@pytest.mark.parametrize(
    ("zone", "now", "opens"),
    [
        ("Europe/Berlin", (2026, 3, 28, 23, 0), (2026, 3, 29, 5, 0)),  # clocks go forward: the night is an hour shorter
        ("Europe/Berlin", (2026, 10, 24, 22, 0), (2026, 10, 25, 6, 0)),  # and back: an hour longer
        ("Pacific/Apia", (2026, 11, 20, 12, 0), (2026, 11, 20, 18, 0)),
        ("Australia/Lord_Howe", (2026, 10, 3, 14, 0), (2026, 10, 3, 20, 0)),  # half an hour of summer time
    ],
)
def test_the_night_ends_at_seven_by_the_clock_on_the_wall(zone: str, now: tuple[int], opens: tuple[int]) -> None:
    found = open_spans((zone,), NIGHT, None, unix(*now), unix(*now) + DAY)
    assert found[0][0] == unix(*opens)
    assert shown(ZoneInfo(zone), found[0][0]) == 7 * 3600


def test_a_boundary_that_does_not_exist_is_passed_at_the_jump() -> None:
    """Quiet until 02:30, which the clocks of Berlin leave out: open from 03:00, the first moment after it."""
    spans = open_spans(("Europe/Berlin",), "22:00-02:30", None, unix(2026, 3, 29), unix(2026, 3, 29, 12))
    assert spans == ((unix(2026, 3, 29, 1), unix(2026, 3, 29, 12)),)


def test_a_boundary_that_comes_twice_counts_twice() -> None:
    """Quiet until 02:30, which comes twice: open from the first, quiet again when it is 02:00 again."""
    spans = open_spans(("Europe/Berlin",), "22:00-02:30", None, unix(2026, 10, 25), unix(2026, 10, 25, 12))
    assert spans == (
        (unix(2026, 10, 25, 0, 30), unix(2026, 10, 25, 1)),
        (unix(2026, 10, 25, 1, 30), unix(2026, 10, 25, 12)),
    )


def test_who_may_live_in_several_zones_is_written_to_when_it_is_day_in_all_of_them() -> None:
    spans = open_spans(("America/New_York", "America/Los_Angeles"), NIGHT, None, unix(2026, 11, 21), unix(2026, 11, 22))
    assert spans == ((unix(2026, 11, 21), unix(2026, 11, 21, 4)), (unix(2026, 11, 21, 15), unix(2026, 11, 22)))


def test_a_window_is_by_its_own_clock_and_quiet_hours_still_hold_in_it() -> None:
    start, end = unix(2026, 11, 21), unix(2026, 11, 22)
    window = ("05:55-06:05", ("Asia/Kolkata",))
    assert open_spans(("Asia/Kolkata",), None, window, start, end) == ((start + 25 * 60, start + 35 * 60),)
    assert open_spans(("Asia/Kolkata",), NIGHT, window, start, end) == ()
    office = ("09:00-18:00", ("Asia/Kolkata", "Europe/Berlin"))
    assert open_spans((), None, office, start, end) == ((unix(2026, 11, 21, 8), unix(2026, 11, 21, 12, 30)),)


def test_spans_end_where_they_are_cut_and_reach_over_midnight_in_one() -> None:
    start = unix(2026, 11, 21, 10, 0)
    assert open_spans(("UTC",), "03:00-04:00", None, start, start + 10 * 3600) == ((start, start + 10 * 3600),)
    late = open_spans(("UTC",), "03:00-04:00", None, start, start + DAY)
    assert late == ((start, unix(2026, 11, 22, 3)), (unix(2026, 11, 22, 4), start + DAY))
    assert open_spans((), None, None, start, start) == ()
    assert open_spans(("UTC",), "10:00-24:00", None, unix(2026, 11, 21), unix(2026, 11, 22)) == (
        (unix(2026, 11, 21), unix(2026, 11, 21, 10)),
    )


@pytest.mark.parametrize(
    ("phone", "zones"),
    [
        ("+919999912345", ("Asia/Calcutta",)),
        ("+5511987654321", ("America/Sao_Paulo",)),
        ("+999123456789", ()),
        ("not a number", ()),
    ],
)
def test_a_number_tells_the_zone(phone: str, zones: tuple[str, ...]) -> None:
    assert zones_of(phone) == zones


def test_a_number_of_a_wide_country_has_several_zones() -> None:
    assert len(zones_of("+79161234567")) > 5


@pytest.mark.req("CMP-17")
@pytest.mark.parametrize(
    ("given", "zone"),
    [
        ("Asia/Kolkata", "Asia/Kolkata"), ("asia/kolkata", "Asia/Kolkata"), ("AMERICA/NEW_YORK", "America/New_York"),
        ("utc", "UTC"), ("Mars/Olympus", None), ("Asia/Kolkatta", None), ("Asia", None), ("", None),
        ("../etc/passwd", None), ("localtime", None), ("LocalTime", None), ("Factory", None),
    ],
)  # fmt: skip
def test_a_zone_is_known_by_its_name_on_every_disk(given: str, zone: str | None) -> None:
    """A disk that does not tell capitals apart knows `asia/kolkata`, another not; each has a `localtime` of its own."""
    assert zone_named(given) == zone


def test_every_zone_of_the_database_is_known_by_its_own_name() -> None:
    assert [name for name in ZONES if zone_named(name) != name and name not in ("localtime", "Factory")] == []


@pytest.mark.req("B16", "CMP-17")
@pytest.mark.parametrize(
    ("given", "recipient", "zones", "unknown"),
    [
        (None, "+919999912345", ("Asia/Calcutta",), False),
        ("Europe/Berlin", "+919999912345", ("Europe/Berlin",), False),
        ("europe/berlin", "+919999912345", ("Europe/Berlin",), False),
        ("Asia/Kolkatta", "+919999912345", ("Asia/Calcutta",), True),
        ("Asia/Kolkatta", "BR.1", zones_of("BR.1"), True),
        ("Asia/Kolkatta", "+999123456789", (), True),
        (None, "+999123456789", (), False),
    ],
)
def test_a_zone_that_there_is_not_leaves_those_of_the_number(
    given: str | None, recipient: str, zones: tuple[str, ...], unknown: bool
) -> None:
    assert zones_for(given, recipient) == (zones, unknown)
