"""What a lane does with a template that is paused, in review, gone or dearer: with that one, in that account."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from harkara.contracts.template_state import TemplateState
from harkara.contracts.templates import TemplateEvent
from harkara.dispatcher.core import template_changed
from harkara.dispatcher.plan import last_gate
from harkara.dispatcher.senders import body_of
from harkara.dispatcher.wordings import TemplateWord, name_of, word_of
from harkara.graph_api.outcome import Accepted
from harkara.policy.sections import Templates
from tests.unit.dispatcher.lanes import ONE, START, TWO, HandDriven, iso, order, refused

OTHER_TEMPLATE = {"type": "template", "name": "weekly_update", "language": "en"}
HOUR = 3600.0


def state(status: str, at: float, name: str = "daily_update", waba_id: str = "waba-1", **more: Any) -> TemplateState:
    told = {
        "waba_id": waba_id, "name": name, "language": "en", "version": int(at), "status": status, "status_at": iso(at),
        "category": "UTILITY", "observed_at": iso(at), "updated_at": iso(at),
    }  # fmt: skip
    return TemplateState.model_validate(told | more)


class Lane(HandDriven):
    """A lane that is told of templates."""

    def crash(self, committed: int | None = None) -> None:
        self.words: dict[str, TemplateWord] = getattr(self, "words", {})
        self.around.templates = self.words
        super().crash(committed)

    def told(self, found: TemplateState) -> None:
        """The template's state on its topic is another one; a round follows."""
        self.words[name_of(found)] = word_of(found)
        self.write(lambda scribe: template_changed(scribe, self.around, name_of(found)))
        self.round()

    def called(self) -> list[str]:
        return [message_id for message_id, *_ in self.attempts]


def test_a_lanes_word_is_the_states() -> None:
    found = word_of(state("PAUSED", START, paused_until=iso(START + HOUR)))
    assert found == TemplateWord(int(START), "PAUSED", START, START + HOUR, "UTILITY") and not found.approved


@pytest.mark.req("B13", "TPL-3")
def test_a_paused_template_holds_its_own_messages_alone_and_they_go_by_themselves() -> None:
    lane = Lane()
    lane.told(state("PAUSED", START, paused_until=iso(START + 3 * HOUR)))
    lane.take(order("paused-1"), order("paused-2"), order("other-1", template=OTHER_TEMPLATE))
    assert lane.called() == ["other-1"]
    held = lane.shown()["paused-1"]
    assert held["status"] == "held" and held["reason"]["code"] == "template_paused"
    assert lane.state.messages["paused-1"].until == START + 3 * HOUR
    lane.round(3 * HOUR - 1)
    assert lane.called() == ["other-1"]
    lane.told(state("APPROVED", lane.now))
    assert lane.called() == ["other-1", "paused-1", "paused-2"]
    assert all(attempt == 1 for _, attempt, *_ in lane.attempts), "no attempt was burnt"


@pytest.mark.req("B13")
def test_a_pause_ends_at_its_time_though_nobody_says_so_and_one_without_a_time_waits_for_a_word() -> None:
    lane = Lane()
    lane.told(state("PAUSED", START, paused_until=iso(START + HOUR)))
    lane.told(state("PAUSED", START, name="weekly_update"))
    lane.take(order("message-1"), order("message-2", template=OTHER_TEMPLATE))
    lane.round(HOUR + 1)
    assert lane.called() == ["message-1"]
    lane.round(10 * HOUR)
    assert lane.called() == ["message-1"] and lane.status("message-2") == "held"
    lane.told(state("APPROVED", lane.now, name="weekly_update"))
    assert lane.called() == ["message-1", "message-2"]


@pytest.mark.req("B13")
def test_a_refusal_of_meta_holds_the_template_tells_everybody_and_ends_with_a_later_approval() -> None:
    lane = Lane()
    lane.take(order("message-1"))
    lane.answer(refused(132015))
    lane.take(order("message-2"), order("message-3", template=OTHER_TEMPLATE))
    assert lane.called() == ["message-1", "message-3"] and lane.status("message-2") == "held"
    (told,) = [each.event for each in lane.emissions() if isinstance(each.event, TemplateEvent)]
    assert (told.waba_id, told.name, told.language, told.status) == ("waba-1", "daily_update", "en", "PAUSED")
    assert told.source == "dispatcher" and told.reason is not None and told.reason.code == "meta_132015"
    lane.told(state("APPROVED", START - 60))
    assert "message-2" not in lane.called(), "an approval of before the refusal says nothing"
    lane.round(60)
    lane.told(state("APPROVED", lane.now))
    assert lane.called()[2:] == ["message-1", "message-2"]
    assert lane.shown()["message-1"]["attempt"] == 2
    lane.crash()
    assert not lane.state.holds


