"""`harkara audit verify` on the decisions that the audit's records stand for: one changed byte is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from harkara.cli.audit import MOST_DECISIONS, other_decisions
from harkara.contracts.audit import (
    CHAIN_START,
    DECISIONS_RECORDED,
    AuditRecord,
    decision_hash,
    decisions_hash,
    linked_hash,
)
from tests.unit.cli.test_run_commands import Far, far  # noqa: F401  (the fixture)

Rows = list[dict[str, Any]]
COUNTS = (1, 3, 2)


def decisions() -> Rows:
    """As the database has them: by the record that stands for each."""
    return [
        {
            "link": link, "source": "compliance-guard", "event_id": f"e-{link}-{place}", "message_id": f"m-{place}",
            "decision": {
                "step": "clearance", "policy_version": "0123456789ab", "at": "2026-11-21T01:02:03Z",
                "inputs": {"person_key": "ab" * 16, "names": "cd" * 16, "sender": "advisors"},
                "verdict": {"outcome": "cleared", "expires_at": "2026-11-22T01:02:03+00:00"},
            },
        }
        for link, count in enumerate(COUNTS, start=1) for place in range(count)
    ]  # fmt: skip


def hashed(rows: Rows) -> str:
    return decisions_hash(decision_hash(r["source"], r["event_id"], r["message_id"], r["decision"]) for r in rows)


def chain() -> Rows:
    """Their records, of before anybody changed anything."""
    before, rows = CHAIN_START, []
    for link, count in enumerate(COUNTS, start=1):
        of_it = [each for each in decisions() if each["link"] == link]
        values = {
            "audit_id": f"d-{link}", "actor": "console", "action": DECISIONS_RECORDED, "subject": "message-lifecycle-0",
            "at": "2026-11-21T01:02:03.000004Z", "details": {"count": str(count), "hash": hashed(of_it)},
        }  # fmt: skip
        before = linked_hash(before, AuditRecord.model_validate(values))
        rows.append(values | {"chain": -1, "link": link, "hash": before})
    return rows


def judged(rows: Rows, asked: list[tuple[int, int]] | None = None, most: int = 2000) -> tuple[int, str | None]:
    """In pages of two records."""

    def stood_for(after: int, until: int) -> Rows:
        if asked is not None:
            asked.append((after, until))
        return [each for each in rows if after < each["link"] <= until]

    records = chain()
    return other_decisions(lambda after: [each for each in records if each["link"] > after][:2], stood_for, most)


def verdict_turned(rows: Rows) -> None:
    rows[1]["decision"]["verdict"]["outcome"] = "clearee"


def taken_out(rows: Rows) -> None:
    del rows[2]


def put_in(rows: Rows) -> None:
    rows.append(rows[2] | {"event_id": "e-of-mine"})


def handed_over(rows: Rows) -> None:
    """To another message."""
    rows[2]["message_id"] = "m-9"


def moved(rows: Rows) -> None:
    """Under another record."""
    rows[2]["link"] = 3


@pytest.mark.req("CMP-10", "B11")
def test_whole_decisions_are_counted_in_any_order() -> None:
    assert judged(decisions()) == (6, None)
    assert judged(decisions()[::-1]) == (6, None)


@pytest.mark.req("CMP-10", "B11")
@pytest.mark.parametrize("change", [verdict_turned, taken_out, put_in, handed_over, moved])
def test_one_change_of_a_decision_is_named(change: Callable[[Rows], None]) -> None:
    rows = decisions()
    change(rows)
    assert judged(rows)[1] == "the decisions that record 2 stands for are not those that were written"


@pytest.mark.req("CMP-12")
def test_whoever_is_erased_leaves_the_hash_as_it_was() -> None:
    rows = copy.deepcopy(decisions())
    for each in rows:
        each["decision"]["inputs"] |= {"person_key": "erased", "names": "erased"}
    assert judged(rows) == (6, None)


def test_an_answer_has_the_decisions_of_as_many_records_as_fit() -> None:
    few: list[tuple[int, int]] = []
    assert judged(decisions(), few, MOST_DECISIONS) == (6, None)
    assert few == [(0, 2), (2, 3)], "one question a page"
    many: list[tuple[int, int]] = []
    assert judged(decisions(), many, most=3) == (6, None)
    assert many == [(0, 1), (1, 2), (2, 3)]


def test_the_command_reads_them_and_says_in_which_partition_one_is_another(far: Far) -> None:  # noqa: F811
    rows, records = decisions(), chain()
    head = {"chain": -1, "link": 3, "hash": records[-1]["hash"]}
    far.answers["/api/v1/audit/heads"] = (200, {"chains": [head], "unlinked": 0, "unwitnessed": 5})
    far.answers["/api/v1/audit/chains/-1?after=0&limit=1000"] = (200, {"links": records})
    far.answers["/api/v1/audit/chains/-1?after=3&limit=1000"] = (200, {"links": []})
    far.answers["/api/v1/audit/chains/-1/decisions?after=0&until=3"] = (200, {"decisions": rows})
    result = far.run("audit", "verify")
    assert result.exit_code == 0, result.output
    assert "3 records in 1 chains, which stand for 6 decisions" in result.output
    assert "5 decisions from before records stood for them" in result.output
    verdict_turned(rows)
    result = far.run("audit", "verify")
    assert result.exit_code == 1
    assert "chain -1 (decisions, partition 0): the decisions that record 2 stands for" in result.output
