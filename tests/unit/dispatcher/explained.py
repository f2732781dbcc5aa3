"""What every lane of the tests is held to: an entry that holds or ends a message says what decided it (B11, CMP-8)."""

from __future__ import annotations

from functools import cache

import orjson

from harkara.contracts.event import Event
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.dispatcher.journal import Entry
from harkara.dispatcher.plan import DispatchPolicy
from harkara.dispatcher.projection import implied
from harkara.policy.explain import decided_again
from harkara.policy.governance import Governance
from tests.unit.policy.cases import policy as governance

REFUSALS = frozenset({"held", "cancelled", "expired", "failed_unsent", "unknown", "rehearsed", "rejected"})
MOST_BYTES = 1000  # of an entry, for the sake of what decided it


def told(entry: Entry) -> list[MessageLifecycle]:
    """The refusals, holds and ends without effect that an entry implies. An attempt that is withdrawn because Meta has
    an older one is none: its message is submitted."""
    alone = {name: value for name, value in (entry.data or {}).items() if entry.kind == "order" or name != "order"}
    emissions = implied(entry._replace(data=alone))  # without the dead letter
    for emission in emissions:
        assert_checked(emission.event)
    events = [emission.event for emission in emissions if isinstance(emission.event, MessageLifecycle)]
    return [
        each
        for each in events
        if each.status in REFUSALS and (each.reason is None or each.reason.code != "seen_in_status")
    ]


def assert_checked(event: Event) -> None:
    """Lanes build their events without a check: a check would find nothing, and write the same bytes."""
    checked = type(event).model_validate(event.model_dump())
    assert event == checked
    assert event.model_dump_json(exclude_none=True) == checked.model_dump_json(exclude_none=True)


def assert_explained(entry: Entry, policy: DispatchPolicy) -> None:
    """Rule, policy version and inputs are there, and the decision made again comes out the same. Caps and repeats have
    decisions of their own, with rules that this does not know."""
    for event in told(entry):
        reason, decision = event.reason, event.decision
        assert reason is not None and reason.rule and reason.text.endswith("."), event
        assert decision is not None and reason.policy_version == decision.policy_version != "", event
        if decision.step == "lane":
            again = decided_again(decision, _governance(policy.max_attempts, policy.resent_categories))
            assert again.same, (event, again)
            assert "+91999" not in decision.model_dump_json(), "a phone number has no place in it"
            assert entry.data is not None and len(orjson.dumps(entry.data["went_by"])) < MOST_BYTES


@cache
def _governance(max_attempts: int, resent: frozenset[str]) -> Governance:
    words = {name: "resend" if name in resent else "unknown" for name in ("authentication", "utility")}
    return governance(dispatch={"max_attempts": max_attempts, "in_doubt_policy": words})
