"""Meta's notices about templates: each word as what it means, ids as texts, times in either form (TPL-3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.templates import TemplateEvent
from harkara.policy.governance import Governance
from tests.unit.ingestion.conftest import payload
from tests.unit.ingestion.test_normalise import AT, applied, notice

TEMPLATE = {"message_template_id": 2**53 + 1, "message_template_name": "t_1", "message_template_language": "en-US"}
THEN = datetime.fromtimestamp(AT, UTC)


def told(governance: Governance, field: str, **value: Any) -> TemplateEvent:
    (found,) = applied(notice(field, TEMPLATE | value), governance)
    (emission,) = found.emissions
    assert isinstance(emission.event, TemplateEvent)
    assert (emission.partition_key, emission.key) == ("112233445566778", "112233445566778/t_1/en_US")
    return emission.event


@pytest.mark.req("TPL-3")
@pytest.mark.parametrize(
    ("event", "status"),
    [("APPROVED", "APPROVED"), ("paused", "PAUSED"), ("REINSTATED", "APPROVED"), ("UNARCHIVED", "APPROVED"),
     ("FLAGGED", None), ("DISABLED", "DISABLED"), ("PENDING_DELETION", "PENDING_DELETION"), ("LOCKED", "LOCKED")],
)  # fmt: skip
def test_what_a_template_is_after_each_event(governance: Governance, event: str, status: str | None) -> None:
    found = told(governance, "message_template_status_update", event=event)
    assert (found.kind, found.event, found.status, found.at) == ("status", event.upper(), status, THEN)
    assert found.template_id == str(2**53 + 1), "ids are texts: no reader rounds them"


@pytest.mark.req("TPL-3")
@pytest.mark.parametrize(("title", "hours"), [("FIRST_PAUSE", 3), ("SECOND_PAUSE", 6), ("RATE_LIMITING_PAUSE", None)])
def test_a_pause_says_until_when_where_meta_does(governance: Governance, title: str, hours: int | None) -> None:
    found = told(governance, "message_template_status_update", event="PAUSED", other_info={"title": title})
    assert found.title == title
    assert found.until == (None if hours is None else THEN + timedelta(hours=hours))


@pytest.mark.parametrize("date", [AT, str(AT), AT * 1000])
def test_a_disabling_says_when_as_a_number_or_a_text(governance: Governance, date: object) -> None:
    info = {"disable_date": date}
    assert told(governance, "message_template_status_update", event="DISABLED", disable_info=info).disable_at == THEN


@pytest.mark.parametrize("field", ["message_template_quality_update", "message_template_status_update"])
def test_a_quality_may_come_under_either_field(governance: Governance, field: str) -> None:
    found = told(governance, field, previous_quality_score="GREEN", new_quality_score="RED")
    assert (found.kind, found.quality, found.previous_quality) == ("quality", "RED", "GREEN")


def test_in_a_notice_of_a_change_to_come_the_new_category_is_the_one_now(governance: Governance) -> None:
    to_come = {"correct_category": "MARKETING", "new_category": "UTILITY", "category_update_timestamp": AT + 60}
    found = told(governance, "template_category_update", **to_come)
    assert (found.category, found.correct_category) == ("UTILITY", "MARKETING")
    assert found.effective_at == THEN + timedelta(seconds=60)


def test_a_rejection_says_why_and_no_number_in_it_is_kept(governance: Governance) -> None:
    info = {"reason": "Call 919999900011", "recommendation": "Leave the number out"}
    found = told(
        governance, "message_template_status_update", event="REJECTED", reason="INVALID_FORMAT", rejection_info=info
    )
    assert found.reason is not None and found.reason.code == "INVALID_FORMAT"
    assert found.reason.details["recommendation"] == "Leave the number out"
    assert "9999900011" not in found.model_dump_json()


def test_the_wording_comes_with_its_buttons(governance: Governance) -> None:
    (found,) = applied(payload("webhook_template_components_update.json"), governance)
    event = found.emissions[0].event
    assert isinstance(event, TemplateEvent) and event.text is not None
    assert event.text.body and event.text.title and event.text.footer
    assert [(b.type, b.text, bool(b.url)) for b in event.text.buttons] == [("URL", "Track", True)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_template_status_update", {"event": "TRANSCENDED"}), ("message_template_status_update", {}),
        ("message_template_status_update", {"event": ["APPROVED"]}), ("template_category_update", {}),
        ("message_template_quality_update", {"new_quality_score": "PURPLE"}),
        ("message_template_status_update", {"event": "APPROVED", "message_template_name": None}),
        ("message_template_status_update", {"event": "APPROVED", "message_template_language": ""}),
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_with_its_bytes(governance: Governance, field: str, value: dict[str, Any]) -> None:
    (found,) = applied(notice(field, TEMPLATE | value), governance)
    assert found.outcome == "quarantined" and found.whole
    assert found.left[0][1].value == TEMPLATE | value


def test_meta_saying_the_same_again_is_the_same_event(governance: Governance) -> None:
    body = notice("message_template_status_update", TEMPLATE | {"event": "APPROVED"})
    again = body | {"entry": body["entry"] * 2}
    first, second = applied(again, governance)
    assert first.emissions[0].id == second.emissions[0].id
