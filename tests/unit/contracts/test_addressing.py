"""Whom an intent is for: a phone, a business-scoped user id, or both (B17)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harkara.contracts.identity import is_user_id, person_key
from harkara.contracts.intents import DispatchOrder, SendIntent, person_keys

PEPPER = b"a pepper of the tests"
PHONE, USER_ID = "+919999912345", "IN.20451873365519208877"
INTENT = {
    "message_id": "m-00000001",
    "sender": "advisors",
    "category": "utility",
    "content": {"type": "template", "name": "daily_advice", "language": "en"},
}


def intent(**names: Any) -> SendIntent:
    return SendIntent.model_validate(INTENT | names)


@pytest.mark.req("B17")
def test_the_person_is_named_by_phone_or_user_id_or_both() -> None:
    phone, user_id, both = intent(to=PHONE), intent(user_id=USER_ID), intent(to=PHONE, user_id=USER_ID)
    assert [each.recipient for each in (phone, user_id, both)] == [PHONE, USER_ID, PHONE]
    p, u = person_key(PEPPER, PHONE), person_key(PEPPER, USER_ID)
    assert [person_keys(PEPPER, each) for each in (phone, user_id, both)] == [(p, None), (u, None), (p, u)]
    assert len({each.hash() for each in (phone, user_id, both)}) == 3


def test_an_intent_without_a_user_id_hashes_as_it_did_before_there_were_any() -> None:
    """The lane compares hashes for seven days: a release may not change them."""
    assert intent(to=PHONE).hash() == intent(to=PHONE, user_id=None).hash() == "97e6c77bd9d5e3695c5214a7fca5e22f"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({}, "name the recipient"),
        ({"to": None}, "name the recipient"),
        ({"user_id": USER_ID, "category": "authentication"}, "phone numbers alone"),
        ({"user_id": PHONE}, "user_id"),
        ({"user_id": "in.2045"}, "user_id"),
        ({"user_id": "IN."}, "user_id"),
        ({"user_id": "IN.2045\n"}, "user_id"),
        ({"user_id": "IN." + "2" * 129}, "user_id"),
        ({"to": USER_ID}, "to"),
    ],
)
def test_what_names_nobody_is_refused_by_name(names: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        intent(**names)


def test_a_code_goes_to_a_phone_that_is_known_by_a_user_id_too() -> None:
    assert intent(to=PHONE, user_id=USER_ID, category="authentication").recipient == PHONE


def test_ids_are_told_from_other_names() -> None:
    assert all(map(is_user_id, (USER_ID, "US.ENT.11815799212886844830", "IN.2")))
    assert not any(map(is_user_id, (PHONE, "IN.2045 ", "IN2045", None, 5, "IN.2045\n")))


def test_an_order_has_both_names_and_is_read_without_them() -> None:
    fields = {"user_id", "also_key", "to"}
    assert fields <= set(DispatchOrder.model_fields) and not fields & {
        name for name, each in DispatchOrder.model_fields.items() if each.is_required()
    }
