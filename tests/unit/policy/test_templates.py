"""Which templates a plan takes: approved ones alone, with values that fit, of the category that was reckoned with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.event import Decision, Reason
from harkara.contracts.intents import Button, Media, Template, Variant
from harkara.contracts.template_state import ButtonParameter, TemplateParameters, TemplateState
from harkara.policy.explain import decided_again
from harkara.policy.language import spoken_in, wordings
from harkara.policy.routing import NoRoute, Planned, Surroundings, decision_of, plan
from harkara.policy.sections import Templates
from harkara.policy.template_values import brought_by, brought_in, taken_by, values_problem
from harkara.policy.templates import (
    TemplateFact,
    changed,
    dearer_than_paid_for,
    recategorised,
    standing,
    with_backups,
)
from tests.unit.policy.cases import ALONE, FIRST, NOW, SECOND, TEMPLATE, TEXT, cleared, number, policy

WABA, OTHER_WABA = "200000000000001", "200000000000002"
HINDI, MARATHI = {"language": "hi", "body": ["आशा"]}, {"language": "mr", "body": ["आशा"]}
IMAGE = {"type": "image", "link": "https://example.test/a.png"}


def state(status: str = "APPROVED", language: str = "en", waba_id: str = WABA, **more: Any) -> TemplateState:
    told = {
        "waba_id": waba_id, "name": "daily_advice", "language": language, "version": 1, "status": status,
        "category": "UTILITY", "observed_at": NOW, "updated_at": NOW,
        "parameters": TemplateParameters(body_values=("1",)),
    }  # fmt: skip
    return TemplateState.model_validate(told | more)


def routed(*states: TemplateState, governance: Any = None, inbound: Any = None, **more: Any) -> Planned | NoRoute:
    around = Surroundings(inbound or {}, {}, templates={each.key: each for each in states})
    return plan(cleared(**more), governance or policy(), around, NOW)


def refusal(found: Planned | NoRoute) -> Reason:
    assert isinstance(found, NoRoute), found
    return found.reason


def language(found: Planned | NoRoute) -> str:
    assert isinstance(found, Planned) and found.template is not None, found
    return found.template.language


@pytest.mark.req("RTW-4", "TPL-2")
@pytest.mark.parametrize(
    "status",
    ["PENDING", "REJECTED", "DISABLED", "IN_APPEAL", "PENDING_DELETION", "DELETED", "LIMIT_EXCEEDED", "ARCHIVED",
     "LOCKED"],
)  # fmt: skip
def test_what_is_not_approved_is_refused_with_its_status(status: str) -> None:
    found = refusal(routed(state(status)))
    assert (found.code, found.details["status"]) == ("template_not_approved", status)
    assert found.details["template"] == "daily_advice:en" and found.policy_version == policy().version


def test_what_is_approved_goes_and_says_nothing_more_and_what_is_paused_goes_to_wait_in_the_lane() -> None:
    approved, paused = routed(state()), routed(state("PAUSED", paused_until=NOW + timedelta(hours=3)))
    assert isinstance(approved, Planned) and "of the template" not in approved.plan[0].reason
    assert isinstance(paused, Planned) and paused.plan[0].reason.endswith("the template is paused")


@pytest.mark.parametrize("known", [(), (state("UNKNOWN"),)])
def test_where_nothing_is_known_the_policy_decides(known: tuple[TemplateState, ...]) -> None:
    allowed = routed(*known)
    assert isinstance(allowed, Planned) and allowed.plan[0].reason.endswith("of the template nothing is known")
    strict = policy(templates={"unknown": "refuse"})
    found = refusal(routed(*known, governance=strict))
    assert (found.code, found.rule) == ("template_unknown", "templates.unknown")
    assert isinstance(routed(state(), governance=strict), Planned)


@pytest.mark.req("TPL-7", "RTW-8", "RTW-4")
@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([state(language="mr"), state(language="hi"), state()], "mr"),
        ([state("REJECTED", "mr"), state(language="hi"), state()], "hi"),
        ([state("REJECTED", "mr"), state("PAUSED", "hi"), state()], "en"),
        ([state("DISABLED", "mr"), state("PAUSED", "hi"), state("PENDING")], "hi"),
        ([state(language="hi"), state()], "hi"),  # of the Marathi one nothing is known
        ([state("PAUSED", "mr"), state("REJECTED", "hi"), state("REJECTED")], "mr"),
        ([], "mr"),
    ],
)
def test_the_chain_of_languages_takes_approved_ones_first(states: list[TemplateState], expected: str) -> None:
    content = TEMPLATE | {"variants": [HINDI, MARATHI]}
    assert language(routed(*states, content=content, language="mr")) == expected


@pytest.mark.req("B13", "TPL-7")
def test_other_approved_languages_go_along_for_the_lane_to_swap_to() -> None:
    content = TEMPLATE | {"variants": [HINDI, MARATHI]}
    found = routed(state(language="mr"), state("PAUSED", "hi"), state(), content=content, language="mr")
    assert isinstance(found, Planned) and found.template is not None
    assert [(each.language, each.body) for each in found.template.variants] == [("en", ("Asha",))]
    unknown = routed(content=content, language="mr")
    assert isinstance(unknown, Planned) and unknown.template is not None and unknown.template.variants == ()


def test_where_no_language_may_go_the_first_ones_reason_is_told() -> None:
    content = TEMPLATE | {"variants": [HINDI]}
    found = refusal(routed(state("REJECTED", "hi"), state("DISABLED"), content=content, language="hi"))
    assert found.details == {"template": "daily_advice:hi", "status": "REJECTED"}


@pytest.mark.req("B12")
@pytest.mark.parametrize(
    ("category", "now", "code"),
    [
        ("utility", "MARKETING", "template_recategorised"), ("utility", "UTILITY", None),
        ("marketing", "UTILITY", None),
        ("utility", "AUTHENTICATION", "template_recategorised"), ("marketing", "MARKETING", None),
        ("authentication", "MARKETING", "template_recategorised"), ("authentication", "UTILITY", None),
    ],
)  # fmt: skip
def test_a_dearer_category_than_was_reckoned_with_stops_it(category: str, now: str, code: str | None) -> None:
    found = routed(state(category=now, category_before="UTILITY"), category=category)
    assert (found.reason.code if isinstance(found, NoRoute) else None) == code
    if code is not None:
        assert refusal(found).details["expected"] == category and refusal(found).details["now"] == now.lower()


@pytest.mark.req("B12")
def test_a_refusal_for_a_dearer_category_tells_both_prices_where_the_policy_has_them() -> None:
    priced = policy(templates={"prices": {"marketing": 0.9, "utility": 0.2}, "currency": "INR"})
    moved = state(category="MARKETING", category_before="UTILITY")
    assert "would cost 0.9 instead of 0.2 INR a message" in refusal(routed(moved, governance=priced)).text
    assert "would cost as marketing" in refusal(routed(moved)).text
    assert refusal(routed(moved)).details["before"] == "utility"


@pytest.mark.req("B12")
def test_an_answers_fallback_may_be_a_utility_template_but_no_marketing_one() -> None:
    answer: dict[str, Any] = {"category": "service", "content": TEXT, "fallback_template": TEMPLATE}
    assert isinstance(routed(state(), **answer), Planned)
    assert refusal(routed(state(category="MARKETING"), **answer)).code == "template_recategorised"


def test_a_text_in_its_window_goes_without_the_template_that_may_not() -> None:
    inbound = {FIRST: NOW - timedelta(hours=1)}
    found = routed(state("DISABLED"), inbound=inbound, content=TEXT, fallback_template=TEMPLATE)
    assert isinstance(found, Planned) and {each.form for each in found.plan} == {"session"} and found.template is None


def test_a_pool_of_two_accounts_goes_by_the_one_whose_template_is_approved() -> None:
    mixed = policy(numbers=[number(ALONE), number(FIRST), number(SECOND, waba_id=OTHER_WABA)])
    first = routed(state("PENDING"), state(waba_id=OTHER_WABA), governance=mixed)
    assert isinstance(first, Planned) and [each.phone_number_id for each in first.plan] == [SECOND]
    second = routed(state(), state("PAUSED", waba_id=OTHER_WABA), governance=mixed)
    assert isinstance(second, Planned) and [each.phone_number_id for each in second.plan] == [FIRST, SECOND]


def wire(template: Template) -> dict[str, Any]:
    """As an order carries it to the lane."""
    return template.model_dump(mode="json", exclude_none=True)


@pytest.mark.req("TPL-9")
@pytest.mark.parametrize(
    ("wanted", "brought", "wrong"),
    [
        ({"body_values": ("1", "2")}, {"body": ["a"]}, "its body takes 2 values, given are 1"),
        ({"body_values": ()}, {"body": ["a"]}, "its body takes 0 values, given are 1"),
        ({"body_values": ("1",)}, {"body": ["a"]}, None),
        ({"body_values": ("1",)}, {"named": {"first": "a"}}, "given are named ones"),
        ({"named": True, "body_values": ("first", "last")}, {"named": {"first": "a"}}, "last is not given"),
        ({"named": True, "body_values": ("first", "last")}, {}, "first is not given"),
        ({"named": True, "body_values": ("first",)}, {"named": {"first": "a", "x": "b"}}, "does not take 1"),
        ({"named": True, "body_values": ("first",)}, {"named": {"first": "a"}}, None),
        ({"named": True, "body_values": ("first",)}, {"body": ["a"]}, "first is not given"),
        ({"header": "IMAGE"}, {}, "takes a value of type image, given is none"),
        ({"header": "IMAGE"}, {"header": "text"}, "takes a value of type image, given is a text"),
        ({"header": "DOCUMENT"}, {"header": IMAGE}, "takes a value of type document, given is image"),
        ({"header": "IMAGE"}, {"header": IMAGE}, None),
        ({"header": "LOCATION"}, {}, "an intent cannot carry"),
        ({"header": "TEXT", "header_values": ("1",)}, {}, "takes a text, given is none"),
        ({"header": "TEXT", "header_values": ("1",)}, {"header": IMAGE}, "takes a text, given is image"),
        ({"header": "TEXT", "header_values": ("1",)}, {"header": "Asha"}, None),
        ({"header": "TEXT"}, {"header": "Asha"}, "its header takes no value"),
        ({}, {"header": IMAGE}, "its header takes no value"),
        ({"buttons": (ButtonParameter(index=1, sub_type="url", required=True),), "button_count": 2}, {}, "button 1"),
        ({"buttons": (ButtonParameter(index=0, sub_type="quick_reply"),), "button_count": 1}, {}, None),
        ({"button_count": 1}, {"buttons": [{"sub_type": "url", "index": 0, "value": "x"}]}, "button 0 takes no value"),
        (
            {"buttons": (ButtonParameter(index=0, sub_type="url"),), "button_count": 1},
            {"buttons": [{"sub_type": "copy_code", "index": 0, "value": "x"}]}, "of type url, given is copy_code",
        ),
        (
            {"buttons": (ButtonParameter(index=0, sub_type="url", required=True),), "button_count": 1},
            {"buttons": [{"sub_type": "url", "index": 0, "value": "x"}]}, None,
        ),
        ({"other": ("CAROUSEL",)}, {}, "has a carousel component"),
    ],
)  # fmt: skip
def test_values_are_counted_and_compared_component_by_component(
    wanted: dict[str, Any], brought: dict[str, Any], wrong: str | None
) -> None:
    content = {"type": "template", "name": "daily_advice", "language": "en"} | brought
    parameters = TemplateParameters.model_validate(wanted)
    template = Template.model_validate(content)
    found = values_problem(taken_by(parameters), brought_by(template))
    assert [values_problem(taken_by(parameters), each) for each in brought_in(wire(template))] == [found]
    assert found is None if wrong is None else found is not None and wrong in found
    planned = routed(state(parameters=parameters), content=content)
    assert isinstance(planned, Planned) if wrong is None else refusal(planned).code == "template_values_wrong"


@pytest.mark.req("B12", "B13")
@given(
    st.builds(
        Template,
        name=st.just("daily"),
        language=st.just("en"),
        header=st.sampled_from([None, "", "Asha", Media(type="image", id="1")]),
        body=st.lists(st.just("x"), max_size=3).map(tuple),
        named=st.sampled_from([{}, {"first": "a"}, {"b": "1", "a": "2"}]),
        buttons=st.sampled_from([(), (Button(sub_type="url", index=0, value="x"),)]),
        variants=st.lists(
            st.builds(
                Variant,
                language=st.sampled_from(["hi", "mr"]),
                header=st.sampled_from([None, "", "Asha", Media(type="video", id="1")]),
                body=st.sampled_from([None, (), ("a",), ("a", "b")]),
                named=st.sampled_from([None, {}, {"first": "b"}]),
            ),
            max_size=2,
            unique_by=lambda each: each.language,
        ).map(tuple),
    )
)
def test_the_lane_sees_of_an_order_what_the_router_sees_of_the_intent(template: Template) -> None:
    spoken = [template, *(spoken_in(template, each.language) for each in template.variants)]
    assert [*brought_in(wire(template))] == [brought_by(each) for each in spoken]


@pytest.mark.req("B12")
@pytest.mark.parametrize("now", ["UTILITY", "AUTHENTICATION", "MARKETING"])
@pytest.mark.parametrize("paid_for", ["service", "utility", "authentication", "marketing"])
def test_a_template_is_dearer_than_a_message_whose_category_costs_less(now: Any, paid_for: Any) -> None:
    costs = ["service", "utility", "authentication", "marketing"]
    dearer = costs.index(now.lower()) > max(costs.index(paid_for), 1)
    assert dearer_than_paid_for(now, paid_for) == (now if dearer else None)
    found = standing("daily", "en", TemplateFact(status="APPROVED", category=now), paid_for, Templates())
    assert (found.rank, found.reason is None) == ((3, False) if dearer else (0, True))


@pytest.mark.req("B12")
@pytest.mark.parametrize(
    ("category", "prices", "said"),
    [
        ("utility", {"utility": 0.1, "marketing": 0.8}, "0.8 instead of 0.1 EUR a message"),
        ("service", {"utility": 0.1, "marketing": 0.8}, "0.8 instead of 0.1 EUR a message"),
        ("authentication", {"authentication": 0.2, "utility": 0.1, "marketing": 0.8}, "0.8 instead of 0.2 EUR"),
        ("utility", {"marketing": 0.8}, "it would cost as marketing"),
        ("utility", {"utility": 0.1}, "it would cost as marketing"),
    ],
)
def test_a_dearer_template_says_both_prices_where_both_are_known(
    category: Any, prices: dict[str, float], said: str
) -> None:
    policy_of_prices = Templates.model_validate({"prices": prices, "currency": "EUR"})
    reason = recategorised("daily", "en", "MARKETING", "UTILITY", category, policy_of_prices)
    assert said in reason.text and reason.details["expected"] == category


def test_what_is_refused_has_the_last_rank() -> None:
    gone = standing("daily", "en", TemplateFact(status="DISABLED"), "utility", Templates())
    wrong = standing("daily", "en", TemplateFact(status="APPROVED", wrong="its body"), "utility", Templates())
    unknown = standing("daily", "en", None, "utility", Templates(unknown="refuse"))
    assert gone.rank == wrong.rank == unknown.rank == 3


def test_a_changed_template_says_what_does_not_fit_and_what_to_do() -> None:
    reason = changed("daily", "en", "its body takes 2 values, given are 1")
    assert reason.code == "template_changed" and "takes 2 values, given are 1" in reason.text
    assert "Cancel it" in reason.text and reason.details["template"] == "daily:en"


@pytest.mark.req("TPL-9")
def test_values_of_the_language_that_goes_count_and_unknown_parameters_are_left_to_meta() -> None:
    content = TEMPLATE | {"variants": [{"language": "hi", "body": ["आशा"]}]}
    two = TemplateParameters(body_values=("1", "2"))
    assert language(routed(state(parameters=two, language="hi"), state(), content=content, language="hi")) == "en"
    assert isinstance(routed(state(parameters=None), content=TEMPLATE | {"body": ["a", "b"]}), Planned)


@pytest.mark.req("B11")
def test_a_refusal_of_a_template_is_made_again_from_what_is_kept_of_it_without_its_values() -> None:
    content = TEMPLATE | {"body": ["Asha", "secret"], "variants": [{"language": "hi", "body": ["आशा", "x"]}]}
    for found in (routed(state(), content=content), routed(state("PAUSED"), content=TEMPLATE, language="en")):
        kept = decision_of(found, policy().version, NOW)
        assert kept is not None and "Asha" not in kept.model_dump_json() and "secret" not in kept.model_dump_json()
        read_back = Decision.model_validate_json(kept.model_dump_json(exclude_none=True))
        assert decided_again(read_back, policy()).same
        before = {"template_name", "languages", "templates"}
        old = read_back.model_copy(update={"inputs": {k: v for k, v in read_back.inputs.items() if k not in before}})
        assert "plan" in decided_again(old, policy()).verdict, "a decision of before templates were known"


@pytest.mark.req("B13")
@pytest.mark.parametrize(
    ("variant", "language", "backups"),
    [
        (Variant(language="hi", header="Suprabhat", body=("A", "B")), "hi", set()),
        (Variant(language="hi", header="Suprabhat", body=("A", "B")), "en", {"hi"}),
        (Variant(language="hi", body=()), "en", {"hi"}),
        (Variant(language="hi", body=()), "hi", {"en"}),
        (Variant(language="hi", body=(), named={"name": "Asha"}), "hi", {"en"}),
    ],
    ids=str,
)
def test_a_backup_says_what_it_says_in_its_own_language(variant: Variant, language: str, backups: set[str]) -> None:
    """Not with a header or values of the one that it takes the place of: Meta would refuse it."""
    template = Template(name="daily", language="en", body=("Asha",), variants=(variant,))
    wanted = wordings(template, language, {"en": ("hi",), "hi": ("en",)})
    known = {"waba": {each.language: TemplateFact(status="APPROVED", category="UTILITY") for each in wanted}}
    chosen = with_backups(language, wanted, known, "utility", Templates())
    assert chosen is not None and {each.language for each in chosen.variants} == backups
    for each in wanted:
        assert each.language not in backups or spoken_in(chosen, each.language) == each
