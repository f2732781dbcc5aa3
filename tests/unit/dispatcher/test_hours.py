"""A message waits for its recipient's hours, also where it stood in the queue when they ended."""

from __future__ import annotations

import pytest

from harkara.dispatcher.orders import message_of, order_of
from harkara.dispatcher.plan import last_gate
from harkara.graph_api.outcome import NotSent
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import START, HandDriven, iso, order

HOUR = 3600.0
DAY_BREAKS = [
    {"start": iso(START), "end": iso(START + HOUR)},
    {"start": iso(START + 9 * HOUR), "end": iso(START + 10 * HOUR)},
]


@pytest.mark.req("B16", "CMP-16")
def test_what_is_queued_when_the_night_comes_goes_when_it_is_over() -> None:
    lane = HandDriven(limits=Limits(per_second=1))
    lane.now = START + HOUR - 2.5
    lane.take(*(order(f"message-{n}", hours=DAY_BREAKS, at=START) for n in range(6)))
    for _ in range(40):
        lane.round(0.5)
    before = [attempt[0] for attempt in lane.attempts]
    assert 2 <= len(before) <= 4 and lane.now > START + HOUR
    held = lane.state.messages["message-5"]
    assert (held.status, held.reason, held.until) == ("held", "quiet_hours", START + 9 * HOUR)
    lane.round(START + 9 * HOUR - lane.now - 1)
    assert len(lane.attempts) == len(before)
    for _ in range(30):
        lane.round(0.5)
    assert sorted(attempt[0] for attempt in lane.attempts) == [f"message-{n}" for n in range(6)]


def test_a_message_whose_last_hours_are_over_ends_and_says_why() -> None:
    lane = HandDriven()
    lane.take(order(hours=DAY_BREAKS[:1]), start=False)
    lane.round(HOUR)
    assert lane.attempts == []
    assert "message-1" not in lane.state.messages
    [end] = [entry for entry in lane.journal if entry.kind == "end"]
    assert end.data is not None and (end.data["status"], end.data["reason"]) == ("expired", "no_send_time")


def test_the_last_gate_keeps_a_call_back_that_would_start_at_night() -> None:
    lane = HandDriven()
    lane.now = START + HOUR - 1
    lane.take(order(hours=DAY_BREAKS))
    message = lane.state.messages["message-1"]
    assert message.status == "attempting"
    assert last_gate(lane.state, lane.around, message, START + HOUR - 0.001) is None
    assert last_gate(lane.state, lane.around, message, START + HOUR) == "quiet_hours"
    lane.now = START + HOUR
    lane.answer(NotSent("quiet_hours"))
    lane.round(8 * HOUR - 1)
    assert lane.status() == "held"
    lane.round(2)
    assert lane.attempts[-1][:2] == ("message-1", 2)


def test_hours_survive_a_restart_and_the_way_back_to_an_order() -> None:
    message = message_of(order(hours=DAY_BREAKS), 1, None)
    assert message_of(order_of(message) | {"to": "+919999950050"}, 1, None).hours == message.hours
    assert [hours.start for hours in message.hours] == [START, START + 9 * HOUR]
    assert message_of(order(), 1, None).hours == ()
