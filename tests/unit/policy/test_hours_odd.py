"""Clocks that are set at an odd minute, and countries of several clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from harkara.policy.hours import DAY, open_spans, zones_of


def unix(*of: int) -> int:
    return int(datetime(*of, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


@pytest.mark.req("CMP-17")
def test_a_clock_that_is_set_a_minute_after_midnight_is_followed_to_the_second() -> None:
    """St. John's set its clocks from 00:01 to 01:01 (03:31 UTC) until 2011: quiet from 01:00
    begins at the jump."""
    start = unix(2011, 3, 13)
    assert open_spans(("America/St_Johns",), "01:00-07:00", None, start, start + DAY) == (
        (start, unix(2011, 3, 13, 3, 31)),
        (unix(2011, 3, 13, 9, 30), start + DAY),
    )


@pytest.mark.req("CMP-17")
def test_a_day_has_no_moments_besides_those_of_its_hours() -> None:
    start = unix(2026, 11, 21)
    assert open_spans(("UTC",), "00:00-24:00", None, start, start + 3 * DAY) == ()
    assert open_spans((), None, None, start + 5, start + 3 * DAY - 5) == ((start + 5, start + 3 * DAY - 5),)
    assert open_spans((), None, ("00:00-24:00", ("Asia/Kolkata",)), start, start + 3 * DAY) == (
        (start, start + 3 * DAY),
    )
    assert open_spans(("UTC",), "00:00-00:30", None, start, start + 2 * DAY) == (
        (start + 1800, start + DAY),
        (start + DAY + 1800, start + 2 * DAY),
    )


@pytest.mark.req("CMP-17", "B17")
@pytest.mark.parametrize(
    ("user_id", "zones"),
    [
        ("AU.1", {"Australia/Sydney", "Australia/Perth", "Australia/Adelaide", "Australia/Lord_Howe"}),
        ("BR.1", {"America/Sao_Paulo", "America/Manaus", "America/Noronha", "America/Rio_Branco"}),
        ("ID.1", {"Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura"}),
        ("NZ.1", {"Pacific/Auckland", "Pacific/Chatham"}),
    ],
)
def test_a_user_id_tells_no_more_than_all_zones_of_its_country(user_id: str, zones: set[str]) -> None:
    assert zones <= set(zones_of(user_id))


@pytest.mark.req("CMP-16")
def test_hours_that_end_where_they_begin_are_the_whole_day() -> None:
    start = unix(2026, 11, 21)
    assert open_spans(("Asia/Kolkata",), "09:00-09:00", None, start, start + DAY) == ()
    assert open_spans((), None, ("09:00-09:00", ("Asia/Kolkata",)), start, start + DAY) == ((start, start + DAY),)
