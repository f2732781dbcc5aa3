"""What the guard writes, without a broker."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from harkara.compliance_guard import core
from harkara.contracts.audit import AuditRecord, decision_hash
from harkara.contracts.consent import ConsentEvent, ConsentState
from harkara.contracts.event import event_id
from harkara.contracts.intents import ClearedIntent, SendIntent, Text
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import CONSENT_STATE
from harkara.contracts.webhooks import InboundMessage
from harkara.policy.clearance import Question, Word, decide
from harkara.policy.commands import Commands, Said
from harkara.policy.confirmations import confirmation
from harkara.policy.standings import Standings
from harkara.runtime.kafka import Output
from tests.unit.policy.cases import NOW, PERSON, intent, policy

PEPPER = b"a pepper of the tests"


def judged(wanted: SendIntent, word: Word | None = None) -> list[Output]:
    question = Question(wanted, NOW, PERSON, word)
    return core.outputs(question, decide(question, policy(), NOW), NOW, PEPPER)


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


@pytest.mark.req("CMP-12")
@pytest.mark.parametrize("word", [None, Word("opted_out")])
def test_from_the_ids_that_stay_nobody_can_try_out_who_it_was(word: Word | None) -> None:
    question = Question(intent(), NOW, PERSON, word)
    decision = decide(question, policy(), NOW)
    ids, again = ([each.id for each in core.outputs(question, decision, NOW, PEPPER)] for _ in range(2))
    assert ids == again, "a repeated decision writes the same events"
    others = [each.id for each in core.outputs(question, decision, NOW, b"another pepper of tests")]
    steps = ("received", "cleared", "rejected", "audit", "cleared-intent")
    guessed = {event_id(intent().message_id, intent().hash(), step) for step in steps}
    assert not {*ids} & ({*others} | guessed)


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
    in_event = rejected.model_dump(mode="json", exclude_none=True)["decision"]
    bound = decision_hash("compliance-guard", outputs[1].id, "m-00000001", in_event)
    assert audit.details["decision"] == bound, "the record is of the decision in its event"
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
    outputs = heard(inbound(**fields))
    if standing is None:
        assert outputs == []
        return
    [output] = outputs
    assert (output.topic.name, output.partition_key, output.key) == ("consent-events", PERSON, PERSON)
    assert isinstance(output.event, ConsentEvent)
    assert (output.event.standing, output.event.purpose, output.event.at) == (standing, None, NOW)
    assert output.event.source == "keyword" and "wamid.1" in output.event.proof
    assert [o.id for o in heard(inbound(**fields))] == [output.id]


def heard(message: InboundMessage) -> list[Output]:
    return core.heard(message, Commands().read(message.text, message.button_payload))


@pytest.mark.req("CMP-2")
def test_an_opt_out_cancels_what_was_accepted_until_it_was_heard_as_the_same_event() -> None:
    [stop] = heard(inbound(text="STOP"))
    assert isinstance(stop.event, ConsentEvent)
    assert stop.event.at == NOW and stop.event.cancels_until == NOW + timedelta(seconds=2)
    [start] = heard(inbound(text="START"))
    assert isinstance(start.event, ConsentEvent) and start.event.cancels_until is None


@pytest.mark.req("CMP-5")
@pytest.mark.parametrize(
    ("text", "standing", "days", "language"),
    [
        ("PAUSE", "paused", None, None),
        ("pausar por 7 dias", "paused", 7, "pt"),
        ("विराम १ दिन", "paused", 1, "hi"),
        ("resume", "resumed", None, None),
        ("सुरू ठेवा", "resumed", None, "mr"),
        ("थांबवा", "opted_out", None, "mr"),
        ("iniciar", "opted_in", None, "pt"),
    ],
)
def test_each_command_is_a_change_of_consent_in_its_language(
    text: str, standing: str, days: int | None, language: str | None
) -> None:
    [output] = heard(inbound(text=text))
    assert isinstance(output.event, ConsentEvent)
    assert (output.event.standing, output.event.language) == (standing, language)
    assert output.event.until == (None if days is None else NOW + timedelta(days=days))
    assert output.event.origin == "whatsapp"


def test_help_changes_nothing_and_a_clock_that_is_ahead_says_nothing_in_the_future() -> None:
    assert heard(inbound(text="help")) == []
    [output] = heard(inbound(text="START", sent_at=NOW + timedelta(days=30)))
    assert isinstance(output.event, ConsentEvent) and output.event.at == NOW + timedelta(seconds=2)


def answer(text: str, **more: Any) -> SendIntent | None:
    message = inbound(**({"text": text} | more))
    said = Commands().read(text)
    assert said is not None
    return core.answer_to(message, confirmation(said, None, None), said)


@pytest.mark.req("CMP-5")
def test_a_confirmation_is_one_urgent_text_by_the_number_that_was_written_to() -> None:
    intent, again, other = answer("STOP"), answer("STOP"), answer("STOP", wamid="wamid.2")
    assert intent is not None and again is not None and other is not None
    assert intent.hash() == again.hash() and intent.message_id == again.message_id != other.message_id
    assert (intent.sender, intent.to, intent.priority) == ("100000000000002", "+919999912345", 3)
    assert isinstance(intent.content, Text) and "START" in intent.content.body
    assert intent.expires_at == NOW + timedelta(minutes=30, seconds=2)
    assert answer("STOP", from_phone=None) is None
    in_another_language = core.answer_to(inbound(text="STOP"), "Sua inscrição foi cancelada.", Said("stop"))
    assert in_another_language is not None and in_another_language.message_id == intent.message_id


@pytest.mark.req("CMP-5")
@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        (None, "cleared"), (Word("opted_in"), "cleared"), (Word("opted_out"), "cleared"), (Word("paused"), "cleared"),
        (Word("blocked"), "blocked"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["opt_out", "explicit"])
def test_a_confirmation_goes_to_whoever_is_not_blocked(word: Word | None, outcome: str, mode: str) -> None:
    intent = answer("STOP")
    assert intent is not None
    question = Question(intent, NOW, PERSON, word, answers=NOW)
    outputs = core.outputs(question, decide(question, policy(compliance={"consent_mode": mode}), NOW), NOW, PEPPER)
    if outcome == "cleared":
        assert outputs[-1].topic.name == "cleared-intents-urgent"
        assert isinstance(outputs[-1].event, ClearedIntent) and outputs[-1].event.answers == NOW
    else:
        rejected = outputs[1].event
        assert isinstance(rejected, MessageLifecycle) and rejected.reason is not None
        assert rejected.reason.code == outcome and outputs[-1].topic.name == "audit-log"


def test_nobody_else_may_pass_as_a_confirmation() -> None:
    """What marks one is in the guard's own event, which producers cannot write into an intent."""
    with pytest.raises(ValueError, match="answers"):
        SendIntent.model_validate(intent().model_dump() | {"answers": NOW})


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
        word("e", "blocked", 3, source="operator"),
    ]
    ends = {ConsentState.model_validate(fold([*order, *order])[-1]).model_dump_json() for order in permutations(events)}
    assert len(ends) == 1
    rows = fold(events)
    assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("source", ["api", "operator", "keyword", "kafka", "import", "meta_preference"])
def test_only_an_operator_lifts_a_block(source: str) -> None:
    """In whichever order it is heard, and whatever the person says before, in between and after."""
    lifts = source in ("api", "operator")
    said = [
        word("a", "opted_in", -1),
        word("b", "blocked", 0, source="operator"),
        word("c", "opted_in", 5, source=source),
    ]
    for order in permutations(said):
        state = ConsentState.model_validate(fold(list(order))[-1])
        assert state.denies("marketing", NOW) == (None if lifts else "blocked")
    for late in ("opted_out", "paused", "resumed"):
        still = ConsentState.model_validate(fold([*said[:2], word("d", late, 6, source=source)])[-1])
        assert still.denies("marketing", NOW + timedelta(days=9)) == "blocked", late


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
