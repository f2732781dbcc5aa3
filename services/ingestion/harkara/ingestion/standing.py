"""Where a message would stand that joins now, when it would go, and whether there is room for it (ING-11..13, B24).

From what the lanes publish, about a second old, and what this process has accepted since. The estimate is the
schedule of `harkara.policy.schedule`; it knows of nothing that comes later.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from harkara.contracts.numbers import NumberState, QueueFlow, QueuePace, QueueState
from harkara.ingestion.known import Known
from harkara.policy.governance import Governance, Number
from harkara.policy.pacing import limits_of, paced
from harkara.policy.routing import sticky_order
from harkara.policy.schedule import Schedule, mixed_place, nth_call, pace_shown, turns_before
from harkara.runtime.problems import Problem

DAY_SECONDS = 86_400.0
ON_THE_WAY_SECONDS = 0.3  # from here into a lane's queue; accepted this shortly before a report, it is not in it
FORGOTTEN_AFTER_SECONDS = 10.0  # by then a lane that works has reported it; one that does not, says so by itself
MOST_RECENT = 5_000  # accepted messages remembered per number: ten seconds at more than one process can take
SCHEDULE_KEPT_SECONDS = 1.0  # between two reports
LONGEST_RETRY_AFTER_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Joining:
    """A message that is to join: `sender` as the client named it, `flow` with whom it shares turns."""

    home: str
    sender: str
    person_key: str
    message_id: str
    flow: str
    priority: int


@dataclass(frozen=True, slots=True)
class Standing:
    """ING-11. `position` 1 is next in its priority, above the lower ones; None: not known. `delivery` is when the
    number's pace lets it go; None: nobody knows."""

    number: str
    position: int | None = None
    delivery: datetime | None = None


class NoRoom(Problem):
    """429 with the limit that is reached, and when it makes sense to ask again."""

    def __init__(self, code: str, title: str, detail: str, retry_at: datetime | None, now: datetime, **facts: Any):
        seconds = LONGEST_RETRY_AFTER_SECONDS if retry_at is None else math.ceil((retry_at - now).total_seconds())
        self._facts = facts
        wait = str(min(max(seconds, 1), LONGEST_RETRY_AFTER_SECONDS))
        super().__init__(429, code, title, detail, headers={"Retry-After": wait})

    def body(self) -> dict[str, Any]:
        """As any problem's, with `limit` and where the message would stand."""
        return super().body() | {name: value for name, value in self._facts.items() if value is not None}


