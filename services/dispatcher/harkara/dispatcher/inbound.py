"""What people write counts into a number's throughput as what we send does (Meta: 80/s, inbound and outbound together).

So each lane hears `inbound-messages`: from its end and without ever committing, because only the newest second counts
and what was missed is over. Nothing of it is journaled, and of each record only the number and the time are read; where
the number shows that it types, also who wrote and which message it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import orjson
from confluent_kafka import Message as Record

from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.state import LaneState

FRESH_SECONDS = 5.0  # Meta's stamps are whole seconds, and webhook and normaliser take their time; older is a backlog


def hear(state: LaneState, around: Surroundings, records: Iterable[Record], now: float) -> None:
    """Count those that Meta counts now, each into its own number's second."""
    for record in records:
        written = written_in(record.value())
        if written is None or written.number not in around.fleet:
            continue
        lane = state.number(written.number)
        if now - written.sent_at <= FRESH_SECONDS:
            lane.pace.note_inbound(now)
        if lane.pace.limits.typing_seconds[1] and written.wamid is not None and written.person_key is not None:
            lane.heard.note(written.person_key, written.wamid)


class Written(NamedTuple):
    """What somebody wrote: to which number, when (Unix seconds), who and which message."""

    number: str
    sent_at: float
    person_key: str | None
    wamid: str | None


def written_in(value: bytes | None) -> Written | None:
    """A record of `inbound-messages`; None for what is no message (the guard quarantines it)."""
    try:
        event = orjson.loads(value or b"")
        sent_at = datetime.fromisoformat(event["sent_at"]).timestamp()
        person_key, wamid = event.get("person_key"), event.get("wamid")
        return Written(str(event["phone_number_id"]), sent_at, _text(person_key), _text(wamid))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
