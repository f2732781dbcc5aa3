"""A time zone that there is not is told at the door, by every way in (CMP-16, B16)."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import available_timezones

import pytest
from pydantic import ValidationError

from harkara.ingestion.requests import BatchRequest
from harkara.ingestion.zones import MOST_GUESSES, proper_zone
from tests.unit.ingestion.conftest import FREE_KEY, LONE, Running
from tests.unit.ingestion.test_runs import TEMPLATE, phone, run

SAYS = "is no time zone of the IANA database: write it as in Asia/Kolkata"
NEAREST = f"{SAYS}; the nearest is Asia/Kolkata"


def send(zone: str) -> dict[str, Any]:
    return {"to": phone(1), "category": "utility", "template": TEMPLATE, "timeZone": zone}


def rows(zone: str) -> list[dict[str, Any]]:
    return [{"to": phone(1), "timeZone": "Asia/Kolkata"}, {"to": phone(2), "timeZone": zone}]


@pytest.mark.req("CMP-16", "B16")
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("send", send("Asia/Kolkatta") | {"sessionId": LONE}, "timeZone"),
        ("send/batch", {"sessionId": LONE, "messages": [send("Asia/Kolkata"), send("Asia/Kolkatta")]},
         "messages.1.timeZone"),
        ("runs", run(audience=rows("Asia/Kolkatta")), "audience.2.timeZone"),
        ("runs/preview", run(audience=rows("Asia/Kolkatta")), "audience.2.timeZone"),
        ("runs/precheck", run(audience=rows("Asia/Kolkatta")), "audience.2.timeZone"),
    ],
)  # fmt: skip
async def test_a_mistyped_zone_is_refused_with_its_place_and_what_was_meant(
    running: Running, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await running.post(f"/api/v1/{path}", body, idem="morning-1")
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert error["message"].endswith(NEAREST)
    assert "Kolkatta" not in answer.text
    assert running.log.written == []


@pytest.mark.req("CMP-16", "ING-17")
@pytest.mark.parametrize(
    ("name", "text", "field"),
    [
        ("a.csv", f"to,time_zone\n{phone(1)},Asia/Kolkata\n{phone(2)},Asia/Kolkatta\n", "audience.2.time_zone"),
        ("a.ndjson", "\n".join(map(json.dumps, rows("Asia/Kolkatta"))), "audience.2.timeZone"),
    ],
)
@pytest.mark.parametrize("path", ["", "/preview", "/precheck"])
async def test_so_is_one_in_a_file(running: Running, path: str, name: str, text: str, field: str) -> None:
    asked = {key: value for key, value in run().items() if key != "audience"}
    answer = await running.http.post(
        f"/api/v1/runs{path}",
        data={"run": json.dumps(asked)},
        files={"audience": (name, text)},
        headers={"Authorization": f"Bearer {FREE_KEY}", "Idempotency-Key": "morning-1"},
    )
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["row"], error["field"]) == (2, field)
    assert error["message"].endswith(NEAREST)


@pytest.mark.req("CMP-16")
async def test_one_in_another_case_is_taken_as_it_is_written(running: Running) -> None:
    answer = await running.post("/api/v1/send", send("asia/kolkata") | {"sessionId": LONE})
    assert answer.status_code == 202
    (intent,) = running.log.on("send-intents")
    assert intent.time_zone == "Asia/Kolkata"


def test_every_zone_is_taken_whatever_its_case_and_none_of_this_computers_own() -> None:
    names = available_timezones() - {"localtime", "Factory"}
    assert len(names) > 400
    for name in names:
        assert proper_zone(name) == proper_zone(name.lower()) == proper_zone(name.upper()) == name
    for name in ("localtime", "Factory"):
        with pytest.raises(ValueError, match="is no time zone"):
            proper_zone(name)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("Kolkata", "Asia/Kolkata"), ("New York", "America/New_York"), ("America/New York", "America/New_York"),
     ("europe/lodon", "Europe/London"), ("Wsia/Kolkata", None), ("IST", None), ("+05:30", None), ("", None),
     ("x" * 64, None)],
)  # fmt: skip
def test_what_was_meant_is_told_where_it_can_be_guessed(given: str, meant: str | None) -> None:
    """Only names that begin alike are compared: each row of a large file may be wrong in another way."""
    with pytest.raises(ValueError, match="is no time zone") as raised:
        proper_zone(given)
    assert str(raised.value) == SAYS + ("" if meant is None else f"; the nearest is {meant}")


def mistyped(number: int) -> str:
    """A name near to Asia/Kolkata, another one for each number below 26 * 26."""
    return f"Asia/Kolkata{chr(97 + number // 26)}{chr(97 + number % 26)}"


@pytest.mark.req("CMP-16", "B16")
@pytest.mark.parametrize("path", ["runs", "runs/preview"])
async def test_a_request_is_told_so_many_near_names_and_the_rest_are_refused_without(
    running: Running, path: str
) -> None:
    """To find one takes 2 ms: a file of 100,000 wrong rows must not keep everybody waiting. The next request begins
    anew, and a name that was told already is told again."""
    zones = [*map(mistyped, range(MOST_GUESSES + 2)), mistyped(0)]
    body = run(audience=[{"to": phone(n), "timeZone": zone} for n, zone in enumerate(zones, 1)])
    for key in ("morning-1", "morning-2"):
        answer = await running.post(f"/api/v1/{path}", body, idem=key)
        assert answer.status_code == 422
        errors = answer.json()["errors"]
        assert len(errors) == len(zones)
        near = [each["message"].endswith(NEAREST) for each in errors]
        assert near == [True] * MOST_GUESSES + [False, False, True]
        assert all(SAYS in each["message"] for each in errors)


@pytest.mark.req("CMP-16", "B16")
def test_so_is_a_batch() -> None:
    """An answer shows fewer errors than a batch may have, so its shape is asked."""
    zones = [*map(mistyped, range(MOST_GUESSES + 2)), mistyped(0)]
    for _ in range(2):
        with pytest.raises(ValidationError) as raised:
            BatchRequest.model_validate({"sessionId": LONE, "messages": list(map(send, ["Asia/Kolkata", *zones]))})
        errors = raised.value.errors()
        assert [each["msg"].endswith(NEAREST) for each in errors] == [True] * MOST_GUESSES + [False, False, True]
        assert [each["loc"] for each in errors] == [("messages", n, "timeZone") for n in range(1, len(zones) + 1)]
