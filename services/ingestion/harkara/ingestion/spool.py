"""Webhooks on disk while Kafka is away: append-only segments, synced before anybody is answered. Blocking; one thread.

A segment is a row of frames; a frame is a head (magic, length, time of receipt in ms, CRC-32 of these two and the body)
and the body. A death leaves a torn frame at an end: it was promised to nobody and is cut off at the frame before. A
frame that does not fit its CRC with sound ones behind it is damage: stepped over, counted, and its segment is kept.
The CRC is no signature: who can write into the folder can feed us webhooks. A frame is not imitated from outside,
though: its length has a zero byte in front, which JSON never holds.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

MAGIC = b"HKW1"
HEAD = struct.Struct(">4sIQI")
SEGMENT_BYTES = 8 * 1024 * 1024  # freed at once; a position is written after each batch, so a restart repeats one
LARGEST_BODY_BYTES = 4 * 1024 * 1024  # above the edge's own limit; a greater length in a head is damage
POSITION, LOCK = "position", "lock"


class SpoolInUse(Exception):
    """Another process has the folder."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One webhook: its raw body and when it was received, in ms since 1970."""

    received_ms: int
    body: bytes

    def frame(self) -> bytes:
        """Its bytes on disk."""
        return HEAD.pack(MAGIC, len(self.body), self.received_ms, self._crc()) + self.body

    def _crc(self) -> int:
        return crc(len(self.body), self.received_ms, self.body)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place between two frames."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Webhooks in the order of their receipt, and where the next begins. `damaged_bytes`: none was found any more, and
    so much had been written."""

    kept: Sequence[Kept]
    end: Position
    damaged_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found at the opening: bytes torn off (promised to nobody) and bytes damaged (promised, and lost)."""

    waiting: int
    torn_bytes: int
    damaged_bytes: int


def crc(length: int, received_ms: int, body: bytes) -> int:
    """Over all that a head says, and the body."""
    return zlib.crc32(body, zlib.crc32(struct.pack(">IQ", length, received_ms)))


def frame_at(data: bytes, offset: int) -> Kept | None:
    """The frame that begins there, or None where none that is sound does."""
    if len(data) - offset < HEAD.size:
        return None
    magic, length, received_ms, check = HEAD.unpack_from(data, offset)
    start = offset + HEAD.size
    if magic != MAGIC or length > LARGEST_BODY_BYTES or start + length > len(data):
        return None
    body = data[start : start + length]
    return Kept(received_ms, body) if crc(length, received_ms, body) == check else None


def frames(data: bytes, offset: int = 0) -> Iterator[tuple[int, int, Kept]]:
    """(begin, end, webhook) of every sound frame; what is between one's end and the next's begin is damaged."""
    while offset >= 0:
        found = frame_at(data, offset)
        if found is None:
            offset = data.find(MAGIC, offset + 1)
            continue
        end = offset + HEAD.size + len(found.body)
        yield offset, end, found
        offset = end


