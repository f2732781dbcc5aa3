"""The completion checklist of the delivery research (docs/requirements.md, source S4), item by item (row DX-3).

The whole list is walked once on the running system by tests/e2e/checklist.py. Here each item names the tests that show
it, which must be there, be run, and be marked with the item's rows; what is cheap is shown at once.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import permutations
from pathlib import Path

import pytest

from harkara.contracts.lifecycle import EFFECT_RANK, MessageLifecycle, State, advance
from tests.requirements_report import shown

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
JOURNEY = "tests/e2e/test_pipeline.py::test_a_run_a_single_send_and_a_kafka_producer_end_on_the_screen"


@dataclass(frozen=True, slots=True)
class Item:
    """What must hold, the requirement rows it is about, and the tests that show it, as pytest names them."""

    says: str
    rows: frozenset[str]
    tests: tuple[str, ...]


CHECKLIST = (
    Item(
        "who may send triggers a template send to an audience of their choice",
        frozenset({"ING-16", "ING-17", "ING-18"}),
        (
            "tests/unit/ingestion/test_api_contract.py::test_a_route_asks_for_its_role_and_for_no_other",
            "tests/unit/ingestion/test_runs.py::test_filters_choose_the_audience_and_the_run_keeps_them",
            JOURNEY,
        ),
    ),
    Item(
        "who must not be messaged is blocked before the send, and the reason is kept",
        frozenset({"CMP-7", "CMP-8"}),
        (
            "tests/unit/policy/test_clearance.py::test_each_rule",
            "tests/unit/compliance_guard/test_core.py::"
            "test_a_refusal_is_a_lifecycle_event_and_an_audit_record_and_nothing_goes_on",
            "tests/integration/console/test_runs.py::test_a_run_keeps_its_filters_its_counters_and_each_recipient",
            JOURNEY,
        ),
    ),
    Item(
        "who may be messaged is sent to through the provider's adapter, and Meta's id is stored",
        frozenset({"DSP-1", "ING-16", "DX-3"}),
        (
            "tests/integration/dispatcher/test_dispatcher.py::test_an_order_is_accepted_once_and_every_step_is_told",
            JOURNEY,
        ),
    ),
    Item(
        "webhooks move a message's state one way only: sent, delivered, read; a failure is final",
        frozenset({"WHK-1", "WHK-4", "WHK-6"}),
        (
            "tests/unit/ingestion/test_webhooks.py::test_what_is_not_signed_by_meta_is_refused_and_nothing_written",
            "tests/unit/ingestion/test_normalise.py::test_a_sequence_ends_the_same_in_any_order_and_with_repetitions",
            "tests/contracts/test_lifecycle_join.py::test_every_permutation_and_repetition_converges",
            "tests/contracts/test_checklist.py::test_a_state_never_falls_back",
        ),
    ),
    Item(
        "webhooks that come twice or out of order do not spoil the final state",
        frozenset({"WHK-5", "WHK-6"}),
        (
            "tests/unit/ingestion/test_any_order.py::test_any_order_any_batch_and_twice_is_the_same",
            "tests/integration/message_state/test_message_state.py::"
            "test_shuffled_duplicated_events_and_a_restart_give_each_messages_one_true_state",
            "tests/integration/message_state/test_kill.py::test_killed_while_folding_and_started_again",
        ),
    ),
    Item(
        "an operator sees how a run came out and where each message stands",
        frozenset({"UI-1", "UI-2", "ING-3"}),
        (
            "tests/integration/console/test_every_page.py::test_every_page_shows_what_there_is",
            "tests/integration/console/test_read_side.py::"
            "test_the_state_is_the_same_however_often_and_in_whatever_order_the_events_come",
            JOURNEY,
        ),
    ),
)


@pytest.mark.req("DX-3")
@pytest.mark.parametrize("item", CHECKLIST, ids=lambda item: item.says)
def test_each_item_is_shown_by_tests_that_are_there_and_are_run(item: Item) -> None:
    for name in item.tests:
        assert decorators(name).isdisjoint({"skip", "skipif", "xfail"}), f"{name} is not run everywhere"
    marked = {row for row, tests in marks().items() if set(tests) & set(item.tests)}
    assert item.rows <= marked, f"no test of the item shows {sorted(item.rows - marked)}"


@cache
def marks() -> dict[str, list[str]]:
    """The tests by the row that they are marked with; every test file is read for it, once."""
    return shown()


def decorators(name: str) -> set[str]:
    """The last words of a test's decorators (and of its file's `pytestmark`); fails where pytest would not find it."""
    path, _, function = name.partition("::")
    assert Path(path).name.startswith("test_") and function.startswith("test_"), f"pytest does not collect {name}"
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    found = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    of_file = [each.value for each in tree.body if isinstance(each, ast.Assign) and "pytestmark" in ast.unparse(each)]
    (test,) = [each for each in found if each.name == function] or pytest.fail(f"{name} is not there")
    nodes = [node for each in (*test.decorator_list, *of_file) for node in ast.walk(each)]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@pytest.mark.req("DX-3", "WHK-4", "WHK-6")
@pytest.mark.parametrize("statuses", [("sent", "delivered", "read"), ("submitted", "sent", "failed")])
def test_a_state_never_falls_back(statuses: tuple[str, ...]) -> None:
    last = statuses[-1]
    for order in permutations(statuses * 2):
        state: State | None = None
        rank = -1
        for status in order:
            state = advance(state, event(status))
            assert EFFECT_RANK[state["status"]] >= rank, f"{order}: back to {state['status']}"
            rank = EFFECT_RANK[state["status"]]
        assert state is not None and state["status"] == last, order


def event(status: str) -> MessageLifecycle:
    at = AT + timedelta(seconds=EFFECT_RANK[status])
    fields = {"message_id": "m-00000001", "home": "pool-a", "status": status, "at": at, "attempt": 1, "wamid": "w1"}
    return MessageLifecycle.model_validate(fields)
