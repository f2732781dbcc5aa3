"""Whom a webhook is about: phone, user id or both, before and after a change (B17)."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.identity import canonical_name, is_phone, person_key
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import PERSON_IDENTITIES
from harkara.ingestion.core import split
from harkara.ingestion.normalise import normalise
from harkara.ingestion.people import Told
from harkara.policy.clearance import Word
from harkara.policy.governance import Governance
from tests.support.webhook_world import World
from tests.unit.ingestion.conftest import LONE, NOW, PEPPER, payload
from tests.unit.ingestion.test_normalise import AT, messages, notice, status

OLD_PHONE, NEW_PHONE, LATE_PHONE = "919999900014", "919999900024", "919999900034"
OLD_ID, NEW_ID = "IN.20451873365519208880", "IN.20451873365519208990"


def text(at: int, body: str, **names: Any) -> dict[str, Any]:
    item = {"id": f"wamid.{at}.{body}", "timestamp": str(at), "type": "text", "text": {"body": body}}
    return messages(messages=[item | names])


def moved(at: int, **told: Any) -> dict[str, Any]:
    item = {"from": OLD_PHONE, "id": f"wamid.moved.{at}", "timestamp": str(at), "type": "system"}
    return messages(messages=[item | {"system": {"type": "user_changed_number", "wa_id": NEW_PHONE} | told}])


def names_of(body: dict[str, Any], governance: Governance) -> set[tuple[str, str, str]]:
    changes, _ = split(body, "digest", 1000, NOW)
    found = [each.event for change in changes for each in normalise(change.event, "i", governance, PEPPER).emissions]  # type: ignore[arg-type]
    return {(each.person_key, each.alias_key, each.kind) for each in found if isinstance(each, PersonAlias)}


def key(name: str) -> str:
    return person_key(PEPPER, name)


def marketing(world: World, name: str) -> Word | None:
    said = world.standings_of().said(key(name))
    return None if said is None else said.marketing


@pytest.mark.req("B17")
@pytest.mark.parametrize(
    ("given", "other"),
    [
        ("+5511999990001", "551199990001"),  # the sample: registered before the ninth digit came
        ("+525599990001", "5215599990001"),
        ("+5491199990001", "541199990001"),
    ],
)
def test_both_forms_of_a_number_are_one_person(given: str, other: str) -> None:
    assert person_key(PEPPER, given) == person_key(PEPPER, other) == person_key(PEPPER, canonical_name(other))
    assert canonical_name(given) == given.removeprefix("+"), "what is dialled today is the canonical form"


@pytest.mark.parametrize(
    "name", ["551133330001", "12025550143", "919999900011", "5511333300012", "IN.55119999000", "54911999900012"]
)
def test_any_other_name_is_taken_as_it_is(name: str) -> None:
    assert canonical_name(name) == canonical_name("+" + name) == name


@pytest.mark.parametrize(
    ("name", "phone"),
    [("919999900011", True), ("+919999900011", True), ("IN.2045187336551", False), ("0919999900011", False),
     ("", False), (None, False), (919999900011, False), ("१२३४५६७८९०", False), ("120363", False), ("1" * 16, False)],
)  # fmt: skip
def test_a_phone_is_told_from_a_user_id(name: object, phone: bool) -> None:
    assert is_phone(name) is phone


@pytest.mark.req("B17")
@pytest.mark.parametrize(
    "name", ["webhook_status_delivered.json", "webhook_inbound_text.json", "webhook_user_preferences_stop.json"]
)
def test_who_is_named_by_both_is_one_person(governance: Governance, name: str) -> None:
    assert names_of(payload(name), governance) == {(key("919999900011"), key("IN.20451873365519208877"), "user_id")}


def test_the_contacts_beside_it_tell_the_user_id(governance: Governance) -> None:
    contacts = [{"wa_id": "919999900011", "user_id": "IN.1"}, {"wa_id": "919999900012", "user_id": "IN.2"}]
    body = messages(statuses=[status()], contacts=contacts)
    assert names_of(body, governance) == {(key("919999900011"), key("IN.1"), "user_id")}


@pytest.mark.parametrize("name", ["USER_ID", "IN", "in.1", "IN.", "IN.a b", "120363401234567890", 7])
def test_what_is_no_user_id_links_nobody(governance: Governance, name: object) -> None:
    assert names_of(messages(statuses=[status(recipient_user_id=name)]), governance) == set()


def test_in_a_group_the_participant_is_the_person(governance: Governance) -> None:
    item = status(
        recipient_id="120363401234567890", recipient_type="group", recipient_participant_id="919999900011",
        recipient_participant_user_id="IN.1",
    )  # fmt: skip
    assert names_of(messages(statuses=[item]), governance) == {(key("919999900011"), key("IN.1"), "user_id")}
    group = {"recipient_id": "120363401234567890", "recipient_type": "group", "recipient_user_id": "IN.1"}
    assert names_of(messages(statuses=[status(**group)]), governance) == set()


@pytest.mark.req("B17")
def test_another_number_keeps_what_was_said_under_the_old_one(governance: Governance) -> None:
    assert names_of(payload("webhook_inbound_system_number_change.json"), governance) == {
        (key(NEW_PHONE), key(OLD_PHONE), "number_changed"),
        (key(NEW_ID), key(OLD_ID), "number_changed"),
        (key(NEW_PHONE), key(NEW_ID), "user_id"),
        (key(OLD_PHONE), key(OLD_ID), "user_id"),
    }


def test_another_user_id_is_the_same_person(governance: Governance) -> None:
    (link,) = names_of(payload("webhook_inbound_system_user_id_change.json"), governance)
    assert link == (key("IN.20451873365519208991"), key("IN.20451873365519208881"), "user_id_changed")


@pytest.mark.parametrize(
    "told",
    [
        {"previous_user_id": OLD_ID, "user_id": NEW_ID},
        {"user_id": OLD_ID, "new_user_id": NEW_ID},
        {"previous_user_id": OLD_ID, "user_id": NEW_ID, "new_user_id": NEW_ID},
    ],
)
def test_however_another_user_id_is_spelt_the_old_one_is_linked(governance: Governance, told: dict[str, Any]) -> None:
    item = {"from": OLD_PHONE, "id": "wamid.moved", "timestamp": str(AT), "type": "system", "system": told}
    assert (key(NEW_ID), key(OLD_ID), "user_id_changed") in names_of(messages(messages=[item]), governance)


def test_an_empty_name_of_a_member_takes_the_person_from_no_status(governance: Governance) -> None:
    item = status(recipient_user_id="IN.1", recipient_participant_id=None, recipient_participant_user_id=None)
    assert names_of(messages(statuses=[item]), governance) == {(key("919999900011"), key("IN.1"), "user_id")}


@pytest.mark.parametrize("told", [{"new_wa_id": NEW_PHONE, "wa_id": None}, {"customer": OLD_PHONE}, {"body": 7}])
def test_older_forms_of_the_notice_are_read_too(governance: Governance, told: dict[str, Any]) -> None:
    assert names_of(moved(AT, **told), governance) == {(key(NEW_PHONE), key(OLD_PHONE), "number_changed")}


@pytest.mark.req("B17")
def test_a_wa_id_other_than_what_was_written_to_is_kept_beside_it_and_never_in_its_place(
    governance: Governance,
) -> None:
    written_to = MessageLifecycle(
        message_id="m-abcdefgh", home=LONE, status="received", at=NOW, person_key=key(OLD_PHONE)
    )
    reached = messages(statuses=[status(recipient_id=NEW_PHONE, biz_opaque_callback_data="m-abcdefgh.1")])
    for order in (0, 1):
        world = World(governance, PEPPER, NOW)
        for is_status in ((False, True), (True, False))[order]:
            if is_status:
                world.take(reached)
            else:
                world.join(written_to)
        state = world.states["m-abcdefgh"]
        assert state["facts"]["person_key"] == key(OLD_PHONE)
        assert state["attempts"]["1"]["reached_key"] == key(NEW_PHONE)


STOPS = {
    "phone only": text(AT + 10, "STOP", **{"from": OLD_PHONE}),
    "user id only": text(AT + 10, "STOP", from_user_id=OLD_ID),
    "both": text(AT + 10, "STOP", **{"from": OLD_PHONE, "from_user_id": OLD_ID}),
    "user id in the place of the phone": text(AT + 10, "STOP", **{"from": OLD_ID}),
    "preference by user id": notice(
        "user_preferences",
        {"user_preferences": [
            {"user_id": OLD_ID, "category": "marketing_messages", "value": "stop", "timestamp": AT + 10}
        ]},
    ),
}  # fmt: skip
LINK = messages(statuses=[status(recipient_id=OLD_PHONE, recipient_user_id=OLD_ID)])


@pytest.mark.req("B17", "CMP-1")
@pytest.mark.parametrize("way", STOPS)
def test_an_opt_out_by_any_name_counts_under_every_name_in_any_order(governance: Governance, way: str) -> None:
    opted_in = text(AT, "START", **{"from": OLD_PHONE})
    changed = moved(AT + 100, user_id=NEW_ID, previous_user_id=OLD_ID)
    for order in itertools.permutations([opted_in, STOPS[way], LINK, changed]):
        world = World(governance, PEPPER, NOW)
        for body in order:
            world.take(body)
        for name in (OLD_PHONE, OLD_ID, NEW_PHONE, NEW_ID):
            word = marketing(world, name)
            assert word and word.standing == "opted_out"


@pytest.mark.req("B17")
def test_what_the_next_owner_of_a_number_says_is_not_the_former_ones_word(governance: Governance) -> None:
    world = World(governance, PEPPER, NOW)
    for body in (
        text(AT, "STOP", **{"from": OLD_PHONE}),
        moved(AT + 100),
        text(AT + 86_400, "START", **{"from": OLD_PHONE}),
    ):
        world.take(body)
    old, new = marketing(world, OLD_PHONE), marketing(world, NEW_PHONE)
    assert old is not None and old.standing == "opted_in"
    assert new is None or new.standing == "opted_out", "never opted in by somebody else's word"


@pytest.mark.req("B17")
def test_two_changes_in_a_row_lead_to_the_first_name(governance: Governance) -> None:
    world = World(governance, PEPPER, NOW)
    again = moved(AT + 200) | {}
    item = again["entry"][0]["changes"][0]["value"]["messages"][0]
    item |= {"from": NEW_PHONE, "system": {"type": "user_changed_number", "wa_id": LATE_PHONE}}
    for body in (again, moved(AT + 100), STOPS["user id only"], LINK):
        world.take(body)
    word = marketing(world, LATE_PHONE)
    assert word is not None and word.standing == "opted_out"


@pytest.mark.req("B17", "RTW-1")
def test_a_window_opened_under_another_name_is_open(governance: Governance) -> None:
    world = World(governance, PEPPER, NOW)
    for body in (text(AT, "hi", from_user_id=OLD_ID), LINK, moved(AT + 100, user_id=NEW_ID, previous_user_id=OLD_ID)):
        world.take(body)
    now = datetime.fromtimestamp(AT, UTC) + timedelta(hours=1)
    for name in (OLD_PHONE, NEW_PHONE):
        around = world.known_at(now).around(key(name), [LONE])
        assert around.last_inbound_at == {LONE: datetime.fromtimestamp(AT, UTC)}
    after = text(AT + 500, "hello from the next owner", **{"from": OLD_PHONE})
    world.take(after)
    assert world.known_at(now).around(key(NEW_PHONE), [LONE]).last_inbound_at[LONE] == datetime.fromtimestamp(AT, UTC)


def test_a_link_is_written_once_and_again_when_it_was_long_ago(governance: Governance) -> None:
    changes, _ = split(LINK, "digest", 1000, NOW)
    emissions = normalise(changes[0].event, "i", governance, PEPPER).emissions  # type: ignore[arg-type]
    told = Told(most=1)
    assert told.news(emissions) == emissions
    assert [each.topic is PERSON_IDENTITIES for each in told.news(emissions)] == [False]
    other = messages(statuses=[status(recipient_id=NEW_PHONE, recipient_user_id=NEW_ID)])
    changes, _ = split(other, "digest", 1000, NOW)
    told.news(normalise(changes[0].event, "i", governance, PEPPER).emissions)  # type: ignore[arg-type]
    assert told.news(emissions) == emissions