class Spool:
    """The folder, opened. `waiting`: webhooks not yet replayed; `size_bytes`: on disk; `oldest_ms`: receipt of the
    oldest that waits, to within one batch. A full disk or a full spool takes nothing and leaves no half frame."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Take the folder and look through it. Raises SpoolInUse, OSError."""
        self._folder, self._most_bytes = folder, most_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise SpoolInUse(
                f"another process has the spool {folder}; each needs a HARKARA_DATA_DIR of its own"
            ) from None
        self.waiting = 0
        self.oldest_ms: int | None = None
        self._sizes: dict[int, int] = {}
        self._damaged: set[int] = set()
        self._file: int | None = None
        self._at = self._kept_position()
        self.recovery = self._recover()

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(tuple(self._sizes.values()))  # a copy: the metrics ask from another thread

    def append(self, given: Sequence[Kept]) -> int:
        """Write as many as there is room for, in order, and sync them; how many. Raises OSError with nothing kept."""
        room, data, count = self._most_bytes - self.size_bytes, bytearray(), 0
        for kept in given:
            frame = kept.frame()
            if len(data) + len(frame) > room:
                break
            data += frame
            count += 1
        if count:
            self._write(bytes(data))
            self.waiting += count
            self.oldest_ms = given[0].received_ms if self.oldest_ms is None else self.oldest_ms
        return count

    def read(self, about_bytes: int) -> Batch:
        """The next webhooks, at least one where one waits, without going on; at most about that many bytes."""
        found: list[Kept] = []
        at, taken = self._at, 0
        for segment in sorted(number for number in self._sizes if number >= self._at.segment):
            reached = self._at.offset if segment == self._at.segment else 0
            for end, kept in self._sound(segment, reached, about_bytes):
                if end - len(kept.body) - HEAD.size != reached:
                    self._damaged.add(segment)
                found.append(kept)
                taken += len(kept.body)
                reached, at = end, Position(segment, end)
            if taken >= about_bytes or (found and at.offset < self._sizes[segment]):
                return Batch(found, at)
            if reached != self._sizes[segment]:
                self._damaged.add(segment)  # sound when it was written or opened: it is kept when it has been replayed
        if not found and self.waiting:  # the disk lost them since they were written
            self._damaged |= self._sizes.keys()
            self.waiting = 0
            return Batch(found, at, damaged_bytes=max(1, self.size_bytes - self._at.offset))
        return Batch(found, at)

    def _sound(self, segment: int, start: int, about_bytes: int) -> list[tuple[int, Kept]]:
        """(where it ends, webhook) of the sound frames from there on that `about_bytes` hold, else of the first."""
        rest = self._sizes[segment] - start
        with self._path(segment).open("rb") as file:
            file.seek(start)
            data = file.read(min(about_bytes, rest))
            found = [(start + end, kept) for _, end, kept in frames(data)]
            if found or len(data) == rest:
                return found
            data += file.read(rest - len(data))
        return [(start + end, kept) for _, end, kept in islice(frames(data), 1)]

    def replayed(self, batch: Batch) -> None:
        """These are on their topic: go on behind them, and remove what nobody needs any more."""
        self._at = batch.end
        self.waiting -= len(batch.kept)
        if batch.kept:
            self.oldest_ms = batch.kept[-1].received_ms
        if self.waiting == 0:
            self.oldest_ms = None
            self._close_segment()
        done = [number for number in self._sizes if number < self._at.segment or self.waiting == 0]
        for number in self._damaged.intersection(done):
            self._remove(number)  # kept for a look before an opening could take it for one that was only replayed
        self._keep_position()  # before the removal: a position in a segment that is gone is behind all of it
        for number in self._sizes.keys() & done:
            self._remove(number)

    def set_aside(self, kept: Kept) -> Path:
        """Keep one that Kafka will never take, for a person to look at."""
        path = self._folder / f"refused-{kept.received_ms}-{zlib.crc32(kept.body):08x}.json"
        with path.open("wb") as file:
            file.write(kept.body)
            file.flush()
            os.fsync(file.fileno())
        self._sync_folder()
        return path

    def close(self) -> None:
        """Leave the folder; what waits in it stays."""
        self._close_segment()
        os.close(self._lock)

    # --- writing -----------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        number = self._segment_for(len(data))
        assert self._file is not None
        before = self._sizes[number]
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
        except OSError:
            self._close_segment()  # of a failed sync nothing is known: go on in another segment, behind a cut
            if before:
                os.truncate(self._path(number), before)
            else:
                self._remove(number)  # else a full disk, tried a hundred times a second, would fill with empty files
            raise
        self._sizes[number] = before + len(data)

    def _segment_for(self, more_bytes: int) -> int:
        last = max(self._sizes, default=self._at.segment)
        if self._file is not None and self._sizes[last] + more_bytes <= SEGMENT_BYTES:
            return last
        self._close_segment()
        number = last + 1
        self._file = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._sizes[number] = 0
        self._sync_folder()
        return number

    def _close_segment(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # --- opening -----------------------------------------------------------------------------------------------------

    def _recover(self) -> Recovery:
        torn = damaged = 0
        for path in sorted(self._folder.glob("*.seg")):
            number = int(path.stem)
            if number < self._at.segment:
                path.unlink()
                continue
            data = path.read_bytes()
            good, lost = self._look_through(number, data)
            damaged += lost
            torn += len(data) - good
            if good < len(data):
                os.truncate(path, good)
            self._sizes[number] = good
        return Recovery(self.waiting, torn, damaged)

    def _look_through(self, number: int, data: bytes) -> tuple[int, int]:
        """(where its last sound frame ends, how many bytes before that are damaged)."""
        good = lost = 0
        replayed_to = self._at.offset if number == self._at.segment else 0
        for begin, end, kept in frames(data):
            lost += begin - good
            good = end
            if begin >= replayed_to:
                self.waiting += 1
                self.oldest_ms = kept.received_ms if self.oldest_ms is None else self.oldest_ms
        if lost:
            self._damaged.add(number)
        return good, lost

    def _kept_position(self) -> Position:
        try:
            segment, offset = (self._folder / POSITION).read_text().split()
            return Position(int(segment), int(offset))
        except (FileNotFoundError, ValueError):
            return Position(0, 0)  # never written, or torn by a power cut: what was replayed is replayed again

    def _keep_position(self) -> None:
        """On a full disk the old one stands: a restart replays more than it need, and the removal makes room again."""
        unfinished = self._folder / f"{POSITION}.new"
        with suppress(OSError):
            unfinished.write_text(f"{self._at.segment} {self._at.offset}")
            unfinished.replace(self._folder / POSITION)

    def _remove(self, number: int) -> None:
        path = self._path(number)
        if number in self._damaged:
            path.rename(path.with_suffix(".damaged"))
            self._damaged.discard(number)
        else:
            path.unlink()
        del self._sizes[number]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012}.seg"
