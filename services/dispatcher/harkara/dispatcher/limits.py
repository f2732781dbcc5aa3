"""Which limits the numbers have now, and what a lane does when they change while it works.

A number's limits come from its profile at its age (governance.yaml, `since`), so they change with the file and with
the clock. Attempts made under the old ones still count.

Of the file can be changed while running: `profiles`, a number's `profile` and `since`, `dispatch` but for the
request timeout, and of `compliance` what is decided here, the frequency caps and the guard against duplicate content.
What needs a restart: numbers that come or go, their ids, tokens and ways out, and pools (they say in which lane a
message lives). The other sections are read by other services. A file is taken up whole or not at all.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from harkara.dispatcher.plan import NumberFacts, Surroundings
from harkara.dispatcher.senders import capacity_of
from harkara.dispatcher.state import LaneState
from harkara.policy import reload
from harkara.policy.governance import Governance, Number
from harkara.policy.pacing import Limits, limits_of, paced

CHANGEABLE = {"profile", "since"}
"""What of a number may change while running."""


def bring_up_to_date(facts: dict[str, NumberFacts], governance: Governance, now: datetime) -> list[str]:
    """Give every number the limits that the policy says at `now`; returns the numbers for which they changed."""
    changed, worked_out = list[str](), dict[tuple[str, date | None], tuple[Limits, int]]()  # numbers have few profiles
    for number in governance.numbers:
        known, alike = facts[number.phone_number_id], (number.profile, number.since)
        newest = worked_out.get(alike)
        if newest is None:
            profile = governance.profile_at(number, now)
            newest = worked_out[alike] = limits_of(profile), capacity_of(profile)
        if newest != (known.limits, known.capacity):
            facts[number.phone_number_id] = replace(known, limits=newest[0], capacity=newest[1])
            changed.append(number.phone_number_id)
    return changed


def repace(state: LaneState, around: Surroundings) -> None:
    """Bring the lane's paces up to the limits that its numbers have now, and its turns up to the weights."""
    state.weights = around.policy.weights
    state.limits = {number: facts.limits for number, facts in around.fleet.items()}
    for number, lane in state.numbers.items():
        facts = around.fleet.get(number)
        if facts is not None and facts.limits != lane.pace.limits:
            lane.pace = paced(number, facts.limits, lane.pace)
            state.touched.add(number)
            state.look_again(number)


def needs_restart(old: Governance, new: Governance) -> list[str]:
    """What of the new policy the lanes cannot take up while running; empty: all of it."""
    reasons = reload.needs_restart(old, new)
    for number in old.numbers:
        known, other = _fixed(number), new.number(number.phone_number_id)
        if other is not None and _fixed(other) != known:
            names = ", ".join(sorted(name for name, value in _fixed(other).items() if known[name] != value))
            reasons.append(f"number {number.phone_number_id} has another {names}")
    if {each.id for each in old.portfolios} != {each.id for each in new.portfolios}:
        reasons.append("portfolios are others")
    if old.dispatch.request_timeout_seconds != new.dispatch.request_timeout_seconds:
        reasons.append("dispatch.request_timeout_seconds is another")
    return reasons


def _fixed(number: Number) -> dict[str, object]:
    return number.model_dump(exclude=CHANGEABLE)
