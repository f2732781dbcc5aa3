"""`harkara audit`: whether what was done is still written down as it was."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from harkara.cli.api import CONSOLE_URL, ApiKey, ConsoleUrl, asked, read
from harkara.contracts.audit import (
    CHAIN_START,
    DECISIONS_RECORDED,
    AuditRecord,
    decision_hash,
    decisions_hash,
    linked_hash,
)

PAGE = 1000  # records of an answer, some 400 kB
MOST_DECISIONS = 2000  # of an answer, some 2 MB; of one record alone it may be more
OUTSIDE = {
    "unlinked": ("records in no chain", "records from before there were chains"),
    "unwitnessed": ("decisions that no record stands for", "decisions from before records stood for them"),
}
"""What of the audit is in no chain: how it is called where it has become more, and where it is what it was."""
FIELDS = ("audit_id", "actor", "action", "subject", "at", "details")
WHOLE = (
    "each chain is whole: no record of it, and no decision that one stands for, was changed, taken out or put in. Who "
    "may write to the database could make all of it anew: compare with ends kept elsewhere (--kept; the console's log "
    "has them hourly)"
)
WHOLE_SINCE = "each chain is whole and goes through the ends that were kept: nothing was changed, taken out or put in"
audit = typer.Typer(no_args_is_help=True, help="The audit and its proof.")
console = Console(soft_wrap=True)


@audit.command()
def heads(url: ConsoleUrl = CONSOLE_URL, api_key: ApiKey = "") -> None:
    """Print where the chains end now, to be kept out of reach of whoever may write to the database."""
    answer = asked("GET", url, "/api/v1/audit/heads", api_key)
    sys.stdout.write(json.dumps([*answer["chains"], {name: answer.get(name, 0) for name in OUTSIDE}]) + "\n")


@audit.command()
def verify(
    url: ConsoleUrl = CONSOLE_URL,
    api_key: ApiKey = "",
    kept: Annotated[Path | None, typer.Option(help="Ends that `harkara audit heads` printed before.")] = None,
) -> None:
    """Compute every hash anew, from the first record on, and of every decision that a record stands for. The exit code
    is 1 where one is another, or where a chain does not go through an end that was kept."""
    told = _kept_ends(kept) if kept else []
    answer = asked("GET", url, "/api/v1/audit/heads", api_key)
    ends = {(each["chain"], each["link"]): each["hash"] for each in told if "chain" in each}
    now = {each["chain"]: each for each in answer["chains"]}
    problems, counted, decisions = _put_in(told, answer), 0, 0
    for chain in sorted({*now, *(chain for chain, _ in ends)}):
        head = now.get(chain, {"chain": chain, "link": 0, "hash": CHAIN_START})
        noted = {link: hash_ for (of, link), hash_ in ends.items() if of == chain}

        def page_of(after: int, chain: int = chain) -> list[dict[str, Any]]:
            path = f"/api/v1/audit/chains/{chain}?after={after}&limit={PAGE}"
            links: list[dict[str, Any]] = asked("GET", url, path, api_key)["links"]
            return links

        def stood_for(after: int, until: int, chain: int = chain) -> list[dict[str, Any]]:
            path = f"/api/v1/audit/chains/{chain}/decisions?after={after}&until={until}"
            found: list[dict[str, Any]] = asked("GET", url, path, api_key)["decisions"]
            return found

        problem = broken(head, noted, page_of)
        counted += head["link"]
        if problem is None and chain < 0:
            found, problem = other_decisions(page_of, stood_for)
            decisions += found
        if problem:
            problems.append(f"{_named(chain)}: {problem}")
    for each in problems:
        console.print(f"[red]{each}")
    outside = "; ".join(f"{answer.get(name, 0)} {what}" for name, (_, what) in OUTSIDE.items())
    console.print(f"{counted} records in {len(now)} chains, which stand for {decisions} decisions; {outside}")
    if not problems:
        console.print(f"[green]{WHOLE_SINCE if kept else WHOLE}")
    sys.exit(1 if problems else 0)


def _kept_ends(path: Path) -> list[dict[str, Any]]:
    try:
        told = json.loads(read(path))
    except ValueError:
        told = None
    if not isinstance(told, list) or not all(isinstance(each, dict) and _is_an_end(each) for each in told):
        console.print(f"[red]{path} is not what `harkara audit heads` printed")
        sys.exit(2)
    return told


def _is_an_end(each: dict[str, Any]) -> bool:
    return {"chain", "link", "hash"} <= each.keys() or isinstance(each.get("unlinked"), int)  # older ones: that alone


def _put_in(told: list[dict[str, Any]], now: dict[str, Any]) -> list[str]:
    """Whether there is more in no chain than when the ends were kept: since there are chains, nothing comes."""
    named = [(what, name) for name, (what, _) in OUTSIDE.items()]
    more = [(what, now.get(name, 0) - each[name]) for each in told for what, name in named if name in each]
    return [f"{count} {what} were put in since the ends were kept" for what, count in more if count > 0]


def _named(chain: int) -> str:
    return f"chain {chain}" if chain >= 0 else f"chain {chain} (decisions, partition {-1 - chain})"


def other_decisions(
    page_of: Callable[[int], list[dict[str, Any]]],
    stood_for: Callable[[int, int], list[dict[str, Any]]],
    most: int = MOST_DECISIONS,
) -> tuple[int, str | None]:
    """How many decisions a whole chain stands for; and which record's are not those that were written, or None.
    `stood_for(n, m)`: the decisions of the records after the n-th until the m-th; asked for `most` at once."""
    counted, link = 0, 0
    while page := page_of(link):
        told = {row["link"]: row["details"] for row in page if row["action"] == DECISIONS_RECORDED}
        for after, until in _spans(link, told, most):
            hashes: dict[int, list[str]] = {}
            for each in stood_for(after, until):
                hash_ = decision_hash(each["source"], each["event_id"], each["message_id"], each["decision"])
                hashes.setdefault(each["link"], []).append(hash_)
            for number in range(after + 1, until + 1):
                found, details = hashes.get(number, []), told.get(number, {})
                counted += len(found)
                if str(len(found)) != details.get("count") or decisions_hash(found) != details.get("hash"):
                    return counted, f"the decisions that record {number} stands for are not those that were written"
        link = page[-1]["link"]
    return counted, None


def _spans(after: int, told: dict[int, dict[str, str]], most: int) -> Iterator[tuple[int, int]]:
    """The records after that one in parts, each of which stands for no more decisions than an answer is to have."""
    begin, waiting = after, 0
    for link, details in sorted(told.items()):
        count = int(details["count"])
        if waiting and waiting + count > most:
            yield begin, link - 1
            begin, waiting = link - 1, 0
        waiting += count
    if told:
        yield begin, max(told)


def broken(head: dict[str, Any], noted: dict[int, str], page_of: Callable[[int], list[dict[str, Any]]]) -> str | None:
    """What is wrong with a chain, or None. `noted`: hashes that were kept, by the number of the record; `page_of(n)`:
    some of the records after the n-th. Those behind the end came since it was read, or were put in: they go on from it
    or are named."""
    before, link = CHAIN_START, 0
    while page := page_of(link):
        for row in page:
            link += 1
            if row["link"] != link:
                return f"record {link} is missing"
            record = AuditRecord.model_validate({name: row[name] for name in FIELDS})
            before = linked_hash(before, record, row.get("salts"))
            if row["hash"] != before:
                return f"record {link} ({record.audit_id}) is not what was written, or one before it was taken out"
            if noted.get(link, before) != before:
                return f"record {link} is not the one whose hash was kept"
            if link == head["link"] and before != head["hash"]:
                return f"its end says another hash than its last record, {link}"
    if link < head["link"]:
        return f"the records after {link} are missing; there were {head['link']}"
    if link and not head["link"]:
        return f"its end is gone; it has {link} records"
    missing = [each for each in noted if each > link]
    return f"it had {max(missing)} records when its end was kept, and has {link}" if missing else None
