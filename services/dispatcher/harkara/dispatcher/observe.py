"""What a lane shows of itself: queue states for operators, counters from committed entries."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from harkara.contracts.event import event_id
from harkara.contracts.numbers import QueueState, Verdict
from harkara.contracts.topics import Topic
from harkara.dispatcher import metrics
from harkara.dispatcher.journal import Entry, instant, message_id_of
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.projection import Emission
from harkara.dispatcher.state import LaneState

SHOWN = ("queued", "scheduled", "held", "retrying", "attempting", "in_doubt", "unknown")

log = structlog.get_logger()


def count_entries(entries: Iterable[Entry]) -> None:
    """Counters and alerts of entries that are committed."""
    for entry in entries:
        data = entry.data or {}
        if entry.kind == "end":
            metrics.ENDS.labels(data["status"]).inc()
            if data["status"] == "submitted":
                metrics.ACCEPTED.labels(data.get("number", "")).inc()
                if data.get("reason") == "seen_in_status":
                    metrics.IN_DOUBT_SETTLED.labels("accepted").inc()
        elif entry.kind == "step" and data["status"] == "unknown":
            metrics.IN_DOUBT_SETTLED.labels("unknown").inc()
        elif entry.kind == "step" and data.get("reason") == "owner_lost":
            metrics.IN_DOUBT.labels("owner_lost").inc()
        if data.get("alert"):
            metrics.ALERTS.labels(str(data.get("code", "http"))).inc()
            subject = entry.key.partition("/")[2] if entry.kind == "hold" else message_id_of(entry.key)
            log.error("refusal_needs_a_look", subject=subject, code=data.get("code"), reason=data.get("reason"))


def queue_states(state: LaneState, around: Surroundings, now: float, topic: Topic) -> list[Emission]:
    """One per number that changed since the last call; numbers that sent lately stay on the list while they fade."""
    numbers, state.touched = state.touched, set()
    emissions = []
    for number in sorted(numbers):
        facts = around.fleet.get(number)
        if facts is None:
            continue
        event = _queue_state(state, around, number, facts.home, now)
        for status in SHOWN:
            metrics.QUEUE.labels(number, status).set(state.tally(number, status))
        if event.sent_last_minute:
            state.touched.add(number)
        at = event_id("dispatcher", "queue", number, now)
        emissions.append(Emission(topic, facts.home, number, event, at, now))
    return emissions


def _queue_state(state: LaneState, around: Surroundings, number: str, home: str, now: float) -> QueueState:
    last_minute, today = state.number(number).accepted(now)
    return QueueState(
        phone_number_id=number,
        home=home,
        queued=state.tally(number, "queued") + state.tally(number, "retrying"),
        scheduled=state.tally(number, "scheduled"),
        held=state.tally(number, "held"),
        in_flight=state.tally(number, "attempting"),
        in_doubt=state.tally(number, "in_doubt") + state.tally(number, "unknown"),
        sent_last_minute=last_minute,
        sent_today=today,
        oldest_queued_at=_oldest(state, number),
        verdict=_verdict(state, around, number, now),
        updated_at=instant(now),
    )


def _oldest(state: LaneState, number: str) -> object:
    """The intake of the message that has waited longest in the queue."""
    found = []
    for queue in state.number(number).queues.values():
        message = state.messages.get(queue[0][1]) if queue else None
        if message is not None:
            found.append(message.received_at)
    return instant(min(found)) if found else None


def _verdict(state: LaneState, around: Surroundings, number: str, now: float) -> Verdict:
    """The stricter of what the topic says and what the lane itself holds."""
    hold = state.holds.get(("number", number))
    if hold is not None and (hold.until is None or hold.until > now):
        return "halted" if hold.until is None else "paused"
    known = around.states.get(number)
    return "open" if known is None else known.verdict
