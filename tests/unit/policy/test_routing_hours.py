"""At which hours a plan lets a message go: by whose clock, and what goes at any hour."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from harkara.contracts.event import Decision
from harkara.policy.clearance import Cleared, Question, Word, decide
from harkara.policy.explain import decided_again
from harkara.policy.opening import Opening
from harkara.policy.routing import NoRoute, Planned, Surroundings, decision_of, plan
from tests.unit.policy.cases import ALONE, NOW, PERSON, TEMPLATE, TEXT, cleared, intent, policy

HOUR = timedelta(hours=1)
HALF_AN_HOUR = timedelta(minutes=30)
ALL_NIGHT = {"quiet_hours": {"service": "00:00-23:59", "utility": "23:00-07:00"}}
WROTE = Surroundings({ALONE: NOW}, {})


@pytest.mark.req("CMP-5", "CMP-16")
@pytest.mark.parametrize("word", [None, Word("opted_out"), Word("paused"), Word("opted_in")])
def test_the_confirmation_of_a_command_goes_at_any_hour(word: Word | None) -> None:
    """It lives half an hour: whoever wrote STOP at two at night would never be told that it was heard."""
    governance = policy(routing=ALL_NIGHT)
    wanted = intent(sender=ALONE, category="service", content=TEXT, priority=3, expires_at=NOW + HALF_AN_HOUR)
    verdict = decide(Question(wanted, NOW, PERSON, word, answers=NOW), governance, NOW)
    assert isinstance(verdict, Cleared)
    confirmation = cleared(**wanted.model_dump(), home=verdict.home).model_copy(
        update={"expires_at": verdict.expires_at, "answers": NOW}
    )
    planned = plan(confirmation, governance, WROTE, NOW)
    assert isinstance(planned, Planned) and planned.opening == Opening(NOW)
    assert [(each.phone_number_id, each.form) for each in planned.plan] == [(ALONE, "session")]


@pytest.mark.req("CMP-5", "CMP-16")
def test_a_send_window_does_not_keep_a_confirmation_and_keeps_any_other_message() -> None:
    governance = policy(routing=ALL_NIGHT | {"send_windows": {"noon": {"hours": "12:00-13:00"}}})
    soon = {"expires_at": NOW + HALF_AN_HOUR}
    message = cleared(ALONE, content=TEXT, category="service", send_window="noon").model_copy(update=soon)
    refused = plan(message, governance, WROTE, NOW)
    assert isinstance(refused, NoRoute) and refused.reason.code == "no_send_time"
    answer = message.model_copy(update={"answers": NOW})
    assert isinstance(plan(answer, governance, WROTE, NOW), Planned)
    later = answer.model_copy(
        update={"intent": answer.intent.model_copy(update={"not_before": NOW + timedelta(minutes=5)})}
    )
    planned = plan(later, governance, WROTE, NOW)
    assert isinstance(planned, Planned) and planned.opening == Opening(NOW + timedelta(minutes=5))


def again(outcome: Planned | NoRoute, **of: Any) -> Decision:
    """What is kept of it, which leads to the same once more."""
    governance = policy(**of)
    kept = decision_of(outcome, governance.version, NOW)
    assert kept is not None
    read = Decision.model_validate_json(kept.model_dump_json(exclude_none=True))
    assert decided_again(read, governance).same
    return read


@pytest.mark.req("DX-5", "B11")
def test_what_is_kept_of_it_says_that_it_was_an_answer() -> None:
    answer = cleared(ALONE, content=TEXT, category="service").model_copy(update={"answers": NOW})
    assert again(plan(answer, policy(routing=ALL_NIGHT), WROTE, NOW), routing=ALL_NIGHT).inputs["answers"] is True
    plain = cleared(ALONE, content=TEXT)
    assert "answers" not in again(plan(plain, policy(), WROTE, NOW)).inputs


@pytest.mark.req("B16", "CMP-17")
def test_a_misspelt_zone_leaves_the_clock_of_the_number_and_not_the_policys() -> None:
    """At six in the morning in India it is half past seven at night in New York."""
    routing = {"quiet_hours": {"utility": "23:00-07:00"}, "default_time_zone": "America/New_York"}
    outcome = plan(cleared(ALONE, time_zone="Asia/Kolkatta"), policy(routing=routing), Surroundings({}, {}), NOW)
    assert isinstance(outcome, Planned) and outcome.opening is not None
    assert outcome.opening.due == NOW + HOUR
    assert outcome.plan[0].reason.endswith("; there is no time zone of the name given")
    kept = again(outcome, routing=routing)
    assert (kept.inputs["unknown_zone"], kept.inputs["zones"]) == (True, ["Asia/Calcutta"])
    assert "Kolkatta" not in kept.model_dump_json(), "the name is the producer's own text"


@pytest.mark.req("B16", "CMP-17")
def test_where_the_number_tells_no_zone_either_the_policys_stands_in() -> None:
    routing = {"quiet_hours": {"utility": "23:00-07:00"}, "default_time_zone": "Asia/Kolkata"}
    message = cleared(ALONE, to="+999123456789", time_zone="Asia/Kolkatta")
    outcome = plan(message, policy(routing=routing), Surroundings({}, {}), NOW)
    assert isinstance(outcome, Planned) and outcome.opening is not None and outcome.opening.due == NOW + HOUR
    routing.pop("default_time_zone")
    refused = plan(message, policy(routing=routing), Surroundings({}, {}), NOW)
    assert isinstance(refused, NoRoute) and refused.reason.code == "zone_unknown"
    assert refused.reason.details == {"time_zone": "unknown"}
    assert refused.reason.text.endswith(" There is no time zone of the name that the intent gives.")


@pytest.mark.req("CMP-17")
def test_a_zone_that_there_is_goes_before_the_number_whatever_its_capitals() -> None:
    routing = {"quiet_hours": {"utility": "23:00-07:00"}}
    message = cleared(ALONE, time_zone="america/new_york", content=TEMPLATE)
    outcome = plan(message, policy(routing=routing), Surroundings({}, {}), NOW)
    assert isinstance(outcome, Planned) and outcome.opening is not None and outcome.opening.due == NOW
    assert outcome.facts is not None and outcome.facts.zones == ("America/New_York",)
    assert "zone" not in outcome.plan[0].reason and not outcome.facts.unknown_zone
