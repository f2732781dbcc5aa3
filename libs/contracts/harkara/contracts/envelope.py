"""CloudEvents 1.0 in Kafka's binary mode: the event is the value (JSON), everything about it is in headers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from harkara.contracts.event import Event

Headers = list[tuple[str, bytes]]

CONTENT_TYPE = b"application/json"
LONGEST_REASON = 2000  # characters of an error kept in a DLQ header: enough to act on, short enough for a header


class Undecodable(Exception):
    """A record that is not one of the topic's events. `str()` says what to mend and holds no value of the record."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event as read: `id` is unique per `source`; `subject` is the message id on the message path."""

    event: Event
    id: str
    source: str
    time: datetime | None
    subject: str | None
    traceparent: str | None


def encode(
    event: Event,
    *,
    event_id: str,
    source: str,
    time: datetime,
    subject: str | None = None,
    traceparent: str | None = None,
) -> tuple[bytes, Headers]:
    """The record's value and headers. `time` is the event's, timezone-aware."""
    at = time.isoformat().encode()
    return encode_at(at, event, event_id=event_id, source=source, subject=subject, traceparent=traceparent)


def encode_at(
    time: bytes, event: Event, *, event_id: str, source: str, subject: str | None = None, traceparent: str | None = None
) -> tuple[bytes, Headers]:
    """As `encode`; `time` as it is written, for who writes many events of one time."""
    headers: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event.ce_type.encode()),
        ("ce_time", time),
        ("content-type", CONTENT_TYPE),
    ]
    if subject is not None:
        headers.append(("ce_subject", subject.encode()))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return event.__pydantic_serializer__.to_json(event, exclude_none=True), headers  # the same bytes, in one go


def header(headers: Iterable[tuple[str, bytes]] | None, name: str) -> str | None:
    """The first header of that name as text, or None; bytes that are not UTF-8 are replaced, never an error."""
    for key, value in headers or ():
        if key == name and value is not None:
            return value.decode("utf-8", "replace")
    return None


def decode(
    kinds: Sequence[type[Event]], value: bytes | None, headers: Iterable[tuple[str, bytes]] | None, *, fallback_id: str
) -> Envelope:
    """Parse a record as one of `kinds`.

    A record without `ce_type` is taken as the topic's only kind, so that a console producer needs no headers; its
    id is then `fallback_id` (topic, partition and offset). Raises `Undecodable`.
    """
    about = _by_name(headers)
    return Envelope(
        event=decode_event(kinds, value, _text(about.get("ce_type"))),
        id=_text(about.get("ce_id")) or fallback_id,
        source=_text(about.get("ce_source")) or "unknown",
        time=_instant(_text(about.get("ce_time"))),
        subject=_text(about.get("ce_subject")),
        traceparent=_text(about.get("traceparent")),
    )


def decode_event(kinds: Sequence[type[Event]], value: bytes | None, named: str | None) -> Event:
    """As `decode`, the event alone: for who reads many and looks at their headers itself. `named`: its `ce_type`."""
    if value is None:
        raise Undecodable("the record has no value")
    if named is None and len(kinds) == 1:
        kind: type[Event] = kinds[0]
    else:
        found = next((k for k in kinds if k.ce_type == named), None)
        if found is None:
            raise Undecodable(f"ce_type {named!r} is not one of {', '.join(k.ce_type for k in kinds)}")
        kind = found
    try:
        return kind.model_validate_json(value)
    except ValidationError as error:
        raise Undecodable(explain(error)) from None


def explain(error: ValidationError) -> str:
    """Every field that is wrong and why, without the values (they may be personal data)."""
    rows = (f"{'.'.join(map(str, e['loc'])) or '(record)'}: {e['msg']}" for e in error.errors(include_input=False))
    return "; ".join(rows)[:LONGEST_REASON]


def _by_name(headers: Iterable[tuple[str, bytes]] | None) -> dict[str, bytes]:
    """The first value of each name."""
    about: dict[str, bytes] = {}
    for key, value in headers or ():
        if value is not None:
            about.setdefault(key, value)
    return about


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
