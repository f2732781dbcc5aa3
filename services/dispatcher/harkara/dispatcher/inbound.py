"""What people write counts into a number's throughput as what we send does (Meta: 80/s, inbound and outbound together).

So each lane hears `inbound-messages`: from its end and without ever committing, because only the newest second counts
and what was missed is over. Nothing of it is journaled, and of each record only the number and the time are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import orjson
from confluent_kafka import Message as Record

from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.state import LaneState

FRESH_SECONDS = 5.0  # Meta's stamps are whole seconds, and webhook and normaliser take their time; older is a backlog


def hear(state: LaneState, around: Surroundings, records: Iterable[Record], now: float) -> None:
    """Count those that Meta counts now, each into its own number's second."""
    for record in records:
        number = number_of(record.value(), now)
        if number is not None and number in around.fleet:
            state.number(number).pace.note_inbound(now)


def number_of(value: bytes | None, now: float) -> str | None:
    """The number that a fresh message was written to; None for an old one and for what is no message (the guard
    quarantines it)."""
    try:
        event = orjson.loads(value or b"")
        sent_at = datetime.fromisoformat(event["sent_at"]).timestamp()
        return str(event["phone_number_id"]) if now - sent_at <= FRESH_SECONDS else None
    except (ValueError, KeyError, TypeError):
        return None
