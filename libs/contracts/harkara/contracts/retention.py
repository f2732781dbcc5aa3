"""How long Kafka's copies of what is known of a person last: worked out from the table of topics (CMP-12)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from harkara.contracts.event import Instant, Value
from harkara.contracts.topics import DAY_MS, TOPICS, Topic

SEGMENT_MS = 7 * DAY_MS  # Kafka's own `segment.ms`, where a topic says none: a record goes with its segment's newest
Holds = Literal["name_and_content", "pseudonym"]


class Copy(Value):
    """What one topic has of a person: their phone or user id and what was written (`name_and_content`), or events about
    their pseudonym, with Meta's ids of their messages, in which the phone number can be read. `until`: when the last of
    it is gone by itself; None: for the reason in `why`."""

    topic: str
    holds: Holds
    until: Instant | None = None
    why: str


def copies(at: datetime, topics: Iterable[Topic] = TOPICS) -> tuple[Copy, ...]:
    """Every topic that may have something of a person from before `at`, which nobody adds to: the soonest gone first,
    then what stays."""
    found = [_copy(topic, at) for topic in topics if topic.personal_data or topic.pseudonyms]
    return tuple(sorted(found, key=lambda copy: (copy.until is None, copy.until or at, copy.topic)))


def lasts(topic: Topic) -> timedelta | None:
    """For how long at most a topic has a record: its retention, and the segment that the record is in. None where time
    alone ends nothing."""
    if topic.compacted or topic.retention_days is None:
        return None
    return timedelta(days=topic.retention_days, milliseconds=int(topic.configs().get("segment.ms", SEGMENT_MS)))


def _copy(topic: Topic, at: datetime) -> Copy:
    holds: Holds = "name_and_content" if topic.personal_data else "pseudonym"
    longest = lasts(topic)
    if longest is not None:
        why = f"kept {topic.retention_days} days, and until its segment is closed: {topic.about}"
        return Copy(topic=topic.name, holds=holds, until=at + longest, why=why)
    kept = "each key's newest record stays until it is replaced or taken out" if topic.compacted else "kept"
    return Copy(topic=topic.name, holds=holds, why=f"{kept}: {topic.about}")
