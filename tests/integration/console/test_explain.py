"""A message's decisions, made again by the console from what the guard and the router kept of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console as Terminal

from harkara.cli.explain import explained
from harkara.compliance_guard import core as guard
from harkara.contracts.event import Decision, Reason, event_id
from harkara.contracts.intents import ClearedIntent
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.numbers import NumberState
from harkara.contracts.topics import AUDIT_LOG, MESSAGE_LIFECYCLE
from harkara.policy.clearance import Question, Word, decide
from harkara.policy.governance import Governance, load
from harkara.policy.reload import on_record
from harkara.policy.routing import Surroundings, plan
from harkara.policy.whatif import Comparison
from harkara.runtime.kafka import Output
from harkara.window_router import core as router
from tests.integration.console.conftest import BOUND_KEY, GOVERNANCE, Console
from tests.unit.console.test_explain_lane import refused
from tests.unit.policy.cases import intent, policy

AT = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
PERSON = "ab" * 16
HOME = "advisors"
PEPPER = b"a pepper of the tests"


def decided(governance: Governance, word: Word | None, message_id: str) -> list[Output]:
    """What guard and router write for an intent of that person, as far as the console reads it."""
    wanted = intent(message_id=message_id)
    question = Question(wanted, AT, PERSON, word)
    outputs = guard.outputs(question, decide(question, governance, AT), AT, PEPPER)
    if isinstance(cleared := outputs[-1].event, ClearedIntent):
        resting = NumberState(
            phone_number_id="100000000000002", home=HOME, version=3, verdict="paused", until=AT + timedelta(hours=1),
            quality="RED", updated_at=AT,
        )  # fmt: skip
        around = Surroundings({"100000000000003": AT - timedelta(hours=2)}, {resting.phone_number_id: resting})
        outputs += router.outputs(cleared, plan(cleared, governance, around, AT), governance.version, AT)
    return [output for output in outputs if output.topic in (MESSAGE_LIFECYCLE, AUDIT_LOG)]


async def explanation(console: Console, message_id: str, decisions: int) -> Any:
    return await console.until(f"/api/v1/messages/{message_id}/explain", lambda a: len(a["decisions"]) == decisions)


def shown(answer: Any) -> str:
    """As the command prints it."""
    terminal = Terminal(width=160)
    with terminal.capture() as captured:
        terminal.print(explained(answer))
    return captured.get()


@pytest.mark.req("B11")
async def test_a_sent_message_is_explained_by_the_policy_in_force(console: Console) -> None:
    await console.write(decided(load(GOVERNANCE), None, "m-explained-1"))
    answer = await explanation(console, "m-explained-1", 2)
    clearance, routing = answer["decisions"]
    assert (clearance["step"], clearance["verdict"]["outcome"], clearance["same"]) == ("clearance", "cleared", True)
    assert (routing["step"], routing["verdict"]["outcome"], routing["same"]) == ("routing", "routed", True)
    assert routing["again"] == routing["verdict"]
    assert [each["phone_number_id"][-1] for each in routing["verdict"]["plan"]] == ["3", "2"]
    assert routing["inputs"]["numbers"]["100000000000002"]["verdict"] == "paused"
    printed = shown(answer)
    assert "m-explained-1 is routed" in printed and printed.count("the same") == 2


@pytest.mark.req("B11", "CMP-8")
async def test_a_refusal_under_a_policy_that_was_changed_since_is_explained_by_the_recorded_one(
    console: Console,
) -> None:
    before = policy(compliance={"consent_mode": "explicit"})
    assert before.version != load(GOVERNANCE).version
    refused = decided(before, Word("paused", AT - timedelta(hours=1)), "m-explained-2")
    await console.write(refused)
    answer = await explanation(console, "m-explained-2", 1)
    assert (answer["decisions"][0]["same"], "not on record" in answer["decisions"][0]["whyNot"]) == (False, True)
    record = on_record(before, "compliance-guard", AT)
    await console.write([Output(AUDIT_LOG, "guard", record.subject, record, event_id("record"), AT)])
    answer = await console.until(
        "/api/v1/messages/m-explained-2/explain", lambda a: a["decisions"][0].get("whyNot") is None
    )
    [decision] = answer["decisions"]
    assert decision["same"] is True
    assert decision["verdict"] == {"outcome": "rejected", "code": "no_opt_in", "rule": "compliance.consent_mode"}
    assert decision["reason"]["policyVersion"] == before.version == decision["policyVersion"]
    assert answer["reason"]["code"] == "no_opt_in" and answer["status"] == "rejected"
    assert "919999912345" not in str(answer) and "Asha" not in str(answer)


async def test_a_message_of_another_sender_is_not_explained(console: Console) -> None:
    await console.write(decided(load(GOVERNANCE), None, "m-explained-3"))
    await explanation(console, "m-explained-3", 2)
    answer = await console.http.get("/api/v1/messages/m-explained-3/explain", headers={"X-API-Key": BOUND_KEY})
    assert answer.status_code == 404


@pytest.mark.req("B11")
async def test_another_policy_is_tried_on_what_was_decided_without_sending(console: Console) -> None:
    """300 messages, of which a stricter policy would have refused those without an opt-in; pages of 70."""
    now = load(GOVERNANCE)
    for number in range(150):
        word = Word("opted_in", AT - timedelta(hours=1)) if number % 3 == 0 else None
        await console.write(decided(now, word, f"m-whatif-{number:03}"))
    await console.until(
        f"/api/v1/decisions?since={AT:%Y-%m-%dT%H:%M:%SZ}&limit=5000", lambda a: len(a["decisions"]) == 300
    )
    stricter = policy(compliance={"consent_mode": "explicit"})
    found, same = Comparison(stricter), Comparison(now)
    cursor: str | None = None
    while True:
        params = {"since": AT.isoformat(), "limit": "70"} | ({"after": cursor} if cursor else {})
        answer = (await console.http.get("/api/v1/decisions", params=params)).json()
        for row in answer["decisions"]:
            for comparison in (found, same):
                comparison.add(row["messageId"], Decision.model_validate(row["decision"]))
        cursor = answer.get("next")
        if cursor is None:
            break
    assert (same.decisions, same.same, same.kinds) == (300, 300, {})
    assert (found.decisions, found.moot, found.unreadable) == (300, 100, 0)
    assert found.kinds[("clearance", "cleared", "rejected: no_opt_in")] == 100
    shown = {each.message_id for each in found.shown if each.would == "rejected: no_opt_in"}
    assert shown == {f"m-whatif-{number:03}" for number in range(150) if number % 3}
    assert (
        await console.http.get("/api/v1/decisions", params={"since": AT.isoformat(), "after": "x"})
    ).status_code == 422


@pytest.mark.req("B11", "CMP-8")
async def test_a_lanes_hold_and_its_end_are_explained_by_what_the_lane_went_by(console: Console) -> None:
    version = load(GOVERNANCE).version
    steps = [refused("number_paused"), refused("portfolio_limit"), refused("portfolio_limit"), refused("expired")]
    events = []
    for second, step in enumerate(steps):
        assert step.decision is not None and step.reason is not None
        stamp = {"policy_version": version}
        at = step.at + timedelta(seconds=second)
        decision = step.decision.model_copy(update=stamp | ({"at": at} if step.status == "held" else {}))
        more = {"decision": decision, "reason": step.reason.model_copy(update=stamp), "rank": second, "at": at}
        events.append(step.model_copy(update={"message_id": "m-of-a-lane", "home": HOME} | more))
    rows = [Output(MESSAGE_LIFECYCLE, HOME, HOME, e, f"lane-{e.rank}", AT, e.message_id) for e in events]
    await console.write(rows)
    answer = await explanation(console, "m-of-a-lane", 3)
    assert [each["verdict"]["code"] for each in answer["decisions"]] == ["number_paused", "portfolio_limit", "expired"]
    assert all(each["same"] and each["step"] == "lane" for each in answer["decisions"])
    assert answer["status"] == "expired" and answer["reason"]["policyVersion"] == version
    assert answer["decisions"][1]["inputs"]["limit"] == 250
    printed = shown(answer)
    assert printed.count("the same") == 3 and "expires_at" in printed


@pytest.mark.req("RTW-7")
async def test_a_fallback_content_is_explained_by_what_meta_said_of_the_first(console: Console) -> None:
    because = Reason(code="fallback_content", text="Attempt 2: the fallback content, because 131053.")
    steps = [
        ("attempting", 1, 7, None),
        ("submitted", 1, -1, None),
        ("queued", 2, 8, because),
        ("attempting", 2, 9, None),
    ]
    events = [
        MessageLifecycle(message_id="m-fallen-back", home=HOME, status=status, attempt=attempt, rank=rank,
                         at=AT + timedelta(seconds=second), reason=reason)
        for second, (status, attempt, rank, reason) in enumerate(steps)
    ]  # fmt: skip
    rows = [Output(MESSAGE_LIFECYCLE, HOME, HOME, e, f"fallen-{e.rank}-{e.status}", e.at, e.message_id) for e in events]
    await console.write(rows)
    answer = await console.until("/api/v1/messages/m-fallen-back/explain", lambda a: bool(a["turns"]))
    assert [(turn["attempt"], turn["reason"]["code"]) for turn in answer["turns"]] == [(2, "fallback_content")]
    assert because.text in shown(answer)
