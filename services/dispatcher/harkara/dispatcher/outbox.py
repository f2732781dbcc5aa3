"""What a lane's committed entries say to the world: written after each commit, and marked in the journal once it is
there. The next owner writes again, under the same ids, what lies beyond the mark.

It is written while the next round decides and commits: a round that waited for it would decide a fast number's calls
too late for their places.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from harkara.dispatcher.breath import Breath
from harkara.dispatcher.emitter import Emitter
from harkara.dispatcher.journal import Entry
from harkara.dispatcher.projection import Emission, implied

RECOVERED_AT_ONCE = 5000  # entries of an earlier owner whose events are handed to the producer together
ENTRIES_AT_ONCE = 3  # whose events are written in one go: a millisecond, in which no call starts
MOST_UNACKNOWLEDGED = 200  # rounds whose events wait for the broker: three seconds of full load


class Outbox:
    """One lane's. `emitted`: up to which entry (its `seq`) every event is acknowledged."""

    def __init__(self, emitter: Emitter, breath: Breath) -> None:
        self._emitter, self._breath = emitter, breath
        self._pending: deque[Entry] = deque()
        self._under_way: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self.emitted = 0

    async def stop(self) -> None:
        """Break off what is being written; whoever takes over writes it again."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])
            self._writing = None

    def take_over(self, pending: Iterable[Entry], emitted: int) -> None:
        """What an earlier owner committed and may not have written, and the newest mark."""
        self._pending, self.emitted = deque(pending), emitted
        self._under_way.clear()

    @property
    def waits(self) -> bool:
        """Whether something is being written, or its acknowledgement awaited; until somebody looks."""
        return self._writing is not None or bool(self._under_way)

    async def write(self, entries: Sequence[Entry], told: Callable[[], None]) -> None:
        """Write what these entries imply, beside the next round; `told` once all of it is acknowledged. Waits for what
        an earlier round left, and while too much is not acknowledged."""
        await self.written()
        if entries:
            self._writing = asyncio.create_task(self._write(entries, told))
        if len(self._under_way) > MOST_UNACKNOWLEDGED:
            await asyncio.wait([self._under_way[0][1]])

    async def _write(self, entries: Sequence[Entry], told: Callable[[], None]) -> None:
        """Of a mark alone nothing is written: else it would ask for another one."""
        parts = (entries[first : first + ENTRIES_AT_ONCE] for first in range(0, len(entries), ENTRIES_AT_ONCE))
        future = await self._emitter.write_by_parts(map(_implied, parts), self._breath.take)
        if future is not None:
            future.add_done_callback(lambda _: told())
            self._under_way.append((max(entry.seq for entry in entries), future))

    async def written(self) -> None:
        """All of it is handed over."""
        if self._writing is not None:
            await self._writing
            self._writing = None

    async def write_unmarked(self, emissions: Sequence[Emission]) -> None:
        """What is not journaled, in its order among what is."""
        await self.written()
        before = self._under_way[-1][0] if self._under_way else self.emitted
        self._under_way.append((before, self._emitter.write(emissions)))

    async def write_pending(self, more: Sequence[Entry]) -> None:
        """What was taken over, and then these; same ids, so a repeat is recognised. Raises NotWritten."""
        self._pending.extend(more)
        while self._pending:
            chunk = [self._pending.popleft() for _ in range(min(RECOVERED_AT_ONCE, len(self._pending)))]
            await self._emitter.write(_implied(chunk))
            self.emitted = max([self.emitted, *(entry.seq for entry in chunk)])

    def look(self) -> int:
        """What has been acknowledged by now: the new `emitted`. Raises NotWritten, and what writing raised."""
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        while self._under_way and self._under_way[0][1].done():
            seq, future = self._under_way[0]
            future.result()  # what was not written stays first: no later look may pass it
            self._under_way.popleft()
            self.emitted = seq
        return self.emitted

    async def settle(self, seconds: float) -> None:
        """Write what is left, and wait that long at most for what is under way."""
        await self.written()
        if self._under_way:
            await asyncio.wait([future for _, future in self._under_way], timeout=seconds)


def _implied(entries: Iterable[Entry]) -> list[Emission]:
    return [emission for entry in entries for emission in implied(entry)]
