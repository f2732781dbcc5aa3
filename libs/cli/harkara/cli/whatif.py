"""`harkara policy whatif`: the decisions of the last days under another policy, without sending anything."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from harkara.cli.api import CONSOLE_URL, ApiKey, ConsoleUrl, asked, in_path
from harkara.contracts.event import Decision
from harkara.policy.governance import Governance, load
from harkara.policy.governance_file import GovernanceError
from harkara.policy.reload import from_record
from harkara.policy.whatif import Comparison
from harkara.runtime.clock import SystemClock

PAGE = 2000  # decisions of an answer, some 2 MB
SHOWN = 20  # differences printed one by one; `--json` has a thousand
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
console = Console(soft_wrap=True)


def whatif(
    policy: Annotated[Path, typer.Option(help="The other governance.yaml.")],
    since: Annotated[str, typer.Option(help="How far back: 90m, 12h, 7d.")] = "7d",
    url: ConsoleUrl = CONSOLE_URL,
    api_key: ApiKey = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Make the decisions on record again under another policy file, and list what would come out otherwise."""
    governance, begin = _policy(policy), SystemClock().now() - _span(since)
    found = Comparison(governance, cache(partial(_policy_then, url, api_key)))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("decisions", total=None)
        for row in _decisions(url, api_key, begin):
            found.add(row["messageId"], Decision.model_validate(row["decision"]))
            progress.advance(task)
    if as_json:
        console.print_json(data=_plain(found))
    else:
        _print(found, since)


def _policy(path: Path) -> Governance:
    try:
        return load(path)
    except GovernanceError as error:
        for problem in error.problems:
            console.print(f"[red]{escape(problem)}", highlight=False)
        sys.exit(2)


def _policy_then(url: str, api_key: str, version: str) -> Governance | None:
    """The policy of a decision; None where the console does not have it, or this version cannot read it."""
    content = asked("GET", url, f"/api/v1/decisions/policies/{in_path(version)}", api_key)["content"]
    try:
        return None if content is None else from_record(content, version)
    except ValueError:
        return None


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if found is None:
        raise typer.BadParameter("write a number and m, h or d, as in 7d", param_hint="--since")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _decisions(url: str, api_key: str, begin: datetime) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        params = {"since": begin.isoformat(), "limit": PAGE} | ({"after": cursor} if cursor else {})
        answer = asked("GET", url, "/api/v1/decisions", api_key, params=params)
        yield from answer["decisions"]
        cursor = answer.get("next") or ""
        if not cursor:
            return


def _plain(found: Comparison) -> dict[str, Any]:
    return {
        "policyVersion": found.governance.version,
        "decisions": found.decisions,
        "same": found.same,
        "moot": found.moot,
        "unreadable": found.unreadable,
        "notComparable": [
            {"step": step, "notKept": what, "count": count}
            for (step, what), count in found.not_comparable.most_common()
        ],
        "kinds": [
            {"step": step, "was": was, "would": would, "count": count}
            for (step, was, would), count in found.kinds.most_common()
        ],
        "differences": [
            {
                "messageId": each.message_id,
                "step": each.decision.step,
                "at": each.decision.at.isoformat(),
                "was": each.was,
                "would": each.would,
                "text": each.text,
            }
            for each in found.shown
        ],
    }


def _print(found: Comparison, since: str) -> None:
    changed, unknown = found.kinds.total(), found.not_comparable.total()
    console.print(
        f"{found.decisions} decisions of the last {since} under policy {found.governance.version}: "
        f"{changed} would come out otherwise, {found.same} the same, {unknown} cannot be compared; "
        f"{found.moot} come after one of those in their message"
    )
    if found.unreadable:
        console.print(f"[yellow]{found.unreadable} cannot be made again: another version of Harkara wrote them")
    if unknown:
        console.print("[yellow]Not comparable: this policy looks at what was not kept of them, so nobody can say")
        kept = Table("step", "not kept", "messages")
        for (step, what), count in found.not_comparable.most_common():
            kept.add_row(step, what, str(count))
        console.print(kept)
    if not changed:
        return
    kinds = Table("step", "was", "would be", "messages")
    for (step, was, would), count in found.kinds.most_common():
        kinds.add_row(step, was, would, str(count))
    console.print(kinds)
    some = Table("message", "step", "would be", "why")
    for each in found.shown[:SHOWN]:
        some.add_row(each.message_id, each.decision.step, each.would, each.text or "")
    console.print(some)
    if changed > SHOWN:
        console.print(f"and {changed - SHOWN} more: --json shows up to a thousand of them")
