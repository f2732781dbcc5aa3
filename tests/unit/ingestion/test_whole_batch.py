"""Meta's greatest batch, from the edge through the normaliser: what is malformed costs itself alone."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import orjson
import pytest

from harkara.contracts.topics import MESSAGE_LIFECYCLE
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.addressing import Addresses
from harkara.ingestion.edge import BODY_LIMITS, WEBHOOK_PATH
from harkara.ingestion.normalise import normalise
from harkara.ingestion.records import RecordMaker
from harkara.policy.governance import Governance, load
from harkara.runtime.kafka import Output, RawOutput
from tests.support.whole_batch import MALFORMED, POLICY, SOUND, Shape, whole_batch
from tests.unit.ingestion.conftest import NOW, PEPPER


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Governance:
    """Twelve numbers in three accounts."""
    path = tmp_path_factory.mktemp("governance") / "governance.yaml"
    path.write_text(POLICY)
    return load(path)


@pytest.mark.req("B5")
@pytest.mark.parametrize("shape", ["single", "per number", "3 MB"])
def test_of_1000_updates_over_12_numbers_997_are_applied_and_3_are_kept_with_reasons(
    twelve: Governance, shape: Shape
) -> None:
    raw = whole_batch(shape)
    assert (len(raw) > 2_800_000) == (shape == "3 MB")
    assert len(raw) <= BODY_LIMITS[WEBHOOK_PATH]
    records = RecordMaker(Addresses(twelve), 6).records(raw, NOW)
    assert not records.faults and not records.unmapped
    applied, kept = [], []
    for output in records.outputs:
        assert isinstance(output, Output) and isinstance(output.event, WebhookChange)
        assert output.key == output.event.value["metadata"]["phone_number_id"]
        found = normalise(output.event, output.id, twelve, PEPPER)
        applied += [each.event.model_dump()["wamid"] for each in found.emissions if each.topic is MESSAGE_LIFECYCLE]
        kept += [(reason, status) for reason, part in found.left for status in part.value["statuses"]]
    assert set(applied) == SOUND
    assert len(applied) == len(SOUND) == 997
    assert sorted((status for _, status in kept), key=orjson.dumps) == sorted(MALFORMED, key=orjson.dumps)
    assert all(reason for reason, _ in kept)


@pytest.mark.req("B5")
def test_no_cut_or_flipped_body_is_more_than_the_dlq_can_take(twelve: Governance) -> None:
    """Whatever a signed body holds, it becomes records: there is no answer 500."""
    random, raw, maker = Random(5), whole_batch("single")[:20_000], RecordMaker(Addresses(twelve), 6)
    for _ in range(300):
        broken = bytearray(raw)
        for _ in range(random.randrange(1, 6)):
            broken[random.randrange(len(broken))] = random.randrange(256)
        found = maker.records(bytes(broken[: random.randrange(len(broken))]), NOW)
        assert found.outputs
        assert all(isinstance(each, RawOutput) for each in found.outputs) == bool(found.faults)


@pytest.mark.parametrize(
    "value",
    [
        {"metadata": []}, {"metadata": {"phone_number_id": {}}}, {"statuses": {}}, {"statuses": [None, 5, "x", []]},
        {"display_phone_number": ["x"]}, {"waba_info": 7}, {"entity_type": "PHONE_NUMBER", "entity_id": None},
        {"messages": 10**30}, {"metadata": {"phone_number_id": True}}, {"metadata": {"display_phone_number": 1.5}},
    ],
)  # fmt: skip
def test_a_change_of_any_shape_is_kept(twelve: Governance, value: dict[str, Any]) -> None:
    entry = {"id": None, "time": "x", "changes": [{"field": "", "value": value}]}
    raw = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    assert len(RecordMaker(Addresses(twelve), 6).records(raw, NOW).outputs) == 1
