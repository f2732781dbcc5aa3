"""How a recorded consent becomes the event of it, whichever way it came: by the API or by Kafka."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

from harkara.contracts.consent import Change, ConsentEvent, Purpose, Source


class Record(Protocol):
    """What is recorded; `at` None: now."""

    @property
    def standing(self) -> Change: ...
    @property
    def purpose(self) -> Purpose | Literal["all"] | None: ...
    @property
    def at(self) -> datetime | None: ...
    @property
    def until(self) -> datetime | None: ...
    @property
    def origin(self) -> str: ...
    @property
    def proof(self) -> str: ...
    @property
    def language(self) -> str | None: ...


def recorded(
    record: Record, *, identity: str, person_key: str, source: Source, actor: str, received_at: datetime
) -> ConsentEvent:
    """The event; the same for the same record. `received_at` is when we got it.

    Nothing is said in the future: a clock that is ahead would win over every word until then. An opt-out cancels what
    was accepted until it reached us, whenever it was said.
    """
    return ConsentEvent(
        event_id=identity,
        person_key=person_key,
        standing=record.standing,
        purpose=None if record.purpose in (None, "all") else record.purpose,
        source=source,
        at=min(record.at or received_at, received_at),
        until=record.until,
        cancels_until=received_at if record.standing in ("opted_out", "blocked") else None,
        proof=record.proof,
        origin=record.origin,
        language=record.language,
        actor=actor,
    )
