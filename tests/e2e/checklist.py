"""The completion checklist, on the running system: from a preview to each recipient's end (rows DX-3, ING-16, ING-21).

One run, as an operator sends it: previewed, prechecked, rehearsed by a dry run of which nothing leaves, sent by the
hash of the preview, followed to each recipient's state with Meta's id, its refusals with their reasons.
"""

from __future__ import annotations

from typing import Any

import httpx

from harkara.contracts.lifecycle import REACHED
from harkara.devstack.stack import Stack
from tests.support.wait import eventually

ELIGIBLE = ["+919999944011", "+919999944012", "+919999944013"]


async def a_run_is_previewed_rehearsed_sent_and_followed(
    client: httpx.AsyncClient, stack: Stack, opted_out: str, headers: dict[str, str]
) -> None:
    """`opted_out`: somebody who has said STOP before."""
    body = {
        "name": "checklist", "sessionId": "100000000000001", "category": "utility",
        "template": {"name": "daily_update", "language": "en", "body": ["Asha", "fund update"]},
        "audience": [{"to": phone} for phone in [*ELIGIBLE, opted_out]],
    }  # fmt: skip
    runs = f"{stack.endpoints.url('ingestion')}/api/v1/runs"
    preview = await _answer(client, f"{runs}/preview", body, headers, 200)
    precheck = await _answer(client, f"{runs}/precheck", body, headers, 200)
    assert preview["verdicts"] == precheck["verdicts"] == {"refused:opted_out": 1, "template": 3}
    assert precheck["ready"] and [row["code"] for row in precheck["rows"]] == ["opted_out"]
    hashes = {"audienceHash": preview["audienceHash"], "verdictHash": preview["verdictHash"]}

    rehearsal = await _answer(client, runs, body | hashes | {"dryRun": True}, headers | _key("rehearsal"), 202)
    rehearsed = await _ended(client, stack, rehearsal["runId"], headers, "rehearsed", 3)
    _expect_refusal(rehearsed)
    before = await _callbacks(client, stack)
    assert not [each["messageId"] for each in rehearsed if f"{each['messageId']}.1" in before], "a dry run has left"
    told = next(each for each in rehearsed if each["status"] == "rehearsed")["reason"]
    assert told["code"] == "dry_run" and {"at", "number", "form", "request"} <= told["details"].keys()

    sent = await _answer(client, runs, body | hashes, headers | _key("sending"), 202)
    assert (sent["audienceHash"], sent["verdicts"]) == (preview["audienceHash"], preview["verdicts"])
    recipients = await _ended(client, stack, sent["runId"], headers, "", 3)
    _expect_refusal(recipients)
    reached = [each for each in recipients if each["status"] in REACHED]
    assert {each["template"] for each in reached} == {"daily_update:en"}
    assert all(each["wamid"] for each in reached), "Meta's id of each message is kept"
    after = await _callbacks(client, stack)
    assert [after.count(f"{each['messageId']}.1") for each in reached] == [1, 1, 1]
    page = await client.get(f"{stack.endpoints.url('console')}/runs/{sent['runId']}", headers=headers)
    assert "checklist" in page.text and "opted_out" in page.text


def _key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": f"checklist-{name}"}


def _expect_refusal(recipients: list[dict[str, Any]]) -> None:
    (refused,) = [each for each in recipients if each["status"] == "rejected"]
    assert (refused["reason"]["code"], refused["wamid"]) == ("opted_out", None)


async def _answer(
    client: httpx.AsyncClient, url: str, body: dict[str, Any], headers: dict[str, str], status: int
) -> dict[str, Any]:
    answer = await client.post(url, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def _ended(
    client: httpx.AsyncClient, stack: Stack, run_id: str, headers: dict[str, str], status: str, count: int
) -> list[dict[str, Any]]:
    """The run's recipients once so many have that status (or, without one, were reached) and nobody is missing."""
    wanted = {status} if status else set(REACHED)
    found: list[dict[str, Any]] = []

    async def all_there() -> bool:
        answer = await client.get(f"{stack.endpoints.url('console')}/api/v1/runs/{run_id}/recipients", headers=headers)
        found[:] = answer.json().get("recipients", []) if answer.status_code == 200 else []
        return len(found) == count + 1 and sum(each["status"] in wanted for each in found) == count

    await eventually(all_there, timeout_seconds=60)
    return found


async def _callbacks(client: httpx.AsyncClient, stack: Stack) -> list[str]:
    ledger = await client.get(f"{stack.endpoints.url('graph-simulator')}/_simulator/ledger", params={"limit": 10_000})
    return [entry["opaque"] for entry in ledger.json()["entries"]]
