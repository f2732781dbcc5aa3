"""What ingestion decides, without a clock, a broker or HTTP: who sends, which intents, which changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from harkara.contracts.event import Event, Instant, event_id
from harkara.contracts.intents import DEFAULT_LIFE, LATEST_START, SendIntent, Template
from harkara.contracts.runs import AudienceRow
from harkara.contracts.topics import SEND_INTENTS, SEND_INTENTS_URGENT, WEBHOOK_EVENTS, WEBHOOK_EVENTS_URGENT, Topic
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.requests import (
    AudienceEntry,
    BatchMessage,
    RunRequest,
    SendRequest,
    entry_category,
    entry_content,
)
from harkara.policy.governance import Governance

URGENT = 3
SLICE_BYTES = 400_000  # of a change's JSON: far below Kafka's default limit of 1 MB a record, which a batch may reach


@dataclass(frozen=True, slots=True)
class Emission:
    """An event to be written: on which topic, in whose partition, under which key, with which deterministic id."""

    topic: Topic
    partition_key: str
    key: str
    event: Event
    id: str
    subject: str | None = None


# --- who sends ---------------------------------------------------------------------------------------------------


class UnknownSender(Exception):
    """No sender was named and the key has none, or the governance file does not know it."""


class ForbiddenSender(Exception):
    """The API key speaks for another sender."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A pool or a phone_number_id, and its home."""

    name: str
    home: str


def resolve_sender(governance: Governance, fixed: str | None, session_id: str | None, phone: str | None) -> Sender:
    """The sender that a request means (ING-10): named by id or pool, by display number, or fixed by its API key.

    A key with a fixed sender may name that one, or a number of it where it is a pool, and nothing else.
    """
    name = session_id or fixed
    if phone is not None:
        number = governance.number_by_display(phone)
        if number is None:
            raise UnknownSender("no sender number is displayed as `phone`")
        name = number.phone_number_id
    if name is None:
        raise UnknownSender("name the sender by sessionId or phone; this API key has no fixed one")
    home = governance.home_of(name)
    if home is None:
        raise UnknownSender("the sender is neither a pool nor a phone_number_id of the governance file")
    if fixed is not None and fixed not in (name, home):
        raise ForbiddenSender("this API key speaks for another sender")
    return Sender(name, home)


def choose_sender(senders: Mapping[str, tuple[Sender, ...]], person: str) -> Sender:
    """The person's sender among `senders` by home: rendezvous hashing, so that adding a home moves only its share.

    Of several senders in one home the home itself is named: its lane chooses.
    """
    home = max(senders, key=lambda each: hashlib.sha256(f"{person}\x1f{each}".encode()).digest())
    found = senders[home]
    return found[0] if len(found) == 1 else Sender(home, home)


def by_home(senders: Iterable[Sender]) -> dict[str, tuple[Sender, ...]]:
    """The distinct senders of each home."""
    grouped: dict[str, tuple[Sender, ...]] = {}
    for sender in senders:
        if sender not in (known := grouped.get(sender.home, ())):
            grouped[sender.home] = (*known, sender)
    return grouped


# --- intents -----------------------------------------------------------------------------------------------------


def intent_of(
    body: SendRequest | BatchMessage,
    *,
    message_id: str,
    sender: Sender,
    producer: str,
    not_before: datetime | None = None,
) -> SendIntent:
    """The intent of one request: a function of the request alone, so that repeating it repeats the intent."""
    return SendIntent(
        message_id=message_id,
        sender=sender.name,
        to=body.to,
        user_id=body.user_id,
        category=body.category or "service",
        content=body.content(),
        fallback_template=body.fallback_template,
        fallback_content=body.fallback_content,
        fallback_after_seconds=body.fallback_after_seconds,
        fallback_if_undeliverable=body.fallback_if_undeliverable,
        priority=body.priority,
        producer=producer,
        not_before=not_before,
        expires_at=life_end(not_before, body.expires_at),
        duplicate_ok=body.duplicate_ok,
        language=body.language,
        time_zone=body.time_zone,
        send_window=body.send_window,
        metadata=body.metadata,
    )


