"""sla-tracker's core: counting, and when a run is spoken of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.lifecycle import MessageLifecycle, State, advance
from harkara.contracts.runs import RunCounts, SendRun
from harkara.sla_tracker.core import Tally, Totals, due, is_finished, share_of, tally, totals_of

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
DEADLINE = AT + timedelta(minutes=5)
SETTLE = timedelta(seconds=5)


def state_of(*steps: tuple[str, float], **more: Any) -> State:
    state: State | None = None
    for status, seconds in steps:
        fields = {"message_id": "m-00000001", "home": "h", "status": status, "at": AT + timedelta(seconds=seconds)}
        event = MessageLifecycle.model_validate(fields | {"rank": 1, "attempt": 1, "run_id": "r-1"} | more)
        state = advance(state, event)
    assert state is not None
    return state


def counts(state: State, deadline: datetime | None = DEADLINE) -> RunCounts:
    return tally([state], deadline).counts()


@pytest.mark.req("SLA-1")
@pytest.mark.parametrize(
    ("steps", "delivered", "on_time", "ended"),
    [
        ([("sent", 1)], 0, 0, 0),
        ([("delivered", 300)], 1, 1, 1),
        ([("delivered", 300.5)], 1, 0, 1),
        ([("read", 299)], 1, 1, 1),
        ([("read", 400), ("delivered", 200)], 1, 1, 1),
        ([("failed", 10)], 0, 0, 1),
        ([("failed", 10), ("delivered", 9)], 1, 1, 1),
        ([("unknown", 10)], 0, 0, 1),
        ([("held", 10)], 0, 0, 0),
    ],
)
def test_who_is_delivered_on_time_and_ended(
    steps: list[tuple[str, float]], delivered: int, on_time: int, ended: int
) -> None:
    found = counts(state_of(*steps))
    assert (found.delivered, found.on_time, found.ended) == (delivered, on_time, ended)


def test_without_a_deadline_every_delivery_is_on_time() -> None:
    assert counts(state_of(("delivered", 10_000)), None).on_time == 1


@pytest.mark.parametrize(
    ("state", "reasons"),
    [
        (state_of(("rejected", 1), reason={"code": "opted_out", "text": "Opted out."}), {"opted_out": 1}),
        (state_of(("failed", 1), error_code=131049), {"131049": 1}),
        (state_of(("expired", 1)), {"unexplained": 1}),
        (state_of(("delivered", 1), reason={"code": "x", "text": "x"}), {}),
    ],
)
def test_reasons_are_counted_where_a_message_stands_or_failed(state: State, reasons: dict[str, int]) -> None:
    assert counts(state).by_reason == reasons


@given(st.lists(st.sampled_from(["queued", "sent", "failed", "delivered", "read"]), min_size=1, max_size=8))
def test_counting_each_change_is_the_same_as_counting_the_end(statuses: list[str]) -> None:
    running, before = Tally(DEADLINE), None
    state: State | None = None
    for number in range(len(statuses)):
        state = state_of(*[(each, i) for i, each in enumerate(statuses[: number + 1])])
        if before is not None:
            running.add(share_of(before, DEADLINE), -1)
        running.add(share_of(state, DEADLINE))
        before = state
    assert state is not None
    whole = tally([state], DEADLINE)
    assert (running.counts(), running.version) == (whole.counts(), whole.version)


def run(expected: int = 10, deadline: datetime | None = DEADLINE) -> SendRun:
    return SendRun(
        run_id="r-1",
        name="news",
        producer="p",
        expected=expected,
        homes={"h": expected},
        audience_hash="0",
        deadline=deadline,
        created_at=AT,
    )


@pytest.mark.req("SLA-1")
def test_a_run_is_spoken_of_once_when_its_deadline_has_passed_and_once_when_it_has_ended() -> None:
    totals = Totals(delivered=9, on_time=8, ended=9)
    before = due(run(), totals, frozenset(), DEADLINE + SETTLE - timedelta(seconds=1), SETTLE)
    assert before == []
    (late,) = due(run(), totals, frozenset(), DEADLINE + SETTLE, SETTLE)
    assert (late.kind, late.percent_on_time, late.ended, late.expected) == ("deadline_passed", 80.0, 9, 10)
    assert due(run(), totals, frozenset({"deadline_passed"}), DEADLINE + SETTLE, SETTLE) == []
    (done,) = due(run(), Totals(9, 8, 10), frozenset({"deadline_passed"}), DEADLINE + SETTLE, SETTLE)
    assert done.kind == "completed"
    assert is_finished(run(), frozenset({"deadline_passed", "completed"}))


def test_a_run_without_a_deadline_only_ends() -> None:
    open_ended = run(deadline=None)
    assert [e.kind for e in due(open_ended, Totals(10, 10, 10), frozenset(), AT, SETTLE)] == ["completed"]
    assert is_finished(open_ended, frozenset({"completed"}))


def test_an_empty_run_kept_its_promise() -> None:
    assert Totals().percent_on_time(0) == 100.0


def test_totals_are_the_sum_of_the_partitions() -> None:
    part = RunCounts(by_status={}, by_reason={}, delivered=3, on_time=2, ended=4)
    assert totals_of([part, part]) == Totals(6, 4, 8)
