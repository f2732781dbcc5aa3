"""What the guard writes, without a broker."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from harkara.compliance_guard import core
from harkara.compliance_guard.standings import Standings
from harkara.contracts.audit import AuditRecord
from harkara.contracts.consent import ConsentEvent, ConsentState
from harkara.contracts.intents import ClearedIntent, SendIntent
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import CONSENT_STATE
from harkara.contracts.webhooks import InboundMessage
from harkara.policy.clearance import Question, Word, decide
from harkara.policy.optout import Keywords
from harkara.runtime.kafka import Output
from tests.unit.policy.cases import NOW, PERSON, intent, policy


def judged(wanted: SendIntent, word: Word | None = None) -> list[Output]:
    question = Question(wanted, NOW, PERSON, word)
    return core.outputs(question, decide(question, policy(), NOW), NOW)


def statuses(outputs: list[Output]) -> list[str]:
    return [o.event.status for o in outputs if isinstance(o.event, MessageLifecycle)]


def test_a_cleared_intent_goes_on_whole_under_the_homes_key() -> None:
    outputs = judged(intent())
    assert statuses(outputs) == ["received", "cleared"]
    sent = outputs[-1]
    assert sent.topic.name == "cleared-intents" and (sent.partition_key, sent.key) == ("advisors", "advisors")
    assert isinstance(sent.event, ClearedIntent)
    assert sent.event.intent == intent() and sent.event.intent_hash == intent().hash()
    assert sent.event.policy_version == policy().version and sent.subject == "m-00000001"


def test_urgent_intents_have_their_own_topic() -> None:
    assert judged(intent(priority=3))[-1].topic.name == "cleared-intents-urgent"
    assert judged(intent(priority=2))[-1].topic.name == "cleared-intents"


@pytest.mark.req("CMP-8")
def test_a_refusal_is_a_lifecycle_event_and_an_audit_record_and_nothing_goes_on() -> None:
    outputs = judged(intent(run_id="r-1"), Word("opted_out"))
    assert [o.topic.name for o in outputs] == ["message-lifecycle", "message-lifecycle", "audit-log"]
    rejected, audit = outputs[1].event, outputs[2].event
    assert isinstance(rejected, MessageLifecycle) and rejected.status == "rejected" and rejected.run_id == "r-1"
    assert rejected.reason is not None and rejected.reason.code == "opted_out"
    assert isinstance(audit, AuditRecord) and audit.subject == "m-00000001" and audit.details["code"] == "opted_out"
    for output in outputs:
        assert output.event is not None
        assert "919999912345" not in output.event.model_dump_json()


def test_a_repeated_decision_writes_the_same_ids_and_another_intent_others() -> None:
    first, again = ([o.id for o in judged(intent())] for _ in range(2))
    assert first == again and len(set(first)) == 3
    assert not set(first) & {o.id for o in judged(intent(to="+919999954321"))}


def test_a_record_from_the_future_counts_as_written_now() -> None:
    assert core.question_of(intent(), NOW + timedelta(days=30), PERSON, NOW).recorded_at == NOW
    assert core.question_of(intent(), NOW - timedelta(days=1), PERSON, NOW).recorded_at == NOW - timedelta(days=1)


def inbound(**more: Any) -> InboundMessage:
    fields: dict[str, Any] = {
        "wamid": "wamid.1",
        "phone_number_id": "100000000000002",
        "home": "advisors",
        "from_phone": "+919999912345",
        "person_key": PERSON,
        "kind": "text",
        "sent_at": NOW,
        "received_at": NOW + timedelta(seconds=2),
    }
    return InboundMessage.model_validate(fields | more)


@pytest.mark.req("CMP-1")
@pytest.mark.parametrize(
    ("fields", "standing"),
    [
        ({"text": "Stop!"}, "opted_out"),
        ({"text": "START"}, "opted_in"),
        ({"text": "नमस्ते"}, None),
        ({"text": None}, None),
        ({"text": "Not for me", "button_payload": "STOP"}, "opted_out"),
        ({"text": "Start", "button_payload": "STOP"}, "opted_out"),
    ],
)
def test_a_word_of_the_person_changes_every_purpose(fields: dict[str, Any], standing: str | None) -> None:
    outputs = core.heard(inbound(**fields), Keywords())
    if standing is None:
        assert outputs == []
        return
    [output] = outputs
    assert (output.topic.name, output.partition_key, output.key) == ("consent-events", PERSON, PERSON)
    assert isinstance(output.event, ConsentEvent)
    assert (output.event.standing, output.event.purpose, output.event.at) == (standing, None, NOW)
    assert output.event.source == "keyword" and "wamid.1" in output.event.proof
    assert [o.id for o in core.heard(inbound(**fields), Keywords())] == [output.id]


def word(event: str, standing: str, seconds: float, **more: Any) -> ConsentEvent:
    fields: dict[str, Any] = {"event_id": event, "person_key": PERSON, "standing": standing, "source": "keyword"}
    return ConsentEvent.model_validate(fields | {"at": NOW + timedelta(seconds=seconds)} | more)


def fold(events: list[ConsentEvent]) -> list[core.Row]:
    rows: list[core.Row] = []
    for event in events:
        row = core.projected(rows[-1] if rows else None, event)
        if row is not None:
            rows.append(row)
    return rows


def test_the_projection_is_the_same_in_any_order_and_repetition() -> None:
    events = [
        word("a", "opted_in", 0),
        word("b", "opted_out", 5, purpose="marketing", source="meta_preference"),
        word("c", "opted_out", 5),
        word("d", "opted_in", 5, purpose="transactional"),
    ]
    ends = {ConsentState.model_validate(fold([*order, *order])[-1]).model_dump_json() for order in permutations(events)}
    assert len(ends) == 1
    rows = fold(events)
    assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("source", ["api", "keyword"])
def test_only_an_operator_lifts_a_block(source: str) -> None:
    blocked = word("a", "blocked", 0, source="operator")
    rows = fold([blocked, word("b", "opted_in", 5, source=source)])
    state = ConsentState.model_validate(rows[-1])
    assert state.denies("marketing", NOW) == ("blocked" if source == "keyword" else None)


def held(standings: Standings) -> tuple[Word | None, Word | None]:
    return standings.word(PERSON, "marketing"), standings.word(PERSON, "transactional")


def test_standings_hold_the_latest_and_pass_over_what_is_older() -> None:
    standings = Standings()
    rows = fold([word("a", "opted_in", 0), word("b", "opted_out", 5, purpose="marketing"), word("c", "opted_out", 9)])
    states = [ConsentState.model_validate(row) for row in rows]
    standings.apply(CONSENT_STATE, PERSON, states[1])
    assert held(standings) == (Word("opted_out"), Word("opted_in"))
    standings.apply(CONSENT_STATE, PERSON, states[0])  # of a frozen writer, revived
    assert held(standings) == (Word("opted_out"), Word("opted_in"))
    standings.apply(CONSENT_STATE, PERSON, states[2])
    assert held(standings) == (Word("opted_out"), Word("opted_out"))
    standings.apply(CONSENT_STATE, PERSON, None)
    assert held(standings) == (None, None) and len(standings) == 0


def test_standings_take_any_key_and_keep_the_end_of_a_pause() -> None:
    standings = Standings()
    until = NOW + timedelta(days=3)
    row = fold([word("a", "paused", 0, until=until, person_key="not hexadecimal")])[0]
    standings.apply(CONSENT_STATE, "not hexadecimal", ConsentState.model_validate(row))
    assert standings.word("not hexadecimal", "marketing") == Word("paused", until)
    assert standings.word(PERSON, "marketing") is None
