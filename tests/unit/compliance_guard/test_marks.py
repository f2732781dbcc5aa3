"""The guard marks what it clears where the policy has the lanes look for content that was said already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harkara.compliance_guard.effects import Judge
from harkara.contracts.intents import ClearedIntent, ContentMarks
from harkara.contracts.topics import SEND_INTENTS
from harkara.policy.marks import marks_of
from harkara.policy.standings import Standings
from harkara.runtime.clock import ManualClock
from harkara.runtime.loop import Incoming
from tests.support.examples import examples
from tests.support.replay import incoming
from tests.unit.policy.cases import NOW, TEXT, intent, policy

PEPPER = b"a pepper of the tests"
LOOKED_FOR = {"consent_mode": "opt_out", "duplicate_content": {"within_hours": 24, "purposes": ["utility"]}}


def marks(compliance: dict[str, Any], **more: Any) -> ContentMarks | None:
    base = incoming(examples(SEND_INTENTS.name)[0])
    record: Incoming = replace(base, envelope=replace(base.envelope, event=intent(**more)), timestamp=NOW)
    judge = Judge(policy(), PEPPER, Standings(), ManualClock(NOW))
    judge.follow(policy(compliance=compliance))
    (cleared,) = [each.event for each in judge.judge(record) if isinstance(each.event, ClearedIntent)]
    return cleared.marks


@pytest.mark.req("CMP-7")
def test_a_cleared_intent_has_its_marks_where_they_are_looked_for() -> None:
    assert marks(LOOKED_FOR) == marks_of(intent(), PEPPER)
    assert marks(LOOKED_FOR, content=TEXT) == marks_of(intent(content=TEXT), PEPPER)
    assert marks(LOOKED_FOR, category="marketing") is None
    assert marks({"consent_mode": "opt_out"}) is None
