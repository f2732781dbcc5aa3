"""Fair turns: the messages of one priority of one number, shared between runs and producers by weight.

Self-clocked fair queueing (Golestani 1994): a flow is a run, or what a producer sends singly. The tag of a flow's next
turn is the tag of the turn that was taken last in the queue, or of its own last one, and 1 / weight more; the smallest
tag goes next. Between two flows that both have something to send, turns per weight differ by at most one turn of each;
whoever comes to a queue of 10,000 of somebody else has the next turn but one, and however many new flows come, none
that waits is overtaken by more than a turn of each. Each operation costs O(log flows + log messages of the flow).

A message that leaves takes its heap entry with it by identity (`message.entry`), so a stale one is never believed; a
heap of which most is stale is rebuilt. Nothing here is journaled: a new owner of the lane rebuilds the queue from the
messages and starts all flows at the same tag, which can give a flow at most one turn too many.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from harkara.dispatcher.message import Message

STALE_ALLOWED = 64  # stale entries of a flow that are not worth a rebuild

Entry: TypeAlias = tuple[float, int, Message]
"""(place inside the flow, journal sequence, the message)"""


@dataclass(slots=True)
class Flow:
    """One sharer of turns, as long as it has something to send; `tag` is that of its next turn, of equal ones the
    smaller `ticket` goes first. Two of everything: [0] texts, [1] media, which may have to wait while texts go."""

    name: str
    ticket: int
    weight: float
    tag: float
    count: int = 0
    entries: tuple[list[Entry], list[Entry]] = field(default_factory=lambda: ([], []))
    live: list[int] = field(default_factory=lambda: [0, 0])
    listed: list[bool] = field(default_factory=lambda: [False, False])

    def places(self, count: int) -> list[float]:
        """The places of about `count` of its messages, evenly chosen, in their order."""
        found: list[float] = []
        for entries in self.entries:
            step = max(1, len(entries) // count)
            found += [entry[0] for entry in entries[::step] if entry[2].entry is entry]
        return sorted(found)


class FairQueue:
    """The waiting messages of one priority. `count` of them stand here."""

    def __init__(self) -> None:
        self.count = 0
        self._flows: dict[str, Flow] = {}
        self._turns: tuple[list[tuple[float, int, Flow]], list[tuple[float, int, Flow]]] = ([], [])
        self._now = 0.0
        self._tickets = 0

    @property
    def has_media(self) -> bool:
        """Whether media may stand here."""
        return bool(self._turns[1])

    @property
    def has_text(self) -> bool:
        """Whether anything but media stands here."""
        return self._first(0) is not None

    @property
    def flows(self) -> Iterable[Flow]:
        """Those that have something to send."""
        return self._flows.values()

    def put(self, message: Message, place: float, weight: float) -> None:
        """Into its flow, at `place` (smaller goes first); `weight` is the flow's from now on."""
        flow = self._flows.get(message.flow)
        if flow is None:
            self._tickets += 1
            flow = self._flows[message.flow] = Flow(message.flow, self._tickets, weight, self._now + 1 / weight)
        kind = int(message.media)
        message.entry = (place, message.seq, message)
        heapq.heappush(flow.entries[kind], message.entry)
        flow.weight = weight
        flow.count += 1
        flow.live[kind] += 1
        self.count += 1
        if not flow.listed[kind]:
            flow.listed[kind] = True
            heapq.heappush(self._turns[kind], (flow.tag, flow.ticket, flow))

    def remove(self, message: Message, *, turn_taken: bool = False) -> None:
        """Out of the queue; a message that is sent takes a turn of its flow."""
        flow, kind = self._flows[message.flow], int(message.media)
        message.entry = None
        flow.count -= 1
        flow.live[kind] -= 1
        self.count -= 1
        if turn_taken:
            # a flow whose media had to wait lags behind: it is next at once, and has then caught up
            self._now = max(flow.tag, self._now)
            flow.tag = self._now + 1 / flow.weight
        if not flow.count:
            del self._flows[flow.name]  # its last turn is not ahead of the queue's, so nothing of it need be remembered
        if len(flow.entries[kind]) > 2 * flow.live[kind] + STALE_ALLOWED:
            flow.entries[kind][:] = [entry for entry in flow.entries[kind] if entry[2].entry is entry]
            heapq.heapify(flow.entries[kind])

    def next(self, *, media: bool) -> Message | None:
        """Whose turn it is; without `media`, among the texts."""
        text = self._first(0)
        other = self._first(1) if media and self._turns[1] else None
        if text is None or other is None:
            flow, kind = (text, 0) if other is None else (other, 1)
        elif text is other:
            flow, kind = text, int(text.entries[1][0] < text.entries[0][0])
        else:
            kind = int((other.tag, other.ticket) < (text.tag, text.ticket))
            flow = other if kind else text
        return None if flow is None else flow.entries[kind][0][2]

    def first(self, count: int) -> list[Message]:
        """The next `count` in the order in which they would go if nothing came in between."""
        found: list[Message] = []
        flows = heapq.nsmallest(count, self.flows, key=lambda flow: (flow.tag, flow.ticket))
        turns = []
        for flow in flows:
            rest = _in_order(flow)
            turns.append((flow.tag, flow.ticket, next(rest), rest, flow))
        heapq.heapify(turns)
        while turns and len(found) < count:
            tag, ticket, message, rest, flow = heapq.heappop(turns)
            found.append(message)
            following = next(rest, None)
            if following is not None:
                heapq.heappush(turns, (tag + 1 / flow.weight, ticket, following, rest, flow))
        return found

    def heads(self) -> Iterator[Message]:
        """The first of each flow."""
        return (next(_in_order(flow)) for flow in self.flows)

    def messages(self) -> Iterator[Message]:
        """Everything that stands here, in no order."""
        for flow in self._flows.values():
            for entries in flow.entries:
                yield from (entry[2] for entry in entries if entry[2].entry is entry)

    def _first(self, kind: int) -> Flow | None:
        """The flow with the smallest tag that has something of this kind; brings the top of the heap up to date."""
        turns = self._turns[kind]
        while turns:
            tag, ticket, flow = turns[0]
            entries = flow.entries[kind]
            while entries and entries[0][2].entry is not entries[0]:
                heapq.heappop(entries)
            if not entries:
                heapq.heappop(turns)
                flow.listed[kind] = False
            elif tag < flow.tag:
                heapq.heapreplace(turns, (flow.tag, ticket, flow))
            else:
                return flow
        return None


def _in_order(flow: Flow) -> Iterator[Message]:
    """A flow's messages by place, as far as somebody asks: the heaps are walked, not sorted."""
    frontier = [(entries[0], kind, 0) for kind, entries in enumerate(flow.entries) if entries]
    heapq.heapify(frontier)
    while frontier:
        entry, kind, index = heapq.heappop(frontier)
        entries = flow.entries[kind]
        for child in (2 * index + 1, 2 * index + 2):
            if child < len(entries):
                heapq.heappush(frontier, (entries[child], kind, child))
        if entry[2].entry is entry:
            yield entry[2]
