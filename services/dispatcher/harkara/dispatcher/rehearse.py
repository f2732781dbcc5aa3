"""A message of a dry run: its way is decided as any other's, its request is built, and then nothing is called (ING-21).

It ends at once as `rehearsed`. Its reason's details say by which `number`, in which `form`, by which `template`, `at`
what time its call would have started, and a SHA-256 of the `request`; or why it would have been `held`, and `until`
when.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import orjson
from pydantic import ValidationError

from harkara.dispatcher.contacts import one_too_many
from harkara.dispatcher.journal import instant
from harkara.dispatcher.message import Course
from harkara.dispatcher.orders import seconds
from harkara.dispatcher.plan import Go, Over, Surroundings, Wait, number_obstacle, way_of
from harkara.dispatcher.rehearsal import rehearsal_of
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.senders import body_of
from harkara.dispatcher.state import Message


def rehearse(scribe: Scribe, around: Surroundings, message: Message) -> None:
    """End it as what would have become of it."""
    way = way_of(scribe.state, around, message, scribe.now)
    if isinstance(way, Over):
        scribe.end(message, way.status, message.attempt + 1, reason=way.reason)
        return
    if isinstance(way, Wait):
        until = {} if way.until is None else {"until": instant(way.until).isoformat()}
        scribe.end(message, "rehearsed", 1, reason="dry_run", details={"held": way.reason} | until)
        return
    if one_too_many(scribe, around, message, way):
        return
    request = _request_hash(message, way)
    if request is None:
        scribe.end(message, "failed_unsent", 1, reason="request_invalid")
        return
    number, form = way.candidate.number, way.candidate.form
    at = _call_at(scribe, around, message, number)
    details = {"number": number, "form": form, "request": request}
    details |= {} if way.template is None else {"template": way.template}
    details |= {} if at is None else {"at": instant(at).isoformat()}
    told = {"number": number, "form": form, "template": way.template}
    scribe.end(message, "rehearsed", 1, reason="dry_run", details=details, **told)


def _call_at(scribe: Scribe, around: Surroundings, message: Message, number: str) -> float | None:
    state, now = scribe.state, scribe.now
    obstacle = number_obstacle(state, around, number, now)
    held_until = 0.0 if obstacle is None else obstacle.until
    rehearsal = rehearsal_of(state.rehearsals.get(number), state.number(number), held_until, message.priority, now)
    state.rehearsals[number] = rehearsal
    at = rehearsal.next_at(now)
    not_before = message.content.get("not_before")
    return at if at is None or not_before is None else max(at, seconds(not_before))


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
