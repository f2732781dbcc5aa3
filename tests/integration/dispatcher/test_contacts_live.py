"""Caps per person and the guard against duplicate content, in a dispatcher that is killed while it sends."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from harkara.contracts.intents import ContentMarks, Template
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import MESSAGE_LIFECYCLE
from tests.integration.dispatcher.stack import Stack, order, stack
from tests.support.wait import eventually

ANYTHING = "compliance: {consent_mode: opt_out}"
RULES = """compliance:
  consent_mode: opt_out
  frequency_caps: [{purpose: marketing, most: 2, per_hours: 24}]
  duplicate_content: {within_hours: 24, purposes: [utility]}"""
PERSON, OTHER = "+919999961001", "+919999961002"
SAME, CHANGED = ContentMarks(template="00112233aabbccdd"), ContentMarks(template="ffeeddccbbaa9988")
ENDED = ("submitted", "sent", "in_doubt", "unknown", "cancelled")


async def refusals(made: Stack) -> dict[str, MessageLifecycle]:
    """The newest cancelled event of each message."""
    events = await made.events(MESSAGE_LIFECYCLE)
    return {each.message_id: each for each in events if each.status == "cancelled"}


@pytest.mark.req("B25", "DX-5")
async def test_what_is_queued_for_one_person_keeps_the_cap_over_a_kill_and_nothing_is_said_twice(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        path = made.folder / "governance.yaml"
        text = path.read_text("utf-8")
        assert ANYTHING in text
        path.write_text(text.replace(ANYTHING, RULES), "utf-8")
        offers = [order(f"an-offer-{n}", to=PERSON, category="marketing") for n in range(5)]
        dying = await made.start("dispatcher", "dispatcher-0", HARKARA_FAILPOINTS="before_outcome_commit:1:kill")
        await made.send(offers)
        assert await dying.ended() == -signal.SIGKILL  # the first is with Meta, and its journal does not know it yet
        assert len(await made.ledger()) == 1

        await made.dispatcher()
        update = Template(name="daily_update", language="en", body=("Ravi",))
        facts = [
            order("a-first-fact", to=OTHER, marks=SAME),
            order("the-same-fact", to=OTHER, marks=SAME),
            order("another-fact", to=OTHER, marks=CHANGED, template=update),
            order("same-to-other", to=PERSON, marks=SAME),
        ]
        await made.send(facts)
        sent = [each.message_id for each in (*offers, *facts)]
        await eventually(lambda: made.all_are(sent, *ENDED), timeout_seconds=40, every=0.3)

        accepted, refused = await made.accepted(), await refusals(made)
        assert accepted == Counter(
            {"an-offer-0": 1, "an-offer-1": 1, "a-first-fact": 1, "another-fact": 1, "same-to-other": 1}
        )
        assert refused.keys() == {"an-offer-2", "an-offer-3", "an-offer-4", "the-same-fact"}
        for message_id, event in refused.items():
            assert event.reason is not None and event.decision is not None
            code = "duplicate_content" if message_id == "the-same-fact" else "frequency_cap"
            assert (event.reason.code, event.decision.verdict["code"]) == (code, code)
            assert event.reason.policy_version == event.decision.policy_version != ""
        told = refused["the-same-fact"].reason
        assert told is not None and told.details["earlier_message_id"] == "a-first-fact"
