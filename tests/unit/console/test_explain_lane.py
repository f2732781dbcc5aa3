"""A lane's refusals and holds as the console explains them and `harkara explain` prints them, one of each reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console as Terminal

from harkara.cli.explain import explained
from harkara.console.explain import UNKNOWN_POLICY, decisions_of, made_again
from harkara.contracts.event import Decision
from harkara.contracts.lifecycle import MessageLifecycle
from tests.unit.dispatcher.explained import told
from tests.unit.dispatcher.refusals import WAYS_THERE
from tests.unit.policy.cases import policy

POLICY = policy()


def refused(code: str) -> MessageLifecycle:
    """The newest refusal or hold of the message, as it is published."""
    events = [event for entry in WAYS_THERE[code]().journal for event in told(entry) if event.message_id == "message-1"]
    return MessageLifecycle.model_validate_json(events[-1].model_dump_json())


def decision_in(event: MessageLifecycle) -> Decision:
    assert event.decision is not None
    return event.decision


def shown(event: MessageLifecycle, *explained_: dict[str, Any]) -> str:
    """As the command prints it."""
    assert event.reason is not None
    head = {"messageId": event.message_id, "status": event.status, "reason": event.reason.model_dump()}
    terminal = Terminal(width=220)
    with terminal.capture() as captured:
        terminal.print(explained(head | {"decisions": list(explained_)}))
    return captured.get()


@pytest.mark.req("CMP-8", "B11", "DX-5")
@pytest.mark.parametrize("code", WAYS_THERE)
def test_each_is_made_again_and_printed_with_what_it_went_by(code: str) -> None:
    event = refused(code)
    found = made_again(decision_in(event), POLICY)
    assert found.same and found.why_not is None and found.again == found.verdict
    assert found.reason is not None and found.reason.code == code
    assert (found.step, found.policy_version) == ("lane", decision_in(event).policy_version)
    printed = shown(event, found.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert f"message-1 is {event.status}" in printed and "the same" in printed
    assert f"lane at {found.at.isoformat().replace('+00:00', 'Z')}, policy {found.policy_version}" in printed
    for name in decision_in(event).inputs:
        assert name in printed


@pytest.mark.req("B11")
@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("cancelled", {"said_at": "2026-01-01T00:00:00Z"}),
        ("consent_opted_out", {"standing": "opted_in", "revoked_until": None}),
        ("expired", {"expires_at": "2199-01-01T00:00:00Z"}),
        ("window_closed", {"ways": [{"number": "1", "form": "template"}]}),
        ("quiet_hours", {"opens_at": "2026-01-01T00:00:00Z"}),
        ("no_send_time", {"closes_at": "2199-01-01T00:00:00Z"}),
        ("run_paused", {"paused": False}),
        ("number_paused", {"verdict": "open"}),
        ("number_pause_proactive", {"form": "session"}),
        ("number_of_another_home", {"number_home": "pool-a"}),
        ("number_without_token", {"has_token": True}),
        ("token_refused_thrice", {"token_refusals": 2}),
        ("portfolio_limit", {"in_hand": 1}),
        ("template_paused", {"status": "APPROVED"}),
        ("template_recategorised", {"category": "UTILITY"}),
        ("idempotency_conflict", {"same_intent": True}),
        ("request_invalid", {"valid": True}),
        ("nobody_resolved_it", {"kept_until": "2199-01-01T00:00:00Z"}),
        ("dropped_by_operator", {"resolution": "sent"}),
        ("dry_run", {"dry_run": False}),
        ("meta_131016", {"spent": 2}),
        ("meta_131048", {"until": "2026-01-01T00:00:00Z"}),
    ],
)
def test_of_other_inputs_nothing_comes(code: str, change: dict[str, Any]) -> None:
    event = refused(code)
    decision = decision_in(event)
    other = decision.model_copy(update={"inputs": decision.inputs | change})
    found = made_again(other, POLICY)
    assert (found.same, found.again, found.why_not) == (False, {"outcome": "goes"}, None)
    assert "otherwise" in shown(event, found.model_dump(mode="json", by_alias=True, exclude_none=True))


def test_another_policy_may_let_what_is_in_doubt_go_again_and_give_up_sooner() -> None:
    tried_twice = decision_in(refused("meta_131016"))
    tried_twice = tried_twice.model_copy(update={"inputs": tried_twice.inputs | {"spent": 2}})
    assert made_again(tried_twice, policy(dispatch={"max_attempts": 2})).same
    doubt = decision_in(refused("no_echo"))
    code = {"category": "authentication", "lives": True, "quiet": True, "heard": True}
    doubt = doubt.model_copy(update={"inputs": doubt.inputs | code})
    assert made_again(doubt, POLICY).again == {"outcome": "goes"}
    assert made_again(doubt, policy(dispatch={"in_doubt_policy": {"authentication": "unknown"}})).same


def test_what_cannot_be_made_again_says_why_and_shows_what_there_is() -> None:
    decision = decision_in(refused("expired"))
    assert made_again(decision, None).why_not == UNKNOWN_POLICY
    newer = decision.model_copy(update={"inputs": {"kind": "moon", "phase": "full"}})
    found = made_again(newer, POLICY)
    assert found.why_not is not None and "cannot read" in found.why_not and found.inputs["phase"] == "full"
    broken = decision.model_copy(update={"inputs": {"kind": "life"}})
    assert made_again(broken, POLICY).why_not is not None


def test_of_holds_in_a_row_for_one_reason_the_newest_is_shown() -> None:
    hold, end = decision_in(refused("portfolio_limit")), decision_in(refused("expired"))
    again = hold.model_copy(update={"at": hold.at + timedelta(minutes=5)})
    later = hold.model_copy(update={"at": hold.at + timedelta(minutes=9)})
    assert decisions_of([None, hold, None, again, end, end, later]) == [again, end, later]
    other = hold.model_copy(update={"step": "contact"})
    assert decisions_of([other, hold]) == [other, hold]
