"""Texts that differ in keys, ids and times alone: what is the same in thousands of them is kept once and read once.

The records of a compacted topic are the same JSON around a person's key, ids and times, each of a fixed length. So a
text of a known shape is read by its places, in a fifth of the time that parsing takes; and of two texts of one shape
both are JSON of the same kind or neither is, since what differs lies within strings and can be no quote or escape.
"""

from __future__ import annotations

import json
import struct
from binascii import Error, unhexlify
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Generic, TypeGuard, TypeVar

from pydantic import ValidationError

from harkara.contracts.event import EARLIEST, LATEST, Event

Kind = bytes
Found = bytes | datetime
KEY, ID, WHOLE, EXACT = b"\x01", b"\x02", b"\x03", b"\x04"
"""The key that a text is kept under, an id (32 hexadecimal digits), a time in whole seconds, one to the microsecond."""
LENGTHS = {KEY: 32, ID: 32, WHOLE: 20, EXACT: 27}
MOST_OF_A_LENGTH = 8  # layouts of one length that are tried, the latest first: a text has one of two or three
_AROUND = {WHOLE: b"--T::Z", EXACT: b"--T::.Z"}
_DIGITS = b"0123456789"
_MARK = b"\x01"  # JSON's strings have no such
E = TypeVar("E", bound=Event)
T = TypeVar("T")


class Shape:
    """What texts have in common: what stands around the places that differ, and the kind of each of these."""

    __slots__ = ("around", "kinds", "number")

    def __init__(self, number: int, around: tuple[bytes, ...], kinds: tuple[Kind, ...]) -> None:
        self.number = number
        self.around = around
        self.kinds = kinds

    def places(self) -> dict[tuple[str, ...], int]:
        """Which place is where in the JSON: by the names that lead to it. Of JSON alone."""
        marked = self.text([_MARK + str(place).encode() for place in range(len(self.kinds))])
        return dict(_marks((), json.loads(marked, strict=False)))

    def text(self, written: Sequence[bytes]) -> bytes:
        """The text with this written at its places."""
        pieces = [self.around[0]]
        for piece, around in zip(written, self.around[1:], strict=True):
            pieces += (piece, around)
        return b"".join(pieces)


class _Layout:
    """Where the places are in texts of one length, and the shapes that have these, by what stands around: where people
    have twenty languages twenty shapes differ in that alone, and it takes one look to tell which it is."""

    __slots__ = ("_cut", "_kinds", "shapes")

    def __init__(self, format_: str, kinds: tuple[Kind, ...]) -> None:
        self._cut = struct.Struct(format_)
        self._kinds = kinds
        self.shapes: dict[tuple[bytes, ...], Shape] = {}

    def read(self, key: bytes, text: bytes) -> tuple[Shape, list[Found]] | None:
        """The shape of a text of this length and what stands at its places: ids as their 16 bytes, times, b"" for the
        key itself. None: it has another shape."""
        pieces = self._cut.unpack(text)
        shape = self.shapes.get(pieces[::2])
        if shape is None:
            return None
        found: list[Found] = []
        for kind, piece in zip(self._kinds, pieces[1::2], strict=True):
            value = _id(piece) if kind == ID else (b"" if piece == key else None) if kind == KEY else _time(kind, piece)
            if value is None:
                return None
            found.append(value)
        return shape, found


