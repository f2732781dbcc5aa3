"""One number's queue: who may go next, who stands behind whom, who sleeps until a time.

The order: priority (3, 2, 1); inside a priority fair turns between flows (`fair`); inside a flow by the message's
place, or at random where the profile asks for it. A message of which an earlier one to the same recipient is under
way stands `behind`, and one that the pair limit keeps back `sleeps`; others overtake both. Texts overtake media that
wait for the media window.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter

from harkara.dispatcher.fair import FairQueue
from harkara.dispatcher.heard import Heard
from harkara.dispatcher.message import Message
from harkara.dispatcher.pairs import Pairs
from harkara.policy.pacing import Pace
from harkara.policy.rebase import rebase
from harkara.policy.schedule import mixed_place

PRIORITIES = (3, 2, 1)
OLDEST_LOOKED_AT = 1000  # messages per priority of a mixed queue among which the oldest is sought: exact up to there


@dataclass(slots=True)
class NumberLane:
    """One number's own queue and pace. `waiting`: ids of held messages that a release of the number may help. `typing`:
    a heap of until when each message waits that is announced by the typing indicator now (Unix seconds)."""

    phone_number_id: str
    pace: Pace
    queues: dict[int, FairQueue] = field(default_factory=lambda: {priority: FairQueue() for priority in PRIORITIES})
    standing: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0))
    behind: dict[str, Message] = field(default_factory=dict)
    asleep: list[tuple[float, int, Message]] = field(default_factory=list)
    waiting: dict[str, None] = field(default_factory=dict)
    pairs: Pairs = field(default_factory=Pairs)
    heard: Heard = field(default_factory=Heard)
    typing: list[float] = field(default_factory=list)
    failures_in_a_row: int = 0
    trips: int = 0
    minute: deque[tuple[int, int]] = field(default_factory=deque)
    day: tuple[int, int] = (0, 0)

    @property
    def listed(self) -> bool:
        """Whether somebody stands here whose turn it is among those to their recipient."""
        return any([queue.count for queue in self.queues.values()])

    @property
    def idle(self) -> bool:
        """Whether nothing stands here that could want a call, now or after a sleep."""
        return not self.asleep and not self.listed

    def enter(self, message: Message) -> None:
        """It stands here now, behind others until it is listed."""
        self.standing[message.priority] += 1
        self.behind[message.message_id] = message

    def enlist(self, message: Message, weight: float) -> None:
        """It is its turn among its recipient's messages: into the queue, where its flow weighs `weight`."""
        self.behind.pop(message.message_id, None)
        self.queues[message.priority].put(message, self._place_of(message), weight)

    def unlist(self, message: Message) -> None:
        """An earlier one to its recipient has come back: behind it again."""
        self.queues[message.priority].remove(message)
        self.behind[message.message_id] = message

    def sleep(self, message: Message, until: float) -> None:
        """It and those behind it wait until then (Unix seconds); others overtake them."""
        self.unlist(message)
        heapq.heappush(self.asleep, (until, message.seq, message))

    def take(self, message: Message) -> None:
        """It is called: out of the queue, and its flow has had a turn."""
        self.standing[message.priority] -= 1
        self.queues[message.priority].remove(message, turn_taken=True)

    def leave(self, message: Message) -> None:
        """It goes elsewhere or has ended."""
        self.standing[message.priority] -= 1
        if message.entry is not None:
            self.queues[message.priority].remove(message)
        else:
            self.behind.pop(message.message_id, None)

    def woken(self, now: float) -> Iterator[Message]:
        """Those whose sleep is over and that still stand here unlisted."""
        while self.asleep and self.asleep[0][0] <= now:
            message = heapq.heappop(self.asleep)[2]
            if self.behind.get(message.message_id) is message:
                yield message

    def next(self, now: float) -> Message | None:
        """Whose call may be decided now as far as the pace goes, None: nobody's."""
        if self.pace.next_at() - self.pace.ahead() > now:
            return None
        for priority in PRIORITIES:
            queue = self.queues[priority]
            if not queue.count:
                continue
            message = queue.next(media=queue.has_media and self._media_may_go(now))
            if message is not None:
                return message
        return None

    def _media_may_go(self, now: float) -> bool:
        return self.pace.next_at(media=True) - self.pace.ahead() <= now

    def next_at(self) -> float | None:
        """When a call may be decided as far as the pace goes or a sleep ends (Unix seconds); None: nobody is here."""
        wakes_at = self.asleep[0][0] if self.asleep else None
        if not self.listed:
            return wakes_at
        only_media = not any(queue.has_text for queue in self.queues.values())
        free_at = self.pace.next_at(media=only_media) - self.pace.ahead()
        return free_at if wakes_at is None else min(wakes_at, free_at)

    def first(self, count: int) -> list[Message]:
        """The next `count` in their order, if nothing comes in between."""
        found: list[Message] = []
        for priority in PRIORITIES:
            queue = self.queues[priority]
            found += queue.first(count - len(found)) if queue.count else []
        return found

    def take_all(self) -> list[Message]:
        """Empty the queue; everything that stood here, higher priorities first, then by intake."""
        found: list[Message] = []
        for priority, queue in self.queues.items():
            own = [*queue.messages(), *(each for each in self.behind.values() if each.priority == priority)]
            own.sort(key=attrgetter("seq"))
            found += own
        for message in found:
            message.entry = None
        self.queues = {priority: FairQueue() for priority in PRIORITIES}  # at once: a halt is not to take seconds
        self.standing = dict.fromkeys(PRIORITIES, 0)
        self.behind.clear()
        self.asleep.clear()
        return found

    def oldest_received_at(self) -> float | None:
        """The intake of the message that has stood here longest (Unix seconds)."""
        mixed = self.pace.limits.randomised_order
        looked_at = (
            message.received_at
            for queue in self.queues.values()
            if queue.count
            for message in (islice(queue.messages(), OLDEST_LOOKED_AT) if mixed else queue.heads())
        )
        return min(looked_at, default=None)

    def _place_of(self, message: Message) -> float:
        if self.pace.limits.randomised_order:
            return mixed_place(self.phone_number_id, message.message_id, message.received_at)
        return message.seq

    def rebase(self, step: float) -> None:
        """The clock was set by `step` seconds: what the number remembers keeps its distance from now."""
        rebase(self.pace, step)
        self.pairs.rebase(step)
        self.asleep = [(until + step, seq, message) for until, seq, message in self.asleep]
        self.typing = [until + step for until in self.typing]
        self.minute = deque((second + round(step), count) for second, count in self.minute)

    def count_accepted(self, at: float) -> None:
        """One more message that Meta took, for what operators see of the last minute and of the day (UTC)."""
        second, today = int(at), int(at // 86_400)
        if self.minute and self.minute[-1][0] == second:
            self.minute[-1] = (second, self.minute[-1][1] + 1)
        else:
            self.minute.append((second, 1))
        while self.minute[0][0] <= second - 60:
            self.minute.popleft()
        self.day = (today, self.day[1] + 1 if self.day[0] == today else 1)

    def accepted(self, now: float) -> tuple[int, int]:
        """(in the last minute, since midnight UTC)."""
        last_minute = sum([count for second, count in self.minute if second > now - 60])
        return last_minute, self.day[1] if self.day[0] == int(now // 86_400) else 0
