"""What the guard refuses, each rule by its code; and what it lets pass."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import phonenumbers
import pytest

from harkara.contracts.consent import ConsentEvent, ConsentState, advance_consent
from harkara.contracts.event import Decision
from harkara.contracts.intents import DEFAULT_LIFE, SendIntent
from harkara.policy.clearance import (
    Cleared,
    Question,
    Rejected,
    Word,
    country_of,
    decide,
    inputs_of,
    purpose_of,
    verdict_of,
    word_of,
)
from harkara.policy.explain import decided_again
from harkara.policy.governance import Governance
from tests.unit.policy.cases import ALONE, NOW, PERSON, TEMPLATE, TEXT, intent, number, policy

LISTED = {"compliance": {"consent_mode": "opt_out", "do_not_message": [PERSON]}}
EXPLICIT = {"compliance": {"consent_mode": "explicit"}}
HOUR = timedelta(hours=1)


def ask(wanted: SendIntent, word: Word | None = None, governance: Governance | None = None) -> Cleared | Rejected:
    return decide(Question(wanted, NOW, PERSON, word), governance or policy(), NOW)


def code(answer: Cleared | Rejected) -> str:
    return answer.reason.code if isinstance(answer, Rejected) else "cleared"


def test_an_intent_that_may_go_gets_its_home_and_its_end() -> None:
    governance = policy()
    assert ask(intent(sender="100000000000002")) == Cleared("advisors", NOW + DEFAULT_LIFE, governance.version)
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
        ({}, Word("erased"), {}, "erased"),
        ({"category": "service", "content": TEXT}, Word("erased"), {}, "erased"),
        ({"category": "marketing"}, Word("erased"), EXPLICIT, "erased"),
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
        ({}, Word("paused", NOW - HOUR, "opted_in"), EXPLICIT, "cleared"),
        ({}, Word("paused", NOW + HOUR, "opted_in"), EXPLICIT, "paused"),
        ({"expires_at": NOW}, None, {}, "expired_already"),
        ({"not_before": NOW + DEFAULT_LIFE}, None, {}, "never_due"),
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


def test_a_countrys_own_code_tells_it_as_the_whole_number_does() -> None:
    """Over every calling code, numbers of any length."""
    chance = random.Random(7)
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        for length in range(7 - len(str(code)), 16 - len(str(code))):
            phone = f"+{code}{chance.randrange(10**length):0{length}}"
            assert country_of(phone) == phonenumbers.region_code_for_number(phonenumbers.parse(phone)), phone


@pytest.mark.req("B11")
@pytest.mark.parametrize("word", [None, Word("opted_in"), Word("paused", NOW - HOUR, "opted_in"), Word("opted_out")])
def test_a_verdict_is_reached_again_from_what_is_kept_of_it(word: Word | None) -> None:
    governance = policy(**EXPLICIT)
    question = Question(intent(not_before=NOW + HOUR), NOW, PERSON, word)
    verdict = decide(question, governance, NOW)
    kept = inputs_of(verdict, governance.version, NOW)
    assert kept is not None and kept.verdict == verdict_of(verdict)
    again = decided_again(Decision.model_validate_json(kept.model_dump_json(exclude_none=True)), governance)
    assert again.same and again.reason == (verdict.reason if isinstance(verdict, Rejected) else None)
    assert not decided_again(kept, policy(pools=[], numbers=[number(ALONE)])).same


def test_a_contracted_window_asks_for_an_opt_in_and_a_plain_one_does_not() -> None:
    window = {"hours": "05:55-06:05"}
    plain = policy(routing={"send_windows": {"morning": window}})
    contracted = policy(routing={"send_windows": {"morning": window | {"contract": "agreement, clause 4"}}})
    wanted = intent(send_window="morning")
    assert code(ask(wanted, None, plain)) == "cleared"
    assert code(ask(wanted, Word("opted_in"), contracted)) == "cleared"
    assert code(ask(wanted, None, contracted)) == "no_opt_in"
    assert code(ask(intent(), None, contracted)) == "cleared"


ELIGIBLE: dict[str, Any] = {
    "consent_mode": "opt_out",
    "allowed_categories": ["utility", "marketing"],
    "content_approval": {"tags": ["a-1", "a-2"]},
    "advisor_identification": {"texts": ["INA000012345"]},
}


@pytest.mark.req("CMP-9", "CMP-15")
def test_what_is_eligible_passes_and_a_confirmation_needs_no_approval() -> None:
    governance = policy(compliance=ELIGIBLE)
    named = {"content": TEMPLATE | {"body": ["Asha, INA000012345"]}, "metadata": {"content_approval": "a-2"}}
    assert code(ask(intent(**named), Word("opted_in"), governance)) == "cleared"
    assert code(ask(intent(**named | {"metadata": {}}), Word("opted_in"), governance)) == "content_not_approved"
    service = intent(category="service", content=TEXT)
    assert code(ask(service, None, governance)) == "category_not_allowed"
    confirmation = Question(service, NOW, PERSON, Word("opted_out"), answers=NOW)
    assert code(decide(confirmation, governance, NOW)) == "cleared"
    assert code(ask(service, None, policy(compliance=ELIGIBLE | {"allowed_categories": []}))) == "cleared"


@pytest.mark.parametrize(
    ("category", "word", "text"),
    [
        ("marketing", Word("opted_out"), "The person opted out of marketing messages."),
        ("utility", Word("opted_out"), "The person opted out of transactional messages."),
        ("service", Word("blocked"), "The person is blocked from transactional messages."),
        ("marketing", Word("paused"), "The person paused marketing messages until they resume."),
        (
            "marketing",
            Word("paused", NOW + HOUR),
            "The person paused marketing messages until 2026-11-21T01:30:00+00:00.",
        ),
        ("authentication", None, "There is no opt-in of the person to transactional messages on record."),
        ("marketing", Word("paused", NOW), "There is no opt-in of the person to marketing messages on record."),
    ],
)
def test_a_refusal_for_consent_says_of_which_messages(category: str, word: Word | None, text: str) -> None:
    answer = ask(intent(category=category), word, policy(**EXPLICIT))
    assert isinstance(answer, Rejected)
    purpose = "marketing" if category == "marketing" else "transactional"
    assert (answer.reason.text, answer.reason.details) == (text, {"purpose": purpose})


def test_what_held_before_a_pause_holds_after_it() -> None:
    for then, expected in (("opted_out", "opted_out"), ("opted_in", "cleared"), (None, "no_opt_in")):
        assert code(ask(intent(), Word("paused", NOW, then), policy(**EXPLICIT))) == expected  # type: ignore[arg-type]
        assert code(ask(intent(), Word("paused", NOW + HOUR, then), policy(**EXPLICIT))) == "paused"  # type: ignore[arg-type]


def test_the_record_of_a_verdict_says_all_of_it() -> None:
    governance = policy(compliance={"consent_mode": "opt_out", "allowed_countries": ["IN"]})
    wanted = intent(not_before=NOW + HOUR, metadata={"content_approval": "a-1"})
    kept = inputs_of(ask(wanted, Word("paused", NOW, "opted_in"), governance), governance.version, NOW)
    assert kept is not None and (kept.step, kept.policy_version, kept.at) == ("clearance", governance.version, NOW)
    assert kept.verdict == {"outcome": "cleared", "home": "advisors", "expires_at": (NOW + DEFAULT_LIFE).isoformat()}
    assert kept.inputs == {
        "sender": "advisors",
        "person_key": PERSON,
        "category": "utility",
        "word": {"standing": "paused", "until": "2026-11-21T00:30:00Z", "then": "opted_in"},
        "recorded_at": "2026-11-21T00:30:00Z",
        "expires_at": "2026-11-22T02:30:00Z",
        "not_before": "2026-11-21T01:30:00Z",
        "country": "IN",
        "names": "",
        "approval": "a-1",
    }
    kept = inputs_of(ask(intent(to="+999123456789"), Word("opted_out")), policy().version, NOW)
    assert kept is not None and kept.inputs["country"] == "", "a number of no country, whether it was asked for or not"
    assert kept.verdict == {"outcome": "rejected", "code": "opted_out", "rule": "compliance.consent"}


@pytest.mark.req("CMP-7", "B17")
def test_whoever_is_on_the_do_not_message_list_under_another_name_is_refused() -> None:
    for names, expected in (
        ((PERSON,), "do_not_message"),
        (("e" * 32, PERSON), "do_not_message"),
        (("e" * 32,), "cleared"),
    ):
        asked = Question(intent(), NOW, "f" * 32, Word("opted_in"), names=names)
        assert code(decide(asked, policy(**LISTED), NOW)) == expected


def test_what_holds_after_a_pause_is_what_the_person_had_said_before() -> None:
    state: ConsentState | None = None
    for number_of, (standing, until) in enumerate((("opted_in", None), ("paused", NOW + HOUR))):
        said = ConsentEvent.model_validate(
            {
                "event_id": f"e{number_of}", "person_key": PERSON, "standing": standing, "source": "keyword",
                "at": NOW - HOUR + timedelta(minutes=number_of), "until": until,
            }
        )  # fmt: skip
        state = advance_consent(state, said)
    assert word_of(state, "marketing") == Word("paused", NOW + HOUR, "opted_in")
