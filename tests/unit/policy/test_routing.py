"""Which candidates a plan holds, and in which order."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.numbers import NumberState
from harkara.policy.governance import BUILT_IN_PROFILES, Profile
from harkara.policy.routing import NoRoute, Planned, Surroundings, plan
from harkara.policy.stickiness import messages_per_minute, sticky_order
from tests.unit.policy.cases import ALONE, FIRST, NOW, PERSON, SECOND, TEMPLATE, TEXT, cleared, number, policy

HOUR = timedelta(hours=1)
OPEN_UNTIL = 24 * HOUR - timedelta(minutes=10)


def state(phone_number_id: str, verdict: str, until: datetime | None = None) -> NumberState:
    return NumberState.model_validate(
        {
            "phone_number_id": phone_number_id,
            "home": "advisors",
            "version": 1,
            "verdict": verdict,
            "until": until,
            "updated_at": NOW,
        }
    )


def route(
    inbound: dict[str, datetime] | None = None, states: list[NumberState] | None = None, **more: Any
) -> Planned | NoRoute:
    around = Surroundings(inbound or {}, {each.phone_number_id: each for each in states or []})
    return plan(cleared(**more), policy(), around, NOW)


def forms(planned: Planned | NoRoute) -> list[tuple[str, str]]:
    assert isinstance(planned, Planned), planned
    return [(candidate.phone_number_id, candidate.form) for candidate in planned.plan]


def order_of(person: str = PERSON) -> list[str]:
    governance = policy()
    return [n.phone_number_id for n in sticky_order(person, governance.numbers_of("advisors"), governance)]


@pytest.mark.req("RTW-1")
def test_free_form_goes_inside_the_window_until_it_ends_less_the_margin() -> None:
    planned = route({ALONE: NOW - HOUR}, home=ALONE, content=TEXT)
    assert forms(planned) == [(ALONE, "session")]
    assert isinstance(planned, Planned)
    assert planned.plan[0].valid_until == NOW - HOUR + OPEN_UNTIL
    assert planned.session is not None and planned.template is None


@pytest.mark.req("RTW-1", "RTW-2")
@pytest.mark.parametrize("ago", [None, 24 * HOUR, OPEN_UNTIL, OPEN_UNTIL + timedelta(seconds=1)])
def test_outside_the_window_only_the_template_goes(ago: timedelta | None) -> None:
    inbound = {} if ago is None else {ALONE: NOW - ago}
    planned = route(inbound, home=ALONE, content=TEXT, fallback_template=TEMPLATE)
    assert forms(planned) == [(ALONE, "template")]
    assert isinstance(planned, Planned) and planned.session is None and planned.template is not None
    refused = route(inbound, home=ALONE, content={"type": "image", "id": "1"})
    assert isinstance(refused, NoRoute) and refused.reason.code == "window_closed"
    assert refused.reason.policy_version == policy().version


def test_the_last_second_of_the_window_counts() -> None:
    inbound = {ALONE: NOW - OPEN_UNTIL + timedelta(seconds=1)}
    assert forms(route(inbound, home=ALONE, content=TEXT)) == [(ALONE, "session")]


def test_a_window_that_closes_before_the_message_is_due_is_closed() -> None:
    inbound = {ALONE: NOW - 20 * HOUR}
    late = route(inbound, home=ALONE, content=TEXT, not_before=NOW + 5 * HOUR)
    assert isinstance(late, NoRoute) and late.reason.code == "window_closed"
    assert forms(route(inbound, home=ALONE, content=TEXT, not_before=NOW + HOUR)) == [(ALONE, "session")]


def test_session_comes_first_and_the_template_stays_for_when_the_window_closes() -> None:
    planned = route({ALONE: NOW - HOUR}, home=ALONE, content=TEXT, fallback_template=TEMPLATE)
    assert forms(planned) == [(ALONE, "session"), (ALONE, "template")]


def test_a_template_stays_a_template_inside_the_window() -> None:
    assert forms(route({ALONE: NOW - HOUR}, home=ALONE)) == [(ALONE, "template")]


def test_in_a_pool_the_window_is_of_the_number_that_the_person_wrote_to() -> None:
    mine, other = order_of()
    planned = route({other: NOW - HOUR}, content=TEXT, fallback_template=TEMPLATE)
    assert forms(planned) == [(other, "session"), (mine, "template"), (other, "template")]
    assert forms(route({other: NOW - HOUR}, content=TEXT)) == [(other, "session")]


def test_a_named_number_of_a_pool_is_preferred_and_the_others_stand_in() -> None:
    _, other = order_of()
    named = route(sender=other, home="advisors")
    assert forms(named)[0] == (other, "template") and len(forms(named)) == 2


@pytest.mark.parametrize(
    ("verdict", "until", "last"),
    [
        ("halted", None, True),
        ("paused", None, True),
        ("paused", NOW + HOUR, True),
        ("paused", NOW, False),
        ("pause_proactive", None, True),
        ("open", None, False),
    ],
)
def test_a_number_that_may_not_send_now_comes_last_but_stays(verdict: str, until: datetime | None, last: bool) -> None:
    mine, other = order_of()
    expected = [other, mine] if last else [mine, other]
    assert [pnid for pnid, _ in forms(route(states=[state(mine, verdict, until)]))] == expected


def test_halted_comes_after_paused_and_session_messages_pass_a_proactive_pause() -> None:
    mine, other = order_of()
    both = [state(mine, "halted"), state(other, "paused", NOW + HOUR)]
    assert [pnid for pnid, _ in forms(route(states=both))] == [other, mine]
    answered = route({mine: NOW - HOUR}, [state(mine, "pause_proactive")], content=TEXT, fallback_template=TEMPLATE)
    assert forms(answered) == [(mine, "session"), (other, "template"), (mine, "template")]


def test_a_halted_number_does_not_hold_a_message_that_another_could_send() -> None:
    mine, other = order_of()
    planned = route({mine: NOW - HOUR}, [state(mine, "halted")], content=TEXT, fallback_template=TEMPLATE)
    assert forms(planned) == [(other, "template"), (mine, "session"), (mine, "template")]


def test_a_home_that_the_policy_does_not_have_is_refused() -> None:
    refused = route(home="elsewhere")
    assert isinstance(refused, NoRoute) and refused.reason.code == "unknown_home"


def test_persons_keep_their_number_when_another_comes_and_spread_by_what_numbers_can_do() -> None:
    """A third number takes its own share of persons; nobody moves between the two that were there."""
    third = "100000000000004"
    before = policy()
    after = policy(
        numbers=[number(ALONE), number(FIRST), number(SECOND), number(third, profile="half")],
        pools=[{"name": "advisors", "numbers": [FIRST, SECOND, third]}],
        profiles={"half": {"per_second": 40, "per_minute": 2400}},
    )
    persons = [f"{n:032x}" for n in range(4000)]
    firsts = {p: sticky_order(p, before.numbers_of("advisors"), before)[0].phone_number_id for p in persons}
    thirds = {p: sticky_order(p, after.numbers_of("advisors"), after)[0].phone_number_id for p in persons}
    moved = {p for p in persons if firsts[p] != thirds[p]}
    assert all(thirds[p] == third for p in moved)
    shares = Counter(thirds.values())
    assert 0.16 < shares[third] / len(persons) < 0.24  # half of what the others can do: a fifth
    assert 0.36 < shares[FIRST] / len(persons) < 0.44


@given(person=st.text(alphabet="0123456789abcdef", min_size=32, max_size=32), turned=st.booleans())
def test_the_order_does_not_depend_on_the_files_order(person: str, turned: bool) -> None:
    governance = policy()
    numbers = governance.numbers_of("advisors")
    given_order = numbers[::-1] if turned else numbers
    assert sticky_order(person, given_order, governance) == sticky_order(person, numbers, governance)


@pytest.mark.parametrize(
    ("profile", "rate"),
    [
        (BUILT_IN_PROFILES["cloud-api"], 4800),
        (BUILT_IN_PROFILES["governance"], 20),
        (BUILT_IN_PROFILES["conservative"], 12),
        (BUILT_IN_PROFILES["trust-level"], 500 / 1440),
        (Profile(per_second=5, base_delay_ms=5000), 12),
        (Profile(per_second=5, base_delay_ms=1000, max_jitter_ms=1000), 40),
        (Profile(per_second=5, per_minute=7, per_hour=480, per_day=14400), 7),
        (Profile(per_second=5, per_minute=9, per_hour=480, per_day=14400), 8),
        (Profile(per_second=1000, max_jitter_ms=2), 60_000),
        (Profile(per_second=1000, base_delay_ms=1), 60_000),
        (Profile(per_second=1000, max_jitter_ms=3), 40_000),
    ],
)
def test_what_a_number_can_do_is_its_narrowest_limit(profile: Profile, rate: float) -> None:
    assert messages_per_minute(profile) == pytest.approx(rate)
