"""`harkara person`: what the law lets a person ask for: all that is held of them, and to be forgotten (CMP-12)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.text import Text

from harkara.cli.api import CONSOLE_URL, ApiKey, ConsoleUrl, asked, console
from harkara.contracts.person_export import ErasureReceipt, PersonExport

PAGE = 200  # messages of an answer, with all their steps: some 300 kB
MOST_PAGES = 10_000  # two million messages and audit records; beyond them `next` says where it goes on
LISTS = ("names", "consent", "messages", "audit", "copies")

person = typer.Typer(no_args_is_help=True, help="What a person may ask for: everything about them, and erasure.")

Phone = Annotated[str | None, typer.Option(help="The phone number in E.164.")]
UserId = Annotated[str | None, typer.Option(help="The business-scoped user id.")]
Key = Annotated[str | None, typer.Option(help="The person key.")]


@person.command()
def export(
    phone: Phone = None,
    user_id: UserId = None,
    key: Key = None,
    output: Annotated[Path | None, typer.Option(help="The file to write, mode 0600; left out: print it.")] = None,
    url: ConsoleUrl = CONSOLE_URL,
    api_key: ApiKey = "",
) -> None:
    """Everything on the read side and in the consent record about one person, as one JSON document
    (docs/reference/person-export.schema.json). Needs a key with every role."""
    text = whole(url, _named(phone, user_id, key), api_key).model_dump_json(indent=2, exclude_none=True) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    output.touch(mode=0o600)
    output.chmod(0o600)  # one that was there before may be open to others
    output.write_text(text, encoding="utf-8")
    console.print(f"wrote {output}")


@person.command()
def erase(
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit, so no personal data.")],
    phone: Phone = None,
    user_id: UserId = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as it is.")] = False,
    url: ConsoleUrl = CONSOLE_URL,
    api_key: ApiKey = "",
) -> None:
    """Forget a person: cancel what waits for them, write to them no more, take them out of Postgres. Prints the
    receipt: what is left, where, and until when. Needs a key with every role."""
    body = _named(phone, user_id, key) | {"reason": reason}
    receipt = ErasureReceipt.model_validate(asked("POST", url, "/api/v1/persons/erase", api_key, json=body))
    if as_json:
        sys.stdout.write(receipt.model_dump_json(indent=2, exclude_none=True) + "\n")
        return
    console.print(f"erasure {receipt.erasure_id} of {receipt.names} names at {receipt.erased_at.isoformat()}")
    for line in told(receipt):
        console.print(Text(line))


def whole(url: str, named: dict[str, str], api_key: str) -> PersonExport:
    """All pages as one document. Exits with 2 and one sentence where an answer is none of ours."""
    document = page = _page(url, named, api_key)
    for _ in range(MOST_PAGES):
        if page.next is None:
            return document
        page = _page(url, named | {"after": page.next}, api_key)
        lists = {name: getattr(document, name) + getattr(page, name) for name in LISTS}
        document = document.model_copy(update=lists | {"next": page.next})
    return document


def _page(url: str, asks: dict[str, str], api_key: str) -> PersonExport:
    answer = asked("POST", url, "/api/v1/persons/export", api_key, json=asks | {"limit": PAGE})
    try:
        return PersonExport.model_validate(answer)
    except ValidationError as error:
        console.print(f"[red]the answer is no export: {error.error_count()} of its fields are not as described")
        sys.exit(2)


def told(receipt: ErasureReceipt) -> list[str]:
    """What is left, as sentences: Kafka's copies by the day of their end, then what stays."""
    lines = []
    if receipt.given_up:
        lines.append(f"not erased: {receipt.given_up} numbers that the person gave up; ask for each by its number")
    if receipt.sealed_before:
        lines.append(f"not erased: {receipt.sealed_before} audit records from before records were sealed")
    for copy in receipt.copies:
        until = "stays" if copy.until is None else f"gone by {copy.until.date()}"
        holds = "the name and the content" if copy.holds == "name_and_content" else "a pseudonym"
        lines.append(f"  {copy.topic:28} {holds}, {until} ({copy.why})")
    return lines + [f"  kept: {each.what}: {each.why}" for each in receipt.kept]


def _named(phone: str | None, user_id: str | None, key: str | None) -> dict[str, str]:
    given = {"phone": phone, "userId": user_id, "personKey": key}
    named = {name: said for name, said in given.items() if said is not None}
    if len(named) != 1:
        raise typer.BadParameter("give one of --phone, --user-id and --key")
    return named
