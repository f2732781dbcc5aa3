"""What a lane knows: its live messages, its numbers, what is held, what is remembered. A function of the journal.

One lane is one partition. The state changes in place (a queue of a million messages is not copied per step), and only
by `evolve.evolve`; everything but the journaled facts (heaps, timers, tallies) is an index over them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from harkara.contracts.intents import Category, Form
from harkara.dispatcher.horizon import Horizon
from harkara.dispatcher.pacing import Limits, Pace, paced
from harkara.dispatcher.timers import Timers

WAITING = frozenset({"queued", "scheduled", "held", "retrying"})
"""Statuses in which a message may still be cancelled or expire without effect."""
DOUBTFUL = frozenset({"in_doubt", "unknown"})
PRIORITIES = (3, 2, 1)


class Candidate(NamedTuple):
    """One way of a plan: this number, this form, until then (Unix seconds; None: no end)."""

    number: str
    form: Form
    valid_until: float | None


@dataclass(slots=True)
class Message:
    """A live message. `seq` is its place in the queue; `content` the JSON of `to`, `session` and `template`.

    `attempt` is the number of the newest attempt (0: none yet), `spent` how many count to the three. `until`: when a
    scheduled, held, retrying or doubtful message is looked at again. `placed`: the number whose queue it stands in.
    """

    message_id: str
    home: str
    seq: int
    intent_hash: str
    person_key: str
    category: Category
    producer: str
    priority: int
    plan: tuple[Candidate, ...]
    content: bytes
    template_key: str | None
    run_id: str | None
    trace: str | None
    received_at: float
    expires_at: float
    duplicate_ok: bool
    policy_version: str
    status: str = "queued"
    attempt: int = 0
    spent: int = 0
    number: str | None = None
    form: Form | None = None
    called_at: float = 0.0
    until: float | None = None
    reason: str | None = None
    template_only: bool = False
    resent: bool = False
    placed: str | None = None
    due: float | None = None
    account: tuple[str, str] | None = None

    @property
    def waiting(self) -> bool:
        """Whether nothing of it is under way or in doubt."""
        return self.status in WAITING

    @property
    def marketing(self) -> bool:
        """Whether consent for marketing is asked for."""
        return self.category == "marketing"


@dataclass(frozen=True, slots=True)
class Hold:
    """A number, pair or template sends nothing until `until` (Unix seconds; None: until it is released).

    `version` is the number's state version when it was halted: only a newer word releases it.
    """

    reason: str
    until: float | None
    at: float
    version: int = 0


@dataclass(slots=True)
class NumberLane:
    """One number's own queue and pace: one heap of (place, message id) per priority."""

    phone_number_id: str
    pace: Pace
    queues: dict[int, list[tuple[int, str]]] = field(default_factory=lambda: {3: [], 2: [], 1: []})
    waiting: dict[str, None] = field(default_factory=dict)
    failures_in_a_row: int = 0
    minute: deque[tuple[int, int]] = field(default_factory=deque)
    day: tuple[int, int] = (0, 0)
    status_at: float = 0.0
    status_seen_at: float = 0.0

    def push(self, message: Message) -> None:
        """Into the queue, at the message's own place."""
        heapq.heappush(self.queues[message.priority], (message.seq, message.message_id))

    def peek(self) -> str | None:
        """The id that is next, which may have left meanwhile."""
        for priority in PRIORITIES:
            if self.queues[priority]:
                return self.queues[priority][0][1]
        return None

    def pop(self) -> None:
        """Take the next one out."""
        for priority in PRIORITIES:
            if self.queues[priority]:
                heapq.heappop(self.queues[priority])
                return

    def take_all(self) -> Iterator[str]:
        """Empty the queue, in order."""
        for priority in PRIORITIES:
            queue, self.queues[priority] = self.queues[priority], []
            yield from (message_id for _, message_id in sorted(queue))

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
        last_minute = sum(count for second, count in self.minute if second > now - 60)
        return last_minute, self.day[1] if self.day[0] == int(now // 86_400) else 0


@dataclass(slots=True)
class LaneState:
    """Everything of one lane. `replaying`: indexes are built once, at the end of the journal."""

    seq: int = 0
    emitted: int = 0
    messages: dict[str, Message] = field(default_factory=dict)
    horizon: Horizon = field(default_factory=Horizon)
    numbers: dict[str, NumberLane] = field(default_factory=dict)
    limits: dict[str, Limits] = field(default_factory=dict)
    holds: dict[tuple[str, str], Hold] = field(default_factory=dict)
    cancels: dict[tuple[str, str], float] = field(default_factory=dict)
    commands: set[str] = field(default_factory=set)
    papers: dict[str, float] = field(default_factory=dict)
    timers: Timers = field(default_factory=Timers)
    unplaced: deque[str] = field(default_factory=deque)
    tallies: dict[tuple[str, str], int] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    seed: int = 0
    replaying: bool = True

    def number(self, phone_number_id: str) -> NumberLane:
        """The number's own lane, made on first sight; a number without a known profile has no limits and no calls."""
        lane = self.numbers.get(phone_number_id)
        if lane is None:
            limits = self.limits.get(phone_number_id, Limits())
            lane = NumberLane(phone_number_id, paced(phone_number_id, limits))
            self.numbers[phone_number_id] = lane
        return lane

    def tally(self, phone_number_id: str, status: str) -> int:
        """How many live messages of the number have this status."""
        return self.tallies.get((phone_number_id, status), 0)

    def index(self, message: Message) -> None:
        """Bring timers and tallies up to the message's status; a waiting one that is due goes to be placed."""
        if self.replaying:
            return
        self._retime(message)
        self._recount(message)
        for number in {candidate.number for candidate in message.plan} if message.status == "held" else ():
            self.number(number).waiting[message.message_id] = None
        if message.status == "queued" and message.placed is None:
            self.unplaced.append(message.message_id)

    def remember(self, key: str, at: float) -> None:
        """A key to be forgotten seven days after its newest entry; kept in the order of these times."""
        self.papers.pop(key, None)
        self.papers[key] = at

    def ready(self, message: Message) -> None:
        """Its wait is over: from now on only its deadline wakes it. Replaying gives the same from the times alone."""
        message.until = None
        self._retime(message)
        if message.placed is None:
            self.unplaced.append(message.message_id)

    def place(self, message: Message, number: str) -> None:
        """Into this number's queue; it stands in at most one (an older entry elsewhere is passed over when met)."""
        if message.placed != number:
            message.placed = number
            self.number(number).push(message)
            self._recount(message)

    def drop(self, message: Message) -> None:
        """The message has ended: nothing of it stays in the indexes."""
        if message.due is not None:
            self.timers.discard(message.message_id, message.due)
        for number in {candidate.number for candidate in message.plan}:
            if number in self.numbers:
                self.numbers[number].waiting.pop(message.message_id, None)
        if message.account is not None:
            self._add(message.account, -1)
        del self.messages[message.message_id]

    def _retime(self, message: Message) -> None:
        if message.due is not None:
            self.timers.discard(message.message_id, message.due)
        message.due = due_of(message)
        if message.due is not None:
            self.timers.add(message.message_id, message.due)

    def _recount(self, message: Message) -> None:
        number = message.placed or message.number or (message.plan[0].number if message.plan else "")
        account = (number, message.status)
        if account != message.account:
            if message.account is not None:
                self._add(message.account, -1)
            message.account = account
            self._add(account, 1)

    def _add(self, account: tuple[str, str], change: int) -> None:
        self.tallies[account] = self.tallies.get(account, 0) + change
        self.touched.add(account[0])


def due_of(message: Message) -> float | None:
    """When the message must be looked at again; None while its call is under way (the outcome wakes it)."""
    if message.status == "attempting":
        return None
    if message.waiting:
        return message.expires_at if message.until is None else min(message.until, message.expires_at)
    return message.until
