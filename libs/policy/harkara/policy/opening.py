"""When a message may go: its recipient's quiet hours, and the send window that it asks for (B16)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from harkara.contracts.event import Reason
from harkara.contracts.intents import Category, Span
from harkara.policy.governance import Governance
from harkara.policy.hours import DAY, Spans, open_spans
from harkara.policy.sections import SendWindow

_of_days = lru_cache(maxsize=256)(open_spans)
"""Of whole days: those of a run's messages are the same, whatever the second."""
MOST_SPANS = 20  # a life of 6 days has at most 7 nights, and one more where clocks are set; a window a day


@dataclass(frozen=True, slots=True)
class Opening:
    """`due`: when it may first go. `hours`: in which spans its calls may start; empty: from `due` on at any time.

    `exception`: the contracted window by which it goes in hours that are quiet otherwise, or may be.
    """

    due: datetime
    hours: tuple[Span, ...] = ()
    exception: str | None = None


def opening(
    category: Category,
    zones: Sequence[str],
    send_window: str | None,
    earliest: datetime,
    latest: datetime,
    governance: Governance,
    unknown_zone: bool = False,
) -> Opening | Reason:
    """The hours of a message that lives from `earliest` until `latest`, in one of `zones`; or why it has none.
    `unknown_zone`: they are not those of the zone that the intent gives, which is none; a refusal says so."""
    found = _opening(category, zones, send_window, earliest, latest, governance)
    if not unknown_zone or not isinstance(found, Reason):
        return found
    text = f"{found.text} There is no time zone of the name that the intent gives."
    return found.model_copy(update={"text": text, "details": found.details | {"time_zone": "unknown"}})


def _opening(
    category: Category,
    zones: Sequence[str],
    send_window: str | None,
    earliest: datetime,
    latest: datetime,
    governance: Governance,
) -> Opening | Reason:
    routing = governance.routing
    window = None if send_window is None else routing.send_windows.get(send_window)
    if send_window is not None and window is None:
        text = f"There is no send window {send_window!r} in governance.yaml."
        return Reason(code="send_window_unknown", text=text, rule="routing.send_windows")
    quiet = None if routing.quiet_hours[category] == "none" else routing.quiet_hours[category]
    contracted = window is not None and window.contract is not None
    kept = None if contracted else quiet
    if kept is None and window is None:
        return Opening(earliest)
    places = tuple(zones) or ((routing.default_time_zone,) if routing.default_time_zone else ())
    if not places and (kept is not None or (window is not None and window.time_zone is None)):
        text = "The recipient's number tells no time zone, and the hour matters; the intent can give `time_zone`."
        return Reason(code="zone_unknown", text=text, rule="routing.default_time_zone")
    asked = None if window is None else (window.hours, (window.time_zone,) if window.time_zone else places)
    start, end = math.floor(earliest.timestamp()), math.floor(latest.timestamp())  # hours begin on whole seconds
    spans = _meeting(places, kept, asked, start, end)
    if not spans:
        return _never(category, kept, window, send_window, places)
    due = earliest if spans[0][0] <= start else _instant(spans[0][0])
    whole = len(spans) == 1 and spans[0][1] >= end
    # whose clock nobody knows is taken to sleep then: each use of a contract that may be an exception is on record
    may_be_night = quiet is not None and (not places or _meeting(places, quiet, asked, start, end) != spans)
    return Opening(due, () if whole else _told(spans), send_window if contracted and may_be_night else None)


def _meeting(
    zones: tuple[str, ...], quiet: str | None, window: tuple[str, tuple[str, ...]] | None, start: int, end: int
) -> Spans:
    """The spans that a life touches, uncut: so that the messages of a run, each with its own life, share theirs."""
    days = _of_days(zones, quiet, window, start // DAY * DAY, -(-end // DAY) * DAY)
    return tuple(span for span in days if span[1] > start and span[0] < end)


def _never(
    category: Category, quiet: str | None, window: SendWindow | None, name: str | None, zones: Sequence[str]
) -> Reason:
    where = zones[0] if len(zones) == 1 else f"{len(zones)} time zones in which its recipient may live"
    rules = [f"the quiet hours {quiet} of {category} messages"] if quiet is not None else []
    rules += [f"the send window {name!r} ({window.hours})"] if window is not None else []
    text = f"By {' and '.join(rules)} there is no time to send it within its life, in {where or 'its zone'}."
    rule = f"routing.send_windows.{name}" if window is not None else f"routing.quiet_hours.{category}"
    return Reason(code="no_send_time", text=text, rule=rule)


@lru_cache(maxsize=256)  # the messages of a run, of a few zones, live in the same days
def _told(spans: Spans) -> tuple[Span, ...]:
    return tuple(Span(start=_instant(start), end=_instant(end)) for start, end in spans[:MOST_SPANS])


def _instant(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)
