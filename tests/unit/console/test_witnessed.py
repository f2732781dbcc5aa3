"""A decision's hash: of all that was decided and by what, and of nobody."""

from __future__ import annotations

from typing import Any

import pytest

from harkara.console.erasing import without
from harkara.contracts.audit import PERSON_FIELDS, decision_hash

PERSON, OTHER = "ab" * 16, "cd" * 16
DECISION: dict[str, Any] = {
    "step": "clearance", "policy_version": "0123456789ab", "at": "2026-11-21T01:02:03Z",
    "inputs": {
        "person_key": PERSON, "names": f"{OTHER} {PERSON}", "listed_as": None, "sender": "advisors", "n": 1.5,
        "approval": 'said "person_key":"x" of it \\', "deep": [{"also_key": OTHER, "wamid": "wamid.AB=="}],
        "note": "as in wamid.HBgM/x+y== of today",
    },
    "verdict": {"outcome": "rejected", "code": "opted_out"},
}  # fmt: skip


def hashed(decision: Any, event_id: str = "e-1", message_id: str | None = "m-1", source: str = "guard") -> str:
    return decision_hash(source, event_id, message_id, decision)


@pytest.mark.req("CMP-12")
def test_it_stays_when_the_person_is_erased() -> None:
    gone = without(DECISION, {PERSON, OTHER})
    assert PERSON not in str(gone) and "wamid." not in str(gone) and gone != DECISION
    assert hashed(gone) == hashed(DECISION) == hashed(without(gone, {PERSON}))
    plain = DECISION | {"inputs": {name: DECISION["inputs"][name] for name in ("person_key", "names", "sender")}}
    assert hashed(without(plain, {PERSON})) == hashed(plain), "without an id of Meta's too"


@pytest.mark.req("CMP-10", "B11")
@pytest.mark.parametrize(
    "change",
    [
        {"verdict": {"outcome": "rejected", "code": "opted_ouu"}},
        {"at": "2026-11-21T01:02:04Z"},
        {"policy_version": "0123456789ac"},
        {"inputs": DECISION["inputs"] | {"n": 1.25}},
        {"inputs": DECISION["inputs"] | {"sender": "advisers"}},
        {"inputs": DECISION["inputs"] | {"approval": 'said "person_key":"y" of it \\'}},
        {"inputs": DECISION["inputs"] | {"country": "IN"}},
        {"inputs": {name: value for name, value in DECISION["inputs"].items() if name != "n"}},
    ],
)
def test_whatever_else_is_changed_changes_it(change: dict[str, Any]) -> None:
    assert hashed(DECISION | change) != hashed(DECISION)


def test_it_is_of_its_event_and_its_message_alone() -> None:
    others = [hashed(DECISION, "e-2"), hashed(DECISION, message_id="m-2"), hashed(DECISION, source="router")]
    assert len({hashed(DECISION), *others, hashed(DECISION, message_id=None), hashed(None)}) == 6


def test_the_order_of_keys_is_nothing() -> None:
    turned = {name: DECISION[name] for name in reversed(DECISION)}
    assert hashed(turned) == hashed(DECISION) and "person_key" in PERSON_FIELDS
