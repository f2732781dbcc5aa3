"""Samples with something left out, of another type or added: nothing raises, and what stands beside it is applied."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harkara.contracts.envelope import decode, encode
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.webhooks import WebhookChange
from harkara.ingestion.core import split
from harkara.ingestion.normalise import normalise
from harkara.policy.governance import Governance
from tests.unit.ingestion.conftest import LONE, NOW, PEPPER, WEBHOOK_FILES, bodies
from tests.unit.ingestion.test_normalise import status

SAMPLES = [body for name in WEBHOOK_FILES for body in bodies(name)]
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 10**9, 10**10, 10**18, 2**70, 1.5, -0.0, 1e300, "", " ", "x", "0", "-1", "1795156200",
    "9999999999", "99999999999999", "TIER_2K", "sent", "\x00", "\u202e", "a" * 5000, "919999900011", "IN.1", [], [[]],
    {}, {"a": {}}, [{}], ["sent"], [None], {"id": 1}, [{"code": "131050"}], {"type": "text"},
]  # fmt: skip
NEIGHBOUR = status(id="wamid.beside", biz_opaque_callback_data="m-neighbour.1")
QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400, deadline=None)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a value."""
    found = [at] if at else []
    if isinstance(value, dict):
        found += [path for key, part in value.items() for path in paths(part, (*at, key))]
    if isinstance(value, list):
        found += [path for place, part in enumerate(value) for path in paths(part, (*at, place))]
    return found


def changed(value: Any, data: st.DataObject) -> None:
    """Leave out, change or add something, somewhere in the value."""
    path = data.draw(st.sampled_from(paths(value)))
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    match data.draw(st.sampled_from(["drop", "type", "add"])):
        case "drop":
            del holder[path[-1]]
        case "type":
            holder[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
        case _ if isinstance(holder, dict):
            holder[data.draw(st.text(max_size=8))] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
        case _:
            holder.append(copy.deepcopy(data.draw(st.sampled_from(ODD))))


def steps(change: dict[str, Any], governance: Governance) -> list[MessageLifecycle]:
    """The statuses that come of a change; everything that comes of it can be written and read."""
    body = {"object": "whatsapp_business_account", "entry": [{"id": "112233445566778", "changes": [change]}]}
    found = []
    for each in split(body, "digest", 1000, NOW)[0]:
        assert isinstance(each.event, WebhookChange)
        made = normalise(each.event, each.id, governance, PEPPER)
        assert made.outcome in ("applied", "ignored", "quarantined", "partly")
        assert all(reason and reason.isprintable() for reason, _ in made.left)
        for one in made.emissions:
            value, headers = encode(one.event, event_id=one.id, source="test", time=NOW)
            decode(one.topic.events, value, headers, fallback_id="none")
            found += [one.event] if isinstance(one.event, MessageLifecycle) else []
    return found


@QUIET
@given(sample=st.sampled_from(SAMPLES), times=st.integers(1, 4), data=st.data())
def test_no_mutation_of_a_sample_raises(
    governance: Governance, sample: dict[str, Any], times: int, data: st.DataObject
) -> None:
    change = copy.deepcopy(sample["entry"][0]["changes"][0])
    for _ in range(times):
        if paths(change["value"]):
            changed(change["value"], data)
    steps(change, governance)


OF_MESSAGES = [sample["entry"][0]["changes"][0] for sample in SAMPLES]
OF_MESSAGES = [change for change in OF_MESSAGES if change["field"] == "messages"]


@QUIET
@given(sample=st.sampled_from(OF_MESSAGES), times=st.integers(1, 4), first=st.booleans(), data=st.data())
def test_no_mutation_of_an_item_loses_its_neighbour(
    governance: Governance, sample: dict[str, Any], times: int, first: bool, data: st.DataObject
) -> None:
    """In the same list or in another one of the same change, before or after it."""
    value = copy.deepcopy(sample["value"])
    value["metadata"] = {"phone_number_id": LONE}
    broken = {key: value[key] for key in ("statuses", "messages", "errors", "contacts") if key in value}
    for _ in range(times):
        if paths(broken):
            changed(broken, data)
    beside = broken.get("statuses", [])
    listed = beside if isinstance(beside, list) else [beside]
    value = {key: part for key, part in value.items() if key in ("metadata", "messaging_product")} | broken
    value["statuses"] = [NEIGHBOUR, *listed] if first else [*listed, NEIGHBOUR]
    found = steps({"field": "messages", "value": value}, governance)
    assert "m-neighbour" in [each.message_id for each in found]
