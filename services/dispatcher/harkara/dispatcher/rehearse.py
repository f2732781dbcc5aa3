"""A message of a dry run: its way is decided as any other's, its request is built, and then nothing is called (ING-21).

What is scheduled is decided as in its slot, as far as is known now. It ends at once as `rehearsed`. Its reason's
details say by which `number`, in which `form`, by which `template`, `at` what time its call would have started, and a
SHA-256 of the `request`; or why it would have been `held`, and `until` when.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import orjson
from pydantic import ValidationError

from harkara.dispatcher import causes
from harkara.dispatcher.contacts import one_too_many
from harkara.dispatcher.journal import instant
from harkara.dispatcher.message import Course
from harkara.dispatcher.orders import seconds
from harkara.dispatcher.places import HELD_FOR_A_PLACE
from harkara.dispatcher.plan import Go, Over, Surroundings, Wait, Way, decided, number_obstacle, way_of
from harkara.dispatcher.rehearsal import rehearsal_of
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.senders import body_of
from harkara.dispatcher.state import Message


def rehearse(scribe: Scribe, around: Surroundings, message: Message) -> None:
    """End it as what would have become of it."""
    slot = _slot(message, scribe.now)
    then = {} if slot is None else {"as_of": slot}
    at = scribe.now if slot is None else slot
    way = _way_at(scribe, around, message, at)
    if isinstance(way, Over):
        why = decided(around, message, way) | then
        scribe.end(message, way.status, message.attempt + 1, reason=way.reason, **why)
        return
    if isinstance(way, Wait):
        until = {} if way.until is None else {"until": instant(way.until).isoformat()}
        why = _why(around, None if way.by is None else way.by(message)) | then
        scribe.end(message, "rehearsed", 1, reason="dry_run", details={"held": way.reason} | until, **why)
        return
    if one_too_many(scribe, around, message, way, at):
        return
    request = _request_hash(message, way)
    if request is None:
        why = causes.decided(around.policy.version, causes.request(way.candidate.form, way.template))
        scribe.end(message, "failed_unsent", 1, reason="request_invalid", **why)
        return
    number, form = way.candidate.number, way.candidate.form
    called_at = _call_at(scribe, around, message, number, slot)
    details = {"number": number, "form": form, "request": request}
    details |= {} if way.template is None else {"template": way.template}
    details |= {} if called_at is None else {"at": instant(called_at).isoformat()}
    told = {"number": number, "form": form, "template": way.template}
    scribe.end(message, "rehearsed", 1, reason="dry_run", details=details, **told, **_why(around))


def _why(around: Surroundings, held: causes.Inputs | None = None) -> dict[str, Any]:
    return causes.decided(around.policy.version, causes.dry_run(held))


def _slot(message: Message, now: float) -> float | None:
    """When its turn begins, where that is to come (Unix seconds)."""
    not_before = message.content.get("not_before")
    slot = None if not_before is None else seconds(not_before)
    return slot if slot is not None and slot > now else None


def _way_at(scribe: Scribe, around: Surroundings, message: Message, at: float) -> Way:
    """Its way then. A place of its portfolio that is free by then is none to wait for."""
    way = way_of(scribe.state, around, message, at)
    if not (isinstance(way, Wait) and way.reason in HELD_FOR_A_PLACE and way.until is not None and way.until <= at):
        return way
    numbers = {each.number: around.fleet[each.number] for each in message.plan if each.number in around.fleet}
    fleet = {number: replace(facts, limited=False) for number, facts in numbers.items()}
    return way_of(scribe.state, replace(around, fleet=fleet), message, at)


def _call_at(scribe: Scribe, around: Surroundings, message: Message, number: str, slot: float | None) -> float | None:
    state, now = scribe.state, scribe.now
    obstacle = number_obstacle(state, around, number, now)
    held_until = 0.0 if obstacle is None else obstacle.until
    rehearsal = rehearsal_of(state.rehearsals.get(number), state.number(number), held_until, message.priority, now)
    state.rehearsals[number] = rehearsal
    at = rehearsal.next_at(now)
    return at if at is None or slot is None else max(at, slot)


def _request_hash(message: Message, way: Go) -> str | None:
    """Of the request as it would have been written, but with the pseudonym for phone number or user id: a plain hash of
    a number and a text that others know is soon guessed. None where the order cannot be made into a request."""
    swapped = way.template if way.template != message.template_key else None
    course = Course(number=way.candidate.number, form=way.candidate.form, template=swapped)
    try:
        body = body_of(replace(message, attempt=1, course=course))
    except (ValidationError, ValueError, KeyError):
        return None
    named = {name: value for name, value in body.items() if name != "recipient"} | {"to": message.person_key}
    return hashlib.sha256(orjson.dumps(named, option=orjson.OPT_SORT_KEYS)).hexdigest()
