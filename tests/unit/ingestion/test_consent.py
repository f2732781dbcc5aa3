"""Consent by the API: an opt-in with its proof or none, an event and its audit, and the whole record read back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from harkara.contracts.consent import ConsentEvent
from harkara.contracts.identity import person_key
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CONSENT_EVENTS
from harkara.ingestion.consent import ConsentDesk, consent_router
from harkara.ingestion.effects import Unavailable
from harkara.policy.aliases import Aliases
from harkara.runtime.kafka import Output
from tests.unit.ingestion.conftest import NOW, PEPPER, Log, Running

ASHA = "+919999900011"
PERSON = person_key(PEPPER, ASHA)
OPT_IN = {
    "phone": "919999900011",
    "standing": "opted_in",
    "purpose": "marketing",
    "at": "2026-11-20T10:00:00+05:30",
    "origin": "web-form",
    "proof": "form-417",
    "language": "mr",
}


@dataclass
class Written:
    """The history as what the log holds; `refuse` is raised instead."""

    log: Log
    refuse: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def of(self, person: str) -> list[ConsentEvent]:
        if self.refuse is not None:
            raise self.refuse
        self.asked.append(person)
        return [event for event in self.log.on("consent-events") if event.person_key == person]


@pytest.fixture
def history(running: Running) -> Written:
    written = Written(running.log)
    running.app.include_router(consent_router(ConsentDesk(PEPPER, running.log, written, running.clock)))
    return written


async def look(running: Running, person: str) -> Any:
    return await running.http.get(f"/api/v1/consent/{person}", headers={"X-API-Key": "shop.free-secret"})


@pytest.mark.req("CMP-4")
async def test_an_opt_in_is_recorded_with_its_source_proof_time_purpose_and_language(
    running: Running, history: Written
) -> None:
    answer = await running.post("/api/v1/consent", OPT_IN, idem="k1")
    assert answer.status_code == 202 and answer.json()["personKey"] == PERSON
    [event] = running.log.on("consent-events")
    assert (event.standing, event.purpose, event.source, event.origin, event.proof, event.language, event.actor) == (
        "opted_in", "marketing", "api", "web-form", "form-417", "mr", "shop",
    )  # fmt: skip
    assert event.at.isoformat() == "2026-11-20T10:00:00+05:30" and event.cancels_until is None
    [audit] = running.log.on("audit-log")
    assert (audit.action, audit.actor, audit.subject) == ("consent_recorded", "shop", PERSON)
    assert "9999900011" not in event.model_dump_json() + audit.model_dump_json()
    again = await running.post("/api/v1/consent", OPT_IN, idem="k1")
    other = await running.post("/api/v1/consent", OPT_IN, idem="k2")
    assert again.json()["eventId"] == answer.json()["eventId"] != other.json()["eventId"]


@pytest.mark.req("CMP-4")
@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in ("purpose", "at", "origin", "proof", "language")),
        {"standing": "asked"}, {"phone": "12345"}, {"until": "2026-12-01T00:00:00Z"}, {"origin": "a web form"},
        {"at": "2026-11-20T10:00:00"}, {"proof": "x" * 201}, {"purpose": "everything"}, {"personKey": PERSON},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_record_is_refused_and_nothing_is_written(
    running: Running, history: Written, change: dict[str, Any]
) -> None:
    body = {name: value for name, value in (OPT_IN | change).items() if value is not None}
    answer = await running.post("/api/v1/consent", body)
    assert answer.status_code == 422 and answer.json()["code"] == "VALIDATION_FAILED"
    assert "99999" not in answer.text and running.log.written == []


@pytest.mark.req("CMP-2")
async def test_an_opt_out_needs_the_person_alone_and_cancels_what_was_accepted_until_now(
    running: Running, history: Written
) -> None:
    body = {"phone": ASHA, "standing": "opted_out", "at": "2026-11-20T10:00:00Z"}
    assert (await running.post("/api/v1/consent", body)).status_code == 202
    [event] = running.log.on("consent-events")
    assert event.purpose is None and event.cancels_until == NOW and event.at < NOW


async def test_nothing_is_said_in_the_future(running: Running, history: Written) -> None:
    await running.post("/api/v1/consent", OPT_IN | {"at": (NOW + timedelta(days=400)).isoformat()})
    assert running.log.on("consent-events")[0].at == NOW


@pytest.mark.req("CMP-4")
async def test_what_is_on_record_is_shown_whole_by_key_and_by_phone(running: Running, history: Written) -> None:
    await running.post("/api/v1/consent", OPT_IN)
    until = (NOW + timedelta(days=7)).isoformat()
    await running.post("/api/v1/consent", {"phone": ASHA, "standing": "paused", "until": until})
    for named in (PERSON, ASHA, "919999900011"):
        answer = await look(running, named)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["personKey"] == PERSON and found["language"] == "mr"
        assert found["marketing"]["standing"] == found["marketing"]["denied"] == "paused"
        assert [each["standing"] for each in found["history"]] == ["paused", "opted_in"]
        assert found["history"][1]["proof"] == "form-417"
    running.clock.advance(7 * 86_400)
    found = (await look(running, PERSON)).json()
    assert found["marketing"]["standing"] == "paused" and found["marketing"]["denied"] is None


async def test_who_is_not_on_record_who_is_nobody_and_a_history_that_cannot_be_read(
    running: Running, history: Written
) -> None:
    assert (await look(running, PERSON)).status_code == 404
    assert (await look(running, "somebody")).status_code == 422
    assert (await look(running, "0123")).status_code == 422
    assert history.asked == [PERSON]
    history.refuse = Unavailable("the broker is away")
    assert (await look(running, PERSON)).status_code == 503
    assert (await running.http.get(f"/api/v1/consent/{PERSON}")).status_code == 401
    assert (await running.http.post("/api/v1/consent", json=OPT_IN)).status_code == 401


@pytest.mark.req("B17")
async def test_the_record_of_a_person_is_one_under_every_name(running: Running) -> None:
    """By phone, by user id and after a change of number: the same words, each once, and no more than count."""
    user_id, moved_to = person_key(PEPPER, "IN.2045187336551"), person_key(PEPPER, "+919999900012")
    aliases = Aliases()
    for kind, person, alias in (("user_id", PERSON, user_id), ("number_changed", moved_to, PERSON)):
        link = {"person_key": person, "alias_key": alias, "kind": kind, "at": NOW}
        aliases.apply(PersonAlias.model_validate(link))
    said = {"standing": "opted_out", "source": "keyword", "proof": "inbound message wamid.1", "actor": user_id}
    stop = {"event_id": "stop", "person_key": user_id, "at": NOW - timedelta(days=1)} | said
    opted_in = {"person_key": PERSON, "standing": "opted_in", "source": "api"}
    events = [
        ConsentEvent.model_validate(each)
        for each in (
            opted_in | {"event_id": "in", "at": NOW - timedelta(days=2)},
            stop,
            stop | {"event_id": "stop-too", "person_key": PERSON},
            stop | {"event_id": "carried", "person_key": moved_to, "source": "identity"},
            opted_in | {"event_id": "next", "at": NOW + timedelta(days=1)},
        )
    ]
    await running.log.write([Output(CONSENT_EVENTS, e.person_key, e.person_key, e, e.event_id, e.at) for e in events])
    desk = ConsentDesk(PEPPER, running.log, Written(running.log), running.clock, aliases.names)
    running.app.include_router(consent_router(desk))
    found = (await look(running, "+919999900012")).json()
    assert [each["standing"] for each in found["history"]] == ["opted_out", "opted_in"]
    assert found["marketing"]["standing"] == found["marketing"]["denied"] == "opted_out"
    former = (await look(running, PERSON)).json()
    assert former["marketing"]["standing"] == "opted_in", "the next owner of the old number speaks for themselves"


USER_ID = "IN.20451873365519208877"
BY_ID = person_key(PEPPER, USER_ID)


@pytest.mark.req("CMP-4", "B17")
async def test_a_person_is_named_by_user_id_or_by_both_names_which_makes_no_link(
    running: Running, history: Written
) -> None:
    by_id = {name: value for name, value in OPT_IN.items() if name != "phone"} | {"userId": USER_ID}
    answer = await running.post("/api/v1/consent", by_id, idem="k1")
    assert answer.status_code == 202 and answer.json()["personKey"] == BY_ID
    assert answer.json()["alsoKey"] is None
    both = await running.post("/api/v1/consent", OPT_IN | {"userId": USER_ID}, idem="k2")
    assert (both.json()["personKey"], both.json()["alsoKey"]) == (PERSON, BY_ID)
    again = await running.post("/api/v1/consent", OPT_IN | {"userId": USER_ID}, idem="k2")
    assert again.json() == both.json()
    events = running.log.on("consent-events")
    assert [event.person_key for event in events] == [BY_ID, PERSON, BY_ID, PERSON, BY_ID]
    assert len({event.event_id for event in events}) == 3 and {event.proof for event in events} == {"form-417"}
    assert running.log.on("person-identities") == []
    assert {audit.subject for audit in running.log.on("audit-log")} == {PERSON, BY_ID}
    assert USER_ID not in "".join(event.model_dump_json() for event in events)
    found = (await look(running, USER_ID)).json()
    assert found["personKey"] == BY_ID and found["marketing"]["standing"] == "opted_in"


async def test_nobody_named_or_no_user_id_is_no_record(running: Running, history: Written) -> None:
    nobody = {name: value for name, value in OPT_IN.items() if name != "phone"}
    for body in (nobody, nobody | {"userId": "12345"}, OPT_IN | {"userId": ""}):
        assert (await running.post("/api/v1/consent", body)).status_code == 422
    assert running.log.written == []


@pytest.mark.req("CMP-12")
async def test_an_erasure_is_no_word_of_a_clients_and_hides_what_was_said_before_it(
    running: Running, history: Written
) -> None:
    refused = await running.post("/api/v1/consent", {"phone": ASHA, "standing": "erased"})
    assert refused.status_code == 422
    await running.post("/api/v1/consent", OPT_IN)
    at = NOW - timedelta(hours=1)
    erased = ConsentEvent(
        event_id="x", person_key=PERSON, standing="erased", source="operator", at=at, cancels_until=at, actor="ops"
    )
    await running.log.write([Output(CONSENT_EVENTS, PERSON, PERSON, erased, "x", at)])
    found = (await look(running, ASHA)).json()
    assert found["marketing"]["denied"] == found["transactional"]["denied"] == "erased"
    assert [each["standing"] for each in found["history"]] == ["erased"] and found["language"] is None
    await running.post("/api/v1/consent", OPT_IN | {"at": NOW.isoformat(), "proof": "form-900"})
    back = (await look(running, ASHA)).json()
    assert back["marketing"]["denied"] is None and back["transactional"]["denied"] == "erased"
    assert [each["proof"] for each in back["history"]] == ["form-900", ""]