def run_intent(
    run: RunRequest, entry: AudienceEntry, *, message_id: str, run_id: str, row: int, sender: Sender, producer: str
) -> SendIntent:
    """The intent of one row of a run. Raises ValueError where run and row do not make a message."""
    content = entry_content(run, entry)
    return SendIntent(
        message_id=message_id,
        sender=sender.name,
        to=entry.to,
        user_id=entry.user_id,
        category=entry_category(run, entry, content),
        content=content,
        fallback_template=run.fallback_template,
        fallback_content=run.fallback_content,
        fallback_if_undeliverable=run.fallback_if_undeliverable,
        priority=entry.priority or run.priority,
        producer=producer,
        run_id=run_id,
        row=row,
        expires_at=run.expires_at,
        language=entry.language if isinstance(content, Template) and content.variants else None,
        time_zone=entry.time_zone,
        send_window=run.send_window,
        dry_run=run.dry_run,
        metadata=run.metadata | (entry.metadata or {}),
    )


def life_end(not_before: datetime | None, expires_at: datetime | None) -> datetime | None:
    """The expiry that is written: the given one; else a scheduled message has its default life from its start."""
    if expires_at is None and not_before is not None:
        return not_before + DEFAULT_LIFE
    return expires_at


def timing_fault(now: datetime, starts_at: datetime | None, expires_at: datetime | None) -> str | None:
    """Why these times cannot be kept, or None."""
    if starts_at is not None and starts_at > now + LATEST_START:
        return f"the start must be within {LATEST_START.days} days"
    if expires_at is not None and expires_at <= max(now, starts_at or now):
        return "expiresAt must be in the future and after the start"
    return None


def slot(start: datetime, spread_minutes: float, index: int, count: int) -> datetime:
    """When message `index` (from 0) of `count` goes: start + index x (spread x 60,000 / count) ms (ING-2)."""
    return start + timedelta(milliseconds=int(index * (spread_minutes * 60_000 / count)))


def emission_of(intent: SendIntent, home: str) -> Emission:
    """The intent on its topic: urgent ones on the twin that is read first (ING-14), keyed by sender (ING-15)."""
    topic = SEND_INTENTS_URGENT if intent.priority == URGENT else SEND_INTENTS
    identity = event_id("intent", intent.message_id, intent.hash())
    return Emission(topic, home, intent.sender, intent, identity, intent.message_id)


def scheduled(intent: SendIntent, emit_at: datetime | None) -> SendIntent:
    """The intent of a run's row in its slot, as it is emitted, and so as it is resolved before: its life begins there.
    None: it goes at once."""
    if emit_at is None:
        return intent
    return intent.model_copy(update={"not_before": emit_at, "expires_at": life_end(emit_at, intent.expires_at)})


def emitted(row: AudienceRow) -> Emission:
    """The intent of a run's row; one whose slot is to come is scheduled by the lane, so nothing waits here."""
    return emission_of(scheduled(row.intent, row.emit_at), row.home)


def later(a: datetime | None, b: datetime | None) -> datetime | None:
    """The later of the times that are known."""
    return max(a, b) if a is not None and b is not None else b if a is None else a


def completion(slot: datetime | None, paced: datetime | None, placed: datetime | None) -> datetime | None:
    """When the last message of a run goes; None where nobody knows how fast its numbers go. `slot`: of the last row
    (None: all go at once). `paced`: when the numbers' pace lets it go (None: not known). `placed`: when its portfolio
    has a place for it (None: nobody waits for one). Without the pace the other two are only the earliest."""
    return None if paced is None else later(later(slot, placed), paced)


# --- webhooks ----------------------------------------------------------------------------------------------------


KeyOf = Callable[[str, Mapping[str, Any]], str]
"""The key of a change, by its entry's id and its value."""


class NotAWebhook(Exception):
    """The body is no webhook at all; `str()` says why, without a value of it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What of a webhook is not a change: why, and that part of it as it was parsed."""

    reason: str
    part: object


