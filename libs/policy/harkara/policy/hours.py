"""When people may be written to: quiet hours and send windows by the clock on their wall (B16, CMP-16, CMP-17).

A moment is quiet where the wall clock shows a time within the hours; nothing else is asked. So a clock that jumps over
a boundary, or shows an hour twice, needs no rule of its own: a boundary that is left out is passed at the jump, and one
that comes twice counts each time. Everything is worked out per day of UTC, exact to the second, and remembered. Times
are whole Unix seconds; a span is [from, until).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers
from phonenumbers import timezone

DAY = 86_400
SAMPLE_SECONDS = 3 * 3600
"""How far apart a zone's offset is looked at to find its changes: no zone has ever changed twice in so short a time."""
NOBODYS = ("localtime", "Factory")  # files of the database that are the clock of the machine, or of none
Spans = tuple[tuple[int, int], ...]
"""In order, apart, none empty."""


def zone_named(name: str) -> str | None:
    """The zone of this name as the time zone database writes it, however its capitals are given; None: it has none.
    (A file system would tell capitals apart on one machine and not on another.)"""
    return _zone_names().get(name.casefold())


@cache
def _zone_names() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones() if name not in NOBODYS}


def zones_for(given: str | None, recipient: str) -> tuple[tuple[str, ...], bool]:
    """Where the recipient may live: in the zone that was given for them, else in those that their number or user id
    tells; and whether one was given that nobody knows."""
    zone = None if given is None else zone_named(given)
    return zones_of(recipient) if zone is None else (zone,), given is not None and zone is None


def zones_of(recipient: str) -> tuple[str, ...]:
    """The zones in which the owner of an E.164 number may live, by its prefix; of a user id all zones of its country.
    Empty where it tells nothing."""
    if recipient[2:3] == ".":
        return _zones_of_country(recipient[:2])
    try:
        found = timezone.time_zones_for_number(phonenumbers.parse(recipient))
    except phonenumbers.NumberParseException:
        return ()
    return tuple(zone for zone in found if zone_named(zone) is not None)


@lru_cache(maxsize=300)  # there are some 250 countries
def _zones_of_country(country: str) -> tuple[str, ...]:
    """The zones of every number with the country's calling code, which some share (+1, +7); empty for no country."""
    code = phonenumbers.country_code_for_region(country)
    if not code:
        return ()
    found = timezone.time_zones_for_geographical_number(phonenumbers.PhoneNumber(country_code=code, national_number=0))
    return tuple(zone for zone in found if zone_named(zone) is not None)


def open_spans(
    zones: tuple[str, ...], quiet: str | None, window: tuple[str, tuple[str, ...]] | None, start: int, end: int
) -> Spans:
    """The moments of [start, end) that are in no zone's quiet hours and, if there is a window, in it in every zone.

    `quiet`: hours such as 23:00-07:00, by each of `zones`; `window`: hours and the zones they are of. Where somebody
    may live in several zones it is day in all of them. `end` is at most some days after `start`.
    """
    found: list[tuple[int, int]] = []
    for day in range(start // DAY, -(-end // DAY)):
        found += _open_in_day(zones, quiet, window, day)
    return _joined((max(a, start), min(b, end)) for a, b in found if max(a, start) < min(b, end))


@lru_cache(maxsize=20_000)  # a day of each zone of the world in each of a dozen rules; 200 bytes each
def _open_in_day(
    zones: tuple[str, ...], quiet: str | None, window: tuple[str, tuple[str, ...]] | None, day: int
) -> Spans:
    found: Spans = ((day * DAY, (day + 1) * DAY),)
    if window is not None:
        for zone in window[1]:
            found = _both(found, _within(window[0], zone, day))
    if quiet is not None:
        for zone in zones:
            found = _both(found, _outside(_within(quiet, zone, day), day * DAY, (day + 1) * DAY))
    return found


@lru_cache(maxsize=20_000)
def _within(hours: str, zone: str, day: int) -> Spans:
    """The moments of a day of UTC at which the zone's wall clock shows a time within the hours."""
    first, last = (_second_of_day(clock) for clock in hours.split("-"))
    last += DAY if last <= first else 0
    found = []
    for start, end, offset in _stretches(ZoneInfo(zone), day * DAY, (day + 1) * DAY):
        for local_day in range((start + offset) // DAY - 1, (end + offset) // DAY + 1):
            begins, ends = local_day * DAY + first - offset, local_day * DAY + last - offset
            if begins < end and ends > start:
                found.append((max(begins, start), min(ends, end)))
    return _joined(sorted(found))


def _second_of_day(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 3600 + int(minute) * 60


def _stretches(zone: ZoneInfo, start: int, end: int) -> list[tuple[int, int, int]]:
    """(from, until, offset from UTC in seconds): the parts of [start, end) in which the zone's clock does not jump."""
    found = []
    at, offset = start, _offset(zone, start)
    for sample in range(start + SAMPLE_SECONDS, end + 1, SAMPLE_SECONDS):
        newer = _offset(zone, sample)
        if newer != offset:
            jump = _jump(zone, sample - SAMPLE_SECONDS, sample, offset)
            found.append((at, jump, offset))
            at, offset = jump, newer
    if at < end:
        found.append((at, end, offset))
    return found


def _jump(zone: ZoneInfo, before: int, after: int, offset: int) -> int:
    """The first second of (before, after] at which the zone has another offset than before."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: ZoneInfo, at: int) -> int:
    shift = datetime.fromtimestamp(at, zone).utcoffset()
    assert shift is not None, "a ZoneInfo knows its offset at every instant"
    return int(shift.total_seconds())


def _joined(spans: Iterable[tuple[int, int]]) -> Spans:
    """Spans in order, those that touch made one."""
    found: list[tuple[int, int]] = []
    for start, end in spans:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def _both(one: Spans, other: Spans) -> Spans:
    return tuple((max(a, c), min(b, d)) for a, b in one for c, d in other if max(a, c) < min(b, d))


def _outside(spans: Spans, start: int, end: int) -> Spans:
    edges = [start, *(edge for span in spans for edge in span), end]
    return tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b)
