"""A person is erased while messages for them wait on two numbers; those of another one go (CMP-12)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from harkara.compliance_guard.core import projected
from harkara.contracts.consent import ConsentEvent, ConsentState
from harkara.contracts.topics import CONSENT_STATE, MESSAGE_LIFECYCLE
from harkara.policy.explain import decided_again
from harkara.policy.governance import load
from tests.integration.dispatcher.stack import ONE, TWO, Stack, order, stack
from tests.integration.dispatcher.test_dispatcher import say
from tests.support.wait import eventually

ASHA, RAVI = "+919999957001", "+919999957002"


@pytest.mark.req("CMP-12", "B10")
async def test_what_waits_for_an_erased_person_ends_on_every_number_and_nobody_elses(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        for number in (ONE, TWO):
            await say(made, number, "paused", 1)
        await made.dispatcher()
        waiting = [
            order("message-1", (ONE,), to=ASHA),
            order("message-2", (TWO,), to=ASHA),
            order("message-3", (TWO,), to=RAVI),
        ]
        await made.send(waiting)
        await eventually(lambda: made.all_are(["message-1", "message-2", "message-3"], "held"))
        person, at = waiting[0].person_key, datetime.now(UTC)
        event = ConsentEvent(event_id="e1", person_key=person, standing="erased", source="operator", at=at, actor="ops")
        state = ConsentState.model_validate(projected(None, event))
        await made.write(CONSENT_STATE, [(person, person, state, None)])
        await eventually(lambda: made.all_are(["message-1", "message-2"], "cancelled"))
        for number in (ONE, TWO):
            await say(made, number, "open", 2)
        await eventually(lambda: made.all_are(["message-3"], "submitted"))
        assert await made.accepted() == {"message-3": 1}
        states = await made.states()
        assert {states[name]["reason"]["code"] for name in ("message-1", "message-2")} == {"consent_erased"}
        await _are_explained(made, at)


async def _are_explained(made: Stack, at: datetime) -> None:
    """Each hold and each end says by which policy and by what, and comes out the same when it is made again."""
    policy = load(made.folder / "governance.yaml")
    told = [each for each in await made.events(MESSAGE_LIFECYCLE) if each.status in ("held", "cancelled")]
    assert [each.status for each in told].count("cancelled") == 2 and len(told) >= 5
    for event in told:
        assert event.reason is not None and event.decision is not None
        assert event.reason.policy_version == event.decision.policy_version == policy.version
        assert decided_again(event.decision, policy).same, event
        if event.status == "held":
            assert event.decision.inputs["verdict"] == "paused" and event.reason.rule == "telemetry.circuit_breaker"
        else:
            assert event.decision.inputs["standing"] == "erased"
            assert datetime.fromisoformat(str(event.decision.inputs["said_at"])) == at
