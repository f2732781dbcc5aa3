"""What another policy would look at and was not kept is named, and counts neither as a difference nor as none (B11)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.event import Decision
from harkara.contracts.template_state import TemplateState
from harkara.policy import comparable
from harkara.policy.clearance import Question, decide, inputs_of
from harkara.policy.contacts import Contact, refusal_of, rules_of
from harkara.policy.contacts import decision_of as contact_decision
from harkara.policy.explain import decided_again
from harkara.policy.governance import Governance
from harkara.policy.routing import Surroundings, decision_of, plan
from harkara.policy.whatif import Comparison
from harkara.policy.wordings import Wordings
from tests.unit.policy.cases import ALONE, FIRST, NOW, PERSON, SECOND, TEXT, cleared, intent, number, policy

OTHER_NAME = "fedcba9876543210fedcba9876543210"
NIGHT = datetime(2026, 11, 20, 19, 0, tzinfo=UTC)  # half past midnight in India
BY = "Advice by INA000000000: hold"


def complying(**more: Any) -> Governance:
    return policy(compliance={"consent_mode": "opt_out"} | more)


CAPPED = complying(frequency_caps=[{"purpose": "utility", "most": 1, "per_hours": 24}])
ADVISED = complying(advisor_identification={"texts": ["INA000000000"]})
LISTED = complying(do_not_message=[PERSON])


def clearance(then: Governance | None = None, names: tuple[str, ...] = (), **more: Any) -> Decision:
    then = then or policy()
    question = Question(intent(**more), NOW, PERSON, None, names=names)
    kept = inputs_of(decide(question, then, NOW), then.version, NOW)
    assert kept is not None
    return kept


def routing(then: Governance | None = None, at: datetime = NOW, **more: Any) -> Decision:
    then = then or policy()
    wanted = cleared(**({"home": ALONE} | more)).model_copy(
        update={"received_at": at, "expires_at": at + timedelta(hours=24)}
    )
    kept = decision_of(plan(wanted, then, Surroundings({}, {}), at), then.version, at)
    assert kept is not None
    return kept


OFFER = "Our festival offer on gold plans ends this Sunday at midnight, so join now."


def said(then: Governance) -> Decision:
    """Of a text that a dearer template has."""
    named = {"waba_id": "200000000000001", "name": "offer", "language": "en", "version": 1}
    told = {"status": "APPROVED", "category": "MARKETING", "wording": OFFER, "observed_at": NOW, "updated_at": NOW}
    wordings = Wordings()
    wordings.put("offer", TemplateState.model_validate(named | told))
    wanted = cleared(home=ALONE, content={"type": "text", "body": OFFER})
    around = Surroundings({ALONE: NOW - timedelta(hours=1)}, {}, wordings=wordings)
    kept = decision_of(plan(wanted, then, around, NOW), then.version, NOW)
    assert kept is not None
    return kept


@pytest.mark.req("CMP-11", "B12")
def test_other_common_texts_are_compared_only_where_they_cannot_matter() -> None:
    plain, common = complying(), complying(common_texts=[OFFER])
    other = complying(common_texts=[OFFER], allowed_countries=["IN"])
    assert comparable.not_kept(said(plain), common, plain) == comparable.TEXTS, "it may pass now"
    assert comparable.not_kept(said(common), plain, common) == comparable.TEXTS, "it may be a repeat now"
    assert comparable.not_kept(said(plain), common, None) == comparable.TEXTS
    assert comparable.not_kept(said(common), other, common) is None
    assert comparable.not_kept(said(plain), complying(allowed_countries=["IN"]), plain) is None


def of_before(decision: Decision, *fields: str) -> Decision:
    """As a release kept it that did not keep these."""
    inputs = {name: value for name, value in decision.inputs.items() if name not in fields}
    return decision.model_copy(update={"inputs": inputs})


def capped(then: Governance, ago_hours: float = 1, earlier: int = 1) -> Decision:
    """The lane's refusal of a message by the policy's cap, after so many others."""
    at = NOW.timestamp()
    before = [Contact(f"m-earlier-{each}", at - ago_hours * 3600, "utility") for each in range(earlier)]
    refusal = refusal_of(rules_of(then.compliance), "utility", "", before, at, 0.0)
    assert refusal is not None
    return contact_decision(refusal, "utility", PERSON, "", then.version, at, 0.0)


def compared(new: Governance, *decisions: Decision, on_record: tuple[Governance, ...] = ()) -> Comparison:
    """Of one message."""
    found = Comparison(new, {each.version: each for each in on_record}.get)
    for decision in decisions:
        found.add("m-1", decision)
    return found


def counts(found: Comparison) -> tuple[int, dict[tuple[str, ...], int], dict[tuple[str, ...], int], int]:
    return found.same, dict(found.kinds), dict(found.not_comparable), found.moot


@pytest.mark.req("B11", "DX-3")
@pytest.mark.parametrize(
    ("phone", "outcome"),
    [("+919999912345", None), ("+14155552671", "country_not_allowed"), ("+999123456789", "country_not_allowed")],
)
def test_countries_that_were_not_asked_for_are_known(phone: str, outcome: str | None) -> None:
    new = complying(allowed_countries=["IN"])
    found = compared(new, clearance(to=phone))
    refused = {} if outcome is None else {("clearance", "cleared", f"rejected: {outcome}"): 1}
    assert counts(found) == (int(outcome is None), refused, {}, 0)
    assert decide(Question(intent(to=phone), NOW, PERSON, None), new, NOW).__class__.__name__ == (
        "Cleared" if outcome is None else "Rejected"
    )


@pytest.mark.req("B11", "DX-3")
def test_of_before_they_were_kept_nobody_can_say_unless_that_policy_asked() -> None:
    new, before = complying(allowed_countries=["IN"]), of_before(clearance(), "country", "names")
    assert counts(compared(new, before)) == (0, {}, {("clearance", comparable.COUNTRY): 1}, 0)
    asked = complying(allowed_countries=["US", "IN"])
    kept = of_before(clearance(asked), "names")
    assert counts(compared(new, kept)) == (1, {}, {}, 0), "it was asked, and is there"
    nowhere = of_before(clearance(asked, to="+999123456789"), "names", "country")
    assert counts(compared(new, nowhere, on_record=(asked,)))[0] == 1, "it was asked, and there was none"
    refused = of_before(clearance(sender="nobody"), "country", "names")
    assert counts(compared(new, refused))[0] == 1, "an earlier rule refuses it whatever its country is"


@pytest.mark.req("B11", "CMP-9", "DX-3")
def test_whether_a_text_names_the_adviser_is_known_where_the_same_was_asked() -> None:
    told = clearance(content={"type": "text", "body": BY})
    assert counts(compared(ADVISED, told)) == (0, {}, {("clearance", comparable.ADVISER): 1}, 0)
    new = complying(advisor_identification={"texts": ["INA000000000"]}, allowed_countries=["US"])
    asked = clearance(ADVISED, content={"type": "text", "body": BY})
    assert compared(new, asked).not_comparable == {}, "the country refuses it anyway"
    marketing = {"texts": ["INA000000000"], "categories": ["utility"]}
    new = complying(advisor_identification=marketing)
    assert counts(compared(new, asked, on_record=(ADVISED,)))[0] == 1, "the same texts, of other categories"
    assert counts(compared(new, asked))[2] == {("clearance", comparable.ADVISER): 1}, "that policy is not known here"
    other = complying(advisor_identification={"texts": ["INA111111111"]})
    assert counts(compared(other, asked, on_record=(ADVISED,)))[2] == {("clearance", comparable.ADVISER): 1}


@pytest.mark.req("B11", "B17")
def test_a_list_is_tried_on_every_name_of_the_person() -> None:
    new = complying(do_not_message=[OTHER_NAME])
    refused = {("clearance", "cleared", "rejected: do_not_message"): 1}
    assert counts(compared(new, clearance(names=(OTHER_NAME,)))) == (0, refused, {}, 0)
    assert counts(compared(new, clearance())) == (1, {}, {}, 0)
    before = of_before(clearance(), "names")
    assert counts(compared(new, before))[2] == {("clearance", comparable.NAMES): 1}
    longer = complying(do_not_message=[OTHER_NAME, PERSON[::-1]])
    kept = of_before(clearance(longer), "names")
    assert counts(compared(new, kept, on_record=(longer,)))[0] == 1, "whoever is on it was on the longer one"
    gone = clearance().model_copy(update={"inputs": clearance().inputs | {"person_key": "erased", "names": "erased"}})
    assert counts(compared(LISTED, gone))[2] == {("clearance", comparable.PERSON): 1}


@pytest.mark.req("B11", "CMP-16", "DX-3")
def test_quiet_hours_that_were_not_asked_for_are_tried_in_the_recipients_zone() -> None:
    new = policy(routing={})
    found = compared(new, routing(at=NIGHT))
    assert counts(found) == (0, {("routing", "routed", "routed otherwise"): 1}, {}, 0)
    again = decided_again(routing(at=NIGHT), new)
    assert again.verdict["due"] == "2026-11-21T01:30:00+00:00", "07:00 in India"
    before = of_before(routing(at=NIGHT), "zones")
    assert counts(compared(new, before))[2] == {("routing", comparable.ZONES): 1}
    asked = policy(routing={"quiet_hours": {"utility": "22:00-06:00"}})
    nowhere = of_before(routing(asked, at=NIGHT), "zones")
    assert compared(new, nowhere, on_record=(asked,)).not_comparable == {}, "it was asked, and there was none"


@pytest.mark.req("B11", "RTW-8")
def test_another_chain_of_languages_is_tried_on_those_that_there_are() -> None:
    template = {
        "type": "template", "name": "daily_advice", "language": "en", "body": ["Asha"],
        "variants": [{"language": "hi"}, {"language": "ta"}],
    }  # fmt: skip
    kept = routing(content=template, language="mr")
    assert kept.verdict["language"] == "hi"
    night = {"quiet_hours": {"utility": "none", "marketing": "none"}}
    other = policy(routing=night | {"language_fallback": {"mr": ["ta"]}})
    assert counts(compared(other, kept))[1] == {("routing", "routed", "routed otherwise"): 1}
    assert decided_again(kept, other).verdict["language"] == "ta"
    assert decided_again(kept, policy()).same
    before = of_before(kept, "zones", "offered", "asked")
    assert decided_again(before, policy()).same
    assert counts(compared(other, before))[2] == {("routing", comparable.LANGUAGES): 1}
    alike = policy(routing=night | {"window_margin_minutes": 25})
    assert counts(compared(alike, before, on_record=(policy(),)))[0] == 1


@pytest.mark.req("B11")
def test_of_a_number_that_the_sender_did_not_have_nothing_is_known() -> None:
    one, both = ({"pools": [{"name": "advisors", "numbers": ids}]} for ids in ([FIRST], [FIRST, SECOND]))
    kept = routing(policy(**one), home="advisors")
    assert counts(compared(policy(**both), kept))[2] == {("routing", comparable.NUMBERS): 1}
    kept = routing(policy(**both), home="advisors")
    assert counts(compared(policy(**one), kept))[1] == {("routing", "routed", "routed otherwise"): 1}
    gone = policy(pools=[], numbers=[number(FIRST)])
    assert counts(compared(gone, kept))[1] == {("routing", "routed", "rejected: unknown_home"): 1}


@pytest.mark.req("B11")
def test_a_number_that_the_sender_had_by_the_policy_of_its_time_is_known() -> None:
    then = policy()
    refused = of_before(routing(then, home="advisors", content=TEXT), "numbers")
    assert refused.verdict["code"] == "window_closed"
    wider = policy(routing={"window_margin_minutes": 20, "quiet_hours": {"utility": "none"}})
    assert counts(compared(wider, refused, on_record=(then,))) == (1, {}, {}, 0)
    assert counts(compared(wider, refused))[2] == {("routing", comparable.NUMBERS): 1}, "that policy is not known here"


@pytest.mark.req("B11", "CMP-15", "DX-3")
def test_what_a_new_cap_would_count_was_not_kept() -> None:
    """A message that passed has no decision on its contacts, since there was no rule on them or another one."""
    unknown = {("contact", comparable.CONTACTS): 1}
    assert counts(compared(CAPPED, clearance(), routing())) == (1, {}, unknown, 0)
    assert counts(compared(CAPPED, routing(), clearance())) == (1, {}, unknown, 0)
    assert counts(compared(CAPPED, clearance(), routing(), on_record=(policy(),)))[2] == unknown
    told = complying(duplicate_content={"within_hours": 1, "purposes": ["utility"]})
    assert counts(compared(told, clearance(), routing()))[2] == unknown


@pytest.mark.req("B11", "CMP-15")
def test_a_cap_that_was_there_or_is_about_others_is_no_difference() -> None:
    marketing = complying(frequency_caps=[{"purpose": "marketing", "most": 1, "per_hours": 24}])
    assert counts(compared(marketing, clearance(), routing())) == (2, {}, {}, 0)
    wider = policy(compliance=CAPPED.compliance.model_dump(), routing={"window_margin_minutes": 20})
    kept = clearance(CAPPED), routing(policy(compliance=CAPPED.compliance.model_dump()))
    assert compared(wider, *kept, on_record=(CAPPED,)).not_comparable == {}
    answer = clearance(category="service", content=TEXT)
    answer = answer.model_copy(update={"inputs": answer.inputs | {"answers": True}})
    service = complying(frequency_caps=[{"purpose": "service", "most": 1, "per_hours": 24}])
    routed = routing(category="service", content={"type": "template", "name": "n_n", "language": "en"})
    assert compared(service, answer, routed).not_comparable == {}, "confirmations are not counted"
    assert compared(service, routed).not_comparable == {("contact", comparable.CONTACTS): 1}


@pytest.mark.req("B11", "CMP-15", "DX-3")
def test_a_message_has_one_verdict() -> None:
    """Whoever is not written to any more is not capped either."""
    kept = clearance(CAPPED), routing(CAPPED), capped(CAPPED)
    refused = {("clearance", "cleared", "rejected: do_not_message"): 1}
    for order in (kept, kept[::-1], (kept[1], kept[2], kept[0])):
        found = compared(LISTED, *order)
        assert counts(found) == (0, refused, {}, 2)
        assert [(each.was, each.would) for each in found.shown] == [("cleared", "rejected: do_not_message")]


@pytest.mark.req("B11", "CMP-15")
@pytest.mark.parametrize(
    ("caps", "expected"),
    [
        ([], "goes"),
        ([{"purpose": "utility", "most": 2, "per_hours": 24}], "goes"),
        ([{"purpose": "utility", "most": 1, "per_hours": 0.5}], "goes"),
        ([{"purpose": "utility", "most": 1, "per_hours": 12}], "same"),
        ([{"purpose": "utility", "most": 2, "per_hours": 48}], "unknown"),
        ([{"purpose": "transactional", "most": 2, "per_hours": 24}], "unknown"),
        ([{"purpose": "marketing", "most": 1, "per_hours": 24}], "goes"),
    ],
)
def test_a_refusal_by_a_cap_is_taken_back_only_where_all_that_counts_is_known(
    caps: list[dict[str, Any]], expected: str
) -> None:
    """Kept are the contacts that spoke for it: of its purpose, in its span."""
    found = compared(complying(frequency_caps=caps), capped(CAPPED), on_record=(CAPPED,))
    goes = {("contact", "cancelled: frequency_cap", "goes"): 1}
    unknown = {("contact", comparable.CONTACTS): 1}
    assert counts(found) == (
        int(expected == "same"), goes if expected == "goes" else {}, unknown if expected == "unknown" else {}, 0,
    )  # fmt: skip
    if caps and expected == "goes" and caps[0]["purpose"] == "utility":
        blind = compared(complying(frequency_caps=caps), capped(CAPPED))
        assert counts(blind)[2] == unknown, "which cap it was is not known without its policy"


@pytest.mark.req("B11", "CMP-15")
@pytest.mark.parametrize(("earlier", "known"), [(99, True), (100, False), (101, False)])
def test_of_a_refusal_that_kept_all_it_may_others_may_have_counted_too(earlier: int, known: bool) -> None:
    then, new = (
        complying(frequency_caps=[{"purpose": "utility", "most": 99, "per_hours": hours}]) for hours in (24, 0.5)
    )
    found = compared(new, capped(then, earlier=earlier), on_record=(then,))
    assert found.not_comparable == ({} if known else {("contact", comparable.CONTACTS): 1})


@pytest.mark.req("B11", "CMP-15")
def test_whether_the_same_was_said_before_is_known_only_of_the_contacts_that_counted() -> None:
    told, others = (
        complying(duplicate_content={"within_hours": 1, "purposes": [each]}) for each in ("utility", "marketing")
    )
    assert counts(compared(told, capped(CAPPED), on_record=(CAPPED,)))[2] == {("contact", comparable.CONTACTS): 1}
    assert counts(compared(others, capped(CAPPED), on_record=(CAPPED,)))[1:3] == (
        {("contact", "cancelled: frequency_cap", "goes"): 1}, {},
    )  # fmt: skip
    assert counts(compared(others, clearance(), routing())) == (2, {}, {}, 0), "a rule that is about other messages"


@pytest.mark.req("B11", "CMP-15")
def test_a_cap_that_is_new_says_nothing_of_a_message_that_was_refused_anyway() -> None:
    assert counts(compared(CAPPED, clearance(sender="nobody"))) == (1, {}, {}, 0)


@pytest.mark.req("B11", "CMP-15")
def test_what_a_cap_would_count_is_not_known_of_a_message_that_said_the_same() -> None:
    """Its refusal keeps the one contact that said it, whatever the cap would have counted besides."""
    then = complying(duplicate_content={"within_hours": 24, "purposes": ["utility"]})
    at = NOW.timestamp()
    earlier = Contact("m-earlier", at - 3600, "utility", "the mark")
    refusal = refusal_of(rules_of(then.compliance), "utility", "the mark", [earlier], at, 0.0)
    assert refusal is not None
    kept = contact_decision(refusal, "utility", PERSON, "the mark", then.version, at, 0.0)
    twice = complying(frequency_caps=[{"purpose": "utility", "most": 2, "per_hours": 1}])
    assert counts(compared(twice, kept, on_record=(then,))) == (0, {}, {("contact", comparable.CONTACTS): 1}, 0)


@pytest.mark.req("B11", "CMP-15")
def test_what_is_refused_by_what_was_kept_is_refused_whatever_else_there_was() -> None:
    caps = [{"purpose": "utility", "most": most, "per_hours": most * 24} for most in (1, 2)]
    new = complying(frequency_caps=caps, duplicate_content={"within_hours": 1, "purposes": ["utility"]})
    assert counts(compared(new, capped(CAPPED), on_record=(CAPPED,))) == (1, {}, {}, 0)


@pytest.mark.req("B11", "CMP-15")
def test_under_its_own_policy_a_message_that_passed_a_cap_passes_it_though_that_policy_is_not_on_record() -> None:
    assert counts(compared(CAPPED, clearance(CAPPED), routing(CAPPED))) == (2, {}, {}, 0)


@pytest.mark.req("B11")
def test_what_the_lane_looks_at_besides_contacts_is_all_kept() -> None:
    held = clearance().model_copy(update={"step": "lane", "inputs": {}})
    assert comparable.not_kept(held, CAPPED, None) is None
    assert comparable.contacts_not_kept(held, CAPPED, None) is None


@pytest.mark.req("B11")
def test_under_its_own_policy_everything_is_comparable() -> None:
    everything = complying(
        allowed_countries=["IN"], advisor_identification={"texts": ["INA000000000"]}, do_not_message=[OTHER_NAME],
        frequency_caps=[{"purpose": "utility", "most": 1, "per_hours": 24}],
    )  # fmt: skip
    text = {"type": "text", "body": BY}
    kept = of_before(clearance(everything, content=text), "names"), of_before(routing(everything), "zones")
    assert counts(compared(everything, *kept, capped(everything))) == (3, {}, {}, 0)
