"""The mapping tables while the service runs: numbers' displays and accounts are the changed policy's, at once."""

from __future__ import annotations

import orjson
import pytest

from harkara.contracts.envelope import Envelope
from harkara.contracts.numbers import NumberEvent
from harkara.contracts.topics import WEBHOOK_EVENTS
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.addressing import Addresses
from harkara.ingestion.app import following
from harkara.ingestion.people import Told
from harkara.ingestion.records import RecordMaker
from harkara.policy.governance import Governance
from harkara.policy.reload import needs_restart
from harkara.runtime.kafka import Output
from harkara.runtime.loop import Incoming, Refused
from tests.support.replay import PARTITIONS
from tests.unit.ingestion.conftest import LONE, NOW, PEPPER, Running

DISPLAY = "+919999900042"
NOTICE = {"display_phone_number": "919999900042", "event": "FLAGGED"}
RAW = orjson.dumps({"entry": [{"id": "77777", "changes": [{"field": "phone_number_quality_update", "value": NOTICE}]}]})


def displayed_otherwise(governance: Governance) -> Governance:
    """The lone number has another display, in another account, of the same portfolio."""
    changed = [
        each.model_copy(update={"display_phone_number": DISPLAY, "waba_id": "77777"})
        if each.phone_number_id == LONE
        else each
        for each in governance.numbers
    ]
    document = governance.model_dump(mode="json", exclude_defaults=True)
    return Governance.model_validate(document | {"numbers": [each.model_dump(mode="json") for each in changed]})


def test_what_maps_may_change_while_it_runs(governance: Governance) -> None:
    assert needs_restart(governance, displayed_otherwise(governance)) == []


def test_the_edge_keys_a_change_by_the_policy_in_force(governance: Governance) -> None:
    maker = RecordMaker(Addresses(governance), PARTITIONS)
    before = maker.records(RAW, NOW)
    assert before.unmapped == {"number": 1}
    maker.follow(displayed_otherwise(governance))
    after = maker.records(RAW, NOW)
    assert [each.key for each in after.outputs if isinstance(each, Output)] == [LONE]
    assert not after.unmapped


def test_the_normaliser_maps_by_the_policy_in_force(governance: Governance) -> None:
    policies = [governance]
    decide = following(lambda: policies[-1], PEPPER, Told())
    change = WebhookChange(entry_id="77777", field="phone_number_quality_update", value=NOTICE, received_at=NOW)
    incoming = Incoming(WEBHOOK_EVENTS, 0, 0, b"77777", b"", [], NOW, Envelope(change, "e-1", "edge", NOW, None, None))
    with pytest.raises(Refused, match="does not know"):
        list(decide(incoming))
    policies.append(displayed_otherwise(governance))
    (output,) = decide(incoming)
    assert isinstance(output.event, NumberEvent) and output.event.phone_number_id == LONE


async def test_a_request_names_its_sender_by_the_display_of_now(running: Running, governance: Governance) -> None:
    body = {"to": "+919999900011", "message": "hello", "phone": DISPLAY}
    assert (await running.post("/api/v1/send", body)).status_code == 422
    running.api.follow(displayed_otherwise(governance))
    answer = await running.post("/api/v1/send", body)
    assert (answer.status_code, answer.json()["sender"]) == (202, LONE)
