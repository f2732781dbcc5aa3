"""What a lane knows: its live messages, its numbers, what is held, what is remembered. A function of the journal.

One lane is one partition. The state changes in place (a queue of a million messages is not copied per step), and only
by `evolve.evolve`; everything but the journaled facts (heaps, timers, tallies) is an index over them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from harkara.dispatcher.channels import Channel
from harkara.dispatcher.hold import Hold
from harkara.dispatcher.horizon import Horizon
from harkara.dispatcher.message import (
    DOUBTFUL,
    WAITING,
    Candidate,
    Fallback,
    Message,
    Probe,
    Seen,
    Taken,
)
from harkara.dispatcher.places import HELD_FOR_A_PLACE, Places, is_held
from harkara.dispatcher.queue import NumberLane
from harkara.dispatcher.recent import Recent
from harkara.dispatcher.recipients import Line, Recipients, Runs
from harkara.dispatcher.rehearsal import Rehearsal
from harkara.dispatcher.timers import Timers
from harkara.dispatcher.watch import Watches
from harkara.policy.lane import lasts
from harkara.policy.pacing import Limits, paced

__all__ = [
    "DOUBTFUL",
    "WAITING",
    "Candidate",
    "Fallback",
    "Given",
    "Hold",
    "LaneState",
    "Message",
    "NumberLane",
    "Paused",
    "Seen",
    "Taken",
    "due_of",
]


NOTHING_HEARD = Channel()
URGENT = 3
LOOK_AT_LEAST_EVERY_SECONDS = 5.0  # a pace changes by a call, a policy or a new message: each asks for a look anyway


class Given(NamedTuple):
    """A priority, and when it was given (Unix seconds)."""

    at: float
    priority: int


class Paused(NamedTuple):
    """Whether a run is paused, and when that was said (Unix seconds)."""

    at: float
    paused: bool


class Unplaced:
    """Messages that are to be placed in a queue, held, or ended. Urgent ones do not wait for the others."""

    def __init__(self) -> None:
        self._urgent: deque[Message] = deque()
        self._others: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def add(self, message: Message) -> None:
        """It may have ended until it is taken, and may be added twice."""
        (self._urgent if message.priority == URGENT else self._others).append(message)

    def take(self) -> Message:
        """The next one."""
        return (self._urgent or self._others).popleft()


@dataclass(slots=True)
class LaneState:
    """Everything of one lane. `replaying`: indexes are built once, at the end of the journal. `busy`: numbers with
    something to send, and from when on a look at them is of use (Unix seconds). `accounts`: of each number its account;
    `channels`: by account, what was heard from Meta. `half_open`: holds whose time is over and that stay until a call
    is served; `probes`: of such templates who tries them. `assessed`: the templates that Meta tries out, by `holds`.
    `spared`: persons (by their line) who get no marketing, until when; there may be thousands, so they are not `holds`,
    which are looked through in every round."""

    seq: int = 0
    emitted: int = 0
    messages: dict[str, Message] = field(default_factory=dict)
    horizon: Horizon = field(default_factory=Horizon)
    recent: Recent = field(default_factory=Recent)
    numbers: dict[str, NumberLane] = field(default_factory=dict)
    limits: dict[str, Limits] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    holds: dict[tuple[str, str], Hold] = field(default_factory=dict)
    assessed: set[str] = field(default_factory=set)
    half_open: set[tuple[str, str]] = field(default_factory=set)
    spared: dict[str, Hold] = field(default_factory=dict)
    probes: dict[str, Probe] = field(default_factory=dict)
    cancels: dict[tuple[str, str], float] = field(default_factory=dict)
    priorities: dict[tuple[str, str], Given] = field(default_factory=dict)
    pauses: dict[str, Paused] = field(default_factory=dict)
    commands: set[str] = field(default_factory=set)
    papers: dict[str, float] = field(default_factory=dict)
    taken: dict[str, Taken] = field(default_factory=dict)
    rehearsals: dict[str, Rehearsal] = field(default_factory=dict)
    fallbacks: dict[str, Fallback] = field(default_factory=dict)
    watches: Watches = field(default_factory=Watches)
    auth_failures: dict[str, tuple[int, str]] = field(default_factory=dict)
    places: Places = field(default_factory=Places)
    timers: Timers[Message] = field(default_factory=Timers)
    unplaced: Unplaced = field(default_factory=Unplaced)
    recipients: Recipients = field(default_factory=Recipients)
    runs: Runs = field(default_factory=Runs)
    weights: Mapping[str, float] = field(default_factory=dict)
    tallies: dict[tuple[str, str], int] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    shown_last: str = ""
    shown_again_at: float = 0.0
    seed: int = 0
    unread_until: float = 0.0  # until then statuses of before this owner may come (Unix seconds)
    latest: float = 0.0  # the newest entry's time, by the clock as it is now
    replaying: bool = True

    def number(self, phone_number_id: str) -> NumberLane:
        """The number's own lane, made on first sight; a number without a known profile has no limits and no calls."""
        lane = self.numbers.get(phone_number_id)
        if lane is None:
            limits = self.limits.get(phone_number_id, Limits())
            lane = NumberLane(phone_number_id, paced(phone_number_id, limits))
            self.numbers[phone_number_id] = lane
        return lane

    def heard_of(self, phone_number_id: str, at: float, now: float) -> None:
        """A status of this number, of `at`, is read now (Unix seconds)."""
        account = self.accounts.get(phone_number_id)
        if account is not None:
            self.channels.setdefault(account, Channel()).note(at, now)

    def channel(self, phone_number_id: str) -> Channel:
        """That of the number's account."""
        return self.channels.get(self.accounts.get(phone_number_id, ""), NOTHING_HEARD)

    def standing(
        self, scope: str, target: str, now: float, message: Message | None = None, number: str = ""
    ) -> Hold | None:
        """The hold of a number, pair, recipient or template (there: for this message by that number) that stands. A
        template whose hold is over goes by one message until that one is served: for any other it is held for as long
        again."""
        hold = self.spared.get(target) if scope == "recipient" else self.holds.get((scope, target))
        if hold is None:
            return None
        if lasts(hold.until, now):
            return hold.for_others
        if scope != "template" or message is None or self._may_try(target, message, number):
            return None
        return hold.tried_again(now)

    def in_assessment(self, template: str) -> bool:
        """Whether Meta tries the template (as at its account) out, as far as this lane knows."""
        return template in self.assessed

    def probe_of(self, template: str) -> Message | None:
        """The message by which a template (as at its account) is tried now: it stands in a queue or is called."""
        probe = self.probes.get(template)
        message = None if probe is None else self.messages.get(probe.message_id)
        if probe is None or message is None:
            return None
        if message.placed is not None:
            return message if message.placed == probe.number else None
        goes_by_it = message.form == "template" and message.template_used == template.partition("/")[2]
        return message if message.status == "attempting" and message.number == probe.number and goes_by_it else None

    def _may_try(self, template: str, message: Message, number: str) -> bool:
        """Whether a half-open template may be tried by this message from this number: while another only stands in a
        queue, by what is at the head of one and by what is more urgent."""
        probe, tried = self.probes.get(template), self.probe_of(template)
        if probe is None or tried is message:
            return True
        if tried is not None and tried.placed is None:
            return False
        if message.placed == number or number in probe.passed:
            return message.placed == number
        if tried is not None:
            return message.priority > tried.priority
        return not probe.number or probe.message_id == message.message_id

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
        if message.status == "held" and message.reason in HELD_FOR_A_PLACE:
            self.places.enlist(message)
        if message.status == "queued" and message.placed is None:
            self.unplaced.add(message)
        line = self.recipients.line_of(message)
        if line is not None:
            line.enter(message)
            self._let_go(line)

    def remember(self, key: str, at: float) -> None:
        """A key to be forgotten seven days after its newest entry; kept in the order of these times."""
        self.papers.pop(key, None)
        self.papers[key] = at

    def ready(self, message: Message) -> None:
        """Its wait is over: from now on only its deadline wakes it. Replaying gives the same from the times alone."""
        message.until = None
        self._retime(message)
        if message.placed is None:
            self.unplaced.add(message)

    def put_off(self, message: Message, until: float) -> None:
        """It stays what it is and is looked at again then (Unix seconds); a new owner looks at once."""
        message.until = until
        self._retime(message)

    def add(self, message: Message) -> None:
        """A new live message."""
        self.messages[message.message_id] = message
        self.recipients.add(message)
        self.runs.add(message)

    def priority_of(self, message: Message) -> int:
        """Its own, or the one that it or its run was given last."""
        if not self.priorities:
            return message.priority
        keys = (("prioritise_message", message.message_id), ("prioritise_run", message.run_id or ""))
        given = [self.priorities[key] for key in keys if key in self.priorities]
        return max(given).priority if given else message.priority

    def prioritise(self, message: Message, priority: int) -> None:
        """It keeps its place by intake, among those of its new priority."""
        placed = message.placed
        self.leave_queue(message)
        message.priority = priority
        if placed is not None:
            self.touched.add(placed)
            self.place(message, placed)
        elif (line := self.recipients.line_of(message)) is not None:
            line.enter(message)
            self._let_go(line)
        if is_held(message) and not self.replaying:
            self.places.enlist(message)

    def named(self, kind: str, target: str) -> list[Message]:
        """The live messages that a command of this kind (`cancel_message`, `cancel_run`, ...) names."""
        if kind.endswith("_message"):
            return [self.messages[target]] if target in self.messages else []
        if kind.endswith("_run"):
            return self.runs.of(target, self.messages)
        return self.recipients.of(target)

    def cancelled_recipients(self) -> list[str]:
        """The persons for whom something was cancelled lately."""
        return [target for kind, target in self.cancels if kind == "cancel_recipient"]

    def needs_no_place(self, person_key: str) -> None:
        """The person counts for the portfolio now: what is held until there is a place for them may go."""
        for message in self.recipients.of(person_key) if self.places.lines else ():
            if is_held(message):
                self.unplaced.add(message)

    def place(self, message: Message, number: str) -> None:
        """Into this number's queue and out of any other's; behind an earlier one to its recipient until that went."""
        if message.placed == number:
            return
        if message.placed is not None:
            self.leave_queue(message)
        message.placed = number
        lane = self.number(number)
        lane.enter(message)
        line = self.recipients.line_of(message)
        if line is None:
            self._enlist(lane, message)
        else:
            line.enter(message)
            self._let_go(line)
        self._recount(message)

    def leave_queue(self, message: Message) -> None:
        """Out of the queue in which it stands, if any."""
        if message.placed is not None:
            self.number(message.placed).leave(message)
            message.placed = None

    def is_its_turn(self, message: Message) -> bool:
        """Whether no earlier message to its recipient is under way at its number."""
        line = self.recipients.line_of(message)
        return line is None or line.is_turn_of(message)

    def wake_sleepers(self, lane: NumberLane, now: float) -> None:
        """Back into the queue, those whose sleep is over."""
        for message in lane.woken(now):
            if self.is_its_turn(message):
                self._enlist(lane, message)

    def _let_go(self, line: Line) -> None:
        for message in line.heads():
            if message.placed is not None and message.entry is None:
                self._enlist(self.number(message.placed), message)

    def looked_at(self, lane: NumberLane, now: float) -> None:
        """Nothing more of this number can be called now: when the next look is of use."""
        next_at = lane.next_at()
        if next_at is None:
            self.busy.pop(lane.phone_number_id, None)
        else:
            self.busy[lane.phone_number_id] = min(next_at, now + LOOK_AT_LEAST_EVERY_SECONDS)

    def look_again(self, number: str) -> None:
        """The number's pace or limits are other ones: it may be free sooner than was thought."""
        if number in self.busy:
            self.busy[number] = 0.0

    def _enlist(self, lane: NumberLane, message: Message) -> None:
        lane.enlist(message, self.weights.get(message.traits.producer, 1.0))
        self.busy[lane.phone_number_id] = 0.0

    def drop(self, message: Message) -> None:
        """The message has ended: nothing of it stays in the indexes."""
        if message.due is not None:
            self.timers.move(message, None)
        for number in {candidate.number for candidate in message.plan}:
            if number in self.numbers:
                self.numbers[number].waiting.pop(message.message_id, None)
        if message.account is not None:
            self._add(message.account, -1)
        self.leave_queue(message)
        del self.messages[message.message_id]
        self.runs.remove(message, self.messages)
        line = self.recipients.remove(message)
        if line is not None:
            self._let_go(line)

    def _retime(self, message: Message) -> None:
        due = due_of(message)
        if due != message.due:
            self.timers.move(message, due)

    def _recount(self, message: Message) -> None:
        number = message.placed or message.number or (message.plan[0].number if message.plan else "")
        account = _account(number, message.status)
        if account != message.account:
            if message.account is not None:
                self._add(message.account, -1)
            message.account = account
            self._add(account, 1)

    def _add(self, account: tuple[str, str], change: int) -> None:
        self.tallies[account] = self.tallies.get(account, 0) + change
        self.touched.add(account[0])


@lru_cache(maxsize=8192)  # seven statuses of a thousand numbers: one tuple for all messages, 72 bytes less for each
def _account(number: str, status: str) -> tuple[str, str]:
    return number, status


def due_of(message: Message) -> float | None:
    """When the message must be looked at again; None while its call is under way (the outcome wakes it)."""
    if message.status == "attempting":
        return None
    if message.waiting:
        return message.expires_at if message.until is None else min(message.until, message.expires_at)
    return message.until
