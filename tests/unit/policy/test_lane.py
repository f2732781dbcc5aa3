"""The rules by which a lane holds or ends a message, at and beside their bounds; and their facts, made again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from harkara.contracts.consent import ConsentState, Heard, PurposeConsent, Standing
from harkara.contracts.event import Decision
from harkara.contracts.intents import Category
from harkara.contracts.template_state import TemplateStatus
from harkara.policy.explain import decided_again
from harkara.policy.lane import (
    AUTH_FAILURES_ALLOWED,
    GONE,
    Doubt,
    Obstacle,
    cancels,
    expired,
    gives_up,
    is_closed,
    lasts,
    number_kept_back,
    out_of_hours,
    place_in_time,
    refused,
    sent_again,
    template_kept_back,
    unusable,
    without_place,
)
from harkara.policy.lane_decisions import KINDS, decision_of, facts_of, judged, verdict_of, why
from harkara.policy.lane_facts import Outcome, Way, seconds
from harkara.policy.lane_reasons import DECIDED, HAPPENED, META, NOT_SENT, reason_of, told
from harkara.policy.lane_reference import FILE_NAME, lane_reasons_markdown
from tests.unit.policy.cases import policy

NOW = 1_800_000_000.0
POLICY = policy()
ROOT = Path(__file__).resolve().parents[3]


def at(seconds_: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds_, UTC)


def iso(seconds_: float) -> str:
    return at(seconds_).isoformat()


def word(standing: Standing | None, until: float | None = None, revoked: float | None = None) -> ConsentState:
    said = None
    if standing is not None:
        said = PurposeConsent(standing=standing, at=at(-9), event_id="e", until=None if until is None else at(until))
    heard = Heard(revoked_until=None if revoked is None else at(revoked))
    return ConsentState(person_key="p", marketing=said, heard={"marketing": heard})


@pytest.mark.req("CMP-5", "B10")
@pytest.mark.parametrize(
    ("denial", "answers", "standing"),
    [
        (word("opted_in"), False, None),
        (word("opted_out"), False, "opted_out"),
        (word("opted_out"), True, None),
        (word("paused"), False, "paused"),
        (word("paused", until=1), False, "paused"),
        (word("paused", until=0), False, None),
        (word("paused"), True, None),
        (word("blocked"), False, "blocked"),
        (word("blocked"), True, "blocked"),
        (word("erased"), False, "erased"),
        (word("opted_in", revoked=-5), False, "opted_out"),
        (word("opted_in", revoked=-5.001), False, None),
        (word("opted_in", revoked=-5), True, None),
        (word("paused", revoked=-5), False, "paused"),
        (word(None), False, None),
    ],
)
def test_what_a_person_said(denial: ConsentState, answers: bool, standing: str | None) -> None:
    assert refused(denial, "marketing", answers=answers, received_at=NOW - 5, now=NOW) == standing
    assert refused(denial, "transactional", answers=False, received_at=NOW - 5, now=NOW) is None
    said = denial.marketing
    kept = {"kind": "consent", "purpose": "marketing", "received_at": iso(-5), "answers": answers}
    if said is not None:
        kept |= {"standing": said.standing, "said_at": said.at.isoformat()}
        kept |= {} if said.until is None else {"until": said.until.isoformat()}
    revoked = denial.heard["marketing"].revoked_until
    kept |= {} if revoked is None else {"revoked_until": revoked.isoformat()}
    assert judged(kept, POLICY, at(0)) == (None if standing is None else ("cancelled", f"consent_{standing}", ""))


def test_times_at_their_bounds() -> None:
    assert [cancels(NOW + each, NOW) for each in (-1, 0, 1)] == [False, True, True]
    assert [expired(NOW, NOW + each) for each in (-1, 0, 1)] == [False, True, True]
    assert [lasts(NOW + each, NOW) for each in (-1, 0, 1)] == [False, False, True]
    assert lasts(None, NOW)


def test_hours_open_at_their_start_and_close_at_their_end() -> None:
    hours = [(NOW, NOW + 10), (NOW + 20, NOW + 30)]
    assert out_of_hours(hours, NOW - 1) == Obstacle("quiet_hours", NOW)
    assert out_of_hours(hours, NOW) is None and out_of_hours(hours, NOW + 9.9) is None
    assert out_of_hours(hours, NOW + 10) == ("quiet_hours", NOW + 20, False)
    assert out_of_hours(hours, NOW + 20) is None
    assert out_of_hours(hours, NOW + 30) == ("no_send_time", None, True)


def test_a_way_closes_at_its_time_and_a_text_where_meta_wants_a_template() -> None:
    assert not is_closed("session", None, NOW, template_only=False)
    assert is_closed("session", None, NOW, template_only=True) and not is_closed(
        "template", None, NOW, template_only=True
    )
    assert is_closed("template", NOW, NOW, template_only=False)
    assert not is_closed("template", NOW + 1, NOW, template_only=False)


@pytest.mark.req("SEC-4")
def test_a_number_without_policy_or_token_or_with_a_token_that_meta_refuses_cannot_be_called() -> None:
    asked = {"configured": True, "has_token": True, "token_refusals": AUTH_FAILURES_ALLOWED - 1}
    assert unusable(**asked) is None  # type: ignore[arg-type]
    assert unusable(**asked | {"configured": False, "has_token": False}) == "number_not_configured"  # type: ignore[arg-type]
    assert unusable(**asked | {"has_token": False}) == "number_without_token"  # type: ignore[arg-type]
    assert unusable(**asked | {"token_refusals": AUTH_FAILURES_ALLOWED}) == "token_refused_thrice"  # type: ignore[arg-type]
    assert AUTH_FAILURES_ALLOWED == 3


@pytest.mark.parametrize("form", ["session", "template", None])
def test_what_a_numbers_state_says(form: Any) -> None:
    assert number_kept_back("open", None, form, NOW) is None
    assert number_kept_back("halted", NOW - 1, form, NOW) == Obstacle("number_halted")
    assert number_kept_back("paused", NOW + 1, form, NOW) == Obstacle("number_paused", NOW + 1)
    assert number_kept_back("paused", None, form, NOW) == Obstacle("number_paused")
    assert number_kept_back("paused", NOW, form, NOW) is None
    held = Obstacle("number_pause_proactive", NOW + 1) if form == "template" else None
    assert number_kept_back("pause_proactive", NOW + 1, form, NOW) == held
    assert number_kept_back("pause_proactive", NOW, form, NOW) is None


@pytest.mark.req("B12", "B13", "TPL-9")
@pytest.mark.parametrize("status", get_args(TemplateStatus))
def test_what_a_templates_status_says(status: TemplateStatus) -> None:
    found = template_kept_back(status, NOW + 5, "UTILITY", "utility", NOW)
    expected = {
        "APPROVED": None, "UNKNOWN": None, "PAUSED": ("template_paused", NOW + 5, False),
        "PENDING": ("template_in_review", None, False), "IN_APPEAL": ("template_in_review", None, False),
    }  # fmt: skip
    final = status in {"DISABLED", "REJECTED", "DELETED", "PENDING_DELETION", "ARCHIVED"}
    assert found == expected.get(status, ("template_not_approved", None, final))
    assert (status in GONE) == final


@pytest.mark.req("B12", "B13")
def test_a_pause_of_a_template_ends_at_its_time_and_a_dearer_category_holds_whatever_the_status() -> None:
    assert template_kept_back("PAUSED", NOW, "UTILITY", "utility", NOW) is None
    assert template_kept_back("PAUSED", None, None, "utility", NOW) == Obstacle("template_paused")
    dearer = Obstacle("template_recategorised")
    assert template_kept_back("APPROVED", None, "MARKETING", "utility", NOW) == dearer
    assert template_kept_back("PAUSED", NOW, "MARKETING", "utility", NOW) == dearer
    assert template_kept_back("APPROVED", None, "MARKETING", "marketing", NOW) is None
    assert template_kept_back("UNKNOWN", None, "MARKETING", "utility", NOW) is None


@pytest.mark.req("B12", "B13")
def test_an_approved_template_that_takes_other_values_holds_what_does_not_fit_it() -> None:
    changed = Obstacle("template_changed")
    assert template_kept_back("APPROVED", None, "UTILITY", "utility", NOW, fits=False) == changed
    assert template_kept_back("PAUSED", NOW, "UTILITY", "utility", NOW, fits=False) == changed
    dearer = template_kept_back("APPROVED", None, "MARKETING", "utility", NOW, fits=False)
    assert dearer == Obstacle("template_recategorised"), "nobody is to mend the values of what may not go at all"
    assert template_kept_back("UNKNOWN", None, None, "utility", NOW, fits=False) is None


@pytest.mark.req("B7")
@pytest.mark.parametrize(("free_at", "late"), [(None, False), (NOW - 1, False), (NOW, True), (NOW + 1, True)], ids=str)
def test_a_place_that_is_free_when_its_life_is_over_comes_too_late(free_at: float | None, late: bool) -> None:
    assert place_in_time("portfolio_limit", free_at, NOW) == ("portfolio_limit_too_late" if late else "portfolio_limit")
    assert place_in_time("portfolio_unanswered", free_at, NOW) == "portfolio_unanswered"
    assert place_in_time("portfolio_limit", free_at, None) == "portfolio_limit"


@pytest.mark.req("B7")
@pytest.mark.parametrize(
    ("first", "in_hand", "hopeful", "answered", "why_not"),
    [
        (True, None, False, True, None),
        (True, 1, False, True, None),
        (True, 0, True, True, None),
        (True, 0, True, False, None),
        (True, 0, False, True, "portfolio_limit"),
        (True, 0, False, False, "portfolio_unanswered"),
        (False, None, False, False, "portfolio_limit"),
        (False, 5, True, True, "portfolio_limit"),
        (False, 5, True, False, "portfolio_unanswered"),
    ],
)
def test_a_place_of_the_portfolio(
    first: bool, in_hand: int | None, hopeful: bool, answered: bool, why_not: str | None
) -> None:
    facts: dict[str, Any] = {"first": first, "in_hand": in_hand, "hopeful": hopeful, "answered": answered}
    assert without_place(**facts) == why_not
    found = judged({"kind": "place", "portfolio": "p", "limit": 250, **facts}, POLICY, at(0))
    assert found == (None if why_not is None else Outcome("held", why_not))


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        ({"action": "fail"}, True),
        ({"action": "fail", "slows": True}, False),
        ({"action": "reroute_template"}, True),
        ({"action": "reroute_template", "reroutes": True}, False),
        ({"action": "retry", "spent": 2}, False),
        ({"action": "retry", "spent": 3}, True),
        ({"action": "retry", "spent": 3, "slows": True}, False),
        ({"action": "pause", "keeps": True, "spent": 3}, False),
        ({"action": "pause_template", "keeps": True, "spends": True, "spent": 3}, True),
        ({"action": "pause_template", "keeps": True, "spends": True, "spent": 2}, False),
    ],
)
def test_a_refusal_of_metas_is_the_end(change: dict[str, Any], ends: bool) -> None:
    facts = {"keeps": False, "spends": False, "reroutes": False, "slows": False, "spent": 1} | change
    assert gives_up(**facts, most=3) is ends
    if facts["slows"] or facts["reroutes"]:
        return  # of such nothing is kept: the message goes on
    kept = {"kind": "refusal", "code": 131026, "error": "Undeliverable"} | facts
    assert judged(kept, POLICY, at(0)) == (("failed_unsent", "meta_131026", "Undeliverable") if ends else None)
    uncoded = judged({**kept, "code": None}, POLICY, at(0))
    assert uncoded == (("failed_unsent", "meta_without_code", "Undeliverable") if ends else None)


SURE = {
    "duplicate_ok": True,
    "lives": True,
    "quiet": True,
    "resent": False,
    "cancelled": False,
    "spent": 2,
    "heard": True,
}


@pytest.mark.parametrize(
    ("category", "change", "again"),
    [
        ("utility", {}, True),
        ("authentication", {}, True),
        ("authentication", {"duplicate_ok": False}, True),
        ("utility", {"duplicate_ok": False}, False),
        ("marketing", {}, False),
        ("service", {}, False),
        ("utility", {"lives": False}, False),
        ("utility", {"quiet": False}, False),
        ("utility", {"resent": True}, False),
        ("utility", {"cancelled": True}, False),
        ("utility", {"spent": 3}, False),
        ("utility", {"heard": False}, False),
    ],
)
def test_what_is_in_doubt_goes_once_more(category: Category, change: dict[str, Any], again: bool) -> None:
    doubt = Doubt(category=category, **SURE | change)
    assert sent_again(doubt, ("authentication", "utility"), 3) is again
    kept = {"kind": "echoless", "called_at": iso(-900), **doubt.model_dump()}
    assert judged(kept, POLICY, at(0)) == (None if again else Outcome("unknown", "no_echo"))


ENDED_WAY = {"number": "1", "form": "session", "closes_at": iso(0)}
USABLE = {"kind": "number", "number": "1", "configured": True, "has_token": True, "token_refusals": 2}
FACTS: list[tuple[dict[str, Any], tuple[str, str] | None]] = [
    ({"kind": "cancel", "command": "cancel_run", "said_at": iso(0), "received_at": iso(0)}, ("cancelled", "cancelled")),
    ({"kind": "cancel", "command": "cancel_run", "said_at": iso(-1), "received_at": iso(0)}, None),
    ({"kind": "life", "expires_at": iso(0)}, ("expired", "expired")),
    ({"kind": "life", "expires_at": iso(1)}, None),
    ({"kind": "run", "run_id": "r", "paused": True, "since": iso(-1)}, ("held", "run_paused")),
    ({"kind": "run", "run_id": "r", "paused": False, "since": iso(-1)}, None),
    ({"kind": "hours", "opens_at": iso(1), "closes_at": iso(2)}, ("held", "quiet_hours")),
    ({"kind": "hours", "opens_at": iso(-2), "closes_at": iso(-1)}, ("expired", "no_send_time")),
    ({"kind": "hours", "opens_at": iso(-2), "closes_at": iso(1)}, None),
    ({"kind": "ways"}, ("failed_unsent", "no_route")),
    (
        {"kind": "ways", "ways": [{"number": "1", "form": "session", "closes_at": iso(0)}]},
        ("failed_unsent", "window_closed"),
    ),
    ({"kind": "ways", "ways": [{"number": "1", "form": "session", "closes_at": iso(1)}]}, None),
    (
        {"kind": "ways", "template_only": True, "ways": [{"number": "1", "form": "session"}]},
        ("failed_unsent", "window_closed"),
    ),
    (
        {"kind": "ways", "ways": [ENDED_WAY, {"number": "2", "form": "template"}]},
        None,
    ),
    (USABLE, None),
    (USABLE | {"configured": False}, ("held", "number_not_configured")),
    (USABLE | {"has_token": False}, ("held", "number_without_token")),
    (USABLE | {"token_refusals": 3}, ("held", "token_refused_thrice")),
    ({"kind": "number_state", "number": "1", "verdict": "halted", "since": iso(-1)}, ("held", "number_halted")),
    ({"kind": "number_state", "number": "1", "verdict": "paused", "since": iso(-1), "until": iso(0)}, None),
    (
        {"kind": "number_state", "number": "1", "verdict": "pause_proactive", "since": iso(-1), "form": "template"},
        ("held", "number_pause_proactive"),
    ),
    ({"kind": "number_state", "number": "1", "verdict": "pause_proactive", "since": iso(-1)}, None),
    ({"kind": "elsewhere", "number": "1", "number_home": "b", "home": "a"}, ("held", "number_of_another_home")),
    ({"kind": "elsewhere", "number": "1", "number_home": "a", "home": "a"}, None),
    (
        {"kind": "hold", "scope": "pair", "target": "1/p", "reason": "meta_131056", "since": iso(-1), "until": iso(1)},
        ("held", "meta_131056"),
    ),
    ({"kind": "hold", "scope": "number", "target": "1", "reason": "meta_190", "since": iso(-1)}, ("held", "meta_190")),
    ({"kind": "hold", "scope": "number", "target": "1", "reason": "x", "since": iso(-1), "until": iso(0)}, None),
    (
        {"kind": "template", "template": "t:en", "waba_id": "w", "status": "DELETED", "paid_for": "utility"},
        ("failed_unsent", "template_not_approved"),
    ),
    (
        {"kind": "template", "template": "t:en", "waba_id": "w", "status": "LOCKED", "paid_for": "utility"},
        ("held", "template_not_approved"),
    ),
    (
        {
            "kind": "template", "template": "t:en", "waba_id": "w", "status": "PAUSED", "paused_until": iso(0),
            "paid_for": "utility",
        },
        None,
    ),
    ({"kind": "resend", "number": "1", "planned": False}, ("unknown", "resend_number_lost")),
    (
        {"kind": "resend", "number": "1", "planned": True, "obstacle": "number_halted"},
        ("unknown", "resend_number_lost"),
    ),
    ({"kind": "resend", "number": "1", "planned": True, "obstacle": "number_paused"}, None),
    ({"kind": "resend", "number": "1", "planned": True, "obstacle": "number_without_token"}, None),
    ({"kind": "resend", "number": "1", "planned": True, "obstacle": "number_not_configured"}, None),
    (
        {"kind": "resend", "number": "1", "planned": False, "obstacle": "number_without_token"},
        ("unknown", "resend_number_lost"),
    ),
    (
        {"kind": "resend", "number": "1", "planned": True, "obstacle": "token_refused_thrice"},
        ("unknown", "resend_number_lost"),
    ),
    ({"kind": "resend", "number": "1", "planned": True, "obstacle": "meta_130429", "until": iso(1)}, None),
    ({"kind": "resend", "number": "1", "planned": True}, None),
    ({"kind": "unresolved", "kept_until": iso(0)}, ("unknown", "nobody_resolved_it")),
    ({"kind": "unresolved", "kept_until": iso(1)}, None),
    ({"kind": "resolved", "resolution": "drop", "said_at": iso(0)}, ("unknown", "dropped_by_operator")),
    ({"kind": "resolved", "resolution": "resend", "said_at": iso(0)}, None),
    ({"kind": "conflict", "same_intent": False, "lives": True}, ("rejected", "idempotency_conflict")),
    ({"kind": "conflict", "same_intent": True, "lives": True}, None),
    ({"kind": "request", "form": "session", "valid": False}, ("failed_unsent", "request_invalid")),
    ({"kind": "request", "form": "session", "valid": True}, None),
    ({"kind": "dry_run", "dry_run": True}, ("rehearsed", "dry_run")),
    ({"kind": "dry_run", "dry_run": False}, None),
    ({"kind": "dry_run", "dry_run": True, "held": {"kind": "life", "expires_at": iso(0)}}, ("rehearsed", "dry_run")),
    ({"kind": "dry_run", "dry_run": True, "held": {"kind": "life", "expires_at": iso(1)}}, None),
]  # fmt: skip


@pytest.mark.req("B11")
@pytest.mark.parametrize(("inputs", "expected"), FACTS)
def test_what_is_kept_is_put_to_the_rule_again(inputs: dict[str, Any], expected: tuple[str, str] | None) -> None:
    found = judged(inputs, POLICY, at(0))
    assert found == (None if expected is None else Outcome(*expected))
    if expected is None:
        assert verdict_of(found) == {"outcome": "goes"} and why(found, POLICY.version) is None
        return
    status, code = expected
    kept = decision_of(inputs, status, code, POLICY.version, at(0))
    assert (kept.step, kept.policy_version, kept.at, kept.inputs) == ("lane", POLICY.version, at(0), inputs)
    assert kept.verdict == {"outcome": status, "code": code, "rule": told(code).rule or ""}
    again = decided_again(Decision.model_validate_json(kept.model_dump_json()), POLICY)
    assert again.same and again.verdict == kept.verdict and again.reason == reason_of(code, POLICY.version)
    otherwise = kept.model_copy(update={"verdict": {"outcome": "goes"}})
    assert not decided_again(otherwise, POLICY).same


def test_every_kind_of_facts_is_put_to_the_test_and_belongs_to_reasons_of_its_own() -> None:
    tried = {inputs["kind"] for inputs, _ in FACTS} | {"consent", "place", "refusal", "echoless"}
    assert tried == KINDS.keys()
    codes = [code for facts in KINDS.values() for code in facts.codes]
    assert len(codes) == len(set(codes)) and set(codes) - {META} == DECIDED.keys()
    for name in KINDS.keys() - {"ways"}:  # of no ways nothing has to be said
        with pytest.raises(ValidationError):
            facts_of({"kind": name})


def test_facts_of_a_newer_version_cannot_be_read() -> None:
    for unknown in ({"kind": "moon"}, {}):
        with pytest.raises(ValidationError):
            facts_of(unknown)
        again = decided_again(decision_of(unknown, "held", "moon", "v", at(0)), POLICY)
        assert not again.same and again.unreadable is not None


def test_sentences() -> None:
    assert told("expired") == DECIDED["expired"] and told("typing") == HAPPENED["typing"]
    assert told("meta_131026", "Undeliverable") == ("Meta refused it: Undeliverable.", "error_policy")
    assert told("meta_131026").text == "Meta refused it with code 131026."
    assert told("meta_without_code").text == "Meta refused it without a code."
    assert told(f"{NOT_SENT}consent_paused") == (
        "The call was not made after all. The person has paused these messages.", "compliance.consent",
    )  # fmt: skip
    assert told(f"{NOT_SENT}not_reachable") == (
        "The call was not made after all. The Graph API cannot be reached.",
        None,
    )
    assert told(f"{NOT_SENT}lease") == ("The call was not made: its time to begin was over.", None)
    assert told(f"{NOT_SENT}moon") == (f"{NOT_SENT}moon", None) and told("moon") == ("moon", None)
    said = reason_of("meta_131026", "v", "Undeliverable")
    assert (said.code, said.text, said.rule, said.policy_version) == (
        "meta_131026", "Meta refused it: Undeliverable.", "error_policy", "v",
    )  # fmt: skip
    assert seconds(None) is None and seconds(at(0)) == NOW and Way(number="1", form="session").closes_at is None


def test_the_reference_page_is_current_and_says_the_inputs_of_each_reason() -> None:
    page = lane_reasons_markdown()
    assert (ROOT / "docs" / "reference" / FILE_NAME).read_text("utf-8") == page, "run `make docs`"
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert rows.keys() == DECIDED.keys() | HAPPENED.keys() | {"meta_<code>", "not_sent_<why>"}
    assert "`hours`: opens_at, closes_at" in rows["quiet_hours"] and "`routing.quiet_hours`" in rows["quiet_hours"]
    assert "`hold`: scope" in rows["meta_<code>"] and "`refusal`: code" in rows["meta_<code>"]
