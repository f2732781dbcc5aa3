"""Every sample of Meta's webhooks, through the edge's split and the normaliser, against what it must become.

The table is tests/fixtures/meta/said.json: per file one line per event (`tests.support.said`), `LEFT` and the
reason for what goes to the DLQ. The details of each kind are in test_normalise.py,
test_inbound.py and test_template_notices.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from harkara.contracts.envelope import decode, encode
from harkara.contracts.topics import (
    CONSENT_EVENTS,
    INBOUND_MESSAGES,
    MESSAGE_LIFECYCLE,
    NUMBER_EVENTS,
    PERSON_IDENTITIES,
    SERVICE_WINDOWS,
    TEMPLATE_EVENTS,
)
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.core import Emission, split
from harkara.ingestion.normalise import normalise
from harkara.policy.governance import Governance
from tests.support.said import said
from tests.unit.ingestion.conftest import NOW, PAYLOADS, PEPPER, WEBHOOK_FILES, bodies

TABLE: dict[str, list[str]] = json.loads((PAYLOADS.parent / "said.json").read_text("utf-8"))
TOPIC_OF = {
    "inbound": INBOUND_MESSAGES, "window": SERVICE_WINDOWS, "alias": PERSON_IDENTITIES, "consent": CONSENT_EVENTS,
    "number": NUMBER_EVENTS, "template": TEMPLATE_EVENTS,
}  # fmt: skip
"""Any other first word is a status."""
EFFECTS = {"sent", "delivered", "read", "played", "failed"}
WITH_STATUSES = [name for name, lines in TABLE.items() if {line.split()[0] for line in lines} & EFFECTS]


def outcome(name: str, governance: Governance) -> tuple[list[Emission], list[str]]:
    emissions: list[Emission] = []
    left: list[str] = []
    for body in bodies(name):
        changes, faults = split(body, "digest", 1000, NOW)
        assert faults == []
        for change in changes:
            assert isinstance(change.event, WebhookChange)
            found = normalise(change.event, change.id, governance, PEPPER)
            emissions += found.emissions
            left += [f"LEFT {reason}" for reason, _ in found.left]
    return emissions, left


def test_the_table_has_every_sample() -> None:
    assert sorted(TABLE) == WEBHOOK_FILES


@pytest.mark.req("WHK-2", "WHK-3", "WHK-11", "WHK-15", "TPL-3")
@pytest.mark.parametrize("name", WEBHOOK_FILES)
def test_a_sample_becomes_these_events(governance: Governance, name: str) -> None:
    emissions, left = outcome(name, governance)
    assert [*said(each.event for each in emissions), *left] == TABLE[name]


@pytest.mark.parametrize("name", WEBHOOK_FILES)
def test_each_event_is_on_its_topic_and_comes_back_equal(governance: Governance, name: str) -> None:
    emissions, _ = outcome(name, governance)
    for line, each in zip(TABLE[name], emissions, strict=False):
        assert each.topic is TOPIC_OF.get(line.split()[0], MESSAGE_LIFECYCLE)
        value, headers = encode(each.event, event_id=each.id, source="ingestion", time=NOW)
        assert decode(each.topic.events, value, headers, fallback_id="none").event == each.event
        assert each.key and each.partition_key


def _without(value: Any, *names: str) -> Any:
    """The value without these optional keys, wherever they stand."""
    if isinstance(value, dict):
        return {key: _without(part, *names) for key, part in value.items() if key not in names}
    return [_without(part, *names) for part in value] if isinstance(value, list) else value


def _with_more(value: Any) -> Any:
    """The value with a key that nobody knows in every object."""
    if isinstance(value, dict):
        return {key: _with_more(part) for key, part in value.items()} | {"a_key_of_2028": {"x": [1]}}
    return [_with_more(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", WEBHOOK_FILES)
def test_a_key_that_nobody_knows_changes_nothing(governance: Governance, name: str) -> None:
    plain, left = outcome(name, governance)
    more: list[Emission] = []
    reasons: list[str] = []
    for body in bodies(name):
        for entry in body["entry"]:
            entry["changes"] = [change | {"value": _with_more(change["value"])} for change in entry["changes"]]
        for change in split(body, "digest", 1000, NOW)[0]:
            assert isinstance(change.event, WebhookChange)
            found = normalise(change.event, change.id, governance, PEPPER)
            more, reasons = more + found.emissions, reasons + [f"LEFT {reason}" for reason, _ in found.left]
    assert reasons == left
    assert [(each.topic.name, each.key, each.event) for each in more] == [
        (each.topic.name, each.key, each.event) for each in plain
    ]


@pytest.mark.parametrize("name", WITH_STATUSES)
@pytest.mark.parametrize(
    "missing",
    [
        ("contacts",), ("profile",), ("wa_id",), ("recipient_id",), ("pricing",), ("conversation",),
        ("display_phone_number",), ("phone_number_id",), ("messaging_product",), ("title", "message", "href"),
        ("error_data",), ("biz_opaque_callback_data",),
    ],
    ids="-".join,
)  # fmt: skip
def test_what_is_left_out_loses_no_status(governance: Governance, name: str, missing: tuple[str, ...]) -> None:
    if name == "webhook_status_batch_many.json" and "phone_number_id" in missing:
        return  # its second number is displayed otherwise in the governance file of these tests
    expected = [line.split()[0] for line in TABLE[name] if line.split()[0] in EFFECTS]
    found: list[str] = []
    for body in bodies(name):
        for change in split(_without(body, *missing), "digest", 1000, NOW)[0]:
            assert isinstance(change.event, WebhookChange)
            events = [each.event for each in normalise(change.event, change.id, governance, PEPPER).emissions]
            found += [line.split()[0] for line in said(events) if line.split()[0] in EFFECTS]
    assert found == expected
