"""Every refusal of a lane is a record of the audit, bound to the decision that its event has (CMP-8, CMP-10)."""

from __future__ import annotations

import pytest

from harkara.contracts.audit import AuditRecord, decision_hash
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.dispatcher.projection import REFUSALS, Emission, implied
from tests.unit.dispatcher.lanes import ACCEPTED, HandDriven, order
from tests.unit.dispatcher.refusals import PERSON, WAYS_THERE


def records(lane: HandDriven) -> list[Emission]:
    """Those of the lane itself, not of operators."""
    emissions = [each for entry in lane.journal for each in implied(entry)]
    return [each for each in emissions if isinstance(each.event, AuditRecord) and each.event.actor == "dispatcher"]


def refusals(lane: HandDriven) -> list[Emission]:
    """The steps by which a message is not sent, or nobody will know; not an attempt that Meta's word takes back."""
    emissions = [each for entry in lane.journal for each in implied(entry)]
    return [
        each
        for each in emissions
        if isinstance(each.event, MessageLifecycle)
        and each.event.status in REFUSALS
        and each.event.reason is not None
        and each.event.reason.code != "seen_in_status"
    ]


@pytest.mark.req("CMP-8", "CMP-10")
@pytest.mark.parametrize("code", WAYS_THERE)
def test_each_end_is_a_record_and_a_hold_is_none(code: str) -> None:
    lane = WAYS_THERE[code]()
    steps, audited = refusals(lane), records(lane)
    assert len(audited) == len(steps)
    for step, emission in zip(steps, audited, strict=True):
        event, record = step.event, emission.event
        assert isinstance(event, MessageLifecycle) and isinstance(record, AuditRecord) and event.reason is not None
        assert (record.subject, record.action, record.at) == (event.message_id, f"message_{event.status}", event.at)
        assert record.details["code"] == event.reason.code and record.details["rule"] == event.reason.rule
        assert record.details["policy_version"] == event.reason.policy_version
        in_event = event.model_dump(mode="json", exclude_none=True)["decision"]
        assert record.details["decision"] == decision_hash("dispatcher", step.id, str(event.message_id), in_event)
        assert (emission.topic.name, emission.partition_key) == ("audit-log", event.home)
        assert "+9199" not in record.model_dump_json()
    assert len({each.id for each in (*steps, *audited)}) == 2 * len(steps)
    lane.crash()
    assert [each.id for each in records(lane)][: len(audited)] == [each.id for each in audited], (
        "a repeat says the same"
    )


@pytest.mark.req("CMP-4", "CMP-10")
def test_every_message_that_an_opt_out_cancels_is_a_record() -> None:
    lane = WAYS_THERE["consent_opted_out"]()
    lane.take(order("message-2", person_key=PERSON), order("message-3"))
    found = [each.event for each in records(lane)]
    assert [(each.subject, each.action, each.details["code"]) for each in found if isinstance(each, AuditRecord)] == [
        (message, "message_cancelled", "consent_opted_out") for message in ("message-1", "message-2")
    ]


def test_a_message_that_goes_leaves_none() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(ACCEPTED)
    assert lane.status() == "submitted" and records(lane) == []
