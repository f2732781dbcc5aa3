"""A recipient who is named by user id: their country, their zones, their window (B17)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from harkara.contracts.identity import person_key
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import PERSON_IDENTITIES, SERVICE_WINDOWS
from harkara.contracts.webhooks import ServiceWindow
from harkara.policy.clearance import Cleared, Question, Rejected, country_of, decide
from harkara.policy.hours import zones_of
from harkara.policy.known import Known
from harkara.policy.routing import Planned, Surroundings, plan
from tests.unit.policy.cases import ALONE, NOW, TEXT, cleared, intent, policy

PEPPER = b"a pepper of the tests"
PHONE, USER_ID = "+919999912345", "IN.20451873365519208877"
P, U = person_key(PEPPER, PHONE), person_key(PEPPER, USER_ID)
NOTHING = Surroundings({}, {})


@pytest.mark.parametrize(
    ("user_id", "country"),
    [("IN.2045", "IN"), ("US.ENT.11815799212886844830", "US"), ("XX.2045", None), ("BR.1", "BR")],
)
def test_a_user_id_begins_with_its_country(user_id: str, country: str | None) -> None:
    assert country_of(user_id) == country
    assert bool(zones_of(user_id)) == (country is not None)


def test_of_a_country_with_several_zones_all_count() -> None:
    assert zones_of(USER_ID) == zones_of(PHONE)
    assert {"America/New_York", "America/Los_Angeles", "Pacific/Honolulu"} <= set(zones_of("US.1349"))


@pytest.mark.req("B17")
def test_a_country_that_is_not_allowed_is_refused_by_user_id_too() -> None:
    strict = policy(compliance={"consent_mode": "opt_out", "allowed_countries": ["IN"]})
    for user_id, goes in ((USER_ID, True), ("US.1349", False), ("XX.1", False)):
        question = Question(intent(to=None, user_id=user_id), NOW, U, None)
        found = decide(question, strict, NOW)
        assert isinstance(found, Cleared if goes else Rejected)


@pytest.mark.req("B16", "B17")
def test_quiet_hours_are_those_of_the_country_unless_the_intent_gives_a_zone() -> None:
    quiet = policy(routing={"quiet_hours": {"utility": "23:00-07:00"}})
    wanted: dict[str, Any] = {"to": None, "user_id": USER_ID}
    by_country, by_phone = (plan(cleared(**names), quiet, NOTHING, NOW) for names in (wanted, {"to": PHONE}))
    assert isinstance(by_country, Planned) and isinstance(by_phone, Planned)
    assert by_country.opening == by_phone.opening and by_country.opening is not None
    assert by_country.opening.due == NOW + timedelta(hours=1)  # 06:00 in India
    given = plan(cleared(**wanted, time_zone="Asia/Tokyo"), quiet, NOTHING, NOW)
    assert isinstance(given, Planned) and given.opening is not None and given.opening.due == NOW


@pytest.mark.req("RTW-1", "B17")
@pytest.mark.parametrize("opened_by", [P, U])
@pytest.mark.parametrize("written_to", [P, U])
def test_a_window_opened_under_one_name_is_open_for_the_other(opened_by: str, written_to: str) -> None:
    known = Known(lambda: NOW)
    window = ServiceWindow(phone_number_id=ALONE, person_key=opened_by, last_inbound_at=NOW - timedelta(hours=1))
    known.apply(SERVICE_WINDOWS, "", window)
    names = {"to": PHONE} if written_to == P else {"to": None, "user_id": USER_ID}
    message = cleared(ALONE, written_to, **names, content=TEXT, category="service")

    def goes() -> bool:
        return isinstance(plan(message, policy(), known.around(written_to, [ALONE]), NOW), Planned)

    assert goes() is (opened_by == written_to)
    known.apply(PERSON_IDENTITIES, "", PersonAlias(person_key=P, alias_key=U, kind="user_id", at=NOW))
    assert goes()
