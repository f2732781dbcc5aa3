"""What Meta charges is counted once per wamid, however often and in whatever order it is said."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from harkara.contracts.lifecycle import MessageLifecycle, State, advance
from harkara.message_state.effects import count_once

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
UTILITY = {"category": "utility", "type": "regular", "model": "PMP", "billable": True}
FREE = {"category": "utility", "type": "free_customer_service", "model": "PMP", "billable": False}


def said(status: str, wamid: str = "w1", attempt: int = 1, **more: Any) -> MessageLifecycle:
    place = ("sent", "delivered", "read", "failed").index(status)
    fields = {"message_id": "m-00000001", "home": "pool-a", "status": status, "attempt": attempt, "wamid": wamid}
    return MessageLifecycle.model_validate(fields | {"at": AT + timedelta(seconds=place)} | more)


def counted(events: list[MessageLifecycle]) -> tuple[State, float]:
    """The state after these events, and how many deliveries were counted as charged meanwhile."""

    def billed() -> float:
        names = ({"category": "utility", "type": kind} for kind in ("regular", "free_customer_service"))
        found = (REGISTRY.get_sample_value("harkara_message_state_billed_total", each) for each in names)
        return sum(each or 0.0 for each in found)

    before_all, state = billed(), None
    for event in events:
        before, state = state, advance(state, event)
        count_once(before, state)
    assert state is not None
    return state, billed() - before_all


@pytest.mark.req("B3")
def test_a_price_on_every_status_is_one_charge_in_any_order_and_twice() -> None:
    steps = [said(status, pricing=UTILITY) for status in ("sent", "delivered", "read")]
    for order in itertools.permutations(steps):
        state, count = counted([*order, *order])
        assert state["billing"] == {"w1": UTILITY}
        assert count == 1


def test_a_price_that_came_with_sent_is_owed_on_delivery_and_not_before() -> None:
    state, count = counted([said("sent", pricing=UTILITY)])
    assert (state["billing"], count) == ({}, 0)
    state, count = counted([said("sent", pricing=UTILITY), said("read")])
    assert (state["billing"], count) == ({"w1": UTILITY}, 1)


def test_what_failed_is_charged_nothing_and_what_reached_after_all_once() -> None:
    assert counted([said("sent", pricing=UTILITY), said("failed")])[1] == 0
    for order in itertools.permutations([said("failed"), said("delivered", pricing=UTILITY)]):
        assert counted(list(order))[1] == 1


def test_without_a_price_nothing_is_counted_and_a_free_one_is() -> None:
    assert counted([said("delivered")])[1] == 0
    assert counted([said("delivered", pricing=FREE)])[1] == 1


def test_two_attempts_that_both_arrived_are_two_charges() -> None:
    arrived = [said("delivered", f"w{attempt}", attempt, pricing=UTILITY) for attempt in (1, 2)]
    for order in (arrived, arrived[::-1]):
        state, count = counted([*order, *order])
        assert state["billing"] == {"w1": UTILITY, "w2": UTILITY}
        assert count == 2
