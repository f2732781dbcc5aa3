"""What the guard refuses, each rule by its code; and what it lets pass."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from harkara.contracts.consent import ConsentEvent, ConsentState, advance_consent
from harkara.contracts.intents import SendIntent
from harkara.policy.clearance import Cleared, Question, Rejected, Word, country_of, decide, purpose_of, word_of
from harkara.policy.governance import Governance
from tests.unit.policy.cases import NOW, PERSON, TEMPLATE, TEXT, intent, policy

LISTED = {"compliance": {"consent_mode": "opt_out", "do_not_message": [PERSON]}}
EXPLICIT = {"compliance": {"consent_mode": "explicit"}}
HOUR = timedelta(hours=1)


def ask(wanted: SendIntent, word: Word | None = None, governance: Governance | None = None) -> Cleared | Rejected:
    return decide(Question(wanted, NOW, PERSON, word), governance or policy(), NOW)


def code(answer: Cleared | Rejected) -> str:
    return answer.reason.code if isinstance(answer, Rejected) else "cleared"


def test_an_intent_that_may_go_gets_its_home_and_its_end() -> None:
    governance = policy()
    assert ask(intent(sender="100000000000002")) == Cleared("advisors", NOW + 24 * HOUR, governance.version)
    assert ask(intent(expires_at=NOW + HOUR)) == Cleared("advisors", NOW + HOUR, governance.version)
    far = ask(intent(expires_at=NOW + 1000 * HOUR))
    assert isinstance(far, Cleared) and far.expires_at == NOW + timedelta(days=6)


@pytest.mark.req("CMP-7", "CMP-8")
@pytest.mark.parametrize(
    ("changes", "word", "governance", "expected"),
    [
        ({"sender": "nobody"}, None, {}, "unknown_sender"),
        ({}, None, LISTED, "do_not_message"),
        ({}, Word("opted_in"), LISTED, "do_not_message"),
        ({}, Word("opted_out"), {}, "opted_out"),
        ({"category": "authentication"}, Word("opted_out"), {}, "opted_out"),
        ({"category": "service", "content": TEXT}, Word("opted_out"), {}, "opted_out"),
        ({"priority": 3}, Word("opted_out"), {}, "opted_out"),
        ({}, Word("blocked"), {}, "blocked"),
        ({}, Word("blocked", NOW - HOUR), {}, "blocked"),
        ({}, Word("paused"), {}, "paused"),
        ({}, Word("paused", NOW + HOUR), {}, "paused"),
        ({}, Word("paused", NOW), {}, "cleared"),
        ({}, Word("opted_in"), {}, "cleared"),
        ({}, None, EXPLICIT, "no_opt_in"),
        ({}, Word("opted_in"), EXPLICIT, "cleared"),
        ({}, Word("opted_out"), EXPLICIT, "opted_out"),
        ({}, Word("paused", NOW - HOUR), EXPLICIT, "no_opt_in"),
        ({"expires_at": NOW}, None, {}, "expired_already"),
        ({"not_before": NOW + 25 * HOUR}, None, {}, "never_due"),
        ({"not_before": NOW + 25 * HOUR, "expires_at": NOW + 26 * HOUR}, None, {}, "cleared"),
        ({}, None, {"compliance": {"consent_mode": "opt_out", "allowed_countries": ["BR"]}}, "country_not_allowed"),
        ({"to": "+999123456789"}, None, {"compliance": {"consent_mode": "opt_out", "allowed_countries": ["IN"]}},
         "country_not_allowed"),
        ({}, None, {"compliance": {"consent_mode": "opt_out", "allowed_countries": ["BR", "IN"]}}, "cleared"),
        ({"content": {"type": "text", "body": " \u200b\n"}}, None, {}, "content_empty"),
        ({"content": {"type": "text", "body": "line\nbreaks are\tfine       here"}}, None, {}, "cleared"),
        ({"content": TEMPLATE | {"named": {"name": "Asha"}}}, None, {}, "template_values_mixed"),
        ({"content": TEMPLATE | {"body": ["Asha\nRao"]}}, None, {}, "template_value_refused"),
        ({"content": TEMPLATE | {"body": ["Asha\tRao"]}}, None, {}, "template_value_refused"),
        ({"content": TEMPLATE | {"body": ["Asha     Rao"]}}, None, {}, "template_value_refused"),
        ({"content": TEMPLATE | {"body": ["Asha    Rao"]}}, None, {}, "cleared"),
        ({"content": TEMPLATE | {"body": ["\u200b"]}}, None, {}, "template_value_refused"),
        ({"content": TEMPLATE | {"body": [], "named": {"name": ""}}}, None, {}, "template_value_refused"),
        ({"content": TEMPLATE | {"header": "a\nb"}}, None, {}, "template_value_refused"),
        ({"content": TEMPLATE | {"header": {"type": "audio", "id": "1"}}}, None, {}, "template_header_refused"),
        ({"content": TEMPLATE | {"buttons": [{"sub_type": "url", "index": 0, "value": "a"}] * 2}}, None, {},
         "template_button_repeated"),
        ({"content": TEXT, "fallback_template": TEMPLATE | {"body": ["a\nb"]}}, None, {}, "template_value_refused"),
        ({"content": {"type": "image", "id": "1"}, "fallback_template": TEMPLATE}, None, {}, "cleared"),
    ],
)  # fmt: skip
def test_each_rule(changes: dict[str, Any], word: Word | None, governance: dict[str, Any], expected: str) -> None:
    in_force = policy(**governance)
    answer = ask(intent(**changes), word, in_force)
    assert code(answer) == expected
    if isinstance(answer, Rejected):
        assert answer.reason.policy_version == in_force.version
        assert answer.reason.rule and answer.reason.text.endswith(".")


def test_a_refusal_says_where_without_saying_who_or_what() -> None:
    answer = ask(intent(content=TEMPLATE | {"body": ["fine", "Asha\nRao"]}))
    assert isinstance(answer, Rejected)
    assert "body 2" in answer.reason.text and "character 5" in answer.reason.text
    said = answer.reason.model_dump_json()
    assert "Asha" not in said and "919999912345" not in said


def test_an_unknown_sender_is_refused_under_its_own_text() -> None:
    answer = ask(intent(sender="nobody"))
    assert isinstance(answer, Rejected) and answer.home == "nobody"


def test_marketing_asks_for_consent_to_marketing_and_everything_else_for_transactional() -> None:
    state = advance_consent(
        None,
        ConsentEvent(
            event_id="e", person_key=PERSON, standing="opted_out", purpose="marketing", source="meta_preference", at=NOW
        ),
    )
    for category in ("marketing", "utility", "authentication", "service"):
        wanted = intent(category=category)
        expected = "opted_out" if category == "marketing" else "cleared"
        assert code(ask(wanted, word_of(state, purpose_of(wanted)))) == expected
    assert word_of(None, "marketing") is None
    assert word_of(ConsentState(person_key=PERSON), "transactional") is None


@pytest.mark.parametrize(
    ("phone", "country"), [("+919999912345", "IN"), ("+14155552671", "US"), ("+999123456789", None)]
)
def test_the_country_is_the_numbers(phone: str, country: str | None) -> None:
    assert country_of(phone) == country
