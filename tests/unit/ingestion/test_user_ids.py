"""Recipients who are named by a business-scoped user id: every way in takes them, and says what is wrong (B17)."""

from __future__ import annotations

import io
from typing import Any

import pytest

from harkara.contracts.consent import ConsentEvent, advance_consent
from harkara.contracts.identity import person_key
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CONSENT_STATE, PERSON_IDENTITIES
from harkara.ingestion.audience import parse_row, uploaded_rows
from harkara.ingestion.requests import AudienceEntry
from tests.unit.ingestion.conftest import LONE, NOW, PEPPER, Running

TO, USER_ID, OTHER_ID = "+919999900011", "IN.20451873365519208877", "US.13491208655302741918"
TEMPLATE = {"name": "daily_update", "language": "en", "body": ["Asha"]}
RUN = {"name": "morning", "sessionId": LONE, "template": TEMPLATE, "category": "utility"}


@pytest.mark.req("ING-1", "B17")
@pytest.mark.parametrize("names", [{"userId": USER_ID}, {"user_id": USER_ID}, {"userId": USER_ID, "to": TO}])
async def test_a_message_to_a_user_id(running: Running, names: dict[str, str]) -> None:
    answer = await running.post("/api/v1/send", {"message": "hello", "sessionId": LONE} | names)
    assert answer.status_code == 202, answer.text
    (intent,) = running.log.on("send-intents")
    assert (intent.to, intent.user_id) == (names.get("to"), USER_ID)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, "to"),
        ({"userId": None}, "to"),
        ({"userId": "20451873365519208877"}, "userId"),
        ({"userId": TO}, "userId"),
        ({"to": USER_ID}, "to"),
        ({"userId": USER_ID, "category": "authentication"}, "body"),
    ],
)
async def test_what_is_wrong_is_named_and_not_repeated(running: Running, change: dict[str, Any], field: str) -> None:
    answer = await running.post("/api/v1/send", {"message": "hello", "sessionId": LONE} | change)
    assert answer.status_code == 422
    assert any(each["field"].startswith(field) for each in answer.json()["errors"]), answer.text
    assert "20451873365519208877" not in answer.text and running.log.written == []


async def test_a_batch_takes_both_kinds(running: Running) -> None:
    messages = [{"to": TO, "message": "a"}, {"userId": USER_ID, "message": "b"}]
    answer = await running.post("/api/v1/send/batch", {"sessionId": LONE, "messages": messages}, idem="batch-1")
    assert answer.status_code == 202, answer.text
    rows = running.log.on("run-audience")
    assert [(row.intent.to, row.intent.user_id) for row in rows] == [(TO, None), (None, USER_ID)]


@pytest.mark.req("ING-17", "B17")
async def test_a_run_takes_both_kinds_and_its_preview_knows_what_was_said_under_the_other_name(
    running: Running,
) -> None:
    person, other = person_key(PEPPER, TO), person_key(PEPPER, USER_ID)
    word = ConsentEvent(event_id="out", person_key=person, standing="opted_out", source="api", at=NOW)
    running.facts.consents.apply(CONSENT_STATE, person, advance_consent(None, word))
    link = PersonAlias(person_key=person, alias_key=other, kind="user_id", at=NOW)
    audience = [{"userId": USER_ID}, {"to": "+919999900012"}, {"to": "+919999900013", "userId": OTHER_ID}]
    before = (await running.post("/api/v1/runs/preview", RUN | {"audience": audience})).json()
    assert not any(label.startswith("refused") for label in before["verdicts"]), before["verdicts"]
    running.facts.consents.apply(PERSON_IDENTITIES, "", link)
    after = (await running.post("/api/v1/runs/preview", RUN | {"audience": audience})).json()
    assert after["verdicts"]["refused:opted_out"] == 1, after["verdicts"]
    assert after["audienceHash"] == before["audienceHash"]
    assert (await running.post("/api/v1/runs", RUN | {"audience": audience}, idem="run-1")).status_code == 202
    assert [row.intent.user_id for row in running.log.on("run-audience")] == [USER_ID, None, OTHER_ID]


async def test_who_is_in_an_audience_twice_is_so_by_either_name(running: Running) -> None:
    audience = [{"to": TO, "userId": USER_ID}, {"userId": USER_ID}, {"to": TO}, {"to": TO, "userId": USER_ID}]
    answer = await running.post("/api/v1/runs", RUN | {"audience": audience}, idem="run-2")
    assert answer.status_code == 422
    found = [(each["row"], each["field"]) for each in answer.json()["errors"]]
    assert found == [(2, "audience.2.userId"), (3, "audience.3.to"), (4, "audience.4.to")]


async def test_filters_by_country_count_the_user_ids_country(running: Running) -> None:
    audience = [{"userId": USER_ID}, {"userId": OTHER_ID}, {"to": TO}]
    body = RUN | {"audience": audience, "filters": {"countries": ["IN"]}}
    assert (await running.post("/api/v1/runs", body, idem="run-3")).status_code == 202
    assert [row.intent.recipient for row in running.log.on("run-audience")] == [USER_ID, TO]


def test_an_uploaded_audience_has_a_column_for_it() -> None:
    file = io.BytesIO(f"to,user_id\n{TO},\n,{USER_ID}\n{TO},{OTHER_ID}\n,\n".encode())
    rows = [parse_row(row) for row in uploaded_rows(file, "csv")]
    assert [row.names for row in rows if isinstance(row, AudienceEntry)] == [(TO,), (USER_ID,), (TO, OTHER_ID)]
    assert isinstance(rows[3], list) and rows[3][0].field == "to"
