"""A fallback content is looked at by the guard, planned by the router and shown by the preview (RTW-7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from harkara.contracts.audit import AuditRecord
from harkara.contracts.event import Decision, Reason
from harkara.contracts.intents import ClearedIntent, DispatchOrder, FallbackPlan
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.template_state import TemplateParameters, TemplateState
from harkara.policy.clearance import Question, Rejected, decide
from harkara.policy.explain import decided_again
from harkara.policy.fallback import chosen_again, decide_fallback, kept_with, plan_fallback, told, verdict_with
from harkara.policy.resolve import resolve
from harkara.policy.routing import Planned, Surroundings, decision_of, plan
from harkara.runtime.kafka import Output
from harkara.window_router import core
from tests.unit.policy.cases import ALONE, NOW, PERSON, TEMPLATE, TEXT, cleared, intent, policy

OPEN = Surroundings({ALONE: NOW - timedelta(hours=1)}, {})
CLOSED = Surroundings({}, {})
OTHER = TEMPLATE | {"name": "plain_update"}


def known(**more: Any) -> Surroundings:
    state = TemplateState.model_validate(
        {"waba_id": "200000000000001", "name": "plain_update", "language": "en", "version": 1, "status": "APPROVED",
         "updated_at": NOW, "observed_at": NOW} | more
    )  # fmt: skip
    return Surroundings({}, {}, templates={state.key: state})


def fallen(around: Surroundings, **more: Any) -> FallbackPlan | Reason | None:
    return plan_fallback(cleared(home=ALONE, **more), policy(), around, NOW)


def outputs(wanted: ClearedIntent, around: Surroundings) -> list[Output]:
    """As the router writes them."""
    fallback = decide_fallback(wanted, policy(), around, NOW)
    return core.outputs(wanted, plan(wanted, policy(), around, NOW), policy().version, NOW, fallback)


@pytest.mark.req("RTW-7")
@pytest.mark.parametrize(("content", "form"), [(TEXT, "session"), (OTHER, "template")])
def test_it_is_planned_as_a_content_of_its_kind(content: dict[str, Any], form: str) -> None:
    made = fallen(OPEN, fallback_content=content, duplicate_ok=True, fallback_after_seconds=600)
    assert isinstance(made, FallbackPlan)
    assert [each.form for each in made.plan] == [form]
    assert (told(made), told(None)) == (form, "")
    assert (made.session is not None, made.template is not None) == (form == "session", form == "template")
    assert (made.after_seconds, made.if_undeliverable) == (600, False)


@pytest.mark.req("RTW-7", "RTW-4")
@pytest.mark.parametrize(
    ("around", "content", "why"),
    [
        (CLOSED, TEXT, "window_closed"),
        (known(status="REJECTED"), OTHER, "template_not_approved"),
        (known(parameters=TemplateParameters(body_values=("a", "b"))), OTHER, "template_values_wrong"),
        (known(category="MARKETING"), OTHER, "template_recategorised"),
    ],
)
def test_without_a_way_the_message_goes_without_it_and_says_why(
    around: Surroundings, content: dict[str, Any], why: str
) -> None:
    wanted = cleared(home=ALONE, fallback_content=content)
    made = plan_fallback(wanted, policy(), around, NOW)
    assert isinstance(made, Reason)
    assert (made.code, made.details["because"], told(made)) == ("fallback_not_routed", why, f"refused:{why}")
    step, audit, order = (each.event for each in outputs(wanted, around))
    assert isinstance(step, MessageLifecycle) and step.status == "routed" and step.reason == made
    assert isinstance(audit, AuditRecord) and (audit.action, audit.details["code"]) == ("fallback_rejected", made.code)
    assert isinstance(order, DispatchOrder) and order.fallback is None
    assert step.decision is not None
    refused = step.decision.verdict["fallback"]
    assert (refused["outcome"], refused["code"]) == ("rejected", why)
    again = decided_again(Decision.model_validate_json(step.decision.model_dump_json()), policy())
    assert (again.same, again.reason) == (True, made), "the refusal comes out the same, as it was told"
    written = {"fallback": {"free_form": True}, "last_inbound_at": {ALONE: NOW.isoformat()}}
    other = step.decision.model_copy(update={"inputs": step.decision.inputs | written})
    assert not decided_again(other, policy()).same, "a text, to somebody who has just written, would go"


def test_the_windows_other_form_does_not_stand_in_for_it() -> None:
    made = fallen(CLOSED, content=TEXT, fallback_template=TEMPLATE, fallback_content=TEXT)
    assert told(made) == "refused:window_closed"


@pytest.mark.req("RTW-7")
def test_the_order_carries_it() -> None:
    wanted = cleared(home=ALONE, fallback_content=TEXT, fallback_if_undeliverable=True)
    made = plan_fallback(wanted, policy(), OPEN, NOW)
    step, order = (each.event for each in outputs(wanted, OPEN))
    assert isinstance(order, DispatchOrder) and order.fallback == made and made is not None
    assert isinstance(step, MessageLifecycle) and step.decision is not None and step.reason is None
    assert [each["form"] for each in step.decision.verdict["fallback"]["plan"]] == ["session"]
    assert decided_again(step.decision, policy()).same
    assert DispatchOrder.model_validate(order.model_dump(mode="json", exclude_none=True)) == order


@pytest.mark.req("RTW-7", "B11")
def test_of_a_message_without_one_the_routing_is_kept_as_it_is() -> None:
    planned = plan(cleared(home=ALONE), policy(), CLOSED, NOW)
    kept = decision_of(planned, policy().version, NOW)
    assert kept is not None and isinstance(planned, Planned)
    assert kept_with(kept, None) == kept
    assert kept_with(None, planned) is None, "of a routing that was made of nothing no fallback is kept either"
    assert kept_with(kept, replace(planned, facts=None)) == kept, "nor one that was made of nothing"
    assert chosen_again(kept.inputs, policy(), NOW) is None
    assert verdict_with(kept.verdict, None) == kept.verdict
    assert decided_again(kept, policy()).same


@pytest.mark.req("RTW-7", "ING-17")
@pytest.mark.parametrize(
    ("around", "content", "shown"),
    [(OPEN, TEXT, "session"), (CLOSED, TEXT, "refused:window_closed"), (CLOSED, OTHER, "template"), (OPEN, None, "")],
)
def test_the_preview_shows_it(around: Surroundings, content: dict[str, Any] | None, shown: str) -> None:
    wanted = intent(sender=ALONE, fallback_content=content)
    verdict = resolve(wanted, PERSON, None, around, policy(), NOW)
    assert (verdict.outcome, verdict.fallback) == ("template", shown)


@pytest.mark.req("RTW-7", "CMP-11")
@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"type": "text", "body": "pr\u200bofit"}, "content_invisible"),
        ({"type": "text", "body": "Hello {{name}}"}, "content_placeholder"),
        (OTHER | {"body": ["a\nb"]}, "template_value_refused"),
    ],
)
def test_the_guard_looks_at_it_too(content: dict[str, Any], code: str) -> None:
    verdict = decide(Question(intent(fallback_content=content), NOW, PERSON, None), policy(), NOW)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason.code, verdict.reason.details["part"]) == (code, "fallback_content")


def test_a_code_does_not_fall_back_to_free_text() -> None:
    asked = intent(category="authentication", fallback_content=TEXT)
    verdict = decide(Question(asked, NOW, PERSON, None), policy(), NOW)
    assert isinstance(verdict, Rejected) and verdict.reason.code == "category_needs_template"


@pytest.mark.req("RTW-7", "CMP-9")
def test_it_must_name_the_adviser_as_well() -> None:
    asked = {"texts": ["Asha Advisers"], "categories": ["utility"], "templates": ["daily_advice"]}
    governed = policy(compliance={"consent_mode": "opt_out", "advisor_identification": asked})
    for body, passes in (("Good morning", False), ("Good morning from Asha Advisers", True)):
        wanted = intent(fallback_content={"type": "text", "body": body})
        verdict = decide(Question(wanted, NOW, PERSON, None), governed, NOW)
        assert isinstance(verdict, Rejected) is not passes


@pytest.mark.parametrize(
    "more",
    [
        {"fallback_after_seconds": 600, "duplicate_ok": True},
        {"fallback_if_undeliverable": True},
        {"fallback_content": TEXT, "fallback_after_seconds": 600},
        {"fallback_content": TEXT, "fallback_after_seconds": 29, "duplicate_ok": True},
        {"fallback_content": TEXT, "fallback_after_seconds": 5 * 86_400 + 1, "duplicate_ok": True},
    ],
)
def test_what_does_not_agree_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        intent(**more)


def test_an_intent_without_one_has_the_hash_it_always_had() -> None:
    assert intent().hash() == intent(fallback_content=None, fallback_if_undeliverable=False).hash()
    assert intent().hash() != intent(fallback_content=TEXT).hash()
