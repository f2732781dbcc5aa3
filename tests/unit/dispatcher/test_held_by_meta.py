"""What Meta takes and holds while it tries a template out: said, counted, and no news where it is delivered (B13)."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from harkara.contracts.templates import TemplateEvent
from harkara.dispatcher.observe import count_entries
from harkara.graph_api.outcome import Accepted
from tests.unit.dispatcher.lanes import ONE, HandDriven, order

ASSESSED = Accepted("wamid.A", message_status="held_for_quality_assessment")
PAUSED = Accepted("wamid.A", message_status="paused")
NAME = "waba-1/daily_update:en"
OTHER_TEMPLATE = {"type": "template", "name": "weekly_update", "language": "en"}


def two_calls(outcome: Accepted) -> HandDriven:
    """One call at a time: the first is answered so."""
    lane = HandDriven(capacity=1)
    lane.take(order("message-1"), order("message-2"), order("message-3", template=OTHER_TEMPLATE))
    lane.answer(outcome, "message-1")
    return lane


@pytest.mark.req("B13")
@pytest.mark.parametrize("outcome", [ASSESSED, PAUSED])
def test_an_operator_sees_that_meta_holds_it_and_why(outcome: Accepted) -> None:
    shown = two_calls(outcome).shown()["message-1"]
    assert (shown["status"], shown["wamid"]) == ("submitted", "wamid.A")
    assert shown["reason"]["code"] == "held_by_meta" and "holds it while" in shown["reason"]["text"]
    assert shown["reason"]["details"] == {"message_status": outcome.message_status}


@pytest.mark.req("B13")
def test_one_that_is_sent_on_has_no_reason_any_more_and_an_ordinary_one_never_had() -> None:
    for word in ("accepted", None):
        shown = two_calls(Accepted("wamid.A", message_status=word)).shown()["message-1"]
        assert shown["status"] == "submitted" and "reason" not in shown


@pytest.mark.req("B13")
def test_what_waits_while_meta_looks_at_the_first_waits_for_the_pause_once_it_is_dropped() -> None:
    lane = two_calls(ASSESSED)
    assert [each[0] for each in lane.attempts] == ["message-1", "message-3"], "the other template goes"
    shown = lane.shown()["message-2"]
    assert (shown["status"], shown["reason"]["code"]) == ("held", "template_in_assessment")
    lane.failed(132015, "message-1", 1)
    lane.take(order("message-4"))
    shown = lane.shown()
    for each in ("message-2", "message-4"):
        assert (shown[each]["status"], shown[each]["reason"]["code"]) == ("held", "meta_132015")
        assert lane.state.messages[each].until == lane.state.holds[("template", NAME)].until
    lane.echo("message-3", 1)
    assert lane.state.holds[("template", NAME)].reason == "meta_132015"


@pytest.mark.req("B13", "TPL-3")
def test_one_that_waits_for_a_pause_holds_its_template_as_a_refused_call_does() -> None:
    lane = two_calls(PAUSED)
    assert [each[0] for each in lane.attempts] == ["message-1", "message-3"]
    shown = lane.shown()
    assert shown["message-1"]["status"] == "submitted", "Meta has it: it is not sent again"
    assert (shown["message-2"]["status"], shown["message-2"]["reason"]["code"]) == ("held", "meta_132015")
    (event,) = [each.event for each in lane.emissions() if isinstance(each.event, TemplateEvent)]
    assert (event.name, event.status, event.source) == ("daily_update", "PAUSED", "dispatcher")


def test_it_is_counted_by_number_and_word() -> None:
    def count() -> float:
        labels = {"phone_number_id": ONE, "message_status": "held_for_quality_assessment"}
        return REGISTRY.get_sample_value("harkara_dispatcher_held_by_meta_total", labels) or 0.0

    before = count()
    count_entries(two_calls(ASSESSED).journal)
    count_entries(two_calls(Accepted("wamid.A", message_status="accepted")).journal)
    assert count() == before + 1
