"""Under whose key a change is kept."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harkara.ingestion.addressing import Address, Addresses
from harkara.ingestion.records import RecordMaker
from harkara.policy.governance import Governance
from harkara.runtime.kafka import Output
from tests.unit.ingestion.conftest import FIRST, LONE, NOW, SECOND, payload

BOTH, ALONE, PORTFOLIO = "112233445566778", "112233445566779", "998877665544332"  # accounts of two numbers and of one
CASES: list[tuple[str, dict[str, Any], Address]] = [
    (BOTH, {"metadata": {"phone_number_id": LONE}}, Address(LONE)),
    (BOTH, {"metadata": {"phone_number_id": int(FIRST)}}, Address(FIRST)),
    (BOTH, {"metadata": {"phone_number_id": "1"}}, Address("1", "number")),
    (BOTH, {"metadata": {"display_phone_number": "919999900002"}}, Address(FIRST)),
    (BOTH, {"display_phone_number": "+91 99999-00003"}, Address(SECOND)),
    (BOTH, {"display_phone_number": 12025550143}, Address(LONE)),
    (BOTH, {"display_phone_number": "919999900999"}, Address(BOTH, "number")),
    (ALONE, {"display_phone_number": "919999900999"}, Address(ALONE, "number")),
    (BOTH, {"entity_type": "PHONE_NUMBER", "entity_id": SECOND}, Address(SECOND)),
    (BOTH, {"entity_type": "PHONE_NUMBER", "entity_id": 5}, Address("5", "number")),
    (PORTFOLIO, {"entity_type": "BUSINESS", "entity_id": PORTFOLIO}, Address(PORTFOLIO)),
    (BOTH, {"event": "VERIFIED_ACCOUNT"}, Address(BOTH)),
    (ALONE, {"event": "VERIFIED_ACCOUNT"}, Address(SECOND)),
    (PORTFOLIO, {"event": "PARTNER_REMOVED", "waba_info": {"waba_id": ALONE}}, Address(SECOND)),
    ("7", {"event": "PARTNER_ADDED", "waba_info": {"waba_id": "8"}}, Address("8", "account")),
    ("7", {"metadata": None, "waba_info": "x"}, Address("7", "account")),
    ("", {}, Address("nameless", "account")),
    ("0", {"metadata": {"phone_number_id": "123456123"}}, Address("123456123")),
    ("0", {"display_phone_number": "16505551111"}, Address("0")),
]


@pytest.mark.parametrize(("entry_id", "value", "expected"), CASES)
def test_the_key_of_a_change(governance: Governance, entry_id: str, value: dict[str, Any], expected: Address) -> None:
    assert Addresses(governance).of(entry_id, value) == expected


@pytest.mark.parametrize(
    "name",
    ["webhook_phone_quality_throughput_upgrade.json", "webhook_security_pin_changed.json"],
)
def test_a_numbers_notices_are_kept_beside_its_messages(governance: Governance, name: str) -> None:
    found = RecordMaker(Addresses(governance), 6).records(orjson.dumps(payload(name)), NOW)
    assert {each.key for each in found.outputs if isinstance(each, Output)} == {LONE}
    assert not found.unmapped


def test_what_is_not_ours_is_counted_and_kept(governance: Governance) -> None:
    change = {"field": "messages", "value": {"metadata": {"phone_number_id": "1"}}}
    entries = [{"id": "5", "changes": [change, change, {"field": "account_update", "value": {}}]}]
    raw = orjson.dumps({"object": "whatsapp_business_account", "entry": entries})
    found = RecordMaker(Addresses(governance), 6).records(raw, NOW)
    assert found.unmapped == {"number": 2, "account": 1}
    assert [each.key for each in found.outputs] == ["1", "1", "5"]
