"""The guard's answers and records, message by message."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from harkara.compliance_guard.effects import MOST_LATELY, Answerer, Judge, Lately, Listener, Recorder, gate_on
from harkara.contracts.consent import ConsentEvent, ConsentRequest, ConsentState, advance_consent
from harkara.contracts.envelope import Envelope
from harkara.contracts.event import Event
from harkara.contracts.identity import person_key
from harkara.contracts.intents import ClearedIntent, Text
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import (
    CONSENT_REQUESTS,
    CONSENT_STATE,
    INBOUND_MESSAGES,
    PERSON_IDENTITIES,
    SEND_INTENTS,
    Topic,
)
from harkara.contracts.webhooks import InboundMessage
from harkara.policy.commands import Said
from harkara.policy.confirmations import TEXTS
from harkara.policy.standings import Standings
from harkara.runtime.clock import ManualClock
from harkara.runtime.loop import Incoming, Refused
from tests.unit.policy.cases import NOW, PERSON, intent, policy

PEPPER = b"a pepper of the tests"
ASHA = "+919999912345"


def incoming(event: Event, topic: Topic = INBOUND_MESSAGES, at: datetime = NOW) -> Incoming:
    envelope = Envelope(id="id", source="test", event=event, time=at, subject=None, traceparent=None)
    return Incoming(topic, 0, 0, None, None, [], at, envelope)


def inbound(text: str, after_seconds: float = 0, person: str = PERSON, **more: Any) -> InboundMessage:
    at = NOW + timedelta(seconds=after_seconds)
    fields = {
        "wamid": f"wamid.{text}.{after_seconds}", "phone_number_id": "100000000000002", "home": "advisors",
        "from_phone": ASHA, "person_key": person, "kind": "text", "text": text, "sent_at": at, "received_at": at,
    }  # fmt: skip
    return InboundMessage.model_validate(fields | more)


def told(answerer: Answerer, message: InboundMessage) -> str | None:
    for output in answerer.answer(incoming(message)):
        if isinstance(output.event, ClearedIntent):
            assert isinstance(output.event.intent.content, Text)
            return output.event.intent.content.body
    return None


def answering(*words: ConsentEvent) -> Answerer:
    standings = Standings()
    state: ConsentState | None = None
    for word in words:
        state = advance_consent(state, word)
        standings.apply(CONSENT_STATE, PERSON, state)
    return Answerer(policy(), PEPPER, standings, ManualClock(NOW))


def word(standing: str, **more: Any) -> ConsentEvent:
    fields = {"event_id": "e", "person_key": PERSON, "standing": standing, "source": "api", "at": NOW}
    return ConsentEvent.model_validate(fields | more)


@pytest.mark.req("CMP-5")
def test_commands_in_a_row_are_answered_by_what_was_said_just_before() -> None:
    """The replica follows the first a moment later; what it says then counts again."""
    answerer = answering()
    assert told(answerer, inbound("STOP")) == TEXTS["en"]["stopped"]
    assert told(answerer, inbound("PAUSE", 1)) == TEXTS["en"]["still_stopped"]
    assert told(answerer, inbound("RESUME", 2)) == TEXTS["en"]["still_stopped"]
    assert told(answerer, inbound("START", 3)) == TEXTS["en"]["started"]
    assert told(answerer, inbound("PAUSE", 4)) == TEXTS["en"]["paused"]
    assert told(answerer, inbound("PAUSE", 5, person="another")) == TEXTS["en"]["paused"]
    assert told(answering(word("opted_out")), inbound("PAUSE", 60)) == TEXTS["en"]["still_stopped"]


def test_what_was_said_lately_is_forgotten_soon_and_bounded() -> None:
    lately = Lately()
    lately.note(inbound("STOP"), Said("stop"))
    assert lately.word(inbound("PAUSE", 10)) is not None
    assert lately.word(inbound("PAUSE", 11)) is None
    for number in range(MOST_LATELY):
        lately.note(inbound("STOP", person=f"p{number}"), Said("stop"))
    assert lately.word(inbound("PAUSE", 1)) is None
    assert lately.word(inbound("PAUSE", 1, person="p0")) is not None


@pytest.mark.req("CMP-5")
def test_the_language_on_record_is_used_unless_the_word_has_its_own() -> None:
    hindi = word("opted_in", language="hi_IN")
    assert told(answering(hindi), inbound("STOP")) == TEXTS["hi"]["stopped"]
    assert told(answering(hindi), inbound("थांबवा")) == TEXTS["mr"]["stopped"]
    assert told(answering(), inbound("STOP")) == TEXTS["en"]["stopped"]


@pytest.mark.req("CMP-5", "CMP-12")
def test_who_was_erased_is_told_that_they_are_back_when_they_say_so() -> None:
    """The answer to their own command is the one message that an erasure does not keep back."""
    erased = word("erased", source="operator")
    blocked = word("blocked", source="operator", at=NOW + timedelta(seconds=1))
    assert told(answering(erased), inbound("START", 60)) == TEXTS["en"]["started"]
    assert told(answering(erased), inbound("RESUME", 60)) == TEXTS["en"]["still_stopped"]
    assert told(answering(erased, blocked), inbound("START", 60)) is None


@pytest.mark.req("CMP-5", "B17")
def test_who_has_no_phone_is_answered_under_the_user_id() -> None:
    hidden = inbound("STOP", from_phone=None, user_id="IN.20451873365519208877")
    answers = [each.event for each in answering().answer(incoming(hidden)) if isinstance(each.event, ClearedIntent)]
    assert [(each.intent.to, each.intent.user_id) for each in answers] == [(None, "IN.20451873365519208877")]
    assert answers[0].person_key == hidden.person_key
    assert told(answering(), inbound("STOP", from_phone=None, user_id="somebody")) is None


def test_who_is_blocked_or_has_no_name_is_told_nothing_and_a_message_is_no_command() -> None:
    assert told(answering(word("blocked")), inbound("STOP")) is None
    assert told(answering(), inbound("STOP", from_phone=None)) is None
    assert told(answering(), inbound("Good morning")) is None


@pytest.mark.req("CMP-1", "CMP-4")
@pytest.mark.parametrize(
    ("text", "standing"),
    [("STOP", "opted_out"), ("PAUSE", "paused"), ("START", None), ("RESUME", None), ("HELP", None)],
)
def test_in_a_group_only_what_stops_us_counts_and_nothing_is_answered(text: str, standing: str | None) -> None:
    """The others in a group say START to each other; and it opens no window for a confirmation to the person alone."""
    listener, in_a_group = Listener(policy()), inbound(text, group_id="group-1")
    heard = [output.event for output in listener.hear(incoming(in_a_group))]
    assert [each.standing for each in heard if isinstance(each, ConsentEvent)] == ([standing] if standing else [])
    assert told(answering(), in_a_group) is None and told(answering(), inbound(text)) is not None


@pytest.mark.req("CMP-1", "OPS-8")
def test_a_changed_policys_words_are_heard_and_answered_from_the_next_message_on() -> None:
    listener, answerer = Listener(policy()), answering()
    assert not list(listener.hear(incoming(inbound("nako"))))
    newest = policy(compliance={"consent_mode": "opt_out", "opt_out_words": ["nako"]})
    listener.follow(newest)
    answerer.follow(newest)
    [stop] = listener.hear(incoming(inbound("nako")))
    assert isinstance(stop.event, ConsentEvent) and stop.event.standing == "opted_out"
    assert told(answerer, inbound("nako")) == TEXTS["en"]["stopped"]


@pytest.mark.req("CMP-7")
def test_the_gate_is_open_only_while_everything_is_known() -> None:
    for replica, progress in ((True, False), (False, True), (False, False)):
        assert gate_on(lambda a=replica: a, lambda b=progress: b)() is not None  # type: ignore[misc]
    assert gate_on(lambda: True, lambda: True)() is None


@pytest.mark.req("CMP-4")
def test_what_upstream_records_is_about_a_pseudonym_and_never_of_the_future() -> None:
    fields = {
        "request_id": "crm-00001", "phone": ASHA, "standing": "opted_in", "purpose": "all",
        "at": NOW + timedelta(days=9), "origin": "web-form", "proof": "form-1", "language": "hi", "producer": "crm",
    }  # fmt: skip
    request = ConsentRequest.model_validate(fields)
    recorder = Recorder(PEPPER, ManualClock(NOW))
    ahead = NOW + timedelta(days=3)
    [once] = recorder.record(incoming(request, CONSENT_REQUESTS, at=ahead))
    [again] = recorder.record(incoming(request, CONSENT_REQUESTS, at=ahead))
    assert once == again and isinstance(once.event, ConsentEvent)
    assert once.event.at == NOW and once.event.purpose is None and once.event.source == "kafka"
    assert once.key == once.partition_key == once.event.person_key == person_key(PEPPER, ASHA)
    assert ASHA.lstrip("+") not in once.event.model_dump_json()
    stop = request.model_copy(update={"standing": "opted_out", "at": NOW - timedelta(hours=1)})
    [stopped] = recorder.record(incoming(stop, CONSENT_REQUESTS))
    assert isinstance(stopped.event, ConsentEvent) and stopped.event.cancels_until == NOW
    with pytest.raises(Refused):
        list(recorder.record(incoming(intent(), CONSENT_REQUESTS)))


@pytest.mark.req("CMP-4", "B17")
def test_a_recorded_consent_of_two_names_is_recorded_under_each() -> None:
    user_id = "IN.20451873365519208877"
    fields = {"request_id": "request-1", "phone": ASHA, "user_id": user_id, "standing": "opted_out", "producer": "crm"}
    recorder = Recorder(PEPPER, ManualClock(NOW))
    both = list(recorder.record(incoming(ConsentRequest.model_validate(fields), CONSENT_REQUESTS)))
    assert [each.key for each in both] == [person_key(PEPPER, ASHA), person_key(PEPPER, user_id)]
    [alone] = recorder.record(incoming(ConsentRequest.model_validate(fields | {"user_id": None}), CONSENT_REQUESTS))
    assert alone == both[0] and both[0].id != both[1].id
    [by_id] = recorder.record(incoming(ConsentRequest.model_validate(fields | {"phone": None}), CONSENT_REQUESTS))
    assert by_id.key == both[1].key
    with pytest.raises(ValueError, match="name the person"):
        ConsentRequest.model_validate(fields | {"user_id": None, "phone": None})


@pytest.mark.req("B11", "B17")
def test_the_other_names_of_a_person_are_kept_whether_a_list_asks_for_them_or_not() -> None:
    """For a do-not-message list that somebody tries on it later."""
    standings, name = Standings(), person_key(PEPPER, "IN.2045")
    alias = PersonAlias(person_key=person_key(PEPPER, ASHA), alias_key=name, kind="user_id", at=NOW)
    standings.apply(PERSON_IDENTITIES, "k", alias)
    judge = Judge(policy(), PEPPER, standings, ManualClock(NOW))
    _, cleared, _ = judge.judge(incoming(intent(to=ASHA), SEND_INTENTS))
    assert isinstance(cleared.event, MessageLifecycle) and cleared.event.decision is not None
    assert cleared.event.decision.inputs["names"] == name
    answerer = Answerer(policy(), PEPPER, standings, ManualClock(NOW))
    told = list(answerer.answer(incoming(inbound("HELP", person=person_key(PEPPER, ASHA)))))
    kept = [each.event.decision for each in told if isinstance(each.event, MessageLifecycle) and each.event.decision]
    assert [each.inputs["names"] for each in kept] == [name]
