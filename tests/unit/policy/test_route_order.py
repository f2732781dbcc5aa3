"""How a plan's numbers are ordered: who may send, capacity, the person's own number, quality, country; with reasons."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.event import Decision
from harkara.contracts.intents import Template
from harkara.contracts.numbers import NumberState, QueueState
from harkara.policy.explain import decided_again
from harkara.policy.governance import Governance
from harkara.policy.routing import MOST_TOLD, NoRoute, Planned, Surroundings, decision_of, plan
from harkara.policy.stickiness import sticky_order
from tests.unit.policy.cases import ALONE, FIRST, NOW, PERSON, SECOND, TEMPLATE, TEXT, cleared, number, policy

HOUR = timedelta(hours=1)
UNKNOWN = "; of the template nothing is known"  # of which these tests tell nothing
FAR = "100000000000007"


def state(phone_number_id: str, quality: str = "UNKNOWN", verdict: str = "open") -> NumberState:
    fields = {"phone_number_id": phone_number_id, "home": "advisors", "version": 1, "quality": quality}
    return NumberState.model_validate(fields | {"verdict": verdict, "updated_at": NOW})


def queue(phone_number_id: str, queued: int = 0, limit: int | None = None, used: int = 0) -> QueueState:
    counts = dict.fromkeys(("scheduled", "held", "in_flight", "in_doubt", "sent_last_minute", "sent_today"), 0)
    fields = {"phone_number_id": phone_number_id, "home": "advisors", "queued": queued, "daily_limit": limit}
    return QueueState.model_validate(counts | fields | {"daily_used": used, "updated_at": NOW})


def route(*facts: NumberState | QueueState, governance: Governance | None = None, **more: Any) -> Planned:
    inbound = more.pop("inbound", {})
    states = {each.phone_number_id: each for each in facts if isinstance(each, NumberState)}
    queues = {each.phone_number_id: each for each in facts if isinstance(each, QueueState)}
    found = plan(cleared(**more), governance or policy(), Surroundings(inbound, states, queues), NOW)
    assert isinstance(found, Planned), found
    return found


def order(planned: Planned) -> list[str]:
    return [candidate.phone_number_id for candidate in planned.plan]


MINE, OTHER = (n.phone_number_id for n in sticky_order(PERSON, policy().numbers_of("advisors"), policy()))


@pytest.mark.req("RTW-5")
@pytest.mark.parametrize(
    ("facts", "first"),
    [
        ([], MINE),
        ([state(MINE, "YELLOW"), state(OTHER, "GREEN")], MINE),  # it keeps its persons
        ([state(MINE, "RED"), state(OTHER, "GREEN")], OTHER),
        ([state(MINE, "RED"), state(OTHER, "YELLOW")], OTHER),
        ([state(MINE, "RED"), state(OTHER, "RED")], MINE),
        ([queue(MINE, limit=500, used=499)], MINE),  # its own persons get the last of the day
        ([queue(MINE, limit=500, used=500)], OTHER),
        ([queue(MINE, limit=500, used=600)], OTHER),
        ([queue(MINE, limit=500, used=500), queue(OTHER, limit=500, used=500)], MINE),
        ([queue(MINE, queued=48_000)], MINE),  # ten minutes at 80/s
        ([queue(MINE, queued=48_001)], OTHER),
        ([queue(MINE, queued=60_000), queue(OTHER, queued=60_000)], MINE),
        (
            [queue(MINE, queued=60_000), queue(OTHER, limit=100, used=95)],
            MINE,
        ),  # both scarce: quality, then the person's
        ([queue(MINE, queued=60_000), queue(OTHER, limit=100, used=95), state(OTHER, "GREEN")], OTHER),
        ([queue(MINE, queued=60_000), queue(OTHER, limit=100, used=90)], OTHER),
        ([queue(MINE, queued=60_000), state(MINE, "YELLOW"), queue(OTHER, limit=100, used=95)], OTHER),
        ([queue(MINE, queued=60_000), state(MINE, "GREEN"), queue(OTHER, limit=100, used=95)], MINE),
        ([state(MINE, verdict="halted"), queue(OTHER, limit=1, used=1)], OTHER),  # who may not send at all comes after
        ([state(OTHER, "GREEN"), queue(MINE, limit=1000, used=1)], MINE),
    ],
)
def test_the_first_of_the_pool(facts: list[NumberState | QueueState], first: str) -> None:
    planned = route(*facts)
    assert order(planned)[0] == first and len(planned.plan) == 2


def test_a_queue_that_outlasts_the_message_is_no_capacity() -> None:
    wanted: dict[str, Any] = {"expires_at": NOW + HOUR}
    slow = policy(
        numbers=[number(ALONE), number(FIRST, profile="slow"), number(SECOND, profile="slow")],
        profiles={"slow": {"per_second": 1, "per_minute": 1}},
    )
    mine, other = (n.phone_number_id for n in sticky_order(PERSON, slow.numbers_of("advisors"), slow))
    waits = cleared(**wanted).model_copy(update={"expires_at": NOW + 9 * timedelta(minutes=1)})
    around = Surroundings({}, {}, {mine: queue(mine, queued=9)})
    found = plan(waits, slow, around, NOW)
    assert isinstance(found, Planned) and order(found) == [other, mine]
    roomy = plan(waits.model_copy(update={"expires_at": NOW + 10 * timedelta(minutes=1)}), slow, around, NOW)
    assert isinstance(roomy, Planned) and order(roomy) == [mine, other]


def test_a_number_that_the_intent_names_goes_first_whatever_its_quality() -> None:
    assert order(route(state(OTHER, "RED"), sender=OTHER)) == [OTHER, MINE]
    assert order(route(state(OTHER, verdict="halted"), sender=OTHER)) == [MINE, OTHER]


@pytest.mark.req("RTW-6")
@pytest.mark.parametrize(("to", "first"), [("+5511987654321", FAR), ("+14155552671", None), ("+919999912345", None)])
def test_the_persons_country_comes_first(to: str, first: str | None) -> None:
    mixed = policy(
        numbers=[number(ALONE), number(FIRST), number(SECOND), number(FAR, display_phone_number="+5511999990001")],
        pools=[{"name": "advisors", "numbers": [FIRST, SECOND, FAR]}],
    )
    persons = [f"{n:032x}" for n in range(60)]
    firsts = {order(route(governance=mixed, to=to, person=person))[0] for person in persons}
    if first is not None:
        assert firsts == {first}
    elif to.startswith("+91"):
        assert firsts == {FIRST, SECOND}
    else:
        assert firsts == {FIRST, SECOND, FAR}


def test_each_candidate_says_why_it_stands_there() -> None:
    planned = route(
        state(MINE, "RED"), queue(MINE, limit=500, used=490), state(OTHER, "YELLOW", "paused"),
        queue(OTHER, queued=96_000), inbound={OTHER: NOW - HOUR}, content=TEXT, fallback_template=TEMPLATE,
    )  # fmt: skip
    reasons = {(each.phone_number_id, each.form): each.reason for each in planned.plan}
    assert reasons == {
        (MINE, "template"): f"by template; the person's number; quality RED; 10 of 500 left today{UNKNOWN}",
        (OTHER, "session"): "customer service window open; another number of the pool; quality YELLOW; "
        "a queue of 20 minutes; paused",
        (OTHER, "template"): "by template; another number of the pool; quality YELLOW; a queue of 20 minutes; "
        f"paused{UNKNOWN}",
    }
    named = route(state(OTHER, verdict="halted"), sender=OTHER, home="advisors")
    assert named.plan[-1].reason == f"by template; named by the intent; halted{UNKNOWN}"


def test_a_plan_waits_for_the_recipients_hours_and_its_window_must_last_that_long() -> None:
    night = policy(routing={"quiet_hours": {"utility": "23:00-07:00"}})
    opens = datetime(2026, 11, 21, 1, 30, tzinfo=NOW.tzinfo)
    planned = route(governance=night, inbound={FIRST: NOW - 23 * HOUR}, content=TEXT, fallback_template=TEMPLATE)
    assert {each.form for each in planned.plan} == {"template"}  # at 07:00 the window has closed
    assert planned.opening is not None and planned.opening.due == opens
    lasts = route(governance=night, inbound={FIRST: NOW - 22 * HOUR}, content=TEXT, fallback_template=TEMPLATE)
    assert lasts.plan[0].form == "session" and lasts.session is not None
    berlin = route(governance=night, time_zone="Europe/Berlin")
    assert berlin.opening is not None and berlin.opening.due == datetime(2026, 11, 21, 6, tzinfo=NOW.tzinfo)


def test_the_template_goes_in_the_persons_language() -> None:
    hindi = {"language": "hi", "body": ["आशा"]}
    planned = route(content=TEMPLATE | {"variants": [hindi]}, language="mr")
    assert planned.template == Template(name="daily_advice", language="hi", body=("आशा",))
    planned = route(content=TEXT, fallback_template=TEMPLATE | {"variants": [hindi]}, language="hi")
    assert planned.template is not None and planned.template.language == "hi"


@pytest.mark.req("B11")
def test_a_plan_is_made_again_from_what_is_kept_of_it() -> None:
    governance = policy(routing={"quiet_hours": {"utility": "23:00-07:00"}})
    planned = route(
        state(MINE, "RED"), queue(MINE, queued=96_000, limit=10, used=3), governance=governance,
        inbound={OTHER: NOW - HOUR}, content=TEXT, fallback_template=TEMPLATE, not_before=NOW + HOUR,
    )  # fmt: skip
    kept = decision_of(planned, governance.version, NOW)
    assert kept is not None and "919999912345" not in kept.model_dump_json() and "Asha" not in kept.model_dump_json()
    read_back = Decision.model_validate_json(kept.model_dump_json(exclude_none=True))
    again = decided_again(read_back, governance)
    assert again.same and again.verdict["plan"][0]["phone_number_id"] == OTHER and again.unreadable is None
    other_policy = policy(routing={"quiet_hours": {"utility": "none"}, "window_margin_minutes": 300})
    assert not decided_again(read_back, other_policy).same
    broken = kept.model_copy(update={"inputs": {"home": 1}})
    assert not decided_again(broken, governance).same
    assert "cannot read" in (decided_again(broken, governance).unreadable or "")


def test_a_long_plan_is_told_by_its_first() -> None:
    ids = [f"10000000000002{n:02}" for n in range(MOST_TOLD + 2)]
    large = policy(numbers=[number(n) for n in ids], pools=[{"name": "advisors", "numbers": ids}])
    planned = route(governance=large)
    kept = decision_of(planned, large.version, NOW)
    assert kept is not None
    assert len(kept.verdict["plan"]) == MOST_TOLD == 10 and kept.verdict["candidates"] == MOST_TOLD + 2


def test_the_record_of_a_plan_says_all_of_it() -> None:
    window = {"hours": "05:55-06:05", "time_zone": "Asia/Kolkata", "contract": "agreement, clause 4"}
    night = policy(routing={"quiet_hours": {"utility": "23:00-07:00"}, "send_windows": {"morning": window}})
    kept = decision_of(route(governance=night, home=ALONE, send_window="morning"), night.version, NOW)
    assert kept is not None and kept.step == "routing" and kept.policy_version == night.version and kept.at == NOW
    assert kept.verdict == {
        "outcome": "routed",
        "plan": [
            {"phone_number_id": ALONE, "form": "template", "reason": f"by template; named by the intent{UNKNOWN}"}
        ],
        "language": "en",
        "due": NOW.isoformat(),
        "hours": [{"start": "2026-11-21T00:25:00Z", "end": "2026-11-21T00:35:00Z"}, *later_mornings(1)],
        "exception": "morning",
    }
    plain = decision_of(route(home=ALONE), policy().version, NOW)
    assert plain is not None and plain.verdict.keys() == {"outcome", "plan", "due", "language"}
    told = {"home", "person_key", "sender", "category", "template", "template_name", "languages", "expires_at"}
    assert set(plain.inputs) == told | {"zones", "numbers"}, "the zones whether the hour matters or not"
    assert (plain.inputs["zones"], plain.inputs["numbers"]) == (["Asia/Calcutta"], {ALONE: None})
    refused = plan(cleared(content=TEXT), policy(), Surroundings({}, {}), NOW)
    kept = decision_of(refused, policy().version, NOW)
    assert kept is not None
    assert kept.verdict == {"outcome": "rejected", "code": "window_closed", "rule": "routing.window_margin_minutes"}


def later_mornings(days: int) -> list[dict[str, str]]:
    """The windows of the next days that a life of 24 hours touches."""
    return [{"start": f"2026-11-{21 + n}T00:25:00Z", "end": f"2026-11-{21 + n}T00:35:00Z"} for n in range(1, days + 1)]


def test_whoever_never_wrote_is_told_apart_from_whoever_wrote_too_long_ago() -> None:
    never = plan(cleared(content=TEXT), policy(), Surroundings({}, {}), NOW)
    long_ago = plan(cleared(content=TEXT), policy(), Surroundings({FIRST: NOW - 30 * HOUR}, {}), NOW)
    elsewhere = plan(cleared(content=TEXT), policy(), Surroundings({ALONE: NOW - HOUR}, {}), NOW)
    texts = [each.reason.text for each in (never, long_ago, elsewhere) if isinstance(each, NoRoute)]
    assert "has not written to the sender" in texts[0] and texts[2] == texts[0]
    assert "window is closed, or closes before" in texts[1]


@pytest.mark.parametrize(("candidates", "told"), [(MOST_TOLD, None), (MOST_TOLD + 1, MOST_TOLD + 1)])
def test_a_plan_says_its_length_only_where_it_is_not_all_told(candidates: int, told: int | None) -> None:
    ids = [f"10000000000003{n:02}" for n in range(candidates)]
    large = policy(numbers=[number(n) for n in ids], pools=[{"name": "advisors", "numbers": ids}])
    kept = decision_of(route(governance=large), large.version, NOW)
    assert kept is not None and kept.verdict.get("candidates") == told


def test_a_pause_ends_at_its_time_and_a_queue_is_long_after_ten_minutes() -> None:
    ends = state(MINE, verdict="paused").model_copy(update={"until": NOW})
    assert order(route(ends))[0] == MINE
    assert order(route(ends.model_copy(update={"until": NOW + timedelta(microseconds=1)})))[0] == OTHER
    ten_minutes = route(queue(MINE, queued=48_000, limit=1000, used=950))
    assert ten_minutes.plan[0].reason == f"by template; the person's number; 50 of 1000 left today{UNKNOWN}"
    plenty = route(queue(MINE, queued=48_000, limit=1000, used=900))
    assert plenty.plan[0].reason == f"by template; the person's number{UNKNOWN}", "ten minutes are not long yet"


def test_a_refusal_is_the_same_with_and_without_what_it_was_made_of() -> None:
    refused = plan(cleared(content=TEXT), policy(), Surroundings({}, {}), NOW)
    assert isinstance(refused, NoRoute) and refused.facts is not None
    assert refused == NoRoute(refused.reason)
