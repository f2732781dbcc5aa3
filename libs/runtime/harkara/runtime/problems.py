"""RFC 9457 errors: every refusal of our HTTP APIs is `application/problem+json` with a machine's code in `code`.

No value that a client sent is repeated in an answer: it may be a phone or a text, and answers end up in logs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 100  # field errors listed in one answer: enough to mend a batch by, small enough for any client's buffer

log = structlog.get_logger()


class Problem(Exception):
    """Raise it in a route to refuse the request.

    `status` is the HTTP status, `code` a constant that clients may branch on (UPPER_SNAKE), `title` the same words for
    every problem of that code, `detail` what is wrong this time, `errors` one mapping per wrong field
    ({"field": dotted path, "message": what is expected}), `headers` are added to the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str = "",
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors: list[dict[str, Any]] = [dict(each) for each in errors]
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The answer's members; `errors` holds at most MOST_ERRORS, `errors_total` says how many there were."""
        found: dict[str, Any] = {
            "type": f"urn:harkara:problem:{self.code.lower().replace('_', '-')}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            found["detail"] = self.detail
        if self.errors:
            found["errors"] = self.errors[:MOST_ERRORS]
            found["errors_total"] = len(self.errors)
        return found

    def response(self) -> JSONResponse:
        """The answer itself."""
        return JSONResponse(self.body(), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem: our own, a request that does not fit its model (422
    VALIDATION_FAILED), Starlette's (404, 405, ...) and an unforeseen exception (500 INTERNAL, logged, no detail)."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unforeseen)


def validation_problem(errors: Sequence[Mapping[str, Any]], detail: str = "") -> Problem:
    """The 422 of pydantic's `error.errors()`, from a request's model or from one a route validates by itself."""
    return Problem(
        422,
        "VALIDATION_FAILED",
        "The request is not valid",
        detail or "Each entry of `errors` names a field and what is expected of it.",
        [{"field": _path(row["loc"]), "message": _message(row), "type": row["type"]} for row in errors],
    )


def _path(loc: Sequence[object]) -> str:
    """`to`, `messages.3.body`; a parameter keeps where it stands: `query.limit`."""
    parts = loc[1:] if loc and loc[0] == "body" else loc
    return ".".join(map(str, parts)) or "body"


def _message(row: Mapping[str, Any]) -> str:
    if row["type"] == "union_tag_invalid":  # the only message of pydantic's that quotes the input
        return f"the tag must be one of {row['ctx']['expected_tags']}"
    if row["type"] == "json_invalid":
        return "the body is not valid JSON"
    return str(row["msg"])


async def _on_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return validation_problem(error.errors()).response()


async def _on_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = "" if error.detail == status.phrase else str(error.detail)
    return Problem(status, status.name, status.phrase, detail, headers=error.headers).response()


async def _on_unforeseen(request: Request, error: Exception) -> JSONResponse:
    route = request.scope.get("route")  # the path's template: the path itself may hold ids that are not ours to log
    log.error("request_failed", route=getattr(route, "path", "?"), method=request.method, exc_info=error)
    return Problem(500, "INTERNAL", "The request failed by our fault", "It is logged; try again later.").response()