def went_by(lane: Lane, attempt: int) -> str:
    """The template of that attempt, as operators see it."""
    return str(lane.shown()["message-1"]["attempts"][str(attempt)]["template"])


HINDI = {"language": "hi", "body": ["आशा"]}
BOTH = {"type": "template", "name": "daily_update", "language": "en", "body": ["Asha"], "variants": [HINDI]}


@pytest.mark.req("B13", "TPL-7")
def test_a_paused_template_is_swapped_for_an_approved_one_in_another_language_and_this_is_recorded() -> None:
    lane = Lane()
    lane.told(state("PAUSED", START, paused_until=iso(START + HOUR)))
    lane.take(order("message-1", template=BOTH), order("message-2"))
    assert lane.called() == [], "of the other one nothing is known"
    lane.told(state("APPROVED", START + 1, language="hi"))
    assert lane.called() == ["message-1"]
    message = lane.state.messages["message-1"]
    sent = body_of(message)["template"]
    assert sent["language"] == {"code": "hi"} and sent["components"][0]["parameters"][0]["text"] == "आशा"
    assert went_by(lane, 1) == "daily_update:hi"
    assert last_gate(lane.state, lane.around, message, lane.now) is None
    lane.answer(refused(132015))
    assert ("template", "waba-1/daily_update:hi") in lane.state.holds, "the one that went is held"
    assert lane.status() == "held"
    lane.crash()
    lane.told(state("APPROVED", lane.now + 2))
    assert lane.called()[1:] == ["message-1", "message-2"]
    assert body_of(lane.state.messages["message-1"])["template"]["language"] == {"code": "en"}
    lane.answer(Accepted("wamid.1", None, None))
    assert went_by(lane, 2) == "daily_update:en"


@pytest.mark.req("B13")
def test_a_swapped_message_keeps_its_language_over_a_crash_until_its_end() -> None:
    lane = Lane()
    lane.told(state("DISABLED", START))
    lane.told(state("APPROVED", START, language="hi"))
    lane.take(order("message-1", template=BOTH))
    assert lane.called() == ["message-1"]
    lane.crash()
    assert lane.status() == "in_doubt"
    lane.echo("message-1", 1)
    assert lane.status() == "submitted"
    assert went_by(lane, 1) == "daily_update:hi"


def test_a_template_of_the_same_name_in_another_account_is_another_template() -> None:
    lane = Lane()
    lane.fleet[TWO] = lane.fleet[TWO].__class__(TWO, lane.fleet[ONE].home, "waba-2", lane.limits, 20, "b")
    lane.take(order("message-1", (ONE,)))
    lane.answer(refused(132015))
    lane.take(order("message-2", (TWO,)))
    assert lane.called() == ["message-1", "message-2"]
    lane.told(state("PAUSED", START, waba_id="waba-2"))
    lane.take(order("message-3", (TWO,)), order("message-4", (ONE, TWO)))
    assert lane.called() == ["message-1", "message-2"]
    lane.round(60)
    lane.told(state("APPROVED", lane.now, waba_id="waba-2"))
    assert lane.called()[2:] == ["message-3", "message-4"] and lane.attempts[-1][2] == TWO, "by the account that may"


@pytest.mark.parametrize("status", ["DISABLED", "REJECTED", "DELETED", "ARCHIVED", "PENDING_DELETION"])
def test_a_template_that_never_goes_again_fails_its_messages_with_the_reason(status: str) -> None:
    lane = Lane()
    lane.told(state("PAUSED", START))
    lane.take(order("message-1"))
    lane.told(state(status, START + 1))
    lane.take(order("message-2"))
    for message_id in ("message-1", "message-2"):
        shown = lane.shown()[message_id]
        assert shown["status"] == "failed_unsent" and shown["reason"]["code"] == "template_not_approved"
    assert lane.called() == [] and any(each.topic.name == "dispatch-orders-dlq" for each in lane.emissions())