class Shapes:
    """The shapes that were met, at most so many; they are never forgotten, since rows refer to them by number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: list[Shape] = []
        self._layouts: dict[tuple[str, tuple[Kind, ...]], _Layout] = {}
        self._of_length: dict[int, deque[_Layout]] = {}

    def __getitem__(self, number: int) -> Shape:
        return self._all[number]

    def read(self, key: bytes, text: bytes) -> tuple[Shape, list[Found]] | None:
        """The text's shape and what stands at its places; None where it has none that could be kept. `key`: what it is
        kept under, written as in the text."""
        for layout in self._of_length.get(len(text), ()):
            read = layout.read(key, text)
            if read is not None:
                return read
        return self._met(key, text)

    def _met(self, key: bytes, text: bytes) -> tuple[Shape, list[Found]] | None:
        if b"\\" in text:  # an escaped quote would not be where a string ends
            return None
        around, kinds = _parted(key, text)
        format_ = _format(around, kinds)
        layout = self._layouts.get((format_, kinds))
        if layout is None or around not in layout.shapes:
            if len(self._all) >= self._most:
                return None
            layout = layout or self._layouts.setdefault((format_, kinds), _Layout(format_, kinds))
            shape = layout.shapes[around] = Shape(len(self._all), around, kinds)
            self._all.append(shape)
        latest = self._of_length.setdefault(len(text), deque(maxlen=MOST_OF_A_LENGTH))
        if layout not in latest:
            latest.appendleft(layout)
        return layout.read(key, text)


class Taught(Generic[E, T]):
    """What the texts of a shape say, learnt of the first one that was decoded: of a million all but some hundred need
    not be. `most`: how many shapes are kept. `learn(shape, found, event)`: what every text of the shape of this event
    says beside what differs; None where that cannot be told by its shape."""

    def __init__(self, most: int, kind: type[E], learn: Callable[[Shape, list[Found], E], T | None]) -> None:
        self._shapes = Shapes(most)
        self._kind = kind
        self._learn = learn
        self._known: dict[int, T | None] = {}

    def read(self, key: bytes, text: bytes) -> tuple[T, list[Found]] | None:
        """What texts of its shape say, and what stands at this one's places; None where it is to be decoded."""
        read = self._shapes.read(key, text)
        if read is None:
            return None
        shape, found = read
        known = self._known.get(shape.number)
        if known is None:
            known = self._learnt(shape, found, text)
        return None if known is None else (known, found)

    def _learnt(self, shape: Shape, found: list[Found], text: bytes) -> T | None:
        if shape.number in self._known:  # it cannot be told by its shape
            return None
        try:
            event = self._kind.model_validate_json(text)
        except ValidationError:
            return None  # another one of this shape may be sound
        known = self._known[shape.number] = self._learn(shape, found, event)
        return known


def plausible(at: Found) -> TypeGuard[datetime]:
    """Whether it is a time that an event may say; whatever else, the decoder tells."""
    return isinstance(at, datetime) and EARLIEST <= at <= LATEST


def _format(around: tuple[bytes, ...], kinds: tuple[Kind, ...]) -> str:
    """How a text is cut (struct): what stands around the places, and these."""
    lengths = [len(around[0])]
    for text, kind in zip(around[1:], kinds, strict=True):
        lengths += [LENGTHS[kind], len(text)]
    return "".join(f"{length}s" for length in lengths)


def _marks(path: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _marks((*path, name), each)
    elif isinstance(value, str) and value.startswith(_MARK.decode()):
        yield path, int(value[1:])


def written_time(kind: Kind, at: datetime) -> bytes:
    """A time as it stood in the text."""
    text = at.isoformat(timespec="seconds" if kind == WHOLE else "microseconds")
    return text.removesuffix("+00:00").encode() + b"Z"


def _parted(key: bytes, text: bytes) -> tuple[tuple[bytes, ...], tuple[Kind, ...]]:
    """The text's strings that are a key, an id or a time, cut out."""
    around: list[bytes] = []
    kinds: list[Kind] = []
    since, at = 0, 0
    for index, piece in enumerate(text.split(b'"')):
        kind = _kind(key, piece) if index % 2 else None
        if kind is not None:
            around.append(text[since:at])
            kinds.append(kind)
            since = at + len(piece)
        at += len(piece) + 1
    return (*around, text[since:]), tuple(kinds)


def _kind(key: bytes, piece: bytes) -> Kind | None:
    if len(piece) == LENGTHS[ID]:
        return None if _id(piece) is None else KEY if piece == key else ID
    return next((kind for kind in (WHOLE, EXACT) if len(piece) == LENGTHS[kind] and _time(kind, piece)), None)


def _id(piece: bytes) -> bytes | None:
    """Its 16 bytes; None for what would not be written the same way again."""
    try:
        return unhexlify(piece) if piece == piece.lower() else None
    except Error:
        return None


def _time(kind: Kind, piece: bytes) -> datetime | None:
    """The time; None for what would not be written the same way again: each digit and sign has its place then."""
    if piece.translate(None, _DIGITS) != _AROUND[kind]:
        return None
    try:
        return datetime.fromisoformat(piece.decode())
    except ValueError:
        return None
