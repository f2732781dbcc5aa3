"""The lane's journal: what an entry is, under which key it lies, and its bytes.

The topic is compacted, so the newest entry of a key must say everything about its entity:

    key                       kinds              says
    <message id>              order, end         the order with its content; at its end the little that dedupes
    <message id>/s            step               the whole changing state of a message, once per transition
    <message id>/c            conflict           the same id came with another intent
    <message id>/e            seen               Meta has an older attempt: a status came during a newer one's call
    <message id>/w            watch              Meta has it, and its other content may yet go (`fallback.py`)
    <message id>/d/<attempt>  duplicate          Meta has this attempt of the message besides another one
    hold/<scope>/<target>     hold               a number, pair or template that sends nothing until a time
    auth/<number>             auth               how often in a row Meta refused the number's present token
    throttle/<number>         throttle           how fast a number may call after Meta said that it is too fast
    places/<portfolio>/<home> places             the home's units that are used up, and whom the last of them went to
    cancel/<kind>/<target>    cancel             a cancel command, also of what has not arrived yet
    priority/<kind>/<target>  priority           the priority that a message or a run was given
    pause/<run id>            pause              whether a run is paused, and since whose word
    command/<command id>      resolved           an operator's word on a message in doubt
    clock/<sequence>          clock              by how much the machine's clock was set, after all that came before
    emitted                   emitted            up to which sequence the implied events have been written

A step whose order is unknown belongs to a message that has ended: its order was compacted away under the end entry.

Steps, ends and orders that go on say in `contact` which attempts of the message count for caps (`counted.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
import orjson

Data: TypeAlias = dict[str, Any]
"""An entry's own JSON object; its shape per kind is written in `evolve.py` by those who read it."""
Read = TypeVar("Read")

EMITTED = "emitted"
NOT_SENT = "not_sent_"
"""Begins the reason of a step after an attempt that surely never left."""


class Entry(NamedTuple):
    """One step of a lane. `at` in Unix seconds; `data` None is a tombstone of `key`, and has no sequence of its own."""

    key: str
    seq: int
    kind: str
    at: float
    home: str
    data: Data | None


def step_key(message_id: str) -> str:
    """The key of a message's changing state."""
    return f"{message_id}/s"


def conflict_key(message_id: str) -> str:
    """The key under which an idempotency conflict is remembered."""
    return f"{message_id}/c"


def seen_key(message_id: str) -> str:
    """The key of what a status said of an older attempt."""
    return f"{message_id}/e"


def watch_key(message_id: str) -> str:
    """The key of the order of a message that Meta has, while its fallback may be wanted."""
    return f"{message_id}/w"


def duplicate_key(message_id: str, attempt: int) -> str:
    """The key of a second attempt that Meta has too."""
    return f"{message_id}/d/{attempt}"


def auth_key(phone_number_id: str) -> str:
    """The key of a number's failed authentications."""
    return f"auth/{phone_number_id}"


def hold_key(scope: str, target: str) -> str:
    """The key of a hold."""
    return f"hold/{scope}/{target}"


def spared_key(line: str) -> str:
    """The key of a person whom Meta keeps from marketing."""
    return f"spared/{line}"


def throttle_key(number: str) -> str:
    """The key of a number's newest cut of its rate."""
    return f"throttle/{number}"


def places_key(portfolio_id: str, home: str) -> str:
    """The key of what a home used of its portfolio's places."""
    return f"places/{portfolio_id}/{home}"


def cancel_key(kind: str, target: str) -> str:
    """The key of a cancel command; a later one of the same target takes its place."""
    return f"cancel/{kind}/{target}"


def priority_key(kind: str, target: str) -> str:
    """The key of a priority given to a message or a run; a later one takes its place."""
    return f"priority/{kind}/{target}"


def pause_key(run_id: str) -> str:
    """The key of the newest word on whether a run is paused."""
    return f"pause/{run_id}"


def command_key(command_id: str) -> str:
    """The key of a resolution."""
    return f"command/{command_id}"


def clock_key(seq: int) -> str:
    """The key of a step of the clock; each has its own, for it is said of the entries before it."""
    return f"clock/{seq}"


def message_id_of(key: str) -> str:
    """The message of an order, end, step or conflict key."""
    return key.partition("/")[0]


def instant(at: float) -> datetime:
    """Unix seconds as a timezone-aware datetime."""
    return datetime.fromtimestamp(at, UTC)


def to_the_microsecond(at: float) -> float:
    """Unix seconds as they are once they were an `instant`: sums and clocks lie fractions of a microsecond beside."""
    return round(at, 6)


def encoded(entry: Entry) -> bytes | None:
    """The record's value, a JournalRecord; None of a tombstone. It has no headers (ADR 24)."""
    _, seq, kind, at, home, data = entry
    if data is None:
        return None
    return orjson.dumps({"home": home, "seq": seq, "kind": kind, "at": _written(at), "data": data})


@lru_cache(maxsize=64)  # the entries of a round have one instant
def _written(at: float) -> str:
    return instant(at).isoformat()


@lru_cache(maxsize=64)
def seconds_of(at: str) -> float:
    """Unix seconds of a record's `at`."""
    return datetime.fromisoformat(at).timestamp()


class Record(msgspec.Struct, Generic[Read], gc=False):
    """A record's value; `data` as far as a reader wants it."""

    home: str
    seq: int
    kind: str
    at: str
    data: Read


_read = msgspec.json.Decoder(Record[Data]).decode


def decoded(key: bytes, value: bytes | None) -> Entry:
    """An entry as it was committed. Raises ValueError for bytes that no lane wrote: the lane must not guess."""
    if value is None:
        return Entry(key.decode(), -1, "tombstone", 0.0, "", None)
    record = _read(value)
    return made(Entry, (key.decode(), record.seq, record.kind, seconds_of(record.at), record.home, record.data))


made = tuple.__new__
"""An Entry as its own constructor makes it, without a function in between: a recovery makes a million."""
