"""`harkara person` against a far side that shows a person in three pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.unit.cli.test_run_commands import Far, far  # noqa: F401  (the fixture)

ROOT = Path(__file__).parents[3]
AT = "2026-11-21T01:02:03Z"
KEY = "ab" * 16
FIRST: dict[str, Any] = {
    "exported_at": AT, "names": [{"person_key": KEY, "link": "asked"}],
    "marketing": {"standing": "opted_in", "at": AT, "event_id": "e", "source": "api"}, "messages": [], "audit": [],
    "consent": [], "copies": [{"topic": "send-intents", "holds": "name_and_content", "until": AT, "why": "kept"}],
}  # fmt: skip
MESSAGE = {"message_id": "m-12345678", "home": "h", "status": "sent", "attempt": 1, "at": AT, "version": 1,
           "facts": {}, "attempts": {}, "first_seen": {}}  # fmt: skip
RECORD = {"audit_id": "a", "actor": "ops", "action": "x", "subject": KEY, "at": AT, "details": {}}
PAGES = {
    None: FIRST | {"next": "m:"},
    "m:": {"exported_at": "2026-11-22T01:02:03Z", "messages": [{"state": MESSAGE, "transitions": []}], "next": "a:"},
    "a:": {"exported_at": "2026-11-23T01:02:03Z", "audit": [RECORD]},
}
RECEIPT = {
    "erasure_id": "e-1", "erased_at": AT, "names": 2, "given_up": 1, "sealed_before": 3,
    "copies": [{"topic": "send-intents", "holds": "name_and_content", "until": AT, "why": "kept 7 days"},
               {"topic": "consent-events", "holds": "pseudonym", "why": "kept"}],
    "kept": [{"what": "a suppression", "why": "so that it holds"}],
}  # fmt: skip


def paged(far: Far) -> None:  # noqa: F811
    """The next page each time: the fixture answers by path, so the answer is put there page by page."""
    waiting = list(PAGES.values())

    class Pages(dict[str, Any]):
        def get(self, path: str, default: Any = None) -> Any:
            return (200, waiting.pop(0)) if path == "/api/v1/persons/export" else default

    far.answers = Pages()


@pytest.mark.req("CMP-12")
def test_an_export_is_one_document_of_all_pages_as_its_schema_says(far: Far, tmp_path: Path) -> None:  # noqa: F811
    paged(far)
    file = tmp_path / "asha.json"
    file.write_text("of last month")
    file.chmod(0o644)
    result = far.run("person", "export", "--phone", "+919999900011", "--output", str(file))
    assert result.exit_code == 0, result.output
    whole = json.loads(file.read_text())
    schema = json.loads((ROOT / "docs/reference/person-export.schema.json").read_text())
    Draft202012Validator(schema).validate(whole)
    assert whole["exported_at"] == AT and "next" not in whole
    assert [each["state"]["message_id"] for each in whole["messages"]] == ["m-12345678"]
    assert [each["audit_id"] for each in whole["audit"]] == ["a"] and len(whole["names"]) == 1
    asked = [json.loads(body) for *_, body in far.asked]
    assert [each.get("after") for each in asked] == list(PAGES)
    assert all(path == "/api/v1/persons/export" for _, path, *_ in far.asked), "no number in a URL"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.req("CMP-12")
def test_an_erasure_says_what_is_left_and_until_when(far: Far) -> None:  # noqa: F811
    far.answers["/api/v1/persons/erase"] = (202, RECEIPT)
    result = far.run("person", "erase", "--user-id", "IN.123", "--reason", "a letter")
    assert result.exit_code == 0, result.output
    assert json.loads(far.asked[0][3]) == {"userId": "IN.123", "reason": "a letter"}
    said = result.output
    assert "erasure e-1 of 2 names" in said and "gone by 2026-11-21" in said and "stays (kept)" in said
    assert "1 numbers that the person gave up" in said and "3 audit records" in said and "a suppression" in said
    as_json = far.run("person", "erase", "--key", KEY, "--reason", "a letter", "--json")
    assert json.loads(as_json.output)["erasure_id"] == "e-1"


def test_one_name_is_needed_and_what_is_refused_is_said(far: Far) -> None:  # noqa: F811
    assert far.run("person", "export").exit_code == 2
    assert far.run("person", "erase", "--phone", "+919999900011", "--key", KEY, "--reason", "x").exit_code == 2
    assert far.asked == []
    far.answers["/api/v1/persons/export"] = (403, {"code": "ROLE_REQUIRED", "title": "The API key may not do this"})
    refused = far.run("person", "export", "--key", KEY)
    assert refused.exit_code == 1 and "ROLE_REQUIRED" in refused.output
    far.answers["/api/v1/persons/export"] = (200, {"names": "nobody's"})
    odd = far.run("person", "export", "--key", KEY)
    assert odd.exit_code == 2


@pytest.mark.req("B17")
@pytest.mark.parametrize(("name", "field"), [("+919999900011", "phone"), ("IN.20451873365519208877", "userId")])
def test_consent_is_recorded_by_phone_or_user_id(far: Far, name: str, field: str) -> None:  # noqa: F811
    far.answers["/api/v1/consent"] = (202, {"personKey": KEY})
    assert far.run("consent", "revoke", name).exit_code == 0
    assert json.loads(far.asked[0][3]) == {field: name, "standing": "opted_out", "purpose": "all", "proof": ""}
