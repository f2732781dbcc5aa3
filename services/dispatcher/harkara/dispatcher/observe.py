"""What a lane shows of itself: queue states for operators, counters from committed entries."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import structlog

from harkara.contracts.event import event_id
from harkara.contracts.topics import Topic
from harkara.dispatcher import metrics
from harkara.dispatcher.breaker import BREAKER_STATES, state_of
from harkara.dispatcher.fallback import STARTED
from harkara.dispatcher.hold import IN_ASSESSMENT
from harkara.dispatcher.journal import Data, Entry, message_id_of
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.projection import Emission
from harkara.dispatcher.queue_state import queue_state
from harkara.dispatcher.state import LaneState

SHOWN_AGAIN_SECONDS = 20.0
"""So often every number of a lane is shown although nothing changed: a lane that says nothing for long is silent."""
SHOWN = ("queued", "scheduled", "held", "retrying", "attempting", "in_doubt", "unknown")

log = structlog.get_logger()


class _Gauges:
    """What is shown of one number: SHOWN, BREAKER_STATES and its rate. To ask the client library for each by its labels
    costs more than all else of a number's turn, and most of them stay as they are."""

    __slots__ = ("_each", "_shown")

    def __init__(self, number: str) -> None:
        self._each = [
            *(metrics.QUEUE.labels(number, status) for status in SHOWN),
            *(metrics.BREAKER.labels(number, word) for word in BREAKER_STATES),
            metrics.RATE.labels(number),
        ]
        self._shown: list[float | None] = [None] * len(self._each)

    def show(self, values: Sequence[float]) -> None:
        """As `_each`."""
        for place, value in enumerate(values):
            if value != self._shown[place]:
                self._shown[place] = value
                self._each[place].set(value)


@lru_cache(maxsize=10_000)  # numbers of a process; of more than that some are made anew, and show the same
def _gauges(number: str) -> _Gauges:
    return _Gauges(number)


def count_entries(entries: Iterable[Entry]) -> None:
    """Counters and alerts of entries that are committed."""
    ended: list[Data] = []
    for entry in entries:
        data = entry.data or {}
        _count_fallback(entry.kind, data)
        if entry.kind == "end":
            ended.append(data)
        elif entry.kind == "step" and data["status"] == "unknown":
            metrics.IN_DOUBT_SETTLED.labels("unknown").inc()
        elif entry.kind == "step" and data.get("reason") == "owner_lost":
            metrics.IN_DOUBT.labels("owner_lost").inc()
        elif entry.kind == "hold" and data["reason"] == IN_ASSESSMENT:
            metrics.ASSESSMENTS.labels("again" if data.get("again") else "began").inc()
            log.warning("template_in_assessment", template=entry.key.split("/", 2)[2], again=data.get("again", False))
        elif entry.kind == "throttle":
            number = entry.key.partition("/")[2]
            metrics.CUTS.labels(number).inc()
            log.warning("number_slowed", phone_number_id=number, per_second=data["rate"], code=data.get("code"))
        elif entry.kind == "duplicate":
            metrics.DUPLICATES.inc()
            log.error("sent_twice", message_id=message_id_of(entry.key), attempt=data["attempt"])
        if data.get("alert"):
            metrics.ALERTS.labels(alert_label(data)).inc()
            subject = entry.key.partition("/")[2] if entry.kind == "hold" else message_id_of(entry.key)
            log.error("refusal_needs_a_look", subject=subject, code=data.get("code"), reason=data.get("reason"))
    _count_ended(ended)


def _count_ended(ended: list[Data]) -> None:
    """By status, and by number what Meta has: each counter once, however many of the round it counts."""
    submitted = [data for data in ended if data["status"] == "submitted"]
    for status, many in Counter([data["status"] for data in ended]).items():
        metrics.ENDS.labels(status).inc(many)
    for number, many in Counter([data.get("number", "") for data in submitted]).items():
        metrics.ACCEPTED.labels(number).inc(many)
    for data in submitted:
        _count_submitted(data)


def _count_submitted(data: Data) -> None:
    """How Meta has it: as its answer said, or a status."""
    reason = data.get("reason")
    if reason == "held_by_meta":
        metrics.HELD_BY_META.labels(data.get("number", ""), data["meta_status"]).inc()
    elif reason == "seen_in_status":
        metrics.IN_DOUBT_SETTLED.labels("accepted").inc()


def alert_label(data: Data) -> str:
    """Of an entry that asks for a look: Meta's code, or which mistake of ours it is, or `http`."""
    reason = str(data.get("reason", ""))
    return str(data.get("code", reason if reason.startswith("request_") else "http"))


def _count_fallback(kind: str, data: Data) -> None:
    """A fallback content that goes, or a message that has none any more."""
    if kind == "order" and data.get("reason") == STARTED:
        metrics.FALLBACKS.labels(data["details"]["because"]).inc()
    elif data.get("unwatched"):
        metrics.FALLBACKS.labels("not_watched").inc()


def queue_states(state: LaneState, around: Surroundings, now: float, topic: Topic, most: int) -> list[Emission]:
    """One per number that changed since it was last shown, at most `most`: those whose turn it is. Numbers that sent
    lately stay on the list while they fade."""
    emissions = []
    for number in _turns(state, most):
        facts = around.fleet.get(number)
        if facts is None:
            continue
        event = queue_state(state, around, number, facts.home, now)
        breaker = state_of(state, number, now)
        _gauges(number).show(
            [
                *(state.tally(number, status) for status in SHOWN),
                *(word == breaker for word in BREAKER_STATES),
                state.number(number).pace.rate(now),
            ]
        )
        if event.sent_last_minute:
            state.touched.add(number)
        at = event_id("dispatcher", "queue", number, now)
        emissions.append(Emission(topic, facts.home, number, event, at, now))
    return emissions


def show_again(state: LaneState, around: Surroundings, partition: int, now: float) -> None:
    """Put every number that is at home in this lane on the list: when the lane was just taken, for the last owner may
    have ended before it showed what it did, and after SHOWN_AGAIN_SECONDS (or when the clock was set back)."""
    if not state.shown_again_at - SHOWN_AGAIN_SECONDS <= now < state.shown_again_at:
        state.shown_again_at = now + SHOWN_AGAIN_SECONDS
        state.touched.update(number for number, facts in around.fleet.items() if facts.partition == partition)


def show_lines(state: LaneState) -> None:
    """How many wait for a place of their portfolio."""
    for _, home in state.places.units:
        metrics.HELD_FOR_A_PLACE.labels(home).set(len(state.places.lines.get(home, ())))


def _turns(state: LaneState, most: int) -> list[str]:
    """In the order of their names, going on behind the last one shown."""
    waiting = sorted(state.touched)
    behind = bisect_right(waiting, state.shown_last)
    turns = [*waiting[behind:], *waiting[:behind]][:most]
    if turns:
        state.shown_last = turns[-1]
    state.touched.difference_update(turns)
    return turns
