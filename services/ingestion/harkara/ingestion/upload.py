"""The two bodies of `POST /api/v1/runs`: JSON with the audience inline, or multipart with the audience as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from harkara.ingestion.audience import Format, Row, format_of, inline_rows, uploaded_rows
from harkara.ingestion.requests import AudienceEntry, RunRequest
from harkara.runtime.problems import Problem, validation_problem

LARGEST_RUN_FIELD_BYTES = 64 * 1024  # the run without its audience: a template, a fallback and a thousand senders

RUN_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": RunRequest.model_json_schema(ref_template="#/components/schemas/{model}")},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["run", "audience"],
                "properties": {
                    "run": {"type": "string", "description": "the run as JSON, without its audience"},
                    "audience": {"type": "string", "format": "binary", "description": AudienceEntry.__doc__},
                },
            }
        },
    },
}
"""For the API's description: FastAPI cannot tell two content types from a signature."""


@dataclass(frozen=True, slots=True)
class RunUpload:
    """The run and its rows; `rows` starts at the first row each time it is called."""

    run: RunRequest
    rows: Callable[[], Iterator[Row]]


@asynccontextmanager
async def run_and_rows(request: Request) -> AsyncIterator[RunUpload]:
    """The request's run. Files live as long as the context. Raises Problem 415 or 422."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/json":
        run = _parsed(await request.body())
        if run.audience is None:
            raise _wrong("audience", "is missing")
        audience = run.audience
        yield RunUpload(run.model_copy(update={"audience": None}), lambda: inline_rows(audience))
    elif media == "multipart/form-data":
        async with request.form(max_files=1, max_fields=1, max_part_size=LARGEST_RUN_FIELD_BYTES) as form:
            yield _of_form(form)
    else:
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "Send application/json or multipart/form-data")


def _of_form(form: FormData) -> RunUpload:
    text, upload = form.get("run"), form.get("audience")
    if not isinstance(text, str):
        raise _wrong("run", "is missing: a field with the run as JSON")
    if not isinstance(upload, UploadFile):
        raise _wrong("audience", "is missing: a file with the recipients")
    kind = format_of(upload.filename, upload.content_type)
    if kind is None:
        raise _wrong("audience", "must be named .ndjson, .jsonl or .csv, or say its media type")
    run = _parsed(text.encode())
    if run.audience is not None:
        raise _wrong("run.audience", "belongs into the file")
    return RunUpload(run, lambda: _from_start(upload.file, kind))


def _from_start(file: BinaryIO, kind: Format) -> Iterator[Row]:
    file.seek(0)
    return uploaded_rows(file, kind)


def _parsed(raw: bytes) -> RunRequest:
    try:
        return RunRequest.model_validate(orjson.loads(raw))
    except orjson.JSONDecodeError:
        raise validation_problem([{"type": "json_invalid", "loc": ("body",), "msg": ""}]) from None
    except ValidationError as error:
        rows = error.errors(include_input=False, include_url=False)
        raise validation_problem([{**row, "loc": ("body", *row["loc"])} for row in rows]) from None


def _wrong(field: str, message: str) -> Problem:
    return validation_problem([{"type": "value_error", "loc": ("body", field), "msg": message}])
