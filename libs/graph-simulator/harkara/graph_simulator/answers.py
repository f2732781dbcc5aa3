"""Answers of the Graph as HTTP: JSON with its trace headers, refusals, and what is wrong with a path's version."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from harkara.graph_simulator.refusals import Refusal, trace_id

_VERSION = re.compile(r"^v[0-9]{2}\.0$")


def refused(refusal: Refusal) -> Response:
    """The answer of a refused call."""
    return json_answer(refusal.body(), refusal.status, refusal.headers())


def json_answer(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Bytes of JSON as Meta sends them."""
    traced = {"x-fb-trace-id": trace_id(), "facebook-api-version": "v26.0", **(headers or {})}
    return Response(body, status, traced, media_type="application/json; charset=UTF-8")


def bad_version(request: Request) -> Refusal | None:
    """2500 for a path that does not begin with a version such as v26.0."""
    version = request.path_params["version"]
    if _VERSION.match(version):
        return None
    return Refusal(2500, message=f"Unknown path components: /{version[:40]}", http_status=400)
