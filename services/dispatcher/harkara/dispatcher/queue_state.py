"""What a lane publishes of a number's queue, about once a second while it changes: for operators, and for whoever
answers "when will my message go?" without asking the lane (`harkara.policy.schedule`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harkara.contracts.numbers import QueuedMessage, QueueFlow, QueueState, Verdict
from harkara.dispatcher.journal import instant
from harkara.dispatcher.plan import Surroundings, number_obstacle, token_used_up
from harkara.dispatcher.queue import NumberLane
from harkara.dispatcher.state import LaneState
from harkara.policy.schedule import pace_shown

MOST_FLOWS = 20
"""Told by name: single messages first, for who joins asks about those, then the largest runs. The others are told
together by producer, of so many producers, and then in one."""
MOST_PLACES = 1000  # of a mixed flow, from which its tenths are taken: all, up to where `POST /send` is refused
MOST_FIRST = 20  # messages at the head that are told: what fits on a screen, 1 KB a second and number


def queue_state(state: LaneState, around: Surroundings, number: str, home: str, now: float) -> QueueState:
    """How this number's queue stands now."""
    lane = state.number(number)
    last_minute, today = lane.accepted(now)
    oldest = lane.oldest_received_at()
    obstacle = number_obstacle(state, around, number, now)
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
        oldest_queued_at=None if oldest is None else instant(oldest),
        verdict=_verdict(state, around, number, now),
        by_priority={str(priority): count for priority, count in lane.standing.items()},
        flows=_flows(lane),
        first=tuple(
            QueuedMessage(message_id=each.message_id, priority=each.priority, flow=each.flow)
            for each in lane.first(MOST_FIRST)
        ),
        pace=pace_shown(lane.pace, now, 0.0 if obstacle is None else obstacle.until),
        daily_limit=lane.pace.limits.per_day,
        daily_used=lane.pace.in_last_day(now),
        updated_at=instant(now),
    )


def _flows(lane: NumberLane) -> tuple[QueueFlow, ...]:
    found = [
        QueueFlow(
            priority=priority,
            producer=producer.name,
            flow=flow.name,
            queued=flow.count,
            weight=producer.weight,
            places=_tenths(flow.places(MOST_PLACES)) if lane.pace.limits.randomised_order else (),
        )
        for priority, queue in lane.queues.items()
        if queue.count
        for producer, flow in queue.flows
    ]
    if not found:
        return ()
    found.sort(key=lambda each: (each.flow != each.producer, -each.queued))
    shown, rest = found[:MOST_FLOWS], found[MOST_FLOWS:]
    theirs = sorted(_together(rest, _by_producer), key=lambda each: -each.queued)
    return (*shown, *theirs[:MOST_FLOWS], *_together(theirs[MOST_FLOWS:], _by_priority))


def _by_producer(each: QueueFlow) -> tuple[int, str, float]:
    """One producer's smaller flows have its turns together."""
    return each.priority, each.producer, each.weight


def _by_priority(each: QueueFlow) -> tuple[int, str, float]:
    """Producers have turns of their own each."""
    return each.priority, "", 0.0


def _together(flows: Iterable[QueueFlow], group: Callable[[QueueFlow], tuple[int, str, float]]) -> list[QueueFlow]:
    """One row for each group; of several producers it has the weight of all of them."""
    groups: dict[tuple[int, str, float], list[QueueFlow]] = {}
    for each in flows:
        groups.setdefault(group(each), []).append(each)
    return [
        QueueFlow(
            priority=priority,
            producer=producer,
            flow="",
            queued=sum(each.queued for each in several),
            weight=weight or sum(each.weight for each in several),
            flows=sum(each.flows for each in several),
        )
        for (priority, producer, weight), several in groups.items()
    ]


def _tenths(places: list[float]) -> tuple[float, ...]:
    """The first, every tenth and the last."""
    last = len(places) - 1
    return tuple(places[round(step * last / 10)] for step in range(11)) if places else ()


def _verdict(state: LaneState, around: Surroundings, number: str, now: float) -> Verdict:
    """The stricter of what the topic says and what the lane itself holds."""
    hold = state.holds.get(("number", number))
    if hold is not None and (hold.until is None or hold.until > now):
        return "halted" if hold.until is None else "paused"
    facts = around.fleet.get(number)
    if facts is not None and token_used_up(state, facts):
        return "halted"
    known = around.states.get(number)
    return "open" if known is None else known.verdict
