"""Confirmations: what they answer has opened the window, whether the router has read that already or not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from harkara.contracts.intents import DispatchOrder
from harkara.policy.routing import NoRoute, Planned, Surroundings, plan
from harkara.window_router import core, effects
from tests.unit.policy.cases import FIRST, NOW, SECOND, TEXT, cleared, policy


@pytest.mark.req("CMP-5")
def test_a_confirmation_goes_by_the_number_that_was_written_to() -> None:
    intent = cleared(home="advisors", sender=FIRST, category="service", content=TEXT, priority=3)
    confirmation = intent.model_copy(update={"answers": NOW - timedelta(seconds=2)})
    unread = Surroundings({}, {})
    assert isinstance(plan(intent, policy(), effects.answering(intent, unread), NOW), NoRoute)
    decision = plan(confirmation, policy(), effects.answering(confirmation, unread), NOW)
    assert isinstance(decision, Planned) and [each.phone_number_id for each in decision.plan] == [FIRST]
    assert decision.plan[0].form == "session"
    order = core.outputs(confirmation, decision, "v", NOW)[-1]
    assert isinstance(order.event, DispatchOrder) and order.event.answers == confirmation.answers
    assert order.topic.name == "dispatch-orders-urgent"


@pytest.mark.req("CMP-5", "CMP-16")
def test_the_order_of_a_confirmation_has_no_hours_so_that_its_lane_keeps_it_for_none() -> None:
    """One that waited for the morning would have ended half an hour after the STOP."""
    night = policy(routing={"quiet_hours": {"service": "00:00-23:00", "utility": "none", "marketing": "none"}})
    message = cleared(home="advisors", sender=FIRST, category="service", content=TEXT, priority=3)
    confirmation = message.model_copy(update={"answers": NOW, "expires_at": NOW + timedelta(minutes=30)})
    decision = plan(confirmation, night, effects.answering(confirmation, Surroundings({}, {})), NOW)
    order = core.outputs(confirmation, decision, "v", NOW)[-1].event
    assert isinstance(order, DispatchOrder) and (order.hours, order.not_before) == ((), None)


def test_a_window_that_is_known_is_only_moved_forward() -> None:
    late, early = NOW - timedelta(hours=1), NOW - timedelta(hours=9)
    confirmation = cleared(home="advisors", sender=FIRST, content=TEXT).model_copy(update={"answers": early})
    around = effects.answering(confirmation, Surroundings({FIRST: late, SECOND: early}, {}))
    assert around.last_inbound_at == {FIRST: late, SECOND: early}
