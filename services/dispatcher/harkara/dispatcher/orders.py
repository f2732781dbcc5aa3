"""An order of the wire as a lane's message, and back: the order that a message was made of is told from the message,
so it is not kept besides."""

from __future__ import annotations

import sys
from datetime import datetime
from functools import lru_cache
from typing import Any

from harkara.dispatcher.journal import instant
from harkara.dispatcher.message import Candidate, Hours, Message, Traits, other_names
from harkara.dispatcher.sealed import seal
from harkara.policy.template_values import brought_in

MEDIA = frozenset({"image", "video", "audio", "document", "sticker"})
CONTENT = ("to", "user_id", "session", "template", "answers", "fallback", "instead_of", "marks")


def message_of(order: dict[str, Any], seq: int, trace: str | None, *, packed: bool = True) -> Message:
    """The live message of a DispatchOrder's JSON; `packed`: it may wait long, and is to be small."""
    template = order.get("template")
    names = (*CONTENT, "dry_run", "not_before") if order.get("dry_run") else CONTENT
    content = {name: value for name in names if (value := order.get(name)) is not None}
    return Message(
        order["message_id"],
        seq,
        order["person_key"],
        order["priority"],
        _shared(tuple([_candidate(each) for each in order["plan"]])),
        _traits(
            order["home"],
            order["category"],
            order["producer"],
            None if template is None else f"{template['name']}:{template['language']}",
            order.get("run_id"),
            order.get("duplicate_ok", False),
            order["policy_version"],
            has_media(order),
            order.get("answers") is not None,
            _hours(tuple((each["start"], each["end"]) for each in order["hours"])) if "hours" in order else (),
            order.get("dry_run", False),
            _backups(template),
            "fallback" in order,
            order.get("instead_of", 0),
            () if template is None else brought_in(template),
        ),
        seal(order["intent_hash"], trace, content, packed=packed),
        seconds(order["received_at"]),
        seconds(order["expires_at"]),
        other=other_names(order),
    )


def order_of(message: Message) -> dict[str, Any]:
    """The JSON of the DispatchOrder that a live message was made of."""
    order = {
        "message_id": message.message_id,
        "home": message.home,
        "intent_hash": message.intent_hash,
        "person_key": message.person_key,
        "line": None if message.line == message.person_key else message.line,
        "also_key": None if message.other is None else message.other.also,
        "category": message.category,
        "priority": message.priority,
        "producer": message.producer,
        "plan": [
            {"phone_number_id": number, "form": form, "valid_until": None if until is None else _iso(until)}
            for number, form, until in message.plan
        ],
        "run_id": message.run_id,
        "expires_at": _iso(message.expires_at),
        "received_at": _iso(message.received_at),
        "duplicate_ok": message.duplicate_ok,
        "hours": [{"start": _iso(start), "end": _iso(end)} for start, end in message.hours] or None,
        "policy_version": message.policy_version,
    }
    return {name: value for name, value in (order | message.content).items() if value is not None}


def _backups(template: dict[str, Any] | None) -> tuple[str, ...]:
    """The keys of the template in its other languages, the best first."""
    others = () if template is None else template.get("variants") or ()
    return tuple(f"{template['name']}:{each['language']}" for each in others) if template is not None else ()


def _iso(at: float) -> str:
    return instant(at).isoformat()


def has_media(order: dict[str, Any]) -> bool:
    """Whether an order's JSON carries a file."""
    session, template = order.get("session"), order.get("template")
    return (session is not None and _is_media(session)) or (template is not None and _is_media(template))


def _is_media(content: dict[str, Any]) -> bool:
    """A file by itself, or as a template's header."""
    return content["type"] in MEDIA or isinstance(content.get("header"), dict)


_traits = lru_cache(maxsize=4096)(Traits)


@lru_cache(maxsize=4096)  # plans without an end are the same for a whole run: 120 bytes less a message
def _shared(plan: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    return plan


@lru_cache(maxsize=4096)  # a run's recipients in one zone have the same
def _hours(told: tuple[tuple[str, str], ...]) -> tuple[Hours, ...]:
    return tuple(Hours(seconds(start), seconds(end)) for start, end in told)


def _candidate(each: dict[str, Any]) -> Candidate:
    until = each.get("valid_until")
    endless = _endless(each["phone_number_id"], each["form"])
    return endless if until is None else endless._replace(valid_until=seconds(until))


@lru_cache(maxsize=4096)  # two forms of a thousand numbers
def _endless(number: str, form: str) -> Candidate:
    return Candidate(sys.intern(number), "template" if form == "template" else "session", None)


@lru_cache(maxsize=1024)  # a run's messages have their times in common
def seconds(instant: str) -> float:
    """An ISO instant of the wire as Unix seconds."""
    return datetime.fromisoformat(instant).timestamp()
