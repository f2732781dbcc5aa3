"""A number that was halted by no operator is on record, once until somebody resumes it (CMP-10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harkara.console.core import AUDIT, Placed, Record, automatic_halt, place
from harkara.contracts.envelope import encode
from harkara.contracts.event import Event, Reason
from harkara.contracts.numbers import NumberState
from harkara.contracts.runs import SendRun
from harkara.contracts.topics import NUMBER_STATE, SEND_RUNS, Topic

AT = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
TOKEN = Reason(code="token_refused", text="Meta refused the number's access token.", rule="FHL-1")


def stored(event: Event, topic: Topic = NUMBER_STATE) -> Placed:
    value, headers = encode(event, event_id="e-1", source="quality-monitor", time=AT)
    found = place(Record(topic, 1, 7, b"100000000000001", value, list(headers), AT), b"pepper")
    assert found is not None and not found.unreadable
    return found


def state(**more: Any) -> NumberState:
    fields: dict[str, Any] = {
        "phone_number_id": "100000000000001", "home": "advisors", "version": 3, "verdict": "halted", "latched": True,
        "reason": TOKEN, "by": "poll", "updated_at": AT,
    }  # fmt: skip
    return NumberState.model_validate(fields | more)


@pytest.mark.req("CMP-10", "FHL-1")
def test_a_halt_is_a_record_in_the_chain_of_its_partition() -> None:
    placed = stored(state())
    found = automatic_halt(placed)
    assert found is not None and found.table is AUDIT and found.of is placed.of
    row = dict(found.row)
    assert len(row.pop("audit_id")) == 32 and row.pop("at") == "2026-11-20T00:30:00Z"
    assert row == {
        "actor": "poll", "action": "number_halted", "subject": "100000000000001",
        "details": {"code": "token_refused", "rule": "FHL-1", "text": TOKEN.text, "policy_version": "",
                    "home": "advisors"},
    }  # fmt: skip


def test_it_is_one_until_the_number_is_resumed() -> None:
    def id_of(**more: Any) -> str:
        found = automatic_halt(stored(state(**more)))
        assert found is not None
        return str(found.row["audit_id"])

    resumed = AT + timedelta(hours=1)
    assert id_of() == id_of(version=9, quality="RED", updated_at=resumed)
    assert len({id_of(), id_of(resumed_at=resumed), id_of(by="dispatcher"), id_of(phone_number_id="12345")}) == 4


@pytest.mark.parametrize(
    "more",
    [{"by": "operator:asha"}, {"verdict": "open", "latched": False, "reason": None, "by": ""},
     {"verdict": "paused", "latched": False, "by": "dispatcher"}],
)  # fmt: skip
def test_an_operators_word_or_a_pause_is_none(more: dict[str, Any]) -> None:
    assert automatic_halt(stored(state(**more))) is None


def test_another_row_is_none() -> None:
    run = SendRun.model_validate(
        {"run_id": "r-1", "name": "morning", "producer": "kafka", "expected": 1, "homes": {"advisors": 1},
         "audience_hash": "a" * 64, "created_at": AT}
    )  # fmt: skip
    assert automatic_halt(stored(run, SEND_RUNS)) is None
