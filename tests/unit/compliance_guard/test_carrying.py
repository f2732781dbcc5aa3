"""What was said under one name of a person holds under the others: at once for the guard, in writing for the lanes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harkara.compliance_guard.carrying import Carrier
from harkara.compliance_guard.core import projected
from harkara.compliance_guard.effects import Answerer, Judge, Listener
from harkara.contracts.consent import Change, ConsentEvent, ConsentState, Source
from harkara.contracts.event import event_id
from harkara.contracts.identity import person_key
from harkara.contracts.intents import SendIntent, Text
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CONSENT_STATE, INBOUND_MESSAGES, PERSON_IDENTITIES, SEND_INTENTS
from harkara.contracts.webhooks import InboundMessage
from harkara.policy.governance import Governance
from harkara.policy.standings import Standings
from harkara.runtime.clock import ManualClock
from harkara.runtime.loop import Incoming
from tests.support.examples import examples
from tests.support.replay import GOVERNANCE, NOW, incoming

PEPPER = b"a pepper of the tests"
PHONE, OTHER_PHONE, USER_ID = "+919999912345", "+919999912346", "IN.20451873365519208877"
P, P2, U = (person_key(PEPPER, name) for name in (PHONE, OTHER_PHONE, USER_ID))
SENDER = GOVERNANCE.numbers[0].phone_number_id


def record(event: Any, topic: Any) -> Incoming:
    """The event as a loop hands it over."""
    base = incoming(examples(topic.name)[0])
    return replace(base, envelope=replace(base.envelope, event=event), timestamp=NOW)


def link(kind: str = "user_id", person: str = P, alias: str = U, at: datetime = NOW) -> PersonAlias:
    return PersonAlias.model_validate({"person_key": person, "alias_key": alias, "kind": kind, "at": at})


class Guard:
    """The guard's replica and its projection, without brokers."""

    def __init__(self) -> None:
        self.standings = Standings(with_owners=True)
        self.rows: dict[str, dict[str, Any]] = {}

    def says(self, person: str, standing: Change, minutes: int, source: Source = "keyword") -> None:
        at = NOW + timedelta(minutes=minutes)
        identity = event_id(person, standing, minutes)
        self.fold(ConsentEvent(event_id=identity, person_key=person, standing=standing, source=source, at=at))

    def fold(self, event: ConsentEvent) -> None:
        row = projected(self.rows.get(event.person_key), event)
        if row is not None:
            self.rows[event.person_key] = row
            self.standings.apply(CONSENT_STATE, event.person_key, ConsentState.model_validate(row))

    def links(self, alias: PersonAlias) -> None:
        self.standings.apply(PERSON_IDENTITIES, "", alias)

    def carries(self, alias: PersonAlias) -> list[ConsentEvent]:
        events = [each.event for each in Carrier(self.standings).carry(record(alias, PERSON_IDENTITIES))]
        found = [event for event in events if isinstance(event, ConsentEvent)]
        assert len(found) == len(events)
        for event in found:
            self.fold(event)
        return found

    def refuses(
        self, to: str | None = PHONE, user_id: str | None = None, governance: Governance = GOVERNANCE
    ) -> str | None:
        """The code of the refusal of an intent to that phone or user id."""
        intent = SendIntent(
            message_id="m-alias-0001",
            sender=SENDER,
            to=to,
            user_id=user_id,
            category="utility",
            content=Text(body="hello"),
            producer="t",
        )
        judge = Judge(governance, PEPPER, self.standings, ManualClock(NOW))
        for output in judge.judge(record(intent, SEND_INTENTS)):
            if isinstance(output.event, MessageLifecycle) and output.event.status == "rejected":
                assert output.event.reason is not None
                return output.event.reason.code
        return None

    def state(self, person: str) -> ConsentState:
        return ConsentState.model_validate(self.rows[person])


@pytest.mark.req("B17")
@pytest.mark.parametrize("link_first", [True, False])
@pytest.mark.parametrize("by", ["phone", "user id", "both"])
def test_the_guard_refuses_by_either_name_in_any_order(by: str, link_first: bool) -> None:
    guard = Guard()
    guard.says(P, "opted_in", 0, "api")
    assert guard.refuses() is None
    if link_first:
        guard.links(link())
    for name in {"phone": [P], "user id": [U], "both": [P, U]}[by]:
        guard.says(name, "opted_out", 1)
    if not link_first:
        guard.links(link())
    assert guard.refuses() == "opted_out"


@pytest.mark.req("B17")
def test_the_latest_word_counts_by_whichever_name_it_was_said() -> None:
    guard = Guard()
    guard.links(link())
    guard.says(U, "opted_out", 1)
    guard.says(P, "opted_in", 2, "api")
    assert guard.refuses() is None
    guard.says(U, "blocked", 3, "operator")
    assert guard.refuses() == "blocked"
    guard.says(P, "opted_in", 4, "operator")
    assert guard.refuses() is None


