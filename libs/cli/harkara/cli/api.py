"""Asking our own HTTP APIs from the command line: one sentence where they do not answer or refuse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.text import Text

TIMEOUT_SECONDS = 120.0  # an audience of 100,000 is looked at and written within one request
console = Console(soft_wrap=True)

IngestionUrl = Annotated[str, typer.Option("--url", envvar="HARKARA_INGESTION_URL", help="Where ingestion answers.")]
ConsoleUrl = Annotated[str, typer.Option("--url", envvar="HARKARA_CONSOLE_URL", help="Where the console answers.")]
ApiKey = Annotated[str, typer.Option(envvar="HARKARA_API_KEY", help="An API key with the role that it needs.")]
INGESTION_URL, CONSOLE_URL = "http://127.0.0.1:8080", "http://127.0.0.1:8081"


def asked(method: str, url: str, path: str, api_key: str, **request: Any) -> dict[str, Any]:
    """The answer's JSON. Exits with 2 and one sentence where nobody answers, 1 where the request was refused."""
    headers = {"X-API-Key": api_key} | request.pop("headers", {})
    try:
        answer = httpx.request(method, url.rstrip("/") + path, headers=headers, timeout=TIMEOUT_SECONDS, **request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        console.print(Text(away(url, error), "red"))
        sys.exit(2)
    body: dict[str, Any] = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    if answer.is_success:
        return body
    said = ": ".join(str(body[key]) for key in ("title", "detail") if body.get(key)) or answer.reason_phrase
    console.print(Text(f"{answer.status_code} {body.get('code', '')} {said}", "red"))
    for each in body.get("errors", [])[:20]:
        console.print(Text(f"  {each.get('field', '')}: {each.get('message', '')}"))
    for each in body.get("difference", {}).get("changes", [])[:20]:
        console.print(Text(f"  row {each['row']} was {each['was']}, is {each['is']}"))
    sys.exit(1)


def away(url: str, error: Exception) -> str:
    """That nobody answers at the address, and what to do."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return f"{url} is no address: write it as http://host:port"
    return f"nobody answers at {url} ({type(error).__name__}): is it up? Elsewhere: --url"


def in_path(name: str) -> str:
    """An id that somebody typed, as a part of a path."""
    return quote(name, safe="+")


def read(path: Path) -> bytes:
    """A file's bytes. Exits with 2 and one sentence where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        console.print(f"[red]{path}: {error.strerror}")
        sys.exit(2)
