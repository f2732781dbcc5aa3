"""A template that is edited at Meta while messages wait for it: what does not fit any more is not called (B12, B13)."""

from __future__ import annotations

from typing import Any

import pytest

from harkara.contracts.template_state import TemplateParameters
from harkara.dispatcher.plan import last_gate
from harkara.dispatcher.senders import body_of
from tests.unit.dispatcher.lanes import START, order
from tests.unit.dispatcher.test_templates import HOUR, Lane, state

TWO_LANGUAGES = {
    "type": "template", "name": "daily_update", "language": "en", "body": ["Asha"],
    "variants": [{"language": "hi", "body": ["आशा", "सोमवार"]}],
}  # fmt: skip


def takes(*body: str, status: str = "APPROVED", at: float = START, **more: Any) -> Any:
    """The template's state, with so many values in its body."""
    return state(status, at, parameters=TemplateParameters(body_values=body), **more)


@pytest.mark.req("B12", "B13")
def test_what_waited_for_a_review_and_does_not_fit_is_held_by_name_and_not_refused_one_by_one() -> None:
    lane = Lane(capacity=2000)
    lane.told(takes("1", status="PENDING"))
    lane.take(*(order(f"message-{n:04}") for n in range(1000)))
    lane.told(takes("1", "2", at=START + HOUR))
    for _ in range(5):
        lane.round(60)
    assert lane.called() == [], "Meta would refuse each of them (132000)"
    shown = lane.shown()
    held = {(each["status"], each["reason"]["code"]) for each in shown.values()}
    assert held == {("held", "template_changed")}
    reason = shown["message-0007"]["reason"]
    assert "takes 2 values, given are 1" in reason["text"] and "change the template back" in reason["text"]
    assert reason["details"] == {
        "template": "daily_update:en", "wrong": "its body takes 2 values, given are 1",
    }  # fmt: skip
    steps = [entry for entry in lane.journal if entry.kind == "step" and entry.key.startswith("message-0007")]
    assert len(steps) == 2, "it is told once: in review, then changed"


@pytest.mark.req("B13")
def test_they_go_when_the_template_is_changed_back_and_new_ones_that_fit_go_meanwhile() -> None:
    lane = Lane()
    lane.told(takes("1", "2"))
    fitting = {"type": "template", "name": "daily_update", "language": "en", "body": ["Asha", "Monday"]}
    lane.take(order("old-00001"), order("new-00001", template=fitting))
    assert lane.called() == ["new-00001"]
    lane.told(takes("1", at=START + HOUR))
    assert lane.called() == ["new-00001", "old-00001"]
    assert all(attempt == 1 for _, attempt, *_ in lane.attempts), "no attempt was burnt"


@pytest.mark.req("B12")
def test_an_edit_that_the_values_fit_and_one_whose_values_nobody_has_read_change_nothing() -> None:
    for found in (takes("1"), state("APPROVED", START)):
        lane = Lane()
        lane.told(found)
        lane.take(order())
        assert lane.called() == ["message-1"]


@pytest.mark.req("B13")
def test_another_language_that_fits_takes_its_place() -> None:
    lane = Lane()
    lane.told(takes("1", "2"))
    lane.told(takes("1", "2", language="hi"))
    lane.take(order(template=TWO_LANGUAGES))
    assert lane.called() == ["message-1"]
    message = lane.state.messages["message-1"]
    assert message.template_used == "daily_update:hi"
    assert body_of(message)["template"]["language"] == {"code": "hi"}
    both = Lane()
    both.told(takes("1", "2"))
    both.told(takes("1", language="hi"))
    both.take(order(template=TWO_LANGUAGES))
    assert both.called() == [] and both.shown()["message-1"]["reason"]["code"] == "template_changed"


def test_the_last_gate_sees_an_edit_and_whoever_takes_the_lane_knows_what_a_message_brings() -> None:
    lane = Lane()
    lane.told(takes("1"))
    lane.take(order())
    message = lane.state.messages["message-1"]
    assert last_gate(lane.state, lane.around, message, lane.now) is None
    lane.told(takes("1", "2", at=START + 1))
    assert last_gate(lane.state, lane.around, message, lane.now) == "template_changed"
    waiting = Lane()
    waiting.told(state("PAUSED", START))
    waiting.take(order())
    waiting.crash()
    waiting.told(takes("1", "2", at=START + HOUR))
    assert waiting.shown()["message-1"]["reason"]["code"] == "template_changed"
