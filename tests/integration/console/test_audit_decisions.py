"""What was decided on a message stands under the audit's hash; and each policy that came into force, also again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from harkara.cli.audit import broken, other_decisions
from harkara.contracts.consent import ConsentEvent
from harkara.contracts.lifecycle import MessageLifecycle, MessageState, advance
from harkara.contracts.topics import AUDIT_LOG, CONSENT_EVENTS, MESSAGE_STATE
from harkara.policy.governance import Governance, load
from harkara.policy.reload import from_record, on_record
from harkara.runtime.kafka import Output
from tests.integration.console.conftest import GOVERNANCE, Console
from tests.integration.console.test_explain import HOME, PERSON, decided
from tests.unit.policy.cases import policy

AT = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
MESSAGES = 30


def with_nul(output: Output) -> Output:
    event = output.event
    if not isinstance(event, MessageLifecycle) or event.decision is None:
        return output
    odd = event.decision.model_copy(update={"inputs": event.decision.inputs | {"approval": "a\x00b"}})
    return replace(output, event=event.model_copy(update={"decision": odd}))


async def chain_of(console: Console, decisions: int) -> dict[str, Any]:
    """The end of the only chain of decisions, once it stands for so many."""
    for _ in range(2):  # the second time around nothing more may have come
        answer = await console.until("/api/v1/audit/heads", lambda a: any(c["chain"] < 0 for c in a["chains"]))
        (head,) = [each for each in answer["chains"] if each["chain"] < 0]
        path = f"/api/v1/audit/chains/{head['chain']}/decisions?after=0&until=1000"
        await console.until(path, lambda a: len(a["decisions"]) == decisions)
    answer = await console.until("/api/v1/audit/heads", lambda a: a["unwitnessed"] == 0)
    return dict(next(each for each in answer["chains"] if each["chain"] < 0))


async def verified(console: Console, head: dict[str, Any]) -> tuple[int, str | None]:
    """As `harkara audit verify` does."""
    path = f"/api/v1/audit/chains/{head['chain']}"
    records = (await console.http.get(path, params={"limit": 5000})).json()["links"]
    everything = (await console.http.get(f"{path}/decisions", params={"after": 0, "until": 10**6})).json()["decisions"]

    def page_of(after: int) -> list[dict[str, Any]]:
        return [each for each in records if each["link"] > after][:3]

    assert broken(head, {}, page_of) is None
    return other_decisions(page_of, lambda after, until: [e for e in everything if after < e["link"] <= until])


async def change(console: Console, statement: str) -> None:
    dsn = console.settings.postgres_dsn.get_secret_value()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        assert (await connection.execute(statement.encode())).rowcount == 1


@pytest.mark.req("CMP-10", "B11")
async def test_one_changed_byte_of_a_recorded_decision_is_found(console: Console) -> None:
    """All of them come twice, as after a kill, and one has what Postgres cannot hold."""
    outputs = [each for n in range(MESSAGES) for each in decided(load(GOVERNANCE), None, f"m-witness-{n:03}")]
    odd = [with_nul(each) for each in decided(policy(compliance={"consent_mode": "explicit"}), None, "m-witness-odd")]
    for start in (0, 50, 0):
        await console.write(outputs[start : start + 100])
    await console.write(odd)
    head = await chain_of(console, 2 * MESSAGES + 1)
    assert await verified(console, head) == (2 * MESSAGES + 1, None)
    one = "WHERE message_id = 'm-witness-007' AND event -> 'decision' ->> 'step' = 'routing'"
    changes = {
        "jsonb_set(event, '{decision,verdict,outcome}', '\"routee\"')": "a byte of a verdict",
        "jsonb_set(event, '{decision,inputs,category}', '\"service\"')": "an input",
        "event - 'decision'": "taken out",
    }
    for changed, what in changes.items():
        await change(console, f"UPDATE message_events SET wamid = event::text, event = {changed} {one}")
        problem = (await verified(console, head))[1]
        assert problem is not None and "are not those that were written" in problem, what
        where = "WHERE message_id = 'm-witness-007' AND wamid IS NOT NULL"
        await change(console, f"UPDATE message_events SET event = wamid::jsonb, wamid = NULL {where}")
    assert await verified(console, head) == (2 * MESSAGES + 1, None)
    await change(console, f"UPDATE message_events SET witness = NULL {one}")
    assert (await console.http.get("/api/v1/audit/heads")).json()["unwitnessed"] == 1


@pytest.mark.req("CMP-12")
async def test_decisions_on_whoever_is_erased_stay_under_their_hash(console: Console) -> None:
    steps = decided(load(GOVERNANCE), None, "m-erased-001")
    state: dict[str, Any] | None = None
    for each in steps:
        if isinstance(each.event, MessageLifecycle):
            state = advance(state, each.event)
    stands = MessageState.model_validate(state)
    await console.write([*steps, Output(MESSAGE_STATE, HOME, "m-erased-001", stands, "s-1", AT)])
    await console.until("/api/v1/messages/m-erased-001/status", lambda a: len(a["history"]) == 3)
    head = await chain_of(console, 2)
    forgotten = ConsentEvent(
        event_id="e-1", person_key=PERSON, standing="erased", source="operator", at=AT + timedelta(hours=1),
        proof="letter 7", actor="asha",
    )  # fmt: skip
    await console.write([Output(CONSENT_EVENTS, PERSON, PERSON, forgotten, "e-1", forgotten.at)])
    path = f"/api/v1/audit/chains/{head['chain']}/decisions?after=0&until=1000"
    await console.until(path, lambda a: PERSON not in str(a) and "erased" in str(a))
    assert await verified(console, head) == (2, None)
    await console.write(decided(load(GOVERNANCE), None, "m-erased-002"))
    assert await verified(console, await chain_of(console, 4)) == (4, None)


@pytest.mark.req("B11")
async def test_a_policy_that_comes_back_is_on_record_again_and_a_restart_is_not(console: Console) -> None:
    one, other = load(GOVERNANCE), policy()
    told: list[tuple[Governance, int]] = [(one, 0), (one, 5), (other, 10), (other, 11), (one, 20), (one, 25)]
    records = [on_record(each, "window-router", AT + timedelta(minutes=minute)) for each, minute in told]
    outputs = [Output(AUDIT_LOG, "router", each.subject, each, each.audit_id, each.at) for each in records]
    await console.write(outputs[:4])
    await console.until("/api/v1/audit/heads", lambda a: sum(c["link"] for c in a["chains"]) == 2)
    await console.write(outputs[1:])  # some come again, the word of before the change too
    last = on_record(other, "compliance-guard", AT)
    await console.write([Output(AUDIT_LOG, "router", last.subject, last, last.audit_id, AT)])
    answer = await console.until("/api/v1/audit/heads", lambda a: sum(c["link"] for c in a["chains"]) == 4)
    (chain,) = [each["chain"] for each in answer["chains"] if each["link"]]
    links = (await console.http.get(f"/api/v1/audit/chains/{chain}")).json()["links"]
    assert [(each["actor"], each["subject"]) for each in links] == [
        ("window-router", one.version), ("window-router", other.version), ("window-router", one.version),
        ("compliance-guard", other.version),
    ]  # fmt: skip
    assert links[2]["at"] == "2026-11-20T00:50:00Z"
    answer = (await console.http.get(f"/api/v1/decisions/policies/{other.version}")).json()
    assert from_record(answer["content"], answer["version"]).version == other.version
    assert (await console.http.get("/api/v1/decisions/policies/nobody")).json()["content"] is None


async def linked_records(console: Console, count: int) -> None:
    await console.until("/api/v1/audit/heads", lambda a: sum(c["link"] for c in a["chains"]) == count)


@pytest.mark.req("B11")
async def test_a_policy_is_on_record_whole_and_whosever_clock_was_ahead(console: Console) -> None:
    """An older release recorded less of the same version; a machine's clock was nine days ahead, and then was not."""
    one, other = load(GOVERNANCE), policy()
    ahead = on_record(one, "window-router", AT + timedelta(days=9))
    less = ahead.model_copy(update={"details": {"service": "window-router", "content": "{}"}, "audit_id": "less"})
    told = [less, ahead, *(on_record(other, "window-router", AT + timedelta(minutes=minute)) for minute in (1, 2))]
    told.append(on_record(one, "window-router", AT + timedelta(minutes=3)))
    outputs = [Output(AUDIT_LOG, "router", each.subject, each, each.audit_id, AT) for each in told]
    for each, link in zip(outputs, (1, 2, 3, 3, 4), strict=True):  # each by itself: the database is asked
        await console.write([each])
        await linked_records(console, link)
    await console.write(outputs)
    last = on_record(other, "compliance-guard", AT)
    await console.write([Output(AUDIT_LOG, "router", last.subject, last, last.audit_id, AT)])
    answer = await console.until("/api/v1/audit/heads", lambda a: sum(c["link"] for c in a["chains"]) >= 5)
    (chain,) = [each["chain"] for each in answer["chains"] if each["link"]]
    links = (await console.http.get(f"/api/v1/audit/chains/{chain}")).json()["links"]
    assert [each["audit_id"] for each in links] == [told[n].audit_id for n in (0, 1, 2, 4)] + [last.audit_id]