@dataclass
class Standings:
    """Answers for every number. `queue_full_above`: single sends are refused beyond so many waiting messages."""

    governance: Governance
    known: Known
    queue_full_above: int = 1000
    _recent: dict[str, deque[tuple[float, int, str]]] = field(default_factory=dict)
    _schedules: dict[str, tuple[QueueState | None, float, Schedule]] = field(default_factory=dict)

    def of(self, joining: Joining, now: datetime) -> Standing:
        """Of a message that joins now. The number is that of its plan's first candidate, as the router will see it."""
        number = self._number_of(joining)
        pnid, at = number.phone_number_id, now.timestamp()
        if not self._reported(joining.home):
            return Standing(pnid)
        flows = [*self._flows(pnid), *self._on_the_way(pnid, at)]
        waiting = sum(each.queued for each in flows if each.priority >= joining.priority)
        queue = self.known.queues.get(pnid)
        waiting += 0 if queue is None else queue.held + _off_the_queue(queue)
        mixed = any(each.places for each in flows)
        place = mixed_place(pnid, joining.message_id, at) if mixed else None
        weight = self.governance.dispatch.weights.get(joining.flow, 1.0)
        turn = turns_before(flows, joining.flow, joining.priority, weight, place) + 1
        return Standing(pnid, waiting + 1, self._time(number, turn, now))

    def check_room(self, joining: Joining, standing: Standing, now: datetime) -> None:
        """Raises NoRoom: QUEUE_FULL (ING-12) or DAILY_LIMIT_REACHED (ING-13)."""
        queue = self.known.queues.get(standing.number)
        full_until = None if queue is None else _day_full_until(queue.pace, now)
        if full_until is not None and queue is not None:
            raise NoRoom(
                "DAILY_LIMIT_REACHED", "The number's limit for 24 hours is reached",
                "Nothing was accepted. The limit is that of the number's pacing profile.", full_until, now,
                limit=queue.daily_limit, retryAt=full_until.isoformat(),
            )  # fmt: skip
        if standing.position is not None and standing.position - 1 > self.queue_full_above:
            too_many = standing.position - 1 - self.queue_full_above
            number = self.governance.number(standing.number)
            room_at = None if number is None else self._time(number, too_many, now)
            delivery = None if standing.delivery is None else standing.delivery.isoformat()
            raise NoRoom(
                "QUEUE_FULL", "Too many messages wait for this number",
                "Nothing was accepted. Runs and Kafka producers are paced instead of refused.", room_at, now,
                limit=self.queue_full_above, position=standing.position, estimatedDelivery=delivery,
            )  # fmt: skip

    def joined(self, joining: Joining, number: str, now: datetime) -> None:
        """It was accepted: count it until the lane has reported it."""
        recent = self._recent.setdefault(number, deque(maxlen=MOST_RECENT))
        recent.append((now.timestamp(), joining.priority, joining.flow))

    def last_of(self, home: str, flow: str, count: int, now: datetime, priority: int = 1) -> Standing:
        """Of the last of `count` messages that join a home together; its numbers send side by side."""
        numbers = [each for each in self.governance.numbers_of(home) if self._open(each.phone_number_id)]
        if not self._reported(home):
            return Standing("")
        own = QueueFlow(
            priority=priority, flow=flow, queued=count - 1, weight=self.governance.dispatch.weights.get(flow, 1.0)
        )
        flows = [own, *(each for number in numbers for each in self._flows(number.phone_number_id))]
        queues = [queue for each in numbers if (queue := self.known.queues.get(each.phone_number_id)) is not None]
        waiting = sum(each.queued for each in flows if each.priority >= priority)
        waiting += sum(queue.held + _off_the_queue(queue) for queue in queues)
        turn = turns_before(flows, flow, priority, own.weight) + 1
        at = nth_call([self._schedule(each, now) for each in numbers], turn)
        return Standing("", waiting + 1, None if at is None else datetime.fromtimestamp(at, UTC))

    def end_of(self, homes: Mapping[str, int], flow: str, now: datetime) -> datetime | None:
        """When the last of so many messages for each home goes, all of them joining now; None: not known."""
        ends = [self.last_of(home, flow, count, now).delivery for home, count in homes.items()]
        return None if None in ends else max((end for end in ends if end is not None), default=None)

    def _number_of(self, joining: Joining) -> Number:
        numbers = sticky_order(joining.person_key, self.governance.numbers_of(joining.home), self.governance)
        ranked = sorted(
            numbers, key=lambda each: (not self._open(each.phone_number_id), each.phone_number_id != joining.sender)
        )
        return ranked[0]

    def _open(self, pnid: str) -> bool:
        state: NumberState | None = self.known.numbers.get(pnid)
        return state is None or state.verdict == "open"

    def _reported(self, home: str) -> bool:
        return any(each.phone_number_id in self.known.queues for each in self.governance.numbers_of(home))

    def _flows(self, pnid: str) -> Iterable[QueueFlow]:
        queue = self.known.queues.get(pnid)
        return () if queue is None else queue.flows

    def _on_the_way(self, pnid: str, at: float) -> list[QueueFlow]:
        """What was accepted here and is not in the lane's report yet."""
        recent, queue = self._recent.get(pnid), self.known.queues.get(pnid)
        since = at - FORGOTTEN_AFTER_SECONDS
        if queue is not None:
            since = max(since, queue.updated_at.timestamp() - ON_THE_WAY_SECONDS)
        while recent and recent[0][0] < since:
            recent.popleft()
        counted: dict[tuple[int, str], int] = {}
        for _, priority, flow in recent or ():
            counted[priority, flow] = counted.get((priority, flow), 0) + 1
        weights = self.governance.dispatch.weights
        return [
            QueueFlow(priority=priority, flow=flow, queued=queued, weight=weights.get(flow, 1.0))
            for (priority, flow), queued in counted.items()
        ]

    def _time(self, number: Number, turn: int, now: datetime) -> datetime | None:
        at = self._schedule(number, now).at(turn) if self._open(number.phone_number_id) else None
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def _schedule(self, number: Number, now: datetime) -> Schedule:
        """Worked out once per report, or once a second where none comes."""
        pnid, at = number.phone_number_id, now.timestamp()
        queue, kept = self.known.queues.get(pnid), self._schedules.get(pnid)
        if kept is not None and kept[0] is queue and 0 <= at - kept[1] < SCHEDULE_KEPT_SECONDS:
            return kept[2]
        told = queue.pace if queue is not None else None
        if told is None:  # no lane has spoken of it: as a number that has sent nothing lately
            told = pace_shown(paced(pnid, limits_of(self.governance.profile_at(number, now))), at)
        schedule = Schedule(told, at)
        self._schedules[pnid] = (queue, at, schedule)
        return schedule


def _off_the_queue(queue: QueueState) -> int:
    """Waiting ones that stand in no queue: between two attempts, or reported by a lane that tells no flows."""
    return max(0, queue.queued - sum(each.queued for each in queue.flows))


def _day_full_until(pace: QueuePace | None, now: datetime) -> datetime | None:
    """Until when the window of 24 hours lets nothing go; None where it has room."""
    for window in pace.windows if pace is not None else ():
        if window.seconds == DAY_SECONDS and window.used >= window.calls:
            until = min((at for number, at in window.opens if number >= 1), default=now)
            return until if until > now else None
    return None
