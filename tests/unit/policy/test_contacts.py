"""Marks of contents, what the rules are about, and what is left to the lane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from harkara.contracts.intents import Content
from harkara.policy.contacts import (
    NO_RULES,
    Contact,
    ContactRules,
    Facts,
    decision_of,
    judged,
    left_to_the_lane,
    refusal_of,
    rules_of,
    verdict_of,
)
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
        ({"type": "image", "id": "1"}, {"id": "2"}),
        (FULL | {"header": {"type": "image", "id": "1"}}, {"header": {"type": "image", "id": "2"}}),
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
    assert marks_of(intent(content=TEXT), PEPPER).model_dump(exclude_none=True) == {"session": mark(TEXT)}


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


HOUR_SECONDS = 3600.0
ONCE = {"within_hours": 24, "purposes": ["marketing", "utility"]}


def rules(**more: Any) -> ContactRules:
    return rules_of(policy(compliance={"consent_mode": "opt_out"} | more).compliance)


def cap(most: int, purpose: str = "utility", per_hours: float = 24) -> dict[str, Any]:
    return {"frequency_caps": [{"purpose": purpose, "most": most, "per_hours": per_hours}]}


@pytest.mark.req("B25", "CMP-7")
@pytest.mark.parametrize(
    ("told", "code"), [(cap(1), "frequency_cap"), ({"duplicate_content": ONCE}, "duplicate_content")]
)
def test_a_contact_counts_for_its_span_and_the_margin_and_no_longer(told: dict[str, Any], code: str) -> None:
    now, margin = NOW.timestamp(), 14.0
    for seconds_more, refused in ((-0.001, True), (0.0, False)):
        at = now - 24 * HOUR_SECONDS - margin - seconds_more
        found = refusal_of(rules(**told), "utility", "a", [Contact("m-1", at, "utility", "a")], now, margin)
        assert (found is not None and found.reason.code == code) == refused


@pytest.mark.req("B25")
def test_a_message_that_went_in_two_contents_is_one_contact() -> None:
    """Its template, and then its fallback content."""
    now = NOW.timestamp()
    both = [Contact("m-1", now - 60, "utility", "a"), Contact("m-1", now - 30, "utility", "b")]
    assert refusal_of(rules(**cap(2)), "utility", "", both, now, 0.0) is None
    found = refusal_of(rules(**cap(1)), "utility", "", both, now, 0.0)
    assert found is not None and [each.at for each in found.counted] == [now - 30]


@pytest.mark.req("B25", "DX-5")
def test_a_refusal_counts_in_words_and_says_when_the_next_may_go() -> None:
    now = NOW.timestamp()
    texts = []
    for count in (1, 2):
        contacts = [Contact(f"m-{n}", now - (n + 1) * HOUR_SECONDS, "utility") for n in range(count)]
        found = refusal_of(rules(**cap(count)), "utility", "", contacts, now, 0.0)
        assert found is not None
        texts.append(found.reason.text)
    told = (
        "In the last 24 hours {} went to this person, or may have, and no more than {} may; the next may go from {} on."
    )
    assert texts == [
        told.format("1 utility message", 1, "2026-11-21T23:30:00+00:00"),
        told.format("2 utility messages", 2, "2026-11-21T22:30:00+00:00"),
    ]


@pytest.mark.req("B11", "B25")
def test_what_is_kept_of_a_refusal_is_small_and_decides_the_same_again() -> None:
    now = NOW.timestamp()
    contacts = [
        Contact("m-1", now - 60, "utility", "a"),
        Contact("m-2", now - 90, "marketing", "a"),
        Contact("m-3", now - 30, "utility", "b"),
    ]
    capped, governance = rules(**cap(2, "utility")), policy(compliance={"consent_mode": "opt_out"} | cap(2, "utility"))
    refusal = refusal_of(capped, "utility", "a", contacts, now, 14.0)
    assert refusal is not None
    kept = decision_of(refusal, "utility", PERSON, "a", governance.version, now, 14.0)
    assert kept.inputs["contacts"] == [
        {"message_id": "m-3", "at": "2026-11-21T00:29:30Z", "category": "utility"},
        {"message_id": "m-1", "at": "2026-11-21T00:29:00Z", "category": "utility", "same": True},
    ]
    assert kept.verdict == {"outcome": "cancelled", "code": "frequency_cap", "rule": "compliance.frequency_caps"}
    facts = Facts.model_validate(kept.inputs)
    assert verdict_of(judged(facts, governance, NOW)) == kept.verdict
    assert verdict_of(judged(facts, policy(), NOW)) == {"outcome": "goes"}
    unmarked = refusal_of(capped, "utility", "", contacts[:1] + contacts[2:], now, 14.0)
    assert unmarked is not None
    unknown = decision_of(unmarked, "utility", PERSON, "", governance.version, now, 14.0)
    assert all("same" not in each for each in unknown.inputs["contacts"])


def test_a_refusal_keeps_as_many_contacts_as_the_highest_cap_counts() -> None:
    now = NOW.timestamp()
    contacts = [Contact(f"m-{n}", now - n, "utility") for n in range(150)]
    found = refusal_of(rules(**cap(100)), "utility", "", contacts, now, 0.0)
    assert found is not None and found.reason.details["count"] == "150"
    assert [each.at for each in found.counted] == [now - n for n in range(100)]
