"""`harkara consent`: what persons said of messages, and recording it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from harkara.cli.api import INGESTION_URL, ApiKey, IngestionUrl, asked, console, in_path
from harkara.contracts.identity import is_user_id
from harkara.runtime.clock import SystemClock

consent = typer.Typer(no_args_is_help=True, help="What persons said of messages, with its proof.")

Person = Annotated[str, typer.Argument(help="The phone number in E.164, the user id, or the person key.")]
Name = Annotated[str, typer.Argument(help="The phone number in E.164, or the business-scoped user id.")]
Purpose = Annotated[str, typer.Option(help="marketing, transactional or all.")]


@consent.command()
def show(person: Person, url: IngestionUrl = INGESTION_URL, api_key: ApiKey = "") -> None:
    """What holds for each purpose, and how it came to that."""
    found = asked("GET", url, f"/api/v1/consent/{in_path(person)}", api_key)
    for purpose in ("marketing", "transactional"):
        word = found[purpose]
        held = "nothing was said" if word is None else f"{word['standing']} since {word['at']} by {word['source']}"
        console.print(Text(f"{purpose:14} {held}"))
    for each in found["history"]:
        said = f"{each['standing']} {each['purpose'] or 'all'} by {each['source']} {each['proof']}"
        console.print(Text(f"  {each['at']}  {said}"))


@consent.command()
def record(
    name: Name,
    purpose: Purpose,
    proof: Annotated[str, typer.Option(help="A reference to it, without personal data.")],
    origin: Annotated[str, typer.Option(help="Where it was given: web-form, branch.")],
    language: Annotated[str, typer.Option(help="The person's: en, hi, pt_BR.")],
    at: Annotated[datetime | None, typer.Option(help="When it was given (UTC); left out: now.")] = None,
    url: IngestionUrl = INGESTION_URL,
    api_key: ApiKey = "",
) -> None:
    """Record that a person opted in, with its proof."""
    when = SystemClock().now() if at is None else at.replace(tzinfo=UTC)
    body = {"purpose": purpose, "proof": proof, "origin": origin, "language": language, "at": when.isoformat()}
    _recorded(name, "opted_in", body, url, api_key)


@consent.command()
def revoke(
    name: Name,
    purpose: Purpose = "all",
    proof: Annotated[str, typer.Option(help="A reference to it, without personal data.")] = "",
    url: IngestionUrl = INGESTION_URL,
    api_key: ApiKey = "",
) -> None:
    """Record that a person opted out: what waits for them is cancelled on every number."""
    _recorded(name, "opted_out", {"purpose": purpose, "proof": proof}, url, api_key)


def _recorded(name: str, standing: str, more: dict[str, Any], url: str, api_key: str) -> None:
    named = {"userId" if is_user_id(name) else "phone": name, "standing": standing}
    found = asked("POST", url, "/api/v1/consent", api_key, json=named | more)
    console.print(f"{standing} is on record for person {found['personKey']}")
