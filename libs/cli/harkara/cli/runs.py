"""`harkara run`: what would become of a run, sending it, and pause, resume, cancel at any moment."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from harkara.cli.api import (
    CONSOLE_URL,
    INGESTION_URL,
    ApiKey,
    ConsoleUrl,
    IngestionUrl,
    asked,
    console,
    in_path,
    read,
)

runs = typer.Typer(no_args_is_help=True, help="Runs: one template to an audience, until a deadline.")

RunFile = Annotated[Path, typer.Argument(help="The run as JSON, as POST /api/v1/runs takes it.")]
Audience = Annotated[Path | None, typer.Option(help="Its recipients, .csv or .ndjson; left out: they are in the run.")]
RunId = Annotated[str, typer.Argument(help="The run's id.")]
Note = Annotated[str, typer.Option(help="Why; it goes into the audit log, so no personal data.")]
SHOWN_ROWS = 20


@runs.command()
def preview(run: RunFile, audience: Audience = None, url: IngestionUrl = INGESTION_URL, api_key: ApiKey = "") -> None:
    """Show what sending the run now would lead to, and what stands against it. The exit code is 1 where something
    does. Nothing is written."""
    found = asked("POST", url, "/api/v1/runs/precheck", api_key, **_body(run, audience, {}))
    console.print(_resolved(found))
    for warning in found["warnings"]:
        console.print(Text(f"{warning['code']}: {warning['text']}", "red" if warning["blocking"] else "yellow"))
    files = f"{run}" if audience is None else f"{run} --audience {audience}"
    console.print(Text(f"send it by: harkara run send {files} --expect {found['verdictHash']}"))
    sys.exit(0 if found["ready"] else 1)


@runs.command()
def send(
    run: RunFile,
    audience: Audience = None,
    expect: Annotated[str, typer.Option(help="The verdict hash of a preview: send only if it still holds.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Go the whole way, and call nobody.")] = False,
    key: Annotated[str, typer.Option(help="The Idempotency-Key; left out: made of the files.")] = "",
    url: IngestionUrl = INGESTION_URL,
    api_key: ApiKey = "",
) -> None:
    """Send the run. The same files again name the same run: nobody is written to twice, unless by another --key."""
    more: dict[str, Any] = ({"dryRun": True} if dry_run else {}) | ({"verdictHash": expect} if expect else {})
    idempotency_key = key or _key_of(run, audience, dry_run=dry_run)
    found = asked(
        "POST", url, "/api/v1/runs", api_key,
        headers={"Idempotency-Key": idempotency_key}, **_body(run, audience, more),
    )  # fmt: skip
    was = "had been accepted before" if found["repeated"] else "is accepted"
    console.print(f"run [bold]{found['runId']}[/bold] {was}: ", end="")
    console.print(f"{found['accepted']} recipients, {found['leftOut']} left out")
    console.print(Text(", ".join(f"{name} {count}" for name, count in found["verdicts"].items())))


@runs.command()
def pause(run_id: RunId, note: Note = "", url: IngestionUrl = INGESTION_URL, api_key: ApiKey = "") -> None:
    """Hold what of the run has not been sent."""
    _tell("pause", run_id, note, url, api_key)


@runs.command()
def resume(run_id: RunId, note: Note = "", url: IngestionUrl = INGESTION_URL, api_key: ApiKey = "") -> None:
    """Let it go on where it stopped."""
    _tell("resume", run_id, note, url, api_key)


@runs.command()
def cancel(run_id: RunId, note: Note = "", url: IngestionUrl = INGESTION_URL, api_key: ApiKey = "") -> None:
    """End what of the run has not been sent."""
    _tell("cancel", run_id, note, url, api_key)


@runs.command()
def status(
    run_id: Annotated[str, typer.Argument(help="The run's id; left out: the newest.")] = "",
    recipients: Annotated[bool, typer.Option("--recipients", help="List its recipients too, the first 100.")] = False,
    url: ConsoleUrl = CONSOLE_URL,
    api_key: ApiKey = "",
) -> None:
    """Show how the run stands."""
    run_id = run_id or _newest(url, api_key)
    found = asked("GET", url, f"/api/v1/runs/{in_path(run_id)}", api_key)
    state = found["state"] + (", a dry run" if found["dryRun"] else "")
    console.print(Text(f"{found['name']} is {state}", "bold"))
    console.print(f"  {found['ended']} of {found['expected']} have ended, {found['delivered']} delivered,", end=" ")
    console.print(f"{found['onTime']} on time")
    for title in ("byStatus", "byReason"):
        console.print(Text("  " + (", ".join(f"{name} {count}" for name, count in found[title].items()) or "-")))
    if recipients:
        table = Table("message", "status", "Meta's id", "template", "why", expand=False)
        for each in asked("GET", url, f"/api/v1/runs/{in_path(run_id)}/recipients", api_key)["recipients"]:
            why = (each["reason"] or {}).get("code", "")
            cells = (each["messageId"], each["status"], each["wamid"] or "", each["template"] or "", why)
            table.add_row(*map(Text, cells))
        console.print(table)


def _tell(word: str, run_id: str, note: str, url: str, api_key: str) -> None:
    found = asked("POST", url, f"/api/v1/runs/{in_path(run_id)}/{word}", api_key, json={"note": note})
    console.print(f"told {len(found['commandIds'])} lanes to {word} {run_id}")


def _newest(url: str, api_key: str) -> str:
    found = asked("GET", url, "/api/v1/runs", api_key, params={"limit": 1})["runs"]
    if not found:
        console.print("no run has been accepted yet")
        sys.exit(1)
    return str(found[0]["runId"])


def _body(run: Path, audience: Path | None, more: dict[str, Any]) -> dict[str, Any]:
    """The request's body: JSON, or a form with the audience as a file."""
    try:
        asked_for = json.loads(read(run)) | more
    except (json.JSONDecodeError, TypeError):
        console.print(f"[red]{run} is no JSON object")
        sys.exit(2)
    if audience is None:
        return {"json": asked_for}
    return {"data": {"run": json.dumps(asked_for)}, "files": {"audience": (audience.name, read(audience))}}


def _key_of(run: Path, audience: Path | None, *, dry_run: bool) -> str:
    parts = (read(run), b"" if audience is None else read(audience), b"dry" if dry_run else b"")
    return "cli-" + hashlib.sha256(b"\x1f".join(parts)).hexdigest()[:40]


def _resolved(found: dict[str, Any]) -> Table:
    table = Table("verdict", "recipients", expand=False, title=f"{found['recipients']} recipients")
    for name, count in found["verdicts"].items():
        table.add_row(Text(name), Text(str(count)))
    for row in found["rows"][:SHOWN_ROWS]:
        table.add_row(Text(f"row {row['row']}: {row['code']}"), Text(row["reason"] or row["due"] or ""))
    return table
