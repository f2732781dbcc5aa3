"""Fair turns: the messages of one priority of one number, shared between producers by weight, and what a producer has
evenly between its runs and its single messages.

Self-clocked fair queueing (Golestani 1994), once between producers and once between the flows of each; a flow is a run,
or what a producer sends singly. The tag of a sharer's next turn is the tag of the turn that was taken last at its
level, or of its own last one, and 1 / weight more; the smallest tag goes next. Between two producers that both have
something to send, turns per weight differ by at most one turn of each, however many runs one of them starts; so do the
turns of two flows of one producer. Whoever comes to a queue of 10,000 of somebody else has the next turn but one, and
however many come, none that waits is overtaken by more than a turn of each. Each operation costs O(log producers +
log flows of the producer + log messages of the flow).

A message that leaves takes its heap entry with it by identity (`message.entry`), so a stale one is never believed; a
heap of which most is stale is rebuilt. Nothing here is journaled: a new owner of the lane rebuilds the queue from the
messages and starts all sharers at the same tag, which can give each at most one turn too many.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from harkara.dispatcher.message import Message

STALE_ALLOWED = 64  # stale entries of a flow, or of sharers that have left, that are not worth a rebuild
TEXT, MEDIA = (0,), (1,)
BOTH = (0, 1)

Entry: TypeAlias = tuple[float, int, Message]
"""(place inside the flow, journal sequence, the message)"""
Kinds: TypeAlias = tuple[int, ...]
"""0: texts, 1: media, which may have to wait while texts go."""


@dataclass(slots=True, eq=False)
class Sharer(ABC):
    """One that shares turns, as long as it has something to send; `tag` is that of its next turn, of equal ones the
    smaller `ticket` goes first. `count`: messages of it that wait. `listed`: by kind, whether it stands in the heap."""

    name: str
    weight: float
    tag: float = 0.0
    ticket: int = 0
    count: int = 0
    listed: list[bool] = field(default_factory=lambda: [False, False])

    @abstractmethod
    def has(self, kind: int) -> bool:
        """Whether something of that kind waits; what is stale before it is dropped."""


S = TypeVar("S", bound=Sharer)


class Turns(Generic[S]):
    """Whose turn it is among the sharers of one level. `heaps`: by kind, who may have something of it."""

    __slots__ = ("_now", "_tickets", "heaps", "sharers")

    def __init__(self) -> None:
        self.sharers: dict[str, S] = {}
        self.heaps: tuple[list[tuple[float, int, S]], list[tuple[float, int, S]]] = ([], [])
        self._now = 0.0
        self._tickets = 0

    def join(self, sharer: S) -> S:
        """A new one, which has its first turn after one of each that waits already."""
        self._tickets += 1
        sharer.ticket, sharer.tag = self._tickets, self._now + 1 / sharer.weight
        self.sharers[sharer.name] = sharer
        return sharer

    def enlist(self, sharer: S, kind: int) -> None:
        """It has something of this kind."""
        sharer.count += 1
        if not sharer.listed[kind]:
            sharer.listed[kind] = True
            heapq.heappush(self.heaps[kind], (sharer.tag, sharer.ticket, sharer))

    def leave(self, sharer: S, *, turn_taken: bool) -> None:
        """It has one message less, by a turn or otherwise."""
        sharer.count -= 1
        if turn_taken:
            # one whose media had to wait lags behind: it is next at once, and has then caught up
            self._now = max(sharer.tag, self._now)
            sharer.tag = self._now + 1 / sharer.weight
        if not sharer.count:
            del self.sharers[sharer.name]  # its last turn is not ahead of the level's, so nothing need be remembered
            for heap in self.heaps:
                if not self.sharers:
                    heap.clear()  # a thousand idle numbers hold nothing of what they sent
                elif len(heap) > 2 * len(self.sharers) + STALE_ALLOWED:
                    heap[:] = [entry for entry in heap if entry[2].count]
                    heapq.heapify(heap)

    def first(self, kind: int) -> S | None:
        """The one with the smallest tag that has something of this kind; brings the top of the heap up to date."""
        heap = self.heaps[kind]
        while heap:
            tag, ticket, sharer = heap[0]
            if not sharer.has(kind):
                heapq.heappop(heap)
                sharer.listed[kind] = False
            elif tag < sharer.tag:
                heapq.heapreplace(heap, (sharer.tag, ticket, sharer))
            else:
                return sharer
        return None

    def next(self, kinds: Kinds) -> tuple[S, Kinds] | None:
        """Whose turn it is among those that have something of these kinds, and which of them its turn is for."""
        if kinds != BOTH or not self.heaps[1]:
            kinds = kinds if kinds == MEDIA else TEXT
            only = self.first(kinds[0])
            return None if only is None else (only, kinds)
        text, media = self.first(0), self.first(1)
        if text is None or media is None:
            one, kinds = (media, MEDIA) if text is None else (text, TEXT)
            return None if one is None else (one, kinds)
        if text is media:
            return text, BOTH
        return (media, MEDIA) if (media.tag, media.ticket) < (text.tag, text.ticket) else (text, TEXT)

    def in_order(self, count: int) -> list[S]:
        """The first `count`, by their next turn."""
        return heapq.nsmallest(count, self.sharers.values(), key=lambda each: (each.tag, each.ticket))


@dataclass(slots=True, eq=False)
class Flow(Sharer):
    """A run, or a producer's single messages. Two of everything: [0] texts, [1] media."""

    entries: tuple[list[Entry], list[Entry]] = field(default_factory=lambda: ([], []))
    live: list[int] = field(default_factory=lambda: [0, 0])

    def has(self, kind: int) -> bool:
        """Whether something of that kind waits; what is stale before it is dropped."""
        entries = self.entries[kind]
        while entries and entries[0][2].entry is not entries[0]:
            heapq.heappop(entries)
        return bool(entries)

    def put(self, message: Message, place: float, kind: int) -> None:
        """At this place among its own."""
        message.entry = (place, message.seq, message)
        heapq.heappush(self.entries[kind], message.entry)
        self.live[kind] += 1

    def drop(self, message: Message, kind: int) -> None:
        """Its entry is stale from now on."""
        message.entry = None
        self.live[kind] -= 1
        if len(self.entries[kind]) > 2 * self.live[kind] + STALE_ALLOWED:
            self.entries[kind][:] = [entry for entry in self.entries[kind] if entry[2].entry is entry]
            heapq.heapify(self.entries[kind])

    def places(self, count: int) -> list[float]:
        """The places of about `count` of its messages, evenly chosen, in their order."""
        found: list[float] = []
        for entries in self.entries:
            step = max(1, len(entries) // count)
            found += [entry[0] for entry in entries[::step] if entry[2].entry is entry]
        return sorted(found)

    def in_order(self) -> Iterator[Message]:
        """Its messages by place, as far as somebody asks: the heaps are walked, not sorted."""
        frontier = [(entries[0], kind, 0) for kind, entries in enumerate(self.entries) if entries]
        heapq.heapify(frontier)
        while frontier:
            entry, kind, index = heapq.heappop(frontier)
            entries = self.entries[kind]
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(entries):
                    heapq.heappush(frontier, (entries[child], kind, child))
            if entry[2].entry is entry:
                yield entry[2]


@dataclass(slots=True, eq=False)
class Producer(Sharer):
    """One producer, whose flows share its turns evenly."""

    flows: Turns[Flow] = field(default_factory=Turns)

    def has(self, kind: int) -> bool:
        """Whether one of its flows has something of that kind."""
        return self.flows.first(kind) is not None

    def in_order(self, count: int) -> Iterator[Message]:
        """Its first `count` messages, as its flows take turns."""
        return _merged((flow, flow.in_order()) for flow in self.flows.in_order(count))


class FairQueue:
    """The waiting messages of one priority. `count` of them stand here."""

    def __init__(self) -> None:
        self.count = 0
        self._turns: Turns[Producer] = Turns()

    @property
    def has_media(self) -> bool:
        """Whether media may stand here."""
        return bool(self._turns.heaps[1])

    @property
    def has_text(self) -> bool:
        """Whether anything but media stands here."""
        return self._turns.first(0) is not None

    @property
    def flows(self) -> Iterator[tuple[Producer, Flow]]:
        """Those that have something to send, with whose they are."""
        return ((each, flow) for each in self._turns.sharers.values() for flow in each.flows.sharers.values())

    def put(self, message: Message, place: float, weight: float) -> None:
        """Into its flow, at `place` (smaller goes first); `weight` is its producer's from now on."""
        traits, named = message.traits, message.flow
        producer = self._turns.sharers.get(traits.producer)
        if producer is None:
            producer = self._turns.join(Producer(traits.producer, weight))
        flow = producer.flows.sharers.get(named)
        if flow is None:
            flow = producer.flows.join(Flow(named, 1.0))
        kind = int(traits.media)
        producer.weight = weight
        flow.put(message, place, kind)
        producer.flows.enlist(flow, kind)
        self._turns.enlist(producer, kind)
        self.count += 1

    def remove(self, message: Message, *, turn_taken: bool = False) -> None:
        """Out of the queue; a message that is sent takes a turn of its flow, and of its producer."""
        producer = self._turns.sharers[message.traits.producer]
        flow = producer.flows.sharers[message.flow]
        flow.drop(message, int(message.traits.media))
        producer.flows.leave(flow, turn_taken=turn_taken)
        self._turns.leave(producer, turn_taken=turn_taken)
        self.count -= 1

    def next(self, *, media: bool) -> Message | None:
        """Whose turn it is; without `media`, among the texts."""
        if not media:
            text = self._turns.first(0)
            texts = None if text is None else text.flows.first(0)
            return None if texts is None else texts.entries[0][0][2]
        producer = self._turns.next(BOTH)
        flow = None if producer is None else producer[0].flows.next(producer[1])
        if flow is None:
            return None
        return min(flow[0].entries[kind][0] for kind in flow[1])[2]

    def first(self, count: int) -> list[Message]:
        """The next `count` in the order in which they would go if nothing came in between."""
        producers = ((each, each.in_order(count)) for each in self._turns.in_order(count))
        return [message for message, _ in zip(_merged(producers), range(count), strict=False)]

    def heads(self) -> Iterator[Message]:
        """The first of each flow."""
        return (next(flow.in_order()) for _, flow in self.flows)

    def messages(self) -> Iterator[Message]:
        """Everything that stands here, in no order."""
        for _, flow in self.flows:
            for entries in flow.entries:
                yield from (entry[2] for entry in entries if entry[2].entry is entry)


def _merged(sharers: Iterable[tuple[Sharer, Iterator[Message]]]) -> Iterator[Message]:
    """Everything of theirs, in turns."""
    turns = [(each.tag, each.ticket, next(rest), rest, 1 / each.weight) for each, rest in sharers]
    heapq.heapify(turns)
    while turns:
        tag, ticket, message, rest, step = heapq.heappop(turns)
        yield message
        following = next(rest, None)
        if following is not None:
            heapq.heappush(turns, (tag + step, ticket, following, rest, step))