def test_a_text_inside_its_window_goes_whatever_became_of_the_template_behind_it() -> None:
    lane = Lane()
    lane.told(state("DISABLED", START))
    both = order("message-1", form="session", valid_until=START + HOUR)
    both["plan"].append({"phone_number_id": ONE, "form": "template"})
    lane.take(both)
    assert [form for *_, form in lane.attempts] == ["session"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [("PENDING", "template_in_review"), ("IN_APPEAL", "template_in_review"), ("LOCKED", "template_not_approved"),
     ("LIMIT_EXCEEDED", "template_not_approved")],
)  # fmt: skip
def test_a_template_in_review_waits_until_it_is_approved_again(status: str, reason: str) -> None:
    lane = Lane()
    lane.told(state(status, START))
    lane.take(order())
    assert lane.status() == "held" and lane.shown()["message-1"]["reason"]["code"] == reason
    lane.told(state("APPROVED", START + 1))
    assert lane.called() == ["message-1"]


@pytest.mark.req("B12")
def test_a_template_that_became_dearer_stops_at_the_next_message_also_in_the_last_instant() -> None:
    lane = Lane(capacity=1)
    lane.told(state("APPROVED", START))
    lane.take(order("message-1"), order("message-2"), order("message-3", category="marketing"))
    assert lane.called() == ["message-1"]
    (under_way,) = [each for each in lane.state.messages.values() if each.status == "attempting"]
    assert last_gate(lane.state, lane.around, under_way, lane.now) is None
    lane.told(state("APPROVED", START + 1, category="MARKETING", category_before="UTILITY"))
    assert last_gate(lane.state, lane.around, under_way, lane.now) == "template_recategorised"
    lane.answer(Accepted("wamid.1", None, None), "message-1")
    assert lane.called() == ["message-1", "message-3"], "whoever reckoned with the price is not kept back"
    assert lane.shown()["message-2"]["reason"]["code"] == "template_recategorised"
    lane.answer(Accepted("wamid.3", None, None), "message-3")
    lane.told(state("APPROVED", START + 2, category="UTILITY"))
    assert lane.called()[-1] == "message-2"


@pytest.mark.req("B12")
def test_what_is_held_for_a_dearer_category_says_what_it_would_cost() -> None:
    lane = Lane(capacity=1)
    lane.told(state("APPROVED", START))
    lane.around.policy = replace(
        lane.around.policy, templates=Templates(prices={"marketing": 0.9, "utility": 0.2}, currency="INR")
    )
    lane.take(order("message-1"), order("message-2"))
    lane.told(state("APPROVED", START + 1, category="MARKETING", category_before="UTILITY"))
    lane.answer(Accepted("wamid.1", None, None), "message-1")
    reason = lane.shown()["message-2"]["reason"]
    assert reason["code"] == "template_recategorised"
    assert "it would cost 0.9 instead of 0.2 INR a message" in reason["text"]
    assert reason["details"] == {"template": "daily_update:en", "expected": "utility", "now": "marketing"}
    lane.crash()
    lane.round()
    assert lane.status("message-2") == "held"


def test_a_word_that_is_not_known_leaves_it_to_meta() -> None:
    lane = Lane()
    lane.told(state("UNKNOWN", START))
    lane.take(order())
    assert lane.called() == ["message-1"]


def test_held_messages_of_a_template_are_found_again_by_the_next_owner() -> None:
    lane = Lane()
    lane.told(state("PAUSED", START, paused_until=iso(START + HOUR)))
    lane.take(order())
    lane.crash()
    lane.round()
    assert lane.status() == "held"
    lane.told(state("APPROVED", datetime.now(UTC).timestamp()))
    assert lane.called() == ["message-1"]


def test_a_hold_of_a_template_that_was_approved_while_nobody_had_the_lane_ends_with_the_recovery() -> None:
    lane = Lane()
    lane.take(order())
    lane.answer(refused(132015))
    lane.now += 60
    lane.words["waba-1/daily_update:en"] = word_of(state("APPROVED", START - 60))
    lane.crash()
    lane.round()
    assert lane.status() == "held", "an approval of before the refusal says nothing"
    lane.words["waba-1/daily_update:en"] = word_of(state("APPROVED", lane.now))  # and nobody tells the next owner
    lane.crash()
    lane.round()
    assert lane.called() == ["message-1", "message-1"] and not lane.state.holds
