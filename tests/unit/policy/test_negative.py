"""What must not go, does not go, and says why: each case names its requirement row, and the rule that refuses it.

Five tables: what the guard refuses, what the router refuses, a template's text in other messages, what the lane refuses
for what went before, and what the policy file may not say. Every refusal is made once more from what is kept of it, and
must come out the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harkara.contracts.event import Decision
from harkara.contracts.intents import DEFAULT_LIFE, Category
from harkara.contracts.template_state import TemplateState
from harkara.policy.clearance import Question, Rejected, Word, decide, inputs_of
from harkara.policy.contacts import Contact, refusal_of, rules_of
from harkara.policy.contacts import decision_of as contact_decision
from harkara.policy.explain import decided_again
from harkara.policy.governance import load
from harkara.policy.governance_file import GovernanceError
from harkara.policy.routing import NoRoute, Planned, Surroundings, decision_of, plan
from harkara.policy.wordings import Wordings
from tests.unit.policy.cases import ALONE, FIRST, NOW, PERSON, SECOND, TEMPLATE, TEXT, cleared, intent, policy
from tests.unit.policy.test_governance import VALID

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OUT, IN, BLOCKED = Word("opted_out"), Word("opted_in"), Word("blocked")
PAUSED, RESTING = Word("paused"), Word("paused", NOW + HOUR)
EXPLICIT = {"compliance": {"consent_mode": "explicit"}}
IMAGE = {"type": "image", "id": "1"}


def conduct(**more: Any) -> dict[str, Any]:
    return {"compliance": {"consent_mode": "opt_out"} | more}


def text(body: str) -> dict[str, Any]:
    return {"content": {"type": "text", "body": body}}


def values(*body: str, **more: Any) -> dict[str, Any]:
    return {"content": TEMPLATE | {"body": list(body)} | more}


def caption(said: str) -> dict[str, Any]:
    return {"content": IMAGE | {"caption": said}}


def window(**more: Any) -> dict[str, Any]:
    return {"routing": {"send_windows": {"morning": {"hours": "05:55-06:05"} | more}}}


@dataclass(frozen=True)
class Refused:
    """One case of the guard: `row` names it, `code` and `rule` are what the refusal must say."""

    row: str
    code: str
    rule: str
    intent: dict[str, Any] = field(default_factory=dict)
    word: Word | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)


APPROVAL = conduct(content_approval={"tags": ["sebi-2026-117"]})
ADVISER = conduct(advisor_identification={"texts": ["INA000012345"], "templates": ["weekly_note"]})
CONTRACT = window(contract="advisory agreement, clause 4")
DENIED = conduct(do_not_message=[PERSON])
CATEGORIES = ("marketing", "utility", "authentication", "service")

CONSENT = [
    *(Refused("CMP-7", "opted_out", "compliance.consent", {"category": each}, OUT) for each in CATEGORIES),
    *(Refused("CMP-7", "blocked", "compliance.consent", {"category": each}, BLOCKED) for each in CATEGORIES),
    *(Refused("CMP-5", "paused", "compliance.consent", {"category": each}, PAUSED) for each in CATEGORIES),
    *(Refused("CMP-5", "paused", "compliance.consent", {"category": each}, RESTING) for each in CATEGORIES),
    *(Refused("CMP-4", "no_opt_in", "compliance.consent_mode", {"category": e}, None, EXPLICIT) for e in CATEGORIES),
    Refused("CMP-4", "no_opt_in", "compliance.consent_mode", {}, Word("paused", NOW), EXPLICIT),
    Refused("CMP-4", "no_opt_in", "compliance.consent_mode", {}, Word("paused", NOW - DAY), EXPLICIT),
    Refused("CMP-4", "opted_out", "compliance.consent", {}, Word("paused", NOW, "opted_out")),
    Refused("CMP-4", "opted_out", "compliance.consent", {}, OUT, EXPLICIT),
    Refused("CMP-3", "opted_out", "compliance.consent", {"priority": 3}, OUT),
    Refused("CMP-3", "opted_out", "compliance.consent", {"duplicate_ok": True}, OUT),
    Refused("CMP-3", "opted_out", "compliance.consent", {"content": TEXT, "category": "service"}, OUT),
    Refused("CMP-3", "blocked", "compliance.consent", {"priority": 3}, BLOCKED, EXPLICIT),
    Refused("CMP-7", "do_not_message", "compliance.do_not_message", {}, None, DENIED),
    Refused("CMP-7", "do_not_message", "compliance.do_not_message", {}, IN, DENIED),
    Refused("CMP-7", "do_not_message", "compliance.do_not_message", {"priority": 3}, IN, DENIED),
    Refused("CMP-7", "do_not_message", "compliance.do_not_message", {"category": "authentication"}, IN, DENIED),
    Refused("CMP-7", "do_not_message", "compliance.do_not_message", {}, OUT, DENIED),
    Refused("B16", "no_opt_in", "routing.send_windows.morning", {"send_window": "morning"}, None, CONTRACT),
    Refused(
        "B16", "no_opt_in", "routing.send_windows.morning", {"send_window": "morning"}, Word("paused", NOW), CONTRACT
    ),
    Refused("B16", "opted_out", "compliance.consent", {"send_window": "morning"}, OUT, CONTRACT),
]
PATH = [
    Refused("CMP-7", "unknown_sender", "numbers", {"sender": "nobody"}),
    Refused("CMP-7", "unknown_sender", "numbers", {"sender": "100000000000099"}, IN),
    Refused("CMP-7", "unknown_sender", "numbers", {"sender": "nobody"}, OUT),
    Refused("CMP-7", "expired_already", "expires_at", {"expires_at": NOW}),
    Refused("CMP-7", "expired_already", "expires_at", {"expires_at": NOW - HOUR}),
    Refused("CMP-7", "never_due", "not_before", {"not_before": NOW + DEFAULT_LIFE}),
    Refused("CMP-7", "never_due", "not_before", {"not_before": NOW + 2 * HOUR, "expires_at": NOW + HOUR}),
    Refused("CMP-13", "country_not_allowed", "compliance.allowed_countries", {}, IN, conduct(allowed_countries=["BR"])),
    Refused("CMP-13", "country_not_allowed", "compliance.allowed_countries", {"to": "+14155552671"}, IN,
            conduct(allowed_countries=["IN"])),
    Refused("CMP-13", "country_not_allowed", "compliance.allowed_countries", {"to": "+999123456789"}, None,
            conduct(allowed_countries=["IN", "BR"])),
    *(
        Refused("CMP-15", "category_not_allowed", "compliance.allowed_categories", {"category": each}, IN,
                conduct(allowed_categories=[other for other in CATEGORIES if other != each]))
        for each in CATEGORIES
    ),
    Refused("B16", "send_window_unknown", "routing.send_windows", {"send_window": "evening"}, IN, CONTRACT),
    Refused("B16", "send_window_unknown", "routing.send_windows", {"send_window": "morning"}),
    *(
        Refused("B16", "send_window_not_for_category", "routing.send_windows.morning",
                {"send_window": "morning", "category": each}, IN, CONTRACT)
        for each in CATEGORIES if each != "utility"
    ),
]  # fmt: skip
ELIGIBLE = [
    Refused("CMP-9", "content_not_approved", "compliance.content_approval", {}, IN, APPROVAL),
    Refused("CMP-9", "content_not_approved", "compliance.content_approval", {"category": "marketing"}, IN, APPROVAL),
    Refused("CMP-9", "content_not_approved", "compliance.content_approval",
            {"metadata": {"content_approval": "sebi-2026-118"}}, IN, APPROVAL),
    Refused("CMP-9", "content_not_approved", "compliance.content_approval",
            {"metadata": {"content_approval": ""}}, IN, APPROVAL),
    Refused("CMP-9", "content_not_approved", "compliance.content_approval",
            {"metadata": {"approval": "sebi-2026-117"}}, IN, APPROVAL),
    Refused("CMP-9", "content_not_approved", "compliance.content_approval", {"category": "service", "content": TEXT},
            IN, conduct(content_approval={"tags": ["x"], "categories": ["service"]})),
    Refused("CMP-9", "advisor_not_identified", "compliance.advisor_identification", {}, IN, ADVISER),
    Refused("CMP-9", "advisor_not_identified", "compliance.advisor_identification", values("INA 00001234"), IN,
            ADVISER),
    Refused("CMP-9", "advisor_not_identified", "compliance.advisor_identification",
            {"content": TEXT, "category": "utility"}, IN, ADVISER),
    Refused("CMP-9", "advisor_not_identified", "compliance.advisor_identification", {"content": IMAGE}, IN, ADVISER),
    Refused("CMP-9", "advisor_not_identified", "compliance.advisor_identification", {"category": "marketing"}, IN,
            ADVISER),
    Refused("CMP-9", "advisor_not_identified", "compliance.advisor_identification",
            text("by INA000012345") | {"fallback_template": TEMPLATE}, IN, ADVISER),
]  # fmt: skip


def hidden(row_intent: dict[str, Any], positions: str, named: str = "text") -> Refused:
    return Refused("CMP-11", "content_invisible", "content", row_intent, IN, {},
                   {"part": "content", "field": named, "positions": positions})  # fmt: skip


def masked(code: str, row_intent: dict[str, Any], positions: str, named: str = "text") -> Refused:
    return replace(hidden(row_intent, positions, named), code=code)


DISGUISED = [
    hidden(text("Bu\u200by now"), "3"),
    hidden(text("B\u200bu\u200by\u200b"), "2, 4, 6"),
    hidden(text("\ufeffBuy"), "1"),
    hidden(text("Bu\u00ady"), "3"),
    hidden(text("Bu\u2060y"), "3"),
    hidden(text("B\u200cuy"), "2"),
    hidden(text("B\u200duy"), "2"),
    hidden(text("Buy\u200d"), "4"),
    hidden(text("\u202eyuB"), "1"),
    hidden(text("a\u2066b\u2069c"), "2, 4"),
    hidden(text("Buy\u200e now"), "4"),
    hidden(text("Buy \u3164 now"), "5"),
    hidden(text("Buy\u2800now"), "4"),
    hidden(text("Buy\ufe0fnow"), "4"),
    hidden(text("Buy\U000e0041now"), "4"),
    hidden(text("a\x00b"), "2"),
    hidden(text("a\x1bb"), "2"),
    hidden(text("a\u034fb"), "2"),
    hidden(text("\u115fBuy"), "1"),
    hidden(text("नमस्ते\u200b आशा"), "7"),
    hidden(text("a" + "\u200b" * 20), ", ".join(map(str, range(2, 12)))),
    hidden(caption("Bu\u200by"), "3", "caption"),
    hidden({"content": {"type": "document", "id": "1", "filename": "a\u202etxt.exe"}}, "2", "filename"),
    hidden(values("As\u200bha"), "3", "body 1"),
    hidden(values("fine", "As\u2060ha"), "3", "body 2"),
    hidden(values("x", header="Of\u200bfer"), "3", "header"),
    hidden(values(named={"a": "x", "b": "As\u200bha"}), "3", "named 2"),
    hidden(values("x", buttons=[{"sub_type": "url", "index": 1, "value": "a\u200bb"}]), "2", "button 1"),
    hidden(values("x", variants=[{"language": "hi", "body": ["आ\u200bशा"]}]), "2", "body 1 in hi"),
    masked("content_disguised", text("pаypal login"), "1"),
    masked("content_disguised", text("see раypal and gооgle"), "5, 16"),
    masked("content_disguised", text("ρaypal"), "1"),
    masked("content_disguised", text("𝐟𝐫𝐞𝐞 money"), "1"),
    masked("content_disguised", values("gооgle"), "1", "body 1"),
    masked("content_split", text("b u y n o w"), "1"),
    masked("content_split", text("please b.u.y.n.o.w"), "8"),
    masked("content_split", text("F-R-E-E-M-O-N-E-Y"), "1"),
    masked("content_split", text("f_r_e_e_g_o_l_d"), "1"),
    masked("content_split", text("sale:  f  r  e  e  g  o"), "8"),
    masked("content_disguised", text("Ꮐuaranteed, an օffer"), "1, 16"),
    masked("content_disguised", text("a ⒼⓊⒶⓇⒶⓃⓉⒺⒺⒹ gain"), "3"),
    masked("content_disguised", text("🅱🆄🆈 now"), "1"),
    masked("content_disguised", text("ɢᴜᴀʀᴀɴᴛᴇᴇᴅ"), "1"),
    masked("content_disguised", text("ᵍᵘᵃʳᵃⁿᵗᵉᵉᵈ"), "1"),
    masked("content_disguised", text("it is ＧＵＡＲＡＮＴＥＥＤ"), "7"),
    masked("content_disguised", text("g\u0336u\u0336a\u0336r\u0336anteed"), "1"),
    masked("content_disguised", values("ＦＲＥＥ"), "1", "body 1"),
    masked("content_disguised", caption("оѕtriсh еgg"), "1, 9", "caption"),
    masked("content_split", text("g u.a r.a n.t e.e d"), "1"),
    masked("content_split", text("so g-u a_r-a n.t e"), "4"),
    masked("content_split", text("Ⓖ Ⓤ Ⓐ Ⓡ Ⓐ Ⓝ Ⓣ"), "1"),
    masked("content_split", text("न म क ल ग भ"), "1"),
    masked("content_split", values("b u y n o w"), "1", "body 1"),
    masked("content_placeholder", text("Dear {{1}}, your advice"), "6"),
    masked("content_placeholder", text("Dear {{ name }}"), "6"),
    masked("content_placeholder", text("{ {{first_name}}"), "3"),
    masked("content_placeholder", values("{{1}}"), "1", "body 1"),
    masked("content_placeholder", text("Dear {{first-name}}"), "6"),
    masked("content_placeholder", text("Dear {{client.name}}"), "6"),
    masked("content_placeholder", text("प्रिय {{नाम}}"), "7"),
    masked("content_placeholder", caption("Dear {{2}}"), "6", "caption"),
    masked("template_value_refused", values("Asha\nRao"), "5", "body 1"),
    masked("template_value_refused", values("Asha\r\nRao"), "5, 6", "body 1"),
    masked("template_value_refused", values("Asha\tRao"), "5", "body 1"),
    masked("template_value_refused", values("Asha\u2028Rao"), "5", "body 1"),
    masked("template_value_refused", values("Asha\x85Rao"), "5", "body 1"),
    masked("template_value_refused", values("Asha     Rao"), "5", "body 1"),
    masked("template_value_refused", values("ok", "a" + " " * 9 + "b"), "2", "body 2"),
    masked("template_value_refused", values("a" + "\u00a0" * 12 + "b"), "2", "body 1"),
    masked("template_value_refused", values("Asha" + "\u2003" * 8 + "Rao"), "5", "body 1"),
    masked("template_value_refused", values("a \u00a0 \u2003 b"), "2", "body 1"),
    masked("template_value_refused", values("a\u2029b"), "2", "body 1"),
    masked("template_value_refused", values("x", header="a\nb"), "2", "header"),
    masked("template_value_refused", values(named={"text": "a" * 1025}), "1025", "named 1"),
    masked("template_value_refused", values("x", buttons=[{"sub_type": "url", "index": 0, "value": "a\tb"}]), "2",
           "button 0"),
    masked("template_value_refused", values("x", variants=[{"language": "hi", "body": ["आ\nशा"]}]), "2",
           "body 1 in hi"),
]  # fmt: skip
SHAPES = [
    *(
        Refused("CMP-11", "content_empty", "content", text(body), IN, {}, {"part": "content"})
        for body in (" ", "\n\n", "\u200b", " \u200b\t", "\u2060")
    ),
    Refused("CMP-15", "category_needs_template", "content", {"content": TEXT, "category": "authentication"}, IN),
    Refused("CMP-15", "category_needs_template", "content", {"content": IMAGE, "category": "authentication"}, IN),
    Refused("TPL-9", "template_values_mixed", "content", values("Asha", named={"name": "Asha"}), IN),
    Refused("TPL-9", "template_value_refused", "content", values("\u200b"), IN),
    Refused("TPL-9", "template_value_refused", "content", values(" "), IN),
    Refused("TPL-9", "template_value_refused", "content", values(named={"a": ""}), IN),
    Refused("TPL-9", "template_header_refused", "content", values("x", header={"type": "audio", "id": "1"}), IN),
    Refused("TPL-9", "template_header_refused", "content",
            values("x", variants=[{"language": "hi", "header": {"type": "audio", "id": "1"}}]), IN),
    Refused("TPL-9", "template_button_repeated", "content",
            values("x", buttons=[{"sub_type": "url", "index": 0, "value": "a"}] * 2), IN),
    Refused("TPL-9", "template_language_repeated", "content", values("x", variants=[{"language": "en"}]), IN),
    Refused("TPL-9", "template_language_repeated", "content", values("x", variants=[{"language": "hi"}] * 2), IN),
    Refused("TPL-9", "template_values_differ", "content",
            values("x", variants=[{"language": "hi", "body": ["x", "y"]}]), IN),
    Refused("TPL-9", "template_values_differ", "content",
            values(named={"a": "x"}, variants=[{"language": "hi", "named": {"b": "x"}}]), IN),
    Refused("CMP-11", "template_value_refused", "content",
            {"content": TEXT, "fallback_template": TEMPLATE | {"body": ["a\nb"]}}, IN, {},
            {"part": "fallback_template", "field": "body 1", "positions": "2"}),
    Refused("CMP-11", "content_invisible", "content",
            {"content": TEXT, "fallback_template": TEMPLATE | {"body": ["a\u200bb"]}}, IN, {},
            {"part": "fallback_template", "field": "body 1", "positions": "2"}),
]  # fmt: skip
GUARD = [*CONSENT, *PATH, *ELIGIBLE, *DISGUISED, *SHAPES]


def rows(table: list[Any]) -> list[Any]:
    return [pytest.param(case, marks=pytest.mark.req(case.row, "DX-5"), id=f"{case.row}-{case.code}") for case in table]


@pytest.mark.parametrize("case", rows(GUARD))
def test_the_guard_refuses(case: Refused) -> None:
    governance = policy(**case.policy)
    verdict = decide(Question(intent(**case.intent), NOW, PERSON, case.word), governance, NOW)
    assert isinstance(verdict, Rejected), "it was cleared"
    reason = verdict.reason
    assert (reason.code, reason.rule, reason.policy_version) == (case.code, case.rule, governance.version)
    assert reason.text[0].isupper() and reason.text.endswith(".") and "  " not in reason.text
    assert {name: reason.details.get(name) for name in case.details} == case.details
    kept = inputs_of(verdict, governance.version, NOW)
    assert kept is not None
    read_back = Decision.model_validate_json(kept.model_dump_json(exclude_none=True))
    again = decided_again(read_back, governance)
    assert again.same and again.reason == reason
    assert "919999912345" not in kept.model_dump_json() and "Asha" not in kept.model_dump_json()


@dataclass(frozen=True)
class Unroutable:
    """One case of the router. `inbound`: hours since the person wrote, by number."""

    row: str
    code: str
    rule: str
    intent: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    inbound: dict[str, float] = field(default_factory=dict)
    home: str = "advisors"
    now: datetime = NOW


NIGHT = {"routing": {"quiet_hours": {"marketing": "23:00-07:00", "utility": "23:00-07:00"}}}
SHORT = {"expires_at": NOW + 30 * timedelta(minutes=1)}  # in India it is 06:00, and quiet until 07:00
OFFICE = {"hours": "09:00-18:00", "categories": list(CATEGORIES)}
IN_OFFICE = {"routing": {"quiet_hours": {"utility": "none"}, "send_windows": {"office": OFFICE}}}
ALL_NIGHT = {
    "routing": {
        "quiet_hours": {"utility": "18:00-09:00"},
        "send_windows": {"office": OFFICE | {"hours": "19:00-20:00"}},
    }
}
ROUTER = [
    *(Unroutable("RTW-2", "window_closed", "routing.window_margin_minutes", {"content": each, "category": "service"})
      for each in (TEXT, IMAGE, {"type": "audio", "id": "1"}, {"type": "document", "link": "https://example.com/a"})),
    *(Unroutable("RTW-1", "window_closed", "routing.window_margin_minutes", {"content": TEXT, "sender": ALONE}, {},
                 {ALONE: hours}, ALONE) for hours in (24.0, 25.0, 23.84, 1000.0)),
    Unroutable("RTW-1", "window_closed", "routing.window_margin_minutes", {"content": TEXT, "sender": ALONE}, {},
               {FIRST: 1.0}, ALONE),
    Unroutable("RTW-2", "window_closed", "routing.window_margin_minutes", {"content": TEXT, "sender": ALONE},
               {"routing": {"window_margin_minutes": 120, "quiet_hours": {"utility": "none"}}}, {ALONE: 22.1}, ALONE),
    Unroutable("RTW-2", "window_closed", "routing.window_margin_minutes",
               {"content": TEXT, "sender": ALONE, "not_before": NOW + 5 * HOUR}, {}, {ALONE: 20.0}, ALONE),
    Unroutable("RTW-2", "window_closed", "routing.window_margin_minutes",
               {"content": TEXT, "category": "utility", "sender": ALONE}, NIGHT, {ALONE: 23.0}, ALONE),
    Unroutable("RTW-4", "window_closed", "routing.window_margin_minutes", {"content": TEXT, "category": "marketing"},
               {}, {FIRST: 24.0, SECOND: 30.0}),
    Unroutable("RTW-3", "unknown_home", "pools", {}, {}, {}, "elsewhere"),
    *(Unroutable("CMP-16", "no_send_time", f"routing.quiet_hours.{each}", {"category": each} | SHORT, NIGHT)
      for each in ("marketing", "utility")),
    Unroutable("CMP-16", "no_send_time", "routing.quiet_hours.utility", {"priority": 3} | SHORT, NIGHT),
    Unroutable("CMP-16", "no_send_time", "routing.quiet_hours.utility", {}, {"routing": {}}, now=NOW - HOUR),
    Unroutable("CMP-17", "no_send_time", "routing.quiet_hours.utility", {"to": "+14155552671"} | {
        "not_before": NOW + 7 * HOUR, "expires_at": NOW + 9 * HOUR}, NIGHT),
    Unroutable("CMP-17", "no_send_time", "routing.quiet_hours.utility", {"time_zone": "Asia/Tokyo", "not_before":
               NOW + 14 * HOUR, "expires_at": NOW + 20 * HOUR}, NIGHT),
    Unroutable("CMP-17", "zone_unknown", "routing.default_time_zone", {"to": "+999123456789"}, NIGHT),
    Unroutable("CMP-17", "zone_unknown", "routing.default_time_zone",
               {"to": "+999123456789", "time_zone": "Asia/Atlantis"}, NIGHT),
    Unroutable("CMP-17", "zone_unknown", "routing.default_time_zone",
               {"to": "+999123456789", "time_zone": "localtime"}, NIGHT),
    Unroutable("CMP-17", "no_send_time", "routing.quiet_hours.utility", {"time_zone": "Asia/Atlantis"} | SHORT,
               {"routing": {"quiet_hours": NIGHT["routing"]["quiet_hours"], "default_time_zone": "America/New_York"}}),
    Unroutable("B16", "zone_unknown", "routing.default_time_zone",
               {"to": "+999123456789", "send_window": "office", "category": "service"}, IN_OFFICE),
    Unroutable("B16", "send_window_unknown", "routing.send_windows", {"send_window": "evening"}, IN_OFFICE),
    Unroutable("B16", "no_send_time", "routing.send_windows.office", {"send_window": "office"} | SHORT, IN_OFFICE),
    Unroutable("B16", "no_send_time", "routing.send_windows.office", {"send_window": "office"}, ALL_NIGHT),
    Unroutable("B16", "no_send_time", "routing.send_windows.office",
               {"send_window": "office", "not_before": NOW + 13 * HOUR, "expires_at": NOW + 20 * HOUR}, IN_OFFICE),
]  # fmt: skip


@pytest.mark.parametrize("case", rows(ROUTER))
def test_the_router_refuses(case: Unroutable) -> None:
    governance = policy(**case.policy)
    wanted = cleared(**({"home": case.home} | case.intent))
    expires_at = wanted.intent.expires_at or (NOW + HOUR if case.now < NOW else wanted.expires_at)
    inbound = {pnid: NOW - hours * HOUR for pnid, hours in case.inbound.items()}
    outcome = plan(
        wanted.model_copy(update={"expires_at": expires_at}), governance, Surroundings(inbound, {}), case.now
    )
    assert isinstance(outcome, NoRoute), outcome
    reason = outcome.reason
    assert (reason.code, reason.rule, reason.policy_version) == (case.code, case.rule, governance.version)
    assert reason.text[0].isupper() and reason.text.endswith(".")
    kept = decision_of(outcome, governance.version, case.now)
    assert kept is not None
    again = decided_again(Decision.model_validate_json(kept.model_dump_json(exclude_none=True)), governance)
    assert again.same and again.reason == reason
    assert wanted.intent.recipient not in kept.model_dump_json()


OFFER = (
    "Dear {{1}}, our festival offer on gold plans ends this Sunday at midnight, so join now and save {{2}} percent on "
    "every instalment that you pay before the new year begins."
)
FILLED = OFFER.replace("{{1}}", "Asha").replace("{{2}}", "12")
PIECES = [
    "Dear Asha, our festival offer on gold plans ends this Sunday",
    "at midnight, so join now and save 12 percent on every instalment",
    "that you pay before the new year begins.",
]
BOTH_SAY = "Write the word stop to us if you do not want to hear from us again."
REVIEW = "We did not like how your papers look, so they go back to you and nothing is changed on your account for now."


@dataclass(frozen=True)
class Smuggled:
    """One case of a template's text in a message: which of the templates, and at which character of which field.

    Known are `offer` (marketing), `bare` (refused by Meta), `notice` (utility) and `code` (authentication)."""

    template: str
    positions: str
    intent: dict[str, Any]
    field: str = "text"
    part: str = "content"


def template_state(name: str, wording: str, status: str = "APPROVED", category: str = "UTILITY") -> TemplateState:
    told = {"waba_id": "200000000000001", "language": "en", "version": 1, "observed_at": NOW, "updated_at": NOW}
    return TemplateState.model_validate(
        told | {"name": name, "wording": wording, "status": status, "category": category}
    )


CODE = "{{1}} is your verification code. For your security, do not share this code with anybody at all."
TEMPLATES = Wordings()
for _each in (
    template_state("offer", f"{OFFER} {BOTH_SAY}", category="MARKETING"),
    template_state("bare", REVIEW, "REJECTED"),
    template_state("notice", f"Your statement of {{{{1}}}} is ready for you in the app. {BOTH_SAY}"),
    template_state("code", CODE, category="AUTHENTICATION"),
):
    TEMPLATES.put(_each.key, _each)

SMUGGLED = [
    Smuggled("offer:en", "12", text(FILLED)),
    Smuggled("offer:en", "12", text(f"{FILLED} {BOTH_SAY}")),
    Smuggled("offer:en", "12", text(FILLED) | {"category": "service"}),
    Smuggled("offer:en", "12", text(FILLED) | {"fallback_template": TEMPLATE}),
    Smuggled("offer:en", "14", text(FILLED.upper().replace(" ", " \n"))),
    Smuggled("offer:en", "12", text(FILLED.replace("o", "о").replace("e", "é"))),
    Smuggled("offer:en", "12", text(FILLED.replace("festival", "*fes\u200btival*"))),
    Smuggled("offer:en", "12", text(PIECES[0])),
    Smuggled("offer:en", "1", text(PIECES[1])),
    Smuggled("offer:en", "1", text(PIECES[2])),
    Smuggled("offer:en", "12", caption(FILLED), "caption"),
    Smuggled("offer:en", "12", values(FILLED), "body 1"),
    Smuggled("offer:en", "1", values("Asha", *FILLED[11:].split(", so ")), "body 2"),
    Smuggled("offer:en", "12", values(named={"a": "x", "b": FILLED}), "named 2"),
    Smuggled("offer:en", "12", values("x", variants=[{"language": "hi", "body": [FILLED]}]), "body 1 in hi"),
    Smuggled("offer:en", "12", {"content": TEXT, "fallback_template": TEMPLATE | {"body": [FILLED]}}, "body 1",
             "fallback_template"),
    *(Smuggled("bare:en", "1", text(REVIEW) | {"category": each}) for each in ("utility", "service", "marketing")),
    Smuggled("code:en", "8", text(CODE.replace("{{1}}", "482913"))),
]  # fmt: skip
INNOCENT = [
    text(FILLED) | {"category": "marketing"},
    text(BOTH_SAY),
    text(f"Namaste, here are the papers that you asked for on the phone. {BOTH_SAY}"),
    text(f"Your statement of October is ready for you in the app. {BOTH_SAY}"),
    text("Our festival offer ends this Sunday."),
    text("You asked when our festival offer on gold plans ends: it ends tonight, as it was said in the letter."),
    text("We will be there on Sunday at midnight, before the new year begins."),
    values("Asha", "12 percent", "this Sunday at midnight"),
]


@pytest.mark.parametrize("case", [pytest.param(e, marks=pytest.mark.req("CMP-11", "DX-5")) for e in SMUGGLED])
def test_the_router_refuses_a_templates_text(case: Smuggled) -> None:
    governance = policy()
    wanted = cleared(**({"home": ALONE} | case.intent))
    outcome = plan(wanted, governance, Surroundings({ALONE: NOW - HOUR}, {}, wordings=TEMPLATES), NOW)
    assert isinstance(outcome, NoRoute), outcome
    reason = outcome.reason
    assert (reason.code, reason.rule, reason.policy_version) == (
        "content_repeats_template", "content", governance.version,
    )  # fmt: skip
    told = {"template": case.template, "positions": case.positions, "field": case.field, "part": case.part}
    assert told.items() <= reason.details.items(), reason
    assert reason.text[0].isupper() and reason.text.endswith(".") and "festival" not in reason.text
    kept = decision_of(outcome, governance.version, NOW)
    assert kept is not None and "festival" not in kept.model_dump_json()
    again = decided_again(Decision.model_validate_json(kept.model_dump_json(exclude_none=True)), governance)
    assert again.same and again.reason == reason


@pytest.mark.req("CMP-11")
def test_what_every_message_may_say_goes_and_is_of_the_policy() -> None:
    around, wanted = (
        Surroundings({ALONE: NOW - HOUR}, {}, wordings=TEMPLATES),
        cleared(**({"home": ALONE} | text(FILLED))),
    )
    assert isinstance(plan(wanted, policy(**conduct(common_texts=[FILLED])), around, NOW), Planned)
    assert isinstance(plan(wanted, policy(), around, NOW), NoRoute)


@pytest.mark.req("CMP-11")
@pytest.mark.parametrize("more", INNOCENT)
def test_the_router_lets_pass_what_only_sounds_like_a_template(more: dict[str, Any]) -> None:
    around = Surroundings({ALONE: NOW - HOUR}, {}, wordings=TEMPLATES)
    assert isinstance(plan(cleared(**({"home": ALONE} | more)), policy(), around, NOW), Planned)


@dataclass(frozen=True)
class OneTooMany:
    """One case of the lane: the hours ago, category and content of what went to the person before."""

    row: str
    code: str
    rule: str
    before: tuple[tuple[float, Category, str], ...]
    policy: dict[str, Any]
    category: Category = "marketing"
    details: dict[str, str] = field(default_factory=dict)


CAP, SAME = "compliance.frequency_caps", "compliance.duplicate_content"
MARGIN_SECONDS = 14.0


def capped(most: int, per_hours: float, purpose: str = "marketing") -> dict[str, Any]:
    return {"frequency_caps": [{"purpose": purpose, "most": most, "per_hours": per_hours}]}


WEEK = conduct(**capped(1, 168))
TWO_SPANS = conduct(frequency_caps=[*capped(2, 24)["frequency_caps"], *capped(3, 168)["frequency_caps"]])
TOGETHER = conduct(**capped(2, 24, "transactional"))
TOLD_ONCE = conduct(duplicate_content={"within_hours": 24})
CODES_TOO = conduct(duplicate_content={"within_hours": 1, "purposes": ["authentication"]})
HELLO, OFFER = "00112233aabbccdd", "ffeeddccbbaa9988"
LANE = [
    OneTooMany("B25", "frequency_cap", CAP, ((1.0, "marketing", ""),), conduct(**capped(1, 24)),
               details={"count": "1"}),
    OneTooMany("B25", "frequency_cap", CAP, ((1.0, "marketing", ""), (23.9, "marketing", "")), conduct(**capped(2, 24)),
               details={"most": "2", "per_hours": "24", "next_at": "2026-11-21T00:36:14+00:00"}),
    OneTooMany("B25", "frequency_cap", CAP, ((24.0, "marketing", ""),), conduct(**capped(1, 24))),  # the margin
    OneTooMany("B25", "frequency_cap", CAP, ((167.9, "marketing", ""),), WEEK),
    OneTooMany("B25", "frequency_cap", CAP, ((30.0, "marketing", ""), (60.0, "marketing", ""), (1.0, "marketing", "")),
               TWO_SPANS, details={"per_hours": "168", "count": "3"}),
    OneTooMany("B25", "frequency_cap", CAP, ((2.0, "marketing", ""), (1.0, "marketing", ""), (60.0, "marketing", "")),
               TWO_SPANS, details={"per_hours": "24", "count": "2"}),
    OneTooMany("B25", "frequency_cap", CAP, ((1.0, "utility", ""), (2.0, "authentication", "")), TOGETHER, "service",
               {"purpose": "transactional"}),
    *(OneTooMany("B25", "frequency_cap", CAP, ((0.5, each, ""),), conduct(**capped(1, 1, each)), each)
      for each in ("marketing", "utility", "authentication", "service")),
    *(OneTooMany("CMP-7", "duplicate_content", SAME, ((1.0, each, HELLO),), TOLD_ONCE, each,
                 {"earlier_message_id": "before-0"}) for each in ("marketing", "utility", "service")),
    OneTooMany("CMP-7", "duplicate_content", SAME, ((3.0, "utility", HELLO), (2.0, "marketing", OFFER)), TOLD_ONCE),
    OneTooMany("CMP-7", "duplicate_content", SAME, ((3.0, "marketing", HELLO), (2.0, "marketing", HELLO)), TOLD_ONCE,
               details={"earlier_message_id": "before-1", "within_hours": "24"}),
    OneTooMany("CMP-7", "duplicate_content", SAME, ((0.9, "authentication", HELLO),), CODES_TOO, "authentication"),
]  # fmt: skip
PASSING = [
    ((), conduct(**capped(1, 24)), "marketing"),
    (((24.01, "marketing", HELLO),), conduct(**capped(1, 24)), "marketing"),
    (((1.0, "utility", HELLO),), conduct(**capped(1, 24)), "marketing"),
    (((1.0, "marketing", HELLO),), conduct(**capped(1, 24)), "utility"),
    (((1.0, "marketing", ""), (30.0, "marketing", "")), TWO_SPANS, "marketing"),
    (((1.0, "marketing", HELLO), (1.0, "marketing", HELLO)), TOGETHER, "marketing"),
    (((24.01, "utility", HELLO),), TOLD_ONCE, "utility"),
    (((1.0, "utility", OFFER), (1.0, "utility", "")), TOLD_ONCE, "utility"),
    (((0.1, "authentication", HELLO),), TOLD_ONCE, "authentication"),
    (((0.1, "authentication", HELLO),), TOLD_ONCE, "utility"),
]  # fmt: skip


def went_before(before: tuple[tuple[float, Category, str], ...]) -> list[Contact]:
    return [
        Contact(f"before-{n}", NOW.timestamp() - hours * 3600, category, mark)
        for n, (hours, category, mark) in enumerate(before)
    ]


@pytest.mark.parametrize("case", rows(LANE))
def test_the_lane_refuses(case: OneTooMany) -> None:
    governance, now = policy(**case.policy), NOW.timestamp()
    contacts = went_before(case.before)
    refusal = refusal_of(rules_of(governance.compliance), case.category, HELLO, contacts, now, MARGIN_SECONDS)
    assert refusal is not None
    reason = refusal.reason
    assert (reason.code, reason.rule) == (case.code, case.rule)
    assert case.details.items() <= reason.details.items()
    assert reason.text[0].isupper() and reason.text.endswith(".")
    kept = contact_decision(refusal, case.category, PERSON, HELLO, governance.version, now, MARGIN_SECONDS)
    again = decided_again(Decision.model_validate_json(kept.model_dump_json(exclude_none=True)), governance)
    assert again.same and again.reason is not None
    assert (again.reason.code, again.reason.policy_version) == (case.code, governance.version)
    assert HELLO not in kept.model_dump_json()


@pytest.mark.parametrize("case", PASSING)
def test_the_lane_lets_pass(case: tuple[Any, ...]) -> None:
    before, compliance, category = case
    rules = rules_of(policy(**compliance).compliance)
    assert refusal_of(rules, category, HELLO, went_before(before), NOW.timestamp(), MARGIN_SECONDS) is None


@dataclass(frozen=True)
class Forbidden:
    """One thing that the policy file may not say: in VALID, `old` is replaced by `new`."""

    row: str
    code: str
    old: str
    new: str


MODE = "  consent_mode: opt_out"


def added(row: str, said: str, line: str) -> Forbidden:
    return Forbidden(row, said, MODE, f"{MODE}\n  {line}")


def section(row: str, said: str, lines: str) -> Forbidden:
    return Forbidden(row, said, "compliance:", f"{lines}\ncompliance:")


FILE = [
    *(Forbidden("CMP-4", "must be explicit or opt_out", MODE, f"  consent_mode: {mode}")
      for mode in ("none", "off", "''", "null", "false")),
    Forbidden("CMP-4", "must be 'opt_out' or 'explicit'", MODE, "  consent_mode: implied"),
    Forbidden("CMP-4", "compliance.consent_mode: is missing", MODE, "  hard_block: true"),
    *(added("CMP-3", "hard_block: must be true", f"hard_block: {value}") for value in ("false", "no", "0", "1")),
    *(added("CMP-1", "opt-out words cannot be switched off", f"opt_out_words: {value}")
      for value in ("[]", "false", "null")),
    *(added("CMP-1", "words can only be added", f"opt_out_words: ['{value}']")
      for value in ("-stop", "!stop", "~stop", " ")),
    *(added("CMP-1", "is an opt-in word", f"opt_out_words: [{value}]")
      for value in ("START", "Unstop", "शुरू", "começar", "opt-in")),
    added("CMP-13", "is not an ISO 3166 country code", "allowed_countries: [UK]"),
    added("CMP-15", "allowed_categories", "allowed_categories: [promotional]"),
    added("CMP-9", "content_approval.tags", "content_approval: {tags: []}"),
    added("CMP-9", "content_approval.tags: is missing", "content_approval: {}"),
    added("CMP-9", "advisor_identification.texts", "advisor_identification: {texts: ['x']}"),
    added("CMP-9", "advisor_identification.texts", "advisor_identification: {texts: []}"),
    added("CMP-11", "has fewer than 4 words", "common_texts: ['with kind regards']"),
    added("CMP-11", "common_texts[0]", "common_texts: ['" + "many words " * 94 + "']"),
    added("CMP-7", "do_not_message", "do_not_message: ['+919999912345']"),
    section("RTW-1", "window_hours: must be 24", "routing: {window_hours: 48}"),
    section("RTW-1", "window_margin_minutes", "routing: {window_margin_minutes: -1}"),
    section("RTW-2", "fallback_to_template: must be true", "routing: {fallback_to_template: false}"),
    section("CMP-16", "quiet_hours.utility", "routing: {quiet_hours: {utility: night}}"),
    section("CMP-16", "23:00-23:00 is no time at all", "routing: {quiet_hours: {utility: '23:00-23:00'}}"),
    section("CMP-16", "quiet_hours.utility", "routing: {quiet_hours: {utility: '25:00-07:00'}}"),
    section("CMP-16", "quiet_hours.promotions", "routing: {quiet_hours: {promotions: none}}"),
    section("CMP-17", "is not a time zone", "routing: {default_time_zone: IST+5}"),
    section("B16", "is not a time zone", "routing: {send_windows: {m: {hours: '06:00-07:00', time_zone: Mars}}}"),
    section("B16", "send_windows.m.hours: is missing", "routing: {send_windows: {m: {}}}"),
    section("B16", "send_windows.m.contract", "routing: {send_windows: {m: {hours: '06:00-07:00', contract: x}}}"),
    section("B16", "is no time at all", "routing: {send_windows: {m: {hours: '06:00-06:00'}}}"),
    section("RTW-8", "names a language twice", "routing: {language_fallback: {hi: [en, hi]}}"),
    section("RTW-8", "names a language twice", "routing: {language_fallback: {hi: [en, en]}}"),
    section("FHL-3", "on_limited: must be pause_proactive", "telemetry: {circuit_breaker: {on_limited: ignore}}"),
    section("FHL-3", "on_blocked: must be halt_all", "telemetry: {circuit_breaker: {on_blocked: pause}}"),
    *(section("DSP-11", "retry_policy: must be none", f"telemetry: {{circuit_breaker: {{retry_policy: {word}}}}}")
      for word in ("exponential", "once", "true")),
    section("DSP-11", "dispatch.retry_on_auth: there is no such setting", "dispatch: {retry_on_auth: true}"),
    section("FHL-2", "health_poll_seconds", "telemetry: {health_poll_seconds: 0}"),
    *(added("B25", f"compliance.frequency_caps[0].{key}",
            f"frequency_caps: [{{purpose: marketing, most: 2, per_hours: 24, {key}: {value}}}]".replace(old, ""))
      for key, value, old in (
          ("per_hours", "168.1", "per_hours: 24, "), ("per_hours", "0", "per_hours: 24, "),
          ("per_hours", "day", "per_hours: 24, "), ("most", "0", "most: 2, "), ("most", "101", "most: 2, "),
          ("most", "1.5", "most: 2, "), ("purpose", "promotions", "purpose: marketing, "), ("per_minutes", "5", ""))),
    added("B25", "frequency_caps[0].most: is missing", "frequency_caps: [{purpose: marketing, per_hours: 24}]"),
    added("B25", "frequency_caps[1].most: there is a cap of utility per 24 hours already",
          "frequency_caps: [{purpose: utility, most: 2, per_hours: 24}, {purpose: utility, most: 3, per_hours: 24}]"),
    added("B25", "frequency_caps[0].most: is never reached",
          "frequency_caps: [{purpose: utility, most: 2, per_hours: 24}, {purpose: utility, most: 2, per_hours: 48}]"),
    *(added("CMP-7", f"duplicate_content.{where}", f"duplicate_content: {{{said}}}") for where, said in (
        ("within_hours: is missing", "purposes: [utility]"), ("within_hours", "within_hours: 0"),
        ("within_hours", "within_hours: 169"), ("purposes", "within_hours: 1, purposes: []"),
        ("purposes: a purpose is named twice", "within_hours: 1, purposes: [utility, utility]"),
        ("purposes[0]", "within_hours: 1, purposes: [transactional]"), ("hours", "within_hours: 1, hours: 2"))),
]  # fmt: skip


@pytest.mark.parametrize("case", rows(FILE))
def test_the_file_may_not_say(tmp_path: Path, case: Forbidden) -> None:
    path = tmp_path / "governance.yaml"
    assert case.old in VALID
    path.write_text(VALID.replace(case.old, case.new, 1), encoding="utf-8")
    with pytest.raises(GovernanceError) as caught:
        load(path)
    assert any(case.code in problem for problem in caught.value.problems), caught.value.problems
    assert all(problem.startswith("governance.yaml:") for problem in caught.value.problems)


def test_there_are_enough_of_them() -> None:
    assert len(GUARD) + len(ROUTER) + len(LANE) + len(FILE) >= 175
    assert len({each.code for each in GUARD} | {each.code for each in ROUTER} | {each.code for each in LANE}) >= 27