@pytest.mark.req("B17")
def test_another_number_takes_consent_along_and_not_what_its_next_owner_says() -> None:
    guard = Guard()
    change = link("number_changed", P2, P, NOW + timedelta(minutes=5))
    guard.says(P, "opted_out", 1)
    guard.links(change)
    assert guard.refuses(OTHER_PHONE) == "opted_out"
    (carried, other) = guard.carries(change)
    assert {carried.purpose, other.purpose} == {"marketing", "transactional"}
    guard.says(P, "opted_in", 10, "api")
    assert guard.refuses(OTHER_PHONE) == "opted_out", "the next owner of the old number cannot opt the first one in"
    assert guard.refuses(PHONE) is None


@pytest.mark.req("B17")
def test_what_was_said_before_the_link_is_written_under_the_other_name_for_the_lanes() -> None:
    guard = Guard()
    guard.says(P, "opted_in", 0, "api")
    guard.says(U, "opted_out", 1)
    guard.says(U, "paused", 2)
    carried = guard.carries(link())
    assert {(each.standing, each.purpose) for each in carried} == {
        (standing, purpose) for standing in ("opted_out", "paused") for purpose in ("marketing", "transactional")
    }
    assert all(each.person_key == P and each.source == "identity" for each in carried)
    assert guard.state(P).denies("transactional", NOW + timedelta(minutes=3)) == "opted_out"
    assert guard.carries(link()) == [], "what is known there is not written again"


def test_every_kind_of_word_is_carried_as_what_it_is() -> None:
    guard = Guard()
    guard.says(U, "opted_in", 1, "meta_preference")
    guard.says(U, "blocked", 2, "operator")
    guard.says(U, "paused", 3)
    guard.says(U, "resumed", 4)
    guard.carries(link())
    there, here = guard.state(P), guard.state(U)
    for purpose in ("marketing", "transactional"):
        shown, said = there.words(purpose), here.words(purpose)
        assert (shown.block is None, shown.at_meta is None, shown.pause is None) == (False, False, False)
        assert shown.resumed_at == said.resumed_at
        assert (shown.block and shown.block.standing) == "blocked"


def test_a_link_of_which_nothing_was_said_writes_nothing() -> None:
    guard = Guard()
    guard.says(P, "opted_in", 0, "api")
    assert guard.carries(link()) == []


@pytest.mark.req("B17", "CMP-1")
def test_a_stop_by_user_id_is_recorded_under_the_phone_too_where_the_lanes_look() -> None:
    guard = Guard()
    listener = Listener(GOVERNANCE, guard.standings.aliases)  # made before any link is known, as in the service
    guard.links(link())
    outputs = list(listener.hear(record(inbound("STOP"), INBOUND_MESSAGES)))
    assert {output.key for output in outputs} == {P, U}
    assert len({output.id for output in outputs}) == 2
    for output in outputs:
        assert isinstance(output.event, ConsentEvent)
        assert output.event.person_key == output.key == output.partition_key
        assert output.event.cancels_until == NOW


@pytest.mark.req("B17", "CMP-1")
@pytest.mark.parametrize("link_first", [True, False])
def test_a_stop_by_phone_refuses_what_is_for_the_user_id(link_first: bool) -> None:
    guard = Guard()
    if link_first:
        guard.links(link())
    guard.says(P, "opted_out", 1)
    assert (guard.refuses(None, USER_ID) == "opted_out") is link_first
    guard.links(link())
    assert guard.refuses(None, USER_ID) == guard.refuses(PHONE) == "opted_out"
    guard.says(P, "opted_in", 2)
    assert guard.refuses(None, USER_ID) is None


@pytest.mark.req("B17")
@pytest.mark.parametrize("refused", [P, U])
def test_an_intent_that_gives_both_names_is_refused_for_a_word_under_either(refused: str) -> None:
    guard = Guard()
    guard.says(refused, "opted_out", 1)
    assert guard.refuses(PHONE, USER_ID) == "opted_out"
    assert (guard.refuses(PHONE), guard.refuses(None, USER_ID)) == (
        ("opted_out", None) if refused == P else (None, "opted_out")
    )


@pytest.mark.req("B17")
def test_of_a_number_that_changed_hands_a_user_id_knows_what_its_own_owner_said() -> None:
    """The person moved to another number and kept the id; somebody else has the old number now."""
    guard = Guard()
    for alias in (link(), link(person=P2), link("number_changed", P2, P, NOW + timedelta(minutes=5))):
        guard.links(alias)
    guard.says(P, "opted_out", 9)
    assert (guard.refuses(PHONE), guard.refuses(None, USER_ID)) == ("opted_out", None)
    guard.says(P2, "opted_out", 9)
    assert guard.refuses(None, USER_ID) == "opted_out"
    guard.says(P, "opted_in", 10)
    assert guard.refuses(PHONE) is None, "what the former owner says now is not the new one's word"


