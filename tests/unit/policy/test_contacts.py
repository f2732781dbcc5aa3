"""Marks of contents, what the rules are about, and what is left to the lane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from harkara.contracts.intents import Content
from harkara.policy.contacts import NO_RULES, Contact, left_to_the_lane, refusal_of, rules_of
from harkara.policy.governance import load
from harkara.policy.marks import content_mark, folded, marks_if_asked, marks_of
from harkara.policy.resolve import resolve
from harkara.policy.routing import Surroundings
from tests.unit.policy.cases import NOW, PERSON, TEMPLATE, TEXT, intent, policy

PEPPER = b"a pepper of the unit tests"
EXAMPLE = Path(__file__).parents[3] / "examples" / "governance.yaml"
CONTENT: TypeAdapter[Content] = TypeAdapter(Content)
RULES = {
    "consent_mode": "opt_out",
    "frequency_caps": [{"purpose": "transactional", "most": 2, "per_hours": 24}],
    "duplicate_content": {"within_hours": 24, "purposes": ["marketing", "utility"]},
}


def mark(content: dict[str, Any]) -> str:
    return content_mark(CONTENT.validate_python(content), PEPPER)


def text(body: str) -> str:
    return mark({"type": "text", "body": body})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Namaste Asha", "namaste   ASHA"),
        ("Namaste Asha", " Namaste\nAsha\t"),
        ("free gift", "fr\u200bee gi\u2060ft"),
        ("free gift", "free\u00a0gift"),
        ("free gift", "ｆｒｅｅ gift"),
        ("Straße", "STRASSE"),
        ("नमस्ते आशा", "नमस्\u200dते  आशा"),
        ("well done \U0001f44d", "WELL done \U0001f44d\ufe0f"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_what_a_person_reads_as_the_same_has_the_same_mark(one: str, other: str) -> None:
    assert text(one) == text(other)
    assert mark(TEMPLATE | {"body": [one]}) == mark(TEMPLATE | {"body": [other]})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\U0001f44d", "\U0001f44e"),
        ("5 €", "5 $"),
        ("!", "?"),
        ("cafe", "caf\u00e9"),
        ("12 31", "1 231"),
        ("a b", "ab"),
    ],
)
def test_what_is_another_text_has_another_mark(one: str, other: str) -> None:
    assert text(one) != text(other)


FULL = TEMPLATE | {
    "header": "News", "named": {}, "buttons": [{"sub_type": "url", "index": 0, "value": "a"}],
}  # fmt: skip
IMAGE = {"type": "image", "link": "https://example.com/a.jpg", "caption": "Look"}


@pytest.mark.parametrize(
    ("content", "changed"),
    [
        (FULL, {"name": "weekly_note"}),
        (FULL, {"language": "hi"}),
        (FULL, {"body": ["Ravi"]}),
        (FULL, {"body": ["Asha", ""]} | {"body": ["Asha", "x"]}),
        (FULL, {"header": "Olds"}),
        (FULL, {"header": {"type": "image", "id": "1"}}),
        (FULL, {"body": [], "named": {"who": "Asha"}}),
        (FULL, {"buttons": [{"sub_type": "url", "index": 0, "value": "A"}]}),
        (FULL, {"buttons": [{"sub_type": "url", "index": 1, "value": "a"}]}),
        (IMAGE, {"link": "https://example.com/A.jpg"}),
        (IMAGE, {"caption": "See"}),
        (IMAGE, {"type": "video"}),
    ],
)
def test_each_part_of_a_content_counts(content: dict[str, Any], changed: dict[str, Any]) -> None:
    assert mark(content) != mark(content | changed)


def test_a_mark_tells_nothing_without_the_pepper_and_named_values_have_no_order() -> None:
    content = CONTENT.validate_python(TEXT)
    assert content_mark(content, PEPPER) != content_mark(content, PEPPER + b"!")
    assert len(content_mark(content, b"x" * 200)) == 16
    named = TEMPLATE | {"body": []}
    assert mark(named | {"named": {"a": "1", "b": "2"}}) == mark(named | {"named": {"b": "2", "a": "1"}})
    assert mark(named | {"named": {"a": "1", "b": "2"}}) != mark(named | {"named": {"a": "2", "b": "1"}})


@given(st.text(max_size=60))
def test_folding_twice_is_folding_once(said: str) -> None:
    assert folded(folded(said)) == folded(said)
    assert folded(f"  {said}\u200b\n") == folded(said)


def test_an_intent_has_a_mark_for_each_content_that_may_go() -> None:
    offer = {"type": "text", "body": "An offer"}
    both = marks_of(intent(content=TEXT, fallback_template=TEMPLATE, fallback_content=offer), PEPPER)
    assert (both.session, both.template, both.fallback) == (mark(TEXT), mark(TEMPLATE), mark(offer))
    assert marks_of(intent(content=TEMPLATE), PEPPER).model_dump(exclude_none=True) == {"template": mark(TEMPLATE)}


def test_marks_are_made_only_where_the_policy_looks_for_them() -> None:
    asked = policy(compliance=RULES).compliance
    assert marks_if_asked(intent(), PEPPER, asked) == marks_of(intent(), PEPPER)
    assert marks_if_asked(intent(category="service"), PEPPER, asked) is None
    assert marks_if_asked(intent(), PEPPER, policy().compliance) is None


def test_which_contacts_count_for_a_category() -> None:
    rules = rules_of(policy(compliance=RULES).compliance)
    assert rules.counting("marketing") == {"marketing", "utility"}
    assert rules.counting("utility") == {"marketing", "utility", "authentication", "service"}
    assert rules.counting("service") == {"utility", "authentication", "service"}
    assert all(rules.concern(each) for each in ("marketing", "utility", "authentication", "service"))
    assert rules_of(policy().compliance) == NO_RULES
    assert not NO_RULES.concern("marketing") and NO_RULES.counting("marketing") == frozenset()


def test_several_attempts_of_one_message_are_one_contact() -> None:
    rules, now = rules_of(policy(compliance=RULES).compliance), NOW.timestamp()
    one = [Contact("message-1", now - n, "utility", "") for n in range(5)]
    assert refusal_of(rules, "utility", "", one, now, 0.0) is None
    found = refusal_of(rules, "utility", "", [*one, Contact("message-2", now - 60, "utility", "")], now, 0.0)
    assert found is not None and [each.at for each in found.counted] == [now, now - 60]


@pytest.mark.req("B15")
def test_preview_names_what_only_the_lane_can_know() -> None:
    governance = policy(compliance=RULES)
    assert left_to_the_lane(governance.compliance, "utility") == ("frequency_cap", "duplicate_content")
    assert left_to_the_lane(governance.compliance, "marketing") == ("duplicate_content",)
    assert left_to_the_lane(governance.compliance, "service") == ("frequency_cap",)
    verdict = resolve(intent(), PERSON, None, Surroundings({}, {}), governance, NOW)
    assert (verdict.outcome, verdict.decided_in_lane) == ("template", ("frequency_cap", "duplicate_content"))
    assert resolve(intent(), PERSON, None, Surroundings({}, {}), policy(), NOW).decided_in_lane == ()


def test_the_example_has_rules_and_a_policy_without_them_has_none() -> None:
    compliance = load(EXAMPLE).compliance
    assert [(cap.purpose, cap.per_hours) for cap in compliance.frequency_caps] == [
        ("marketing", 24),
        ("marketing", 168),
    ]
    assert compliance.duplicate_content is not None
    assert policy().compliance.frequency_caps == () and policy().compliance.duplicate_content is None
