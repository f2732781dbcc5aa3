"""What would become of an intent: exactly what the guard and the router decide, put into one word (ING-17, B15)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.intents import ClearedIntent
from harkara.contracts.numbers import NumberState
from harkara.contracts.template_state import TemplateState
from harkara.policy.clearance import Question, Rejected, Word, decide
from harkara.policy.governance import Governance
from harkara.policy.resolve import OUTCOMES, resolve
from harkara.policy.routing import NoRoute, Surroundings, plan
from tests.unit.policy.cases import ALONE, FIRST, NOW, PERSON, SECOND, TEMPLATE, TEXT, intent, policy

HOUR = timedelta(hours=1)


def around(windows: Mapping[str, datetime] | None = None, verdicts: Mapping[str, str] | None = None) -> Surroundings:
    states = {
        number: NumberState.model_validate(
            {"phone_number_id": number, "home": "advisors", "version": 1, "verdict": verdict,
             "until": NOW + HOUR if verdict == "paused" else None, "updated_at": NOW}
        )
        for number, verdict in (verdicts or {}).items()
    }  # fmt: skip
    return Surroundings(windows or {}, states)


def quiet() -> Governance:
    return policy(routing={"quiet_hours": {"utility": "23:00-07:00"}})


CASES: dict[str, tuple[dict[str, Any], Word | None, Surroundings, Governance | None, tuple[Any, ...]]] = {
    "a template goes at once": ({}, None, around(), None, ("template", "", "template")),
    "a text in an open window": (
        {"content": TEXT, "category": "service"}, None, around({FIRST: NOW - HOUR}), None, ("session", "", "session"),
    ),
    "a text and no window": (
        {"content": TEXT, "category": "service"}, None, around(), None, ("refused", "window_closed", None),
    ),
    "who opted out": ({}, Word("opted_out"), around(), None, ("refused", "opted_out", None)),
    "an unknown sender": ({"sender": "nobody"}, None, around(), None, ("refused", "unknown_sender", None)),
    "a sleeper": ({}, None, around(), quiet(), ("held", "out_of_hours", "template")),
    "its number halted": ({"sender": ALONE}, None, around(verdicts={ALONE: "halted"}), None,
                          ("held", "number_halted", "template")),
    "its number paused": ({"sender": ALONE}, None, around(verdicts={ALONE: "paused"}), None,
                          ("held", "number_paused", "template")),
    "one number of the pool halted": ({}, None, around(verdicts={FIRST: "halted"}), None, ("template", "", "template")),
    "a slot that is to come": ({"not_before": NOW + 2 * HOUR}, None, around(), None, ("template", "", "template")),
}  # fmt: skip


@pytest.mark.req("ING-17", "B15")
@pytest.mark.parametrize("case", CASES)
def test_a_verdict(case: str) -> None:
    more, word, surroundings, governance, wanted = CASES[case]
    found = resolve(intent(**more), PERSON, word, surroundings, governance or policy(), NOW)
    assert (found.outcome, found.code, found.form) == wanted
    assert (found.reason is None) == (found.outcome != "refused")
    assert (found.number is None) == (found.outcome == "refused")


def test_when_it_would_go() -> None:
    assert resolve(intent(), PERSON, None, around(), quiet(), NOW).due == NOW + HOUR, "06:00 in India: at seven"
    paused = resolve(intent(sender=ALONE), PERSON, None, around(verdicts={ALONE: "paused"}), policy(), NOW)
    assert paused.due == NOW + HOUR
    slot = NOW + 2 * HOUR
    assert resolve(intent(not_before=slot), PERSON, None, around(), policy(), NOW).due == slot


def template(**more: Any) -> TemplateState:
    told = {"waba_id": "200000000000001", "name": "daily_advice", "language": "en", "version": 1, "status": "APPROVED",
            "updated_at": NOW, "observed_at": NOW}  # fmt: skip
    return TemplateState.model_validate(told | more)


def with_template(inbound: Mapping[str, datetime] | None = None, **more: Any) -> Surroundings:
    known = template(**more)
    return Surroundings(inbound or {}, {}, templates={known.key: known})


@pytest.mark.req("ING-17", "TPL-7")
@pytest.mark.parametrize(
    ("around", "content", "expected"),
    [
        (with_template(status="PAUSED", paused_until=NOW + HOUR), TEMPLATE,
         ("held:template_paused", "template", NOW + HOUR)),
        (with_template(status="PAUSED"), TEMPLATE, ("held:template_paused", "template", None)),
        (with_template(), TEMPLATE, ("template", "template", NOW)),
        (with_template(status="PAUSED", language="hi"), TEMPLATE, ("template", "template", NOW)),
        (with_template(status="PAUSED", name="other"), TEMPLATE, ("template", "template", NOW)),
        (with_template({ALONE: NOW - HOUR}, status="PAUSED"), TEXT, ("session", "session", NOW)),
    ],
)  # fmt: skip
def test_what_its_template_is_held_for(
    around: Surroundings, content: dict[str, Any], expected: tuple[str, str, datetime | None]
) -> None:
    """A paused template holds what goes by it, and nothing else: not the text of an open window that has it as its
    other form."""
    fallback = TEMPLATE if content == TEXT else None
    wanted = intent(sender=ALONE, content=content, category="utility", fallback_template=fallback)
    found = resolve(wanted, PERSON, None, around, policy(), NOW)
    assert (found.label, found.form, found.due, found.number) == (*expected, ALONE)


PAUSES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], tuple[str, datetime | None]]] = {
    "an announced pause that has ended": ({"paused_until": NOW - HOUR}, {}, {}, ("template", NOW)),
    "one that ends this moment": ({"paused_until": NOW}, {}, {}, ("template", NOW)),
    "one that ends before its slot": (
        {"paused_until": NOW + HOUR}, {"not_before": NOW + HOUR}, {}, ("template", NOW + HOUR),
    ),
    "one that ends in its quiet hours": (
        {"paused_until": NOW + HOUR}, {}, {"utility": "06:30-09:00"}, ("held:template_paused", NOW + 3 * HOUR),
    ),
    "one that ends while it is quiet": (
        {"paused_until": NOW + HOUR / 2}, {}, {"utility": "23:00-07:00"}, ("held:out_of_hours", NOW + HOUR),
    ),
    "one that ends with the last of its hours": (
        {"paused_until": NOW + 3 * HOUR}, {"expires_at": NOW + 6 * HOUR}, {"utility": "09:00-05:00"},
        ("refused:no_send_time", None),
    ),
    "one that ends just before them": (
        {"paused_until": NOW + 3 * HOUR - HOUR / 60}, {"expires_at": NOW + 6 * HOUR}, {"utility": "09:00-05:00"},
        ("held:template_paused", NOW + 3 * HOUR - HOUR / 60),
    ),
    "one without an end": ({}, {"not_before": NOW + 5 * HOUR}, {}, ("held:template_paused", None)),
}  # fmt: skip


@pytest.mark.req("ING-17", "TPL-7", "B13")
@pytest.mark.parametrize("case", PAUSES)
def test_a_pause_holds_as_long_as_its_lane_would(case: str) -> None:
    """06:00 in India: the lane asks when the message is due, not now, and an announced end needs no telling."""
    pause, more, quiet_hours, expected = PAUSES[case]
    governance = policy(routing={"quiet_hours": {"utility": "none"} | quiet_hours})
    wanted = intent(sender=ALONE, content=TEMPLATE, category="utility", **more)
    found = resolve(wanted, PERSON, None, with_template(status="PAUSED", **pause), governance, NOW)
    assert (found.label, found.due) == expected


@pytest.mark.req("ING-17", "B15")
@pytest.mark.parametrize("verdict", ["paused", "pause_proactive"])
@pytest.mark.parametrize(
    ("hours", "expected"), [(0.5, ("held:number_paused", NOW + HOUR)), (1, ("template", NOW + HOUR))]
)
def test_a_numbers_pause_holds_what_is_due_in_it(verdict: str, hours: float, expected: tuple[str, datetime]) -> None:
    state = NumberState.model_validate(
        {"phone_number_id": ALONE, "home": ALONE, "version": 1, "verdict": verdict, "until": NOW + HOUR,
         "updated_at": NOW}
    )  # fmt: skip
    wanted = intent(sender=ALONE, not_before=NOW + hours * HOUR)
    found = resolve(wanted, PERSON, None, Surroundings({}, {ALONE: state}), policy(), NOW)
    assert (found.label, found.due) == expected


@pytest.mark.req("B15")
def test_a_label_says_the_outcome_and_why_where_there_is_a_why() -> None:
    assert resolve(intent(), PERSON, None, around(), policy(), NOW).label == "template"
    assert resolve(intent(), PERSON, Word("opted_out"), around(), policy(), NOW).label == "refused:opted_out"


@pytest.mark.req("ING-17")
@given(
    standing=st.sampled_from([None, "opted_in", "opted_out", "paused", "blocked"]),
    category=st.sampled_from(["utility", "marketing", "authentication", "service"]),
    text=st.booleans(),
    window=st.sampled_from([(), (FIRST,), (SECOND,), (FIRST, SECOND)]),
    verdicts=st.dictionaries(
        st.sampled_from([FIRST, SECOND]), st.sampled_from(["open", "paused", "halted", "pause_proactive"])
    ),
)
def test_it_is_what_guard_and_router_decide_one_after_the_other(
    standing: Any, category: str, text: bool, window: tuple[str, ...], verdicts: dict[str, str]
) -> None:
    wanted = intent(category=category, content=TEXT if text else TEMPLATE)
    word = None if standing is None else Word(standing)
    surroundings = around(dict.fromkeys(window, NOW - HOUR), verdicts)
    found = resolve(wanted, PERSON, word, surroundings, policy(), NOW)
    assert found.outcome in OUTCOMES
    cleared = decide(Question(wanted, NOW, PERSON, word), policy(), NOW)
    if isinstance(cleared, Rejected):
        assert (found.outcome, found.reason) == ("refused", cleared.reason)
        return
    planned = plan(
        ClearedIntent(
            intent=wanted, intent_hash="h", home=cleared.home, person_key=PERSON, received_at=NOW,
            expires_at=cleared.expires_at, policy_version="v",
        ),
        policy(), surroundings, NOW,
    )  # fmt: skip
    if isinstance(planned, NoRoute):
        assert (found.outcome, found.reason) == ("refused", planned.reason)
    else:
        assert (found.number, found.form) == (planned.plan[0].phone_number_id, planned.plan[0].form)


@pytest.mark.req("ING-17", "B16")
@pytest.mark.parametrize(
    ("window", "rule"),
    [(None, "routing.quiet_hours.utility"), ("mornings", "routing.send_windows.mornings")],
)
def test_a_hold_that_outlasts_its_hours_is_told_as_the_lane_would_end_it(window: str | None, rule: str) -> None:
    """06:00 in India, and its hours end at nine."""
    routing = {"quiet_hours": {"utility": "09:00-05:00"}, "send_windows": {"mornings": {"hours": "05:00-09:00"}}}
    life = {"expires_at": NOW + 6 * HOUR, "send_window": window}
    wanted = intent(sender=ALONE, content=TEMPLATE, category="utility", fallback_content=TEXT, **life)
    paused = with_template(status="PAUSED", paused_until=NOW + 4 * HOUR)
    found = resolve(wanted, PERSON, None, paused, policy(routing=routing), NOW)
    assert (found.label, found.number, found.form, found.fallback) == ("refused:no_send_time", None, None, "")
    assert found.reason is not None and found.reason.rule == rule
    assert "template_paused" in found.reason.text