def split(
    body: object, digest: str, size: int, received_at: Instant, key_of: KeyOf | None = None
) -> tuple[list[Emission], list[Fault]]:
    """Every change of every entry (WHK-3) as one record, and what of the body is not a change.

    `digest` identifies the raw bytes, so the same body gives the same ids; `size` is their number. A change that is
    larger than a record should be is cut into several, each with a part of its statuses and messages. `key_of` gives
    a record's key by the entry's id and the value (default: the phone number id, else the entry's).

    Meta's own reference has partners' events without `object`, and with `field` beside the changes or in the value:
    what it names there is taken.
    """
    if not isinstance(body, dict) or not isinstance(entries := body.get("entry"), list):
        raise NotAWebhook("the body has no list of entries")
    if body.get("object") not in (None, "whatsapp_business_account"):
        raise NotAWebhook("the object is not whatsapp_business_account")
    found: list[Emission] = []
    faults: list[Fault] = []
    for place, entry in enumerate(entries):
        changes = entry.get("changes") if isinstance(entry, dict) else None
        if not isinstance(changes, list):
            faults.append(Fault(f"entry[{place}] has no list of changes", entry))
            continue
        for number, change in enumerate(changes):
            field = _field_of(change, entry)
            if field is None:
                alone = {"id": entry.get("id"), "changes": [change]}
                faults.append(Fault(f"entry[{place}].changes[{number}] has no field or no value", alone))
                continue
            for part, value in enumerate(_slices(change["value"], size)):
                identity = event_id(digest, place, number, part)
                found.append(_change(entry, field, value, identity, received_at, key_of or _named_key))
    return found, faults


def _field_of(change: object, entry: Mapping[str, Any]) -> str | None:
    """The field of a change with a value; None of what is no change."""
    if not isinstance(change, dict) or not isinstance(value := change.get("value"), dict):
        return None
    named = (place.get("field") for place in (change, entry, value))
    return next((field for field in named if isinstance(field, str)), None)


def _change(
    entry: dict[str, Any], field: str, value: dict[str, Any], identity: str, received_at: Instant, key_of: KeyOf
) -> Emission:
    at = entry.get("time")
    event = WebhookChange(
        entry_id=str(entry.get("id", "")),
        field=field,
        value=value,
        entry_time=at if isinstance(at, int) and not isinstance(at, bool) else None,
        received_at=received_at,
    )
    key = key_of(event.entry_id, value)
    return Emission(_topic_of(field, value), key, key, event, identity)


def _topic_of(field: str, value: Mapping[str, Any]) -> Topic:
    """A STOP must not wait behind the statuses of the campaign that it is about, of which one message has three."""
    return WEBHOOK_EVENTS_URGENT if field == "user_preferences" or "messages" in value else WEBHOOK_EVENTS


def _named_key(entry_id: str, value: Mapping[str, Any]) -> str:
    return phone_number_id_of(value) or entry_id


def phone_number_id_of(value: Mapping[str, Any]) -> str | None:
    """`metadata.phone_number_id` of a change's value, or where it stands in notices of settings and of handovers."""
    places = (value.get(name) for name in ("metadata", "phone_number_settings", "recipient"))
    ids = (place.get("phone_number_id") for place in places if isinstance(place, dict))
    return next((str(found) for found in ids if isinstance(found, str | int) and found), None)


def _slices(value: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
    """The value itself; or, of a body so large that it might not fit, several with a share of the lists each."""
    lists = {key: value[key] for key in ("statuses", "messages") if isinstance(value.get(key), list)}
    longest = max((len(items) for items in lists.values()), default=0)
    pieces = min(-(-size // SLICE_BYTES), longest)
    if pieces <= 1:
        yield value
        return
    rest = {key: part for key, part in value.items() if key not in lists}
    step = -(-longest // pieces)
    for start in range(0, longest, step):
        shares = {key: items[start : start + step] for key, items in lists.items()}
        yield rest | {key: share for key, share in shares.items() if share}
