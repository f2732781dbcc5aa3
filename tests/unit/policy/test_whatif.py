"""What another policy would have decided (B11, DX-3): counted once, whatever the order in which decisions are read."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from harkara.contracts.event import Decision
from harkara.policy.clearance import Question, decide, inputs_of
from harkara.policy.contacts import Contact, refusal_of, rules_of
from harkara.policy.contacts import decision_of as contact_decision
from harkara.policy.explain import decided_again
from harkara.policy.governance import Governance
from harkara.policy.routing import Surroundings, decision_of, plan
from harkara.policy.whatif import MOST_SHOWN, Comparison
from tests.unit.policy.cases import ALONE, NOW, PERSON, TEXT, cleared, intent, policy

LISTED = policy(compliance={"consent_mode": "opt_out", "do_not_message": [PERSON]})
EXPLICIT = policy(compliance={"consent_mode": "explicit"})
WIDE = policy(routing={"window_margin_minutes": 720, "quiet_hours": {"utility": "none"}})
OPEN = Surroundings({ALONE: NOW - timedelta(hours=13)}, {})


def clearance(governance: Governance | None = None, **more: Any) -> Decision:
    governance = governance or policy()
    kept = inputs_of(decide(Question(intent(**more), NOW, PERSON, None), governance, NOW), governance.version, NOW)
    assert kept is not None
    return kept


def routing(**more: Any) -> Decision:
    fields = {"home": ALONE, "sender": ALONE, "content": TEXT} | more
    kept = decision_of(plan(cleared(**fields), policy(), OPEN, NOW), policy().version, NOW)
    assert kept is not None
    return kept


def unreadable(step: str = "routing") -> Decision:
    kept = clearance() if step == "clearance" else routing()
    return kept.model_copy(update={"inputs": kept.inputs | {"expires_at": "never"}})


def compared(governance: Governance, *decisions: tuple[str, Decision]) -> Comparison:
    comparison = Comparison(governance)
    for message_id, decision in decisions:
        comparison.add(message_id, decision)
    return comparison


def counts(comparison: Comparison) -> tuple[int, int, int, int, dict[tuple[str, ...], int]]:
    return (
        comparison.decisions,
        comparison.same,
        comparison.unreadable,
        comparison.moot,
        dict(comparison.kinds),
    )


@pytest.mark.req("B11")
def test_the_same_policy_decides_the_same() -> None:
    assert counts(compared(policy(), ("m-1", clearance()), ("m-1", routing()))) == (2, 2, 0, 0, {})


@pytest.mark.req("B11")
def test_a_difference_says_what_was_and_what_would_be() -> None:
    found = compared(EXPLICIT, ("m-1", clearance()), ("m-2", clearance(sender="nobody")))
    assert counts(found) == (2, 1, 0, 0, {("clearance", "cleared", "rejected: no_opt_in"): 1})
    (shown,) = found.shown
    assert (shown.message_id, shown.was, shown.would) == ("m-1", "cleared", "rejected: no_opt_in")
    assert shown.text == "There is no opt-in of the person to transactional messages on record."


def test_what_was_refused_and_would_go_has_no_sentence() -> None:
    found = compared(policy(), ("m-1", clearance(EXPLICIT)))
    assert dict(found.kinds) == {("clearance", "rejected: no_opt_in", "cleared"): 1}
    assert found.shown[0].text is None


def test_the_same_outcome_by_another_plan_is_a_difference_too() -> None:
    pooled = routing(home="advisors", sender="advisors", content=_template())
    found = compared(_halved(), ("m-1", pooled))
    assert dict(found.kinds) == {("routing", "routed", "routed otherwise"): 1}


@pytest.mark.req("B11")
def test_a_routing_is_compared_under_the_other_policy() -> None:
    found = compared(WIDE, ("m-1", routing()))
    assert counts(found) == (1, 0, 0, 0, {("routing", "routed", "rejected: window_closed"): 1})
    assert found.shown[0].text is not None and found.shown[0].text.endswith(".")


@pytest.mark.req("B11")
@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_who_would_have_been_refused_has_no_routing_in_any_order(order: tuple[int, ...]) -> None:
    """m-1's routing is the same, m-2's is another: neither counts, since neither message would have come to it."""
    both = policy(
        compliance={"consent_mode": "opt_out", "do_not_message": [PERSON]},
        routing={"window_margin_minutes": 720, "quiet_hours": {"utility": "none"}},
    )
    told = [
        ("m-1", clearance()),
        ("m-1", routing(content=_template())),
        ("m-2", clearance()),
        ("m-2", routing()),
    ]
    found = compared(both, *(told[place] for place in order))
    refused = {("clearance", "cleared", "rejected: do_not_message"): 2}
    assert counts(found) == (4, 0, 0, 2, refused)
    assert sorted(each.message_id for each in found.shown) == ["m-1", "m-2"]
    assert {each.decision.step for each in found.shown} == {"clearance"}


def test_a_refusal_of_one_message_leaves_the_others_routing() -> None:
    found = compared(LISTED, ("m-2", routing()), ("m-1", clearance()), ("m-3", routing()))
    assert counts(found) == (3, 2, 0, 0, {("clearance", "cleared", "rejected: do_not_message"): 1})


def test_a_difference_in_routing_stays_where_another_message_was_refused() -> None:
    both = policy(
        compliance={"consent_mode": "opt_out", "do_not_message": [PERSON]},
        routing={"window_margin_minutes": 720, "quiet_hours": {"utility": "none"}},
    )
    found = compared(both, ("m-1", routing()), ("m-2", routing()), ("m-1", clearance()))
    assert (found.moot, found.kinds["routing", "routed", "rejected: window_closed"]) == (1, 1)
    assert [(each.message_id, each.decision.step) for each in found.shown] == [("m-2", "routing"), ("m-1", "clearance")]


def test_a_message_that_is_told_of_twice_has_one_verdict() -> None:
    found = compared(LISTED, ("m-1", routing()), ("m-1", clearance()), ("m-1", clearance()), ("m-1", routing()))
    assert (found.moot, found.same, found.kinds["clearance", "cleared", "rejected: do_not_message"]) == (3, 0, 1)


def test_what_this_version_cannot_read_is_counted_and_nothing_else() -> None:
    found = compared(LISTED, ("m-1", unreadable()), ("m-2", unreadable("clearance")), ("m-2", routing()))
    assert counts(found) == (3, 1, 2, 0, {})
    again = decided_again(unreadable(), policy())
    assert (again.verdict, again.same, again.reason) == ({}, False, None)
    assert again.unreadable == "this version cannot read what was kept of it: 1 fields do not fit"


def test_what_its_own_policy_cannot_read_is_no_difference() -> None:
    assert counts(compared(policy(), ("m-1", unreadable()))) == (1, 0, 1, 0, {})


def test_of_one_hops_decisions_the_first_that_differs_counts() -> None:
    """In the order in which they were made: after a refusal nothing would have been asked again."""
    refused = {("routing", "routed", "rejected: window_closed"): 1}
    other = routing(content=_template())
    assert counts(compared(WIDE, ("m-1", routing()), ("m-1", other))) == (2, 0, 0, 1, refused)
    assert counts(compared(WIDE, ("m-1", other), ("m-1", routing()))) == (2, 1, 0, 0, refused)


@pytest.mark.req("B11", "DX-3")
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_routing_comes_before_its_lane_in_any_order(order: tuple[int, ...]) -> None:
    """The clearance is the same; the routing is another; what the lane would say is moot. Shown is the routing."""
    kept = clearance(), routing(), _refused_by_a_cap()
    found = compared(WIDE, *(("m-1", kept[place]) for place in order))
    assert counts(found) == (3, 1, 0, 1, {("routing", "routed", "rejected: window_closed"): 1})
    assert [each.decision for each in found.shown] == [kept[1]]


def test_a_difference_is_not_shown_any_more_once_an_earlier_hop_cannot_be_compared() -> None:
    new = policy(compliance={"consent_mode": "opt_out", "allowed_countries": ["IN"]}, routing=WIDE.routing.model_dump())
    before = clearance()
    inputs = {name: value for name, value in before.inputs.items() if name != "country"}
    found = compared(new, ("m-1", routing()))
    assert len(found.shown) == 1
    found.add("m-1", before.model_copy(update={"inputs": inputs}))
    assert (found.shown, found.kinds, found.moot, found.not_comparable.total()) == ([], {}, 1, 1)


def test_only_so_many_differences_are_kept_and_all_are_counted() -> None:
    kept = clearance()
    found = compared(EXPLICIT, *((f"m-{number}", kept) for number in range(MOST_SHOWN + 1)))
    assert (len(found.shown), found.kinds.total(), MOST_SHOWN) == (1000, 1001, 1000)


def _template() -> dict[str, Any]:
    return {"type": "template", "name": "daily_advice", "language": "en", "body": ["Asha"]}


def _refused_by_a_cap() -> Decision:
    """The lane's refusal by a cap that there is no more."""
    then = policy(
        compliance={
            "consent_mode": "opt_out",
            "frequency_caps": [{"purpose": "utility", "most": 1, "per_hours": 24}],
        }
    )
    at = NOW.timestamp()
    refusal = refusal_of(
        rules_of(then.compliance), "utility", "", [Contact("m-earlier", at - 60.0, "utility")], at, 0.0
    )
    assert refusal is not None
    return contact_decision(refusal, "utility", PERSON, "", then.version, at, 0.0)


def _halved() -> Governance:
    """The pool has one number less."""
    return policy(pools=[{"name": "advisors", "numbers": ["100000000000002"]}])
