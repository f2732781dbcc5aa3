"""Messages to one recipient from one number go in the order in which the lane took them in (ING-19).

A message waits while an earlier one of the same or a higher priority, to the same person by the same number, is
queued, called or between two attempts. It does not wait for one that is held (a paused template may be held for
hours), scheduled, in doubt or unknown (24 hours), and a higher priority overtakes: that is what it is for.

Most persons have one live message, which is all that is remembered of them; a line is made for the second.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping

from harkara.dispatcher.message import Message

IN_ORDER = frozenset({"queued", "attempting", "retrying"})
HIGHEST_PRIORITY = 3
ENDED_ALLOWED = 64  # ids of ended messages of a run that are not worth a rebuild


def number_of(message: Message) -> str | None:
    """The number in whose order the message counts now."""
    return message.placed or (message.number if message.status in IN_ORDER else None)


class Line:
    """The live messages of one person who has several. One heap by sequence per number and priority; what has left
    is passed over when it is met."""

    def __init__(self, *messages: Message) -> None:
        self.messages = {message.message_id: message for message in messages}
        self._chains: dict[tuple[str, int], list[tuple[int, Message]]] = {}

    def enter(self, message: Message) -> None:
        """It counts in a number's order now (or does not, and nothing happens)."""
        number = number_of(message)
        if number is None or message.chained == (number, message.priority):
            return
        message.chained = (number, message.priority)
        heapq.heappush(self._chains.setdefault(message.chained, []), (message.seq, message))

    def is_turn_of(self, message: Message) -> bool:
        """Whether nothing earlier of at least its priority is before it at the number where it stands."""
        number = number_of(message) or ""
        for priority in range(message.priority, HIGHEST_PRIORITY + 1):
            first = self._first((number, priority))
            if first is not None and first.seq < message.seq:
                return False
        return True

    def heads(self) -> Iterator[Message]:
        """Those whose turn it is at their number: at most one per number and priority."""
        for chain in list(self._chains):
            first = self._first(chain)
            if first is None:
                del self._chains[chain]
            elif self.is_turn_of(first):
                yield first

    def _first(self, chain: tuple[str, int]) -> Message | None:
        heap = self._chains.get(chain, ())
        while heap:
            message = heap[0][1]
            here = self.messages.get(message.message_id) is message
            if here and (number_of(message), message.priority) == chain:
                return message
            heapq.heappop(heap)
            if message.chained == chain:
                message.chained = None
        return None


class Recipients:
    """Every live message of the lane by its person: in one line, by whichever of their names each is for. Where a
    message has a name that is not its line's, it is found under that one too."""

    def __init__(self) -> None:
        self._lines: dict[str, Message | Line] = {}
        self._elsewhere: dict[str, dict[str, Message]] = {}

    def add(self, message: Message) -> None:
        """A new live message."""
        for name in message.names if message.other is not None else ():
            if name != message.line:
                self._elsewhere.setdefault(name, {})[message.message_id] = message
        name = message.line
        known = self._lines.get(name)
        if known is None:
            self._lines[name] = message
        elif isinstance(known, Line):
            known.messages[message.message_id] = message
        elif known is not message:
            line = self._lines[name] = Line(known, message)
            line.enter(known)

    def remove(self, message: Message) -> Line | None:
        """It has ended; the line that it left, where others remain."""
        for name in message.names if message.other is not None else ():
            here = self._elsewhere.get(name, {})
            if here.pop(message.message_id, None) is not None and not here:
                del self._elsewhere[name]
        name = message.line
        known = self._lines.get(name)
        if isinstance(known, Line):
            known.messages.pop(message.message_id, None)
            if len(known.messages) == 1:
                (last,) = known.messages.values()
                self._lines[name], last.chained = last, None
            return known
        if known is message:
            del self._lines[name]
        return None

    def line_of(self, message: Message) -> Line | None:
        """The person's line, None where the message is their only one."""
        # `message.line`, written out: asked four times of each message, of which most have one name
        known = self._lines.get(message.person_key if message.other is None else message.other.line)
        return known if isinstance(known, Line) else None

    def of(self, person_key: str) -> list[Message]:
        """Every live message to whoever has this name, and to them under the names that share its line."""
        known, elsewhere = self._lines.get(person_key), self._elsewhere.get(person_key)
        found = [] if known is None else list(known.messages.values()) if isinstance(known, Line) else [known]
        if elsewhere is None:
            return found
        return list({message.message_id: message for message in (*found, *elsewhere.values())}.values())

    def line_name(self, person_key: str) -> str | None:
        """The line of what waits for a person under this name; None where nothing does. (Only a second name that an
        intent gives may have messages of several lines.)"""
        known, elsewhere = self._lines.get(person_key), self._elsewhere.get(person_key, {})
        if known is None and not elsewhere:
            return None
        here = (known,) if isinstance(known, Message) else () if known is None else known.messages.values()
        for message in itertools.chain(here, elsewhere.values()):  # mostly the first; thousands may wait for one person
            if message.person_key == person_key:
                return message.line
        return None


class Runs:
    """The live messages of each run by id, for a command that names it: 8 bytes a message. Ids of messages that have
    ended are dropped when they are more than half."""

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {}
        self._live: dict[str, int] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._ids

    def add(self, message: Message) -> None:
        """A new live message, of a run or not."""
        run_id = message.traits.run_id
        if run_id is not None:
            self._ids.setdefault(run_id, []).append(message.message_id)
            self._live[run_id] = self._live.get(run_id, 0) + 1

    def remove(self, message: Message, live: Mapping[str, Message]) -> None:
        """It has ended and is not among the `live` ones any more."""
        run_id = message.traits.run_id
        if run_id is None:
            return
        self._live[run_id] -= 1
        if not self._live[run_id]:
            del self._live[run_id], self._ids[run_id]
        elif len(self._ids[run_id]) > 2 * self._live[run_id] + ENDED_ALLOWED:
            self._ids[run_id] = [each for each in dict.fromkeys(self._ids[run_id]) if each in live]

    def of(self, run_id: str, live: Mapping[str, Message]) -> list[Message]:
        """The run's live messages in the order of their intake."""
        return [live[each] for each in dict.fromkeys(self._ids.get(run_id, ())) if each in live]
