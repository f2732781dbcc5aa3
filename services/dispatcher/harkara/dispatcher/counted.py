"""Which attempts of a message count as contacts after an entry: what a step, an end or an order that goes on says.

The entry's `contact` is {persons: [key, ...], category, attempts: [[number, Unix seconds, mark], ...]}: the whole of it
each time, so that the newest entry of a key says everything after compaction. An entry without one changes nothing.
`persons` are the names by which the order knows its recipient; most have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harkara.dispatcher.message import DOUBTFUL, WAITING, Message
from harkara.dispatcher.recent import Attempt, Recent

RESENT = "resend_granted"
"""The reason of the one step from a doubt to waiting that does not say that Meta surely has nothing."""


def recall(recent: Recent, contact: Mapping[str, Any], written_at: float, message_id: str, home: str) -> None:
    """Take what an entry says of its message's contacts, which are its home's."""
    attempts = [Attempt(number, at, mark) for number, at, mark in contact["attempts"]]
    for person_key in contact["persons"]:
        recent.put(person_key, contact["category"], message_id, attempts, written_at, home)


def after_step(recent: Recent, message: Message, status: str, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The `contact` of a step to this status; None where there is nothing to say."""
    known = _known(recent, message)
    if status == "attempting":
        if not _concerned(recent, message):
            return _told(message, known) if known else None
        mark = mark_of(recent, message, changes["form"])
        return _told(message, [*known, Attempt(changes["attempt"], changes["called_at"], mark)])
    if not known:
        return None
    under_way = message.status == "attempting" or message.status in DOUBTFUL
    if under_way and status in WAITING and changes.get("reason") != RESENT:
        known = _without(known, message.attempt)
    return _told(message, known)


def after_end(
    recent: Recent, message: Message, status: str, event_attempt: int, facts: Mapping[str, Any], now: float
) -> dict[str, Any] | None:
    """The `contact` of an end, where it says anything else than the newest step, which is kept as long.

    An attempt that was refused, and of which Meta now shows that it has it, counts: from its call, or from `now` (Unix
    seconds) where that is not known. The end of a message that went on and was not called since takes the place of
    the order that said what counts, so it says so itself: the newest step may be of before its former end.
    """
    known, went_on = _known(recent, message), message.attempt > 0 and message.course.number is None
    if not (known or went_on or _concerned(recent, message)):
        return None
    withdrawn, newer = facts.get("withdrawn") or (0, "")
    after = _without(known, withdrawn) if newer == "cancelled" else known
    if status in ("failed_unsent", "cancelled", "expired"):
        after = _without(after, event_attempt)
    elif status == "submitted" and _is_news(recent, message, event_attempt, after, known):
        mark = mark_of(recent, message, message.form or "")
        after = [*after, Attempt(event_attempt, message.called_at or now, mark)]
    return None if after == known and not went_on else _told(message, after)


def of_order(recent: Recent, order: Mapping[str, Any]) -> dict[str, Any]:
    """The `contact` of an order by which a message goes on that had ended: it takes the place of the end."""
    person_key, also = order["person_key"], order.get("also_key")
    known = recent.attempts(person_key, order["category"], order["message_id"], order["home"])
    return _contact([person_key] if also is None else [person_key, also], order["category"], known)


def mark_of(recent: Recent, message: Message, form: str) -> str:
    """The mark of what the message says in this form; empty where the order has none, or nobody asks."""
    if message.category not in recent.rules.marked:
        return ""
    return str((message.content.get("marks") or {}).get("fallback" if message.traits.instead_of else form) or "")


def _known(recent: Recent, message: Message) -> list[Attempt]:
    return recent.attempts(message.person_key, message.category, message.message_id, message.home) if recent else []


def _concerned(recent: Recent, message: Message) -> bool:
    """A confirmation of the person's own command is no contact."""
    rules, traits = recent.rules, message.traits
    return bool(rules.looks_at) and not traits.answers and rules.concern(traits.category)


def _is_news(recent: Recent, message: Message, attempt: int, after: list[Attempt], known: list[Attempt]) -> bool:
    """Whether an attempt that Meta has does not count yet, and should."""
    return all(each.number != attempt for each in after) and (bool(known) or _concerned(recent, message))


def _without(attempts: list[Attempt], number: int) -> list[Attempt]:
    return [each for each in attempts if each.number != number]


def _told(message: Message, attempts: list[Attempt]) -> dict[str, Any]:
    return _contact([*message.names], message.category, attempts)


def _contact(names: list[str], category: str, attempts: list[Attempt]) -> dict[str, Any]:
    return {"persons": names, "category": category, "attempts": [[*each] for each in attempts]}
