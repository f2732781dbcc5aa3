"""Webhooks in the shapes that are published elsewhere, through the edge and the normaliser.

Meta's reference and changelog, open SDKs and their tests, and what providers forward show shapes beyond the samples of
fixtures/meta: retyped here with invented names and numbers, one file a family. fixtures/published/said.json says what
each must become (`tests.support.said`); what is well-formed and documented goes to no DLQ.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

import orjson
import pytest

from harkara.contracts.envelope import decode, encode
from harkara.contracts.event import Event
from harkara.contracts.identity import person_key
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import WEBHOOK_EVENTS, WEBHOOK_EVENTS_URGENT
from harkara.contracts.webhooks import InboundMessage, WebhookChange
from harkara.ingestion.addressing import Addresses
from harkara.ingestion.core import NotAWebhook, split
from harkara.ingestion.normalise import Normalised, normalise
from harkara.ingestion.records import RecordMaker
from harkara.policy.governance import Governance
from harkara.runtime.kafka import Output
from tests.support.said import said
from tests.support.webhook_pile import alone, packed
from tests.support.webhook_world import World
from tests.unit.ingestion.conftest import LONE, NOW, PAYLOADS, PEPPER, SECOND, Running

FOLDER = PAYLOADS.parents[1] / "published"
FAMILIES = ("accounts", "kept", "left", "messages", "statuses", "system", "templates")
BODIES: dict[str, dict[str, Any]] = {
    f"{family}/{name}": body
    for family in FAMILIES
    for name, body in json.loads((FOLDER / f"{family}.json").read_text("utf-8")).items()
}
TABLE: dict[str, list[str]] = json.loads((FOLDER / "said.json").read_text("utf-8"))


def written(body: dict[str, Any], governance: Governance) -> list[Output]:
    """What the edge writes of it: nothing of it is malformed."""
    found = RecordMaker(Addresses(governance), 6).records(orjson.dumps(body), NOW)
    assert (found.faults, found.mended) == (0, False)
    return [each for each in found.outputs if isinstance(each, Output)]


def normalised(body: dict[str, Any], governance: Governance) -> list[Normalised]:
    found = []
    for each in written(body, governance):
        assert each.topic in (WEBHOOK_EVENTS, WEBHOOK_EVENTS_URGENT) and isinstance(each.event, WebhookChange)
        found.append(normalise(each.event, each.id, governance, PEPPER))
    return found


def events(body: dict[str, Any], governance: Governance) -> list[Event]:
    return [emission.event for each in normalised(body, governance) for emission in each.emissions]


def test_the_table_has_every_shape() -> None:
    assert sorted(TABLE) == sorted(BODIES)
    assert len(BODIES) >= 150


@pytest.mark.req("WHK-2", "WHK-3", "WHK-11", "TPL-3")
@pytest.mark.parametrize("name", BODIES)
def test_a_shape_published_elsewhere_becomes_these_events(governance: Governance, name: str) -> None:
    found = normalised(BODIES[name], governance)
    left = [f"LEFT {reason}" for each in found for reason, _ in each.left]
    assert [*said(event for each in found for event in (e.event for e in each.emissions)), *left] == TABLE[name]
    assert left == [] or name.startswith("left/"), "well-formed and documented"


@pytest.mark.req("WHK-1", "WHK-7")
async def test_the_edge_takes_every_shape(running: Running, governance: Governance) -> None:
    for name, body in BODIES.items():
        running.log.written.clear()
        answer = await running.webhook(orjson.dumps(body))
        assert (answer.status_code, running.log.raw()) == (200, []), name
        assert [each.id for each in running.log.written if isinstance(each, Output)] == [
            each.id for each in written(body, governance)
        ]


@pytest.mark.parametrize("name", [name for name in BODIES if name.startswith(("messages/", "statuses/", "system/"))])
def test_what_a_person_does_is_kept_under_the_number_it_was_done_to(governance: Governance, name: str) -> None:
    for each in written(BODIES[name], governance):
        assert isinstance(each.event, WebhookChange)
        assert each.key == (SECOND if each.event.value["metadata"]["phone_number_id"] == SECOND else LONE)


def test_a_message_in_a_group_opens_nobodys_own_window(governance: Governance) -> None:
    (message,) = events(BODIES["messages/text_in_a_group"], governance)
    assert isinstance(message, InboundMessage)
    assert message.group_id == "Y2FwaV9ncm91cDoxMjAyNTU1MDE0MzoxMjAzNjM0MDQ2"


def test_what_is_asked_about_and_what_was_answered_are_kept(governance: Governance) -> None:
    def only(name: str) -> InboundMessage:
        found = events(BODIES[f"messages/{name}"], governance)
        return next(each for each in found if isinstance(each, InboundMessage))

    product = only("text_reply_about_a_product").product
    assert product is not None and (product.catalog_id, product.product) == ("194836987003835", "sku-77")
    answered = only("interactive_call_permission_rejected")
    assert answered.form is not None and json.loads(answered.form)["response"] == "reject"
    voice = only("voice_as_its_own_type").media
    assert voice is not None and voice.voice
    referral = only("text_with_the_referral_in_its_context").referral
    assert referral is not None and referral.source_id == "120000002"


@pytest.mark.req("WHK-15")
def test_a_group_is_nobody_and_its_member_is_somebody_by_any_spelling(governance: Governance) -> None:
    spelled = ("read_in_a_group", "delivered_in_a_group_by_the_other_spelling")
    for name in spelled:
        status = events(BODIES[f"statuses/{name}"], governance)[0]
        assert isinstance(status, MessageLifecycle)
        assert status.reached_key == person_key(PEPPER, "919999900031")
    status = events(BODIES["statuses/delivered_in_a_group_without_the_word"], governance)[0]
    assert isinstance(status, MessageLifecycle) and status.reached_key is None


def test_both_ways_to_tell_of_another_user_id_say_the_same(governance: Governance) -> None:
    """As a field of its own, as a `system` message, and as one that calls the new id `new_user_id`."""
    names = ("changed_user_id", "changed_user_id_by_another_spelling", "user_id_update_without_phone_and_with_parents")
    told = [events(BODIES[f"system/{name}"], governance)[-1] for name in names]
    assert told[0] == told[1] == told[2]
    assert isinstance(told[0], PersonAlias) and told[0].kind == "user_id_changed"


def test_every_event_survives_the_wire(governance: Governance) -> None:
    for name, body in BODIES.items():
        for found in normalised(body, governance):
            for each in found.emissions:
                value, headers = encode(each.event, event_id=each.id, source="ingestion", time=NOW)
                assert decode(each.topic.events, value, headers, fallback_id="none").event == each.event, name


def test_a_payments_failure_ends_no_message(governance: Governance) -> None:
    assert events(BODIES["statuses/payment_failed_is_no_failure_of_a_message"], governance) == []


def of_its_own(place: int, body: dict[str, Any]) -> dict[str, Any]:
    """The webhook about people whom no other one is about: what is known of a person would join otherwise."""
    text = json.dumps(body)
    for known, tail in (("919999900031", 10_000), ("919999900032", 20_000), ("919999900033", 30_000)):
        text = text.replace(known, f"9199999{tail + place:05}")
    for user_id in ("7731208655302741918", "9957120865530274100", "558157992128868448"):
        text = text.replace(user_id, f"{user_id[:10]}{place:04}")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.req("WHK-5", "WHK-6")
def test_any_order_any_batch_and_twice_is_the_same(governance: Governance) -> None:
    """Also of what is known of the numbers, though Meta's notices about them are of the same second."""
    apart = "accounts/username_deleted_without_time"  # its webhook is all that its event is told by
    usual = {name: body for name, body in BODIES.items() if "object" in body and name != apart}
    whole = {name: body for name, body in usual.items() if not name.startswith("left/")}
    pile = [update for place, body in enumerate(whole.values()) for update in alone(of_its_own(place, body))]
    one_by_one = World(governance, PEPPER, NOW)
    for update in pile:
        one_by_one.take(update)
    expected = one_by_one.ends()
    assert expected["waiting"] and expected["aliases"] and expected["numbers"] and expected["consent"]
    for seed in range(6):
        chance = Random(seed)
        shuffled = pile + pile
        chance.shuffle(shuffled)
        world = World(governance, PEPPER, NOW)
        for body in packed(shuffled) if seed % 2 else shuffled:
            world.take(body)
        found = world.ends()
        for name, end in expected.items():
            assert found[name] == end, f"{name} differs with seed {seed}"


@pytest.mark.parametrize("object", ["page", "instagram", "", 7])
def test_another_products_webhook_is_none_of_ours(object: object) -> None:
    with pytest.raises(NotAWebhook):
        split({"object": object, "entry": []}, "digest", 1, NOW)