@pytest.mark.req("B17")
def test_who_is_on_the_do_not_message_list_is_so_under_every_name() -> None:
    compliance = GOVERNANCE.compliance.model_copy(update={"do_not_message": (P,)})
    listed = Governance.model_validate(GOVERNANCE.model_dump() | {"compliance": compliance.model_dump()})
    guard = Guard()
    assert guard.refuses(None, USER_ID, listed) is None
    guard.links(link())
    assert guard.refuses(None, USER_ID, listed) == guard.refuses(PHONE, None, listed) == "do_not_message"


def inbound(text: str, *, age: timedelta = timedelta(0), phone: str | None = None) -> InboundMessage:
    return InboundMessage(
        wamid="wamid.1", phone_number_id=SENDER, home=GOVERNANCE.home_of(SENDER) or SENDER, from_phone=phone,
        person_key=U if phone is None else P, kind="text", text=text, sent_at=NOW - age, received_at=NOW,
    )  # fmt: skip


@pytest.mark.req("B17")
def test_who_is_on_the_do_not_message_list_is_not_answered_under_another_name() -> None:
    compliance = GOVERNANCE.compliance.model_copy(update={"do_not_message": (P,)})
    listed = Governance.model_validate(GOVERNANCE.model_dump() | {"compliance": compliance.model_dump()})
    guard = Guard()
    hidden = inbound("STOP").model_copy(update={"user_id": USER_ID})

    def answered() -> list[str]:
        answerer = Answerer(listed, PEPPER, guard.standings, ManualClock(NOW))
        found = [each.event for each in answerer.answer(record(hidden, INBOUND_MESSAGES))]
        return [event.status for event in found if isinstance(event, MessageLifecycle)]

    assert answered() == ["received", "cleared"]
    guard.links(link())
    assert answered() == ["received", "rejected"]


@pytest.mark.req("CMP-5")
def test_a_week_old_stop_still_opts_out_and_is_not_answered() -> None:
    """Meta repeats what a receiver did not take for up to seven days: consent is a fact, an answer an action."""
    guard = Guard()
    old = inbound("STOP", age=timedelta(days=7), phone=PHONE)
    (heard,) = Listener(GOVERNANCE).hear(record(old, INBOUND_MESSAGES))
    assert isinstance(heard.event, ConsentEvent)
    guard.fold(heard.event)
    assert guard.refuses() == "opted_out"
    answerer = Answerer(GOVERNANCE, PEPPER, guard.standings, ManualClock(NOW.astimezone(UTC)))
    assert list(answerer.answer(record(old, INBOUND_MESSAGES))) == []
    assert list(answerer.answer(record(inbound("STOP", phone=PHONE), INBOUND_MESSAGES))) != []


def test_a_week_old_stop_does_not_undo_what_was_said_since() -> None:
    guard = Guard()
    guard.says(P, "opted_in", -60, "api")
    (heard,) = Listener(GOVERNANCE).hear(record(inbound("STOP", age=timedelta(days=7), phone=PHONE), INBOUND_MESSAGES))
    assert isinstance(heard.event, ConsentEvent)
    guard.fold(heard.event)
    assert guard.refuses() is None


@pytest.mark.req("CMP-12", "B17")
def test_an_erasure_holds_under_every_name_until_the_person_comes_back_under_one() -> None:
    guard = Guard()
    guard.links(link())
    guard.says(P, "opted_in", 0, "api")
    guard.says(P, "erased", 1, "operator")
    assert guard.refuses() == guard.refuses(None, USER_ID) == guard.refuses(PHONE, USER_ID) == "erased"
    guard.says(P, "opted_in", 2, "import")
    assert guard.refuses() == guard.refuses(None, USER_ID) == "erased", "a list brings nobody back"
    guard.says(P, "opted_in", 3, "keyword")
    assert guard.refuses() is None and guard.refuses(None, USER_ID) is None


@pytest.mark.req("CMP-12", "B17")
@pytest.mark.parametrize("back", [True, False])
def test_an_erasure_is_carried_to_a_new_user_id_and_so_is_that_they_came_back(back: bool) -> None:
    guard, changed = Guard(), link("user_id_changed", person_key(PEPPER, "IN.999"), U)
    guard.says(U, "opted_out", 0)
    guard.says(U, "erased", 1, "operator")
    if back:
        guard.says(U, "opted_in", 2, "keyword")
    found = guard.carries(changed)
    assert {(event.standing, event.proof == "") for event in found if event.standing == "erased"} == {("erased", True)}
    denied = guard.state(changed.person_key).denies("transactional", NOW)
    assert denied == (None if back else "erased")
    assert not guard.carries(changed), "once"
