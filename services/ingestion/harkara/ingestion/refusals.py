"""What several routes refuse in the same words, and what is said of it in the API's description."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Depends, Header
from fastapi.security import HTTPBearer

from harkara.ingestion import core
from harkara.runtime.problems import MEDIA_TYPE, Problem, validation_problem

_KEY = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)

IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", description="1 to 200 visible characters")]
DOCUMENTED = [Depends(HTTPBearer(auto_error=False, description="an API key; or in X-API-Key"))]


def problem_answers(*codes: str) -> dict[int | str, dict[str, Any]]:
    """For a route's description: its refusals by status, with an example of each code."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in ("UNAUTHORIZED", "ROLE_REQUIRED", *codes, "UNAVAILABLE"):
        problem = _PROBLEMS[code]
        answer = found.setdefault(problem.status, {"description": "", "content": {MEDIA_TYPE: {"examples": {}}}})
        answer["description"] = "; ".join(filter(None, (answer["description"], problem.title)))
        answer["content"][MEDIA_TYPE]["examples"][code] = {"value": problem.body()}
    return found


def checked(idempotency_key: str | None) -> str | None:
    """The client's name for its request as it was given. Raises Problem 422."""
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        row = {"type": "value_error", "loc": ("header", "Idempotency-Key"), "msg": "1 to 200 visible ASCII characters"}
        raise validation_problem([row])
    return idempotency_key


def required(idempotency_key: str | None) -> str:
    """The same where it must be given. Raises Problem 400 or 422."""
    given = checked(idempotency_key)
    if given is None:
        raise _PROBLEMS["IDEMPOTENCY_KEY_REQUIRED"]
    return given


def unknown_sender(error: core.UnknownSender) -> Problem:
    """422."""
    return Problem(422, "UNKNOWN_SENDER", "The sender is not known", str(error))


def forbidden_sender(error: core.ForbiddenSender) -> Problem:
    """403."""
    return Problem(403, "SENDER_NOT_ALLOWED", "The API key may not use this sender", str(error))


_PROBLEMS = {
    each.code: each
    for each in (
        Problem(
            400,
            "IDEMPOTENCY_KEY_REQUIRED",
            "An Idempotency-Key header is needed",
            "Without one, a request repeated after a lost answer would send every message twice.",
        ),
        Problem(401, "UNAUTHORIZED", "A valid API key is needed"),
        Problem(403, "ROLE_REQUIRED", "The API key may not do this", "It needs the role `send`."),
        forbidden_sender(core.ForbiddenSender("this API key speaks for another sender")),
        Problem(404, "NOT_FOUND", "No such run", "No run of that name is known here (yet)."),
        Problem(409, "IDEMPOTENCY_CONFLICT", "The Idempotency-Key was used for another request"),
        Problem(409, "AUDIENCE_CHANGED", "The audience or its verdicts are not what was previewed"),
        Problem(413, "PAYLOAD_TOO_LARGE", "The body is too large"),
        Problem(415, "UNSUPPORTED_MEDIA_TYPE", "Send application/json or multipart/form-data"),
        Problem(
            422,
            "VALIDATION_FAILED",
            "The request is not valid",
            errors=[{"field": "to", "message": "String should match pattern"}],
        ),
        unknown_sender(core.UnknownSender("name the sender by sessionId or phone; this API key has no fixed one")),
        Problem(429, "QUEUE_FULL", "Too many messages wait for this number"),
        Problem(429, "DAILY_LIMIT_REACHED", "The number's limit for 24 hours is reached"),
        Problem(503, "POLICY_FACTS_UNKNOWN", "Consent, windows or numbers are not known up to now"),
        Problem(503, "UNAVAILABLE", "Kafka did not acknowledge in time"),
    )
}
