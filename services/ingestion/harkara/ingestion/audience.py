"""The rows of an uploaded audience: NDJSON (one object a line) or CSV (a header, then one recipient a line).

CSV columns: `to` or `user_id` or both, and any of `sender`, `template`, `language`, `message`, `category`,
`time_zone`, `priority`, `param1` to `param20`, `named.<name>`, `metadata.<name>`. An empty cell says nothing.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import orjson
from pydantic import ValidationError

from harkara.ingestion.requests import AudienceEntry
from harkara.ingestion.zones import Guesses

Format = Literal["ndjson", "csv"]
Row = tuple[int, dict[str, Any] | str]
"""A row's number, from 1 without the header, and its fields; or why it cannot be read."""

_PLAIN = ("to", "user_id", "sender", "template", "language", "message", "category", "time_zone")
_PARAM = re.compile(r"param([1-9]|1[0-9]|20)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one row. `message` holds no value of the row."""

    row: int
    field: str
    message: str


def format_of(filename: str | None, content_type: str | None) -> Format | None:
    """The upload's format by its file name, else by its media type; None where neither tells."""
    suffix = (filename or "").lower().rpartition(".")[2]
    media = (content_type or "").lower().partition(";")[0].strip()
    if suffix in ("ndjson", "jsonl") or (suffix != "csv" and media in ("application/x-ndjson", "application/jsonl")):
        return "ndjson"
    return "csv" if suffix == "csv" or media == "text/csv" else None


def inline_rows(audience: Iterable[Any]) -> Iterator[Row]:
    """The rows of an audience that came inside the request."""
    for number, fields in enumerate(audience, 1):
        yield number, fields if isinstance(fields, dict) else "is not an object"


def uploaded_rows(file: BinaryIO, kind: Format) -> Iterator[Row]:
    """The rows of an uploaded file, from where it stands. The file stays open."""
    return _ndjson_rows(file) if kind == "ndjson" else _csv_rows(file)


def _ndjson_rows(file: BinaryIO) -> Iterator[Row]:
    number = 0
    for line in file:
        if not line.strip():
            continue
        number += 1
        try:
            fields = orjson.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except orjson.JSONDecodeError:
            yield number, "is not valid JSON in UTF-8"
            continue
        yield number, fields if isinstance(fields, dict) else "is not an object"


def _csv_rows(file: BinaryIO) -> Iterator[Row]:
    number = 0
    try:
        reader = csv.DictReader(_decoded(file), restkey="(more)", strict=True)
        for number, cells in enumerate(reader, 1):
            yield number, _csv_fields(cells)
    except UnicodeDecodeError:
        yield number + 1, "is not UTF-8; the rows after it were not read"
    except csv.Error:
        yield number + 1, "is not valid CSV; the rows after it were not read"


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    """Line by line, so that what is not UTF-8 is found in its row."""
    for number, line in enumerate(lines):
        yield line.decode("utf-8-sig" if number == 0 else "utf-8")


def _csv_fields(cells: dict[str, Any]) -> dict[str, Any] | str:
    if "(more)" in cells:
        return "has more cells than the header"
    fields: dict[str, Any] = {}
    params: dict[int, str] = {}
    for column, cell in cells.items():
        name = (column or "").strip()
        if cell is None or cell == "":
            continue
        head, dot, tail = name.partition(".")
        if (numbered := _PARAM.fullmatch(name)) is not None:
            params[int(numbered[1])] = cell
        elif dot and head in ("named", "metadata"):
            fields.setdefault(head, {})[tail] = cell
        elif name == "priority":
            fields[name] = int(cell) if cell.strip() in ("1", "2", "3") else cell
        elif name in _PLAIN:
            fields[name] = cell.strip() if name != "message" else cell
        else:
            return "has a cell under an unknown column"
    if params:
        if sorted(params) != list(range(1, len(params) + 1)):
            return "leaves out a param before one that it gives"
        fields["params"] = [params[index] for index in sorted(params)]
    return fields


def parse_row(row: Row, guesses: Guesses | None = None) -> AudienceEntry | list[Fault]:
    """The recipient, or everything that is wrong with the row. `guesses`: of the request that it is a row of."""
    number, fields = row
    if isinstance(fields, str):
        return [Fault(number, "(row)", fields)]
    try:
        return AudienceEntry.model_validate(fields, context=guesses)
    except ValidationError as error:
        return faults_of(number, error)


def faults_of(number: int, error: ValidationError | ValueError) -> list[Fault]:
    """The faults of a row by pydantic's errors, or by a plain one."""
    if not isinstance(error, ValidationError):
        return [Fault(number, "(row)", str(error))]
    rows = error.errors(include_input=False, include_url=False, include_context=False)
    return [Fault(number, ".".join(map(str, each["loc"])) or "(row)", each["msg"]) for each in rows]
