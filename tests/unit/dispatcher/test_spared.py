"""Persons whom Meta keeps from marketing (131049): what waits for a day, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, THREE, HandDriven, order, refused

DAY = 86_400.0
LONG = 5 * DAY


def marketing(message_id: str, person: str = "somebody", **more: Any) -> dict[str, Any]:
    """A marketing template to that person."""
    values: dict[str, Any] = {"category": "marketing", "person_key": person, "life": LONG}
    return order(message_id, **(values | more))


def capped() -> HandDriven:
    """A lane of which one message was accepted, and failed a moment later with 131049."""
    lane = HandDriven()
    lane.take(marketing("message-1"))
    lane.answer(ACCEPTED)
    lane.failed(131049, person_key="somebody")
    return lane


def called(lane: HandDriven) -> list[str]:
    return [each[0] for each in lane.attempts]


@pytest.mark.req("B6", "DSP-13")
def test_their_marketing_waits_for_a_day_and_goes_then() -> None:
    lane = capped()
    lane.take(marketing("message-2"))
    assert lane.status("message-2") == "held"
    assert lane.shown()["message-2"]["reason"]["code"] == "recipient_spared"
    assert lane.state.messages["message-2"].until == START + DAY
    lane.round(DAY - 1)
    assert called(lane) == ["message-1"]
    lane.round(1.1)
    assert called(lane) == ["message-1", "message-2"]


@pytest.mark.req("B6")
def test_everything_else_goes() -> None:
    lane = capped()
    lane.take(
        marketing("message-2", "somebody else"),
        order("message-3", person_key="somebody"),  # utility
        marketing("message-4", "a third", form="session"),
        marketing("message-5", form="session"),  # an answer inside the window: the limit does not count it
    )
    lane.answer(ACCEPTED, "message-3")  # one recipient's messages keep their order
    assert sorted(called(lane)) == ["message-1", "message-2", "message-3", "message-4", "message-5"]


@pytest.mark.req("B6")
def test_what_already_waits_in_a_queue_or_goes_by_another_number_waits_too() -> None:
    lane = HandDriven(capacity=1)
    lane.take(marketing("message-1", numbers=(ONE,)), marketing("message-2", numbers=(ONE,)))
    lane.answer(refused(131049))
    lane.take(marketing("message-3", numbers=(THREE,)))
    lane.round(60)
    assert called(lane) == ["message-1"]
    assert {lane.status(name) for name in ("message-2", "message-3")} == {"held"}


@pytest.mark.req("B6", "DSP-2")
def test_the_next_owner_knows_and_a_newer_refusal_begins_the_day_anew() -> None:
    lane = capped()
    lane.crash()
    lane.take(marketing("message-2"))
    lane.round(DAY + 1)
    lane.answer(ACCEPTED, "message-2")
    lane.failed(131049, "message-2", person_key="somebody")
    again = lane.now
    lane.failed(131049, "message-1", at=START + 5, person_key="somebody")  # an old status that comes late
    lane.crash()
    assert lane.state.spared["somebody"].until == again + DAY
    lane.take(marketing("message-3"))
    assert lane.status("message-3") == "held"


@pytest.mark.req("B6")
def test_a_message_whose_life_ends_before_expires_and_after_a_week_nothing_is_remembered() -> None:
    lane = capped()
    lane.take(marketing("message-2", life=3600.0))
    lane.round(3601)
    assert lane.status("message-2") == "expired"
    lane.round(7 * DAY)
    assert not lane.state.spared
    lane.crash()
    assert not lane.state.spared
