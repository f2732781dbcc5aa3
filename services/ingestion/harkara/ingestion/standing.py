"""Where a message would stand that joins now, when it would go, and whether there is room for it (ING-11..13, B24).

From what the lanes publish, about a second old, and what this process has accepted since (`unreported`). The estimate
is the schedule of `harkara.policy.schedule`; it knows of nothing that comes later.

A lane repeats its reports, so one that is silent is recognised. What it said last is then shown with its time, gives no
estimate and refuses nobody, for it may have changed: only what was accepted here and reported nowhere fills the queue.
Several processes know of each other's by the reports alone. While a lane is silent each of them lets in
`queue_full_above` and one more of a priority, so a number may have so many times as many processes as there are; while
it reports, what the others took in the last second or so. What waits before the lane, where guard or router are
behind, is in no report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from harkara.contracts.numbers import NumberState, QueueFlow, QueuePace, QueueState
from harkara.ingestion.known import Known
from harkara.ingestion.unreported import Unreported
from harkara.policy.governance import Governance, Number
from harkara.policy.pacing import limits_of, paced
from harkara.policy.schedule import Schedule, mixed_place, nth_call, pace_shown, turns_before
from harkara.policy.stickiness import sticky_order
from harkara.runtime.problems import Problem

DAY_SECONDS = 86_400.0
ON_THE_WAY_SECONDS = 0.3  # from here into a lane's queue; accepted this shortly before a report, it is not in it
SILENT_AFTER_SECONDS = 60.0  # a lane repeats what it reported every 20 s, and may need ten for a thousand numbers
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
    number's pace lets it go; None: nobody knows. `waiting`: the messages before it of which this process is sure.
    `silent_since`: when the number's lane reported last, where that is so long ago that `position` may be wrong."""

    number: str
    position: int | None = None
    delivery: datetime | None = None
    waiting: int = 0
    silent_since: datetime | None = None


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
    _unreported: Unreported = field(default_factory=Unreported)
    _schedules: dict[str, tuple[QueueState | None, float, Schedule]] = field(default_factory=dict)

    def of(self, joining: Joining, now: datetime) -> Standing:
        """Of a message that joins now. The number is that of its plan's first candidate, as the router will see it."""
        number = self._number_of(joining)
        pnid, at = number.phone_number_id, now.timestamp()
        queue, on_the_way = self.known.queues.get(pnid), self._on_the_way(pnid)
        own = sum(each.queued for each in on_the_way if each.priority >= joining.priority)
        if queue is None:
            return Standing(pnid, waiting=own)
        flows = [*queue.flows, *on_the_way]
        waiting = sum(each.queued for each in flows if each.priority >= joining.priority)
        waiting += queue.held + _off_the_queue(queue)
        if self._silent(queue, now):
            return Standing(pnid, waiting + 1, None, own, queue.updated_at)
        mixed = any(each.places for each in flows)
        place = mixed_place(pnid, joining.message_id, at) if mixed else None
        turn = turns_before(flows, joining.flow, joining.priority, self._weight(joining.flow), place) + 1
        return Standing(pnid, waiting + 1, self._time(number, turn, now), waiting)

    def check_room(self, joining: Joining, standing: Standing, now: datetime) -> None:
        """Raises NoRoom: QUEUE_FULL (ING-12) or DAILY_LIMIT_REACHED (ING-13)."""
        queue = self.known.queues.get(standing.number)
        full_until = None if queue is None else _day_full_until(queue.pace, now)
        if full_until is not None and queue is not None:
            raise NoRoom(
                "DAILY_LIMIT_REACHED", "The number's limit for 24 hours is reached",
                "Nothing was accepted. The limit is that of the number's pacing profile.", full_until, now,
                limit=queue.daily_limit, retryAt=full_until.isoformat(), position=standing.position,
                estimatedDelivery=_iso(standing.delivery),
            )  # fmt: skip
        if standing.waiting > self.queue_full_above:
            detail = "Nothing was accepted. Runs and Kafka producers are paced instead of refused."
            if queue is None:
                detail += " The dispatcher has not reported on this number yet."
            elif standing.silent_since is not None:
                detail += f" The dispatcher has not reported on this number since {standing.silent_since.isoformat()}."
            raise NoRoom(
                "QUEUE_FULL", "Too many messages wait for this number", detail, self._room_at(standing, now), now,
                limit=self.queue_full_above, position=standing.position, estimatedDelivery=_iso(standing.delivery),
                silentSince=_iso(standing.silent_since),
            )  # fmt: skip

    def joined(self, joining: Joining, number: str, now: datetime) -> None:
        """It was accepted: count it until the lane has reported it."""
        self._unreported.add(number, now.timestamp(), joining.priority, joining.flow)

    def last_of(
        self, home: str, flow: str, count: int, now: datetime, priority: int = 1, producer: str = ""
    ) -> Standing:
        """Of the last of `count` messages of a producer's run that join a home together; those of its numbers that
        report send side by side."""
        every = self.governance.numbers_of(home)
        heard = {each.phone_number_id: queue for each in every if (queue := self._heard(each, now)) is not None}
        if not heard:
            return Standing("")
        numbers = [each for each in every if each.phone_number_id in heard and self._open(each.phone_number_id)]
        queues = [heard[each.phone_number_id] for each in numbers]
        own = self._flow(priority, flow, count - 1, producer or flow)
        flows = [own, *(each for queue in queues for each in queue.flows)]
        waiting = sum(each.queued for each in flows if each.priority >= priority)
        waiting += sum(queue.held + _off_the_queue(queue) for queue in queues)
        turn = turns_before(flows, flow, priority, own.weight, producer=producer) + 1
        at = nth_call([self._schedule(each, now) for each in numbers], turn)
        return Standing("", waiting + 1, None if at is None else datetime.fromtimestamp(at, UTC), waiting)

    def end_of(self, homes: Mapping[str, int], flow: str, now: datetime, producer: str = "") -> datetime | None:
        """When the last of so many messages for each home goes, all of them joining now; None: not known."""
        ends = [self.last_of(home, flow, count, now, producer=producer).delivery for home, count in homes.items()]
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

    def _heard(self, number: Number, now: datetime) -> QueueState | None:
        """What the number's lane reports, unless it is silent."""
        queue = self.known.queues.get(number.phone_number_id)
        return None if queue is None or self._silent(queue, now) else queue

    def _silent(self, queue: QueueState, now: datetime) -> bool:
        return (now - queue.updated_at).total_seconds() > SILENT_AFTER_SECONDS

    def _on_the_way(self, pnid: str) -> list[QueueFlow]:
        """What was accepted here and is not in the lane's report yet."""
        queue = self.known.queues.get(pnid)
        if queue is not None:
            self._unreported.reported(pnid, queue.updated_at.timestamp() - ON_THE_WAY_SECONDS)
        counted = self._unreported.counts(pnid)
        return [self._flow(priority, flow, queued, flow) for (priority, flow), queued in counted.items()]

    def _flow(self, priority: int, flow: str, queued: int, producer: str) -> QueueFlow:
        return QueueFlow(priority=priority, flow=flow, queued=queued, producer=producer, weight=self._weight(producer))

    def _weight(self, producer: str) -> float:
        return self.governance.dispatch.weights.get(producer, 1.0)

    def _room_at(self, standing: Standing, now: datetime) -> datetime | None:
        """When there may be room: at the number's pace, or once its lane may have reported again."""
        number, queue = self.governance.number(standing.number), self.known.queues.get(standing.number)
        if queue is None or standing.silent_since is not None:
            return now + timedelta(seconds=SILENT_AFTER_SECONDS)
        return None if number is None else self._time(number, standing.waiting - self.queue_full_above, now)

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


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _day_full_until(pace: QueuePace | None, now: datetime) -> datetime | None:
    """Until when the window of 24 hours lets nothing go; None where it has room."""
    for window in pace.windows if pace is not None else ():
        if window.seconds == DAY_SECONDS and window.used >= window.calls:
            until = min((at for number, at in window.opens if number >= 1), default=now)
            return until if until > now else None
    return None
