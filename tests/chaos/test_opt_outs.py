"""What counts as an opt-out that was not obeyed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.opt_outs import LATEST_MS, OptOuts
from tests.e2e.opt_out import MESSAGES, Stopped, judged, percentile, recipient, run_of

PERSON, INTENTS = run_of(seed=7, messages=6, every=3)  # rows 0 and 3 are the person's
REFUSED = {"status": "cancelled", "reason": {"code": "opted_out", "text": "The person has said STOP."}}
CONFIRMATION = {"opaque": "c-1.1", "to": PERSON.lstrip("+"), "type": "text", "accepted_at_ms": 1_200}


def call(row: int, at_ms: int = 900) -> dict[str, Any]:
    """One call of a message, as the simulator's ledger has it."""
    intent = INTENTS[row]
    return {
        "opaque": f"{intent.message_id}.1",
        "to": (intent.to or "").lstrip("+"),
        "type": "template",
        "accepted_at_ms": at_ms,
    }


def played(calls: list[dict[str, Any]], **changed: Any) -> Stopped:
    """Row 3 is refused and all else was read, but for what is changed (`row_3={...}`)."""
    states: dict[str, Any] = {each.message_id: {"status": "read"} for each in INTENTS}
    states[INTENTS[3].message_id] = REFUSED
    states |= {INTENTS[int(row.removeprefix("row_"))].message_id: state for row, state in changed.items()}
    return judged(7, INTENTS, calls, states, answered_ms=1_000.0, person=PERSON)


ALL = [call(0), call(1), call(2), call(4), call(5), CONFIRMATION]


def test_a_run_of_which_everybody_else_is_served_holds() -> None:
    found = played(ALL)
    assert not found.faults and (found.called, found.cancelled, found.last_call_ms) == (1, 1, None)
    assert OptOuts([found]).holds and OptOuts([found]).verdict.holds


def test_a_call_after_the_answer_is_measured_from_it() -> None:
    in_time, late = played([call(0, 1_500), *ALL[1:]]), played([call(0, 1_501), *ALL[1:]])
    assert (in_time.last_call_ms, late.last_call_ms) == (LATEST_MS, LATEST_MS + 1)
    assert OptOuts([in_time]).holds and not OptOuts([late]).holds


@pytest.mark.parametrize(
    ("calls", "changed"),
    [
        ([*ALL, call(1)], {}),
        ([*ALL[:-2], CONFIRMATION], {}),
        (ALL, {"row_5": {"status": "queued"}}),
        (ALL, {"row_3": {"status": "cancelled", "reason": {"code": "operator", "text": "No more."}}}),
        (ALL, {"row_3": {"status": "cancelled", "reason": {"code": "opted_out", "text": ""}}}),
        ([*ALL, call(3)], {}),
        ([*ALL[:4], CONFIRMATION], {"row_5": REFUSED}),
        (ALL[:-1], {}),
        ([*ALL, CONFIRMATION], {}),
    ],
    ids=[
        "twice", "lost", "not ended", "another reason", "no words", "called and refused", "somebody else refused",
        "not confirmed", "confirmed twice",
    ],
)  # fmt: skip
def test_each_fault_is_named_and_does_not_hold(calls: list[dict[str, Any]], changed: dict[str, Any]) -> None:
    found = OptOuts([played(calls, **changed)])
    assert found.found[0].faults and not found.holds and not found.verdict.holds


def test_a_seed_that_shows_nothing_or_broke_off_does_not_hold() -> None:
    nothing = played([*ALL, call(3)], row_3={"status": "read"})
    assert not nothing.faults and not OptOuts([nothing]).holds
    assert not OptOuts([played(ALL)], ["seed 8: TimeoutError: ..."]).holds
    assert not OptOuts().holds


def test_the_ninety_ninth_percentile_of_fifty_is_the_slowest() -> None:
    values = [float(each) for each in range(1, 51)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (25, 50)


def test_fifty_runs_write_to_nobody_twice() -> None:
    others = [recipient(index) for index in range(51 * MESSAGES)]
    persons = {run_of(seed, 1, 1)[0] for seed in range(51)}
    assert len(set(others)) == len(others) and len(persons) == 51 and persons.isdisjoint(others)
    assert all(int(each[-4:]) > 1_000 and len(each) == 13 for each in (*others, *persons))
