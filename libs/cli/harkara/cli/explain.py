"""`harkara explain`: why a message was let pass, refused, or sent the way it was."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from harkara.cli.api import CONSOLE_URL, ApiKey, ConsoleUrl, away, in_path

TIMEOUT_SECONDS = 10.0
console = Console(soft_wrap=True)


def explain(
    message_id: Annotated[str, typer.Argument(help="The message's id, or its wamid.")],
    url: ConsoleUrl = CONSOLE_URL,
    api_key: ApiKey = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the console's answer as it is.")] = False,
) -> None:
    """Show the policy's decisions on a message, each made again. The exit code is 1 where one comes out otherwise or
    cannot be made again, 2 where there is no answer."""
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/api/v1/messages/{in_path(message_id)}/explain",
            headers={"X-API-Key": api_key},
            timeout=TIMEOUT_SECONDS,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        console.print(Text(away(url, error), "red"))
        sys.exit(2)
    body = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    if answer.status_code != httpx.codes.OK:
        said = ": ".join(str(body[key]) for key in ("title", "detail") if body.get(key)) or answer.reason_phrase
        console.print(Text(f"{answer.status_code} {said}", "red"))
        sys.exit(2)
    if as_json:
        sys.stdout.write(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
    else:
        console.print(explained(body))
    sys.exit(0 if all(each.get("same") for each in body["decisions"]) else 1)


def explained(body: dict[str, Any]) -> Group:
    """The console's answer for people."""
    head = Text(f"{body['messageId']} is {body['status']}")
    parts: list[Text | Table] = [head]
    if reason := body.get("reason"):
        parts.append(Text(_sentence(reason)))
    parts += [Text(turn["reason"]["text"]) for turn in body.get("turns", ())]
    for decision in body["decisions"]:
        parts += [Text(), _table(decision)]
    if not body["decisions"]:
        parts.append(Text("no decision of the policy is on record for it"))
    return Group(*parts)


def _table(decision: dict[str, Any]) -> Table:
    table = Table("", f"{decision['step']} at {decision['at']}, policy {decision['policyVersion']}", expand=False)
    for name, value in decision["inputs"].items():
        table.add_row(Text(name), Text(_shown(value)))
    table.add_section()
    for name, value in decision["verdict"].items():
        table.add_row(Text(name, "bold"), Text(_shown(value)))
    if reason := decision.get("reason"):
        table.add_row(Text("because", "bold"), Text(_sentence(reason)))
    table.add_section()
    table.add_row(Text("made again", "bold"), _again(decision))
    return table


def _again(decision: dict[str, Any]) -> Text:
    if decision.get("same"):
        return Text("the same", "green")
    if why := decision.get("whyNot"):
        return Text(f"not possible: {why}", "yellow")
    return Text(f"otherwise: {_shown(decision.get('again'))}", "bold red")


def _sentence(reason: dict[str, Any]) -> str:
    rule = f" (rule {reason['rule']})" if reason.get("rule") else ""
    return f"{reason['code']}: {reason['text']}{rule}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
