"""An order of the journal read only as far as its attempts ask for: most have ended before more of it is wanted.

An order is most of what a journal holds, and to make all of its values costs more than everything that recovery does
with them. So it is read twice: at first whom it goes to and whether with a file, and the rest is skipped by the parser;
a second time, whole, where a live message is made of it. In between it is the bytes that Kafka keeps.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import msgspec

from harkara.dispatcher.journal import Entry, Record, decoded, made, seconds_of

GLANCED = "order, glanced at"
"""The kind of an entry of which only the glance was read: only `replay` knows it, and none that is written looks so."""
_VALUE = "value"
_HINT, _WITHIN = b'"kind":"order"', 160  # where encoded() writes it: behind a home and a sequence


class _Content(TypedDict):
    type: str
    header: NotRequired[Any]


class _Order(TypedDict):
    person_key: str
    line: NotRequired[str | None]
    session: NotRequired[_Content | None]
    template: NotRequired[_Content | None]


class _Data(TypedDict):
    order: _Order
    again: NotRequired[Any]
    contact: NotRequired[Any]


_glance = msgspec.json.Decoder(Record[_Data]).decode


def glanced(key: bytes, value: bytes | None) -> Entry:
    """As `decoded`; but of the order of a new message its data are {order: {person_key, line, session, template}: what
    `line_in` and `has_media` look at, value: the bytes}, under the kind GLANCED. Raises ValueError as `decoded` does.
    """
    if value is None or value.find(_HINT, 0, _WITHIN) < 0:
        return decoded(key, value)
    try:
        record = _glance(value)
    except msgspec.ValidationError:  # not an order, or not as one is written now
        return decoded(key, value)
    data: dict[str, Any] = record.data  # type: ignore[assignment]  # what a TypedDict is
    if record.kind != "order" or "again" in data or "contact" in data:
        return decoded(key, value)
    data[_VALUE] = value
    return made(Entry, (key.decode(), record.seq, GLANCED, seconds_of(record.at), record.home, data))


def whole(entry: Entry) -> Entry:
    """The entry with all that its bytes say."""
    if entry.kind != GLANCED or entry.data is None:
        return entry
    return decoded(entry.key.encode(), entry.data[_VALUE])
