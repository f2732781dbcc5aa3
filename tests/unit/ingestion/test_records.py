"""What is written for a body, whatever its shape: something that can be written."""

from __future__ import annotations

import pytest

from harkara.contracts.envelope import encode
from harkara.ingestion.addressing import Addresses
from harkara.ingestion.records import RecordMaker
from harkara.policy.governance import Governance
from harkara.runtime.kafka import RawOutput
from tests.unit.ingestion.conftest import NOW


def nested(depth: int, field: str) -> bytes:
    deep = "[" * depth + "]" * depth
    change = f'{{"field": {field}, "value": {{"x": {deep}}}}}'
    return f'{{"object": "whatsapp_business_account", "entry": [{{"id": "1", "changes": [{change}]}}]}}'.encode()


@pytest.mark.parametrize("field", ['"messages"', "1"])
@pytest.mark.parametrize("depth", [*range(240, 260), 900, 5_000])
def test_a_body_as_deep_as_you_like_has_records_that_can_be_written(
    governance: Governance, depth: int, field: str
) -> None:
    raw = nested(depth, field)
    found = RecordMaker(Addresses(governance), 6).records(raw, NOW)
    (output,) = found.outputs
    if isinstance(output, RawOutput):
        assert found.faults == 1
        assert output.value is not None
        assert "[" * depth in output.value.decode()
    else:
        assert output.event is not None
        encode(output.event, event_id="e", source="s", time=NOW)
    if depth == 240 and field == '"messages"':
        assert not found.faults
