"""What people write: every kind with its parts; what is odd in a part is left out, never the message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.webhooks import InboundMessage, ServiceWindow
from harkara.policy.governance import Governance
from harkara.policy.known import Known
from tests.unit.ingestion.conftest import LONE, NOW, payload
from tests.unit.ingestion.test_normalise import AT, applied, events_of, messages

WRITTEN = {"from": "919999900011", "id": "wamid.1", "timestamp": str(AT)}


def message(governance: Governance, item: dict[str, Any]) -> InboundMessage:
    found = events_of(messages(messages=[WRITTEN | item]), governance)[0]
    assert isinstance(found, InboundMessage)
    return found


def sample(governance: Governance, name: str) -> InboundMessage:
    found = events_of(payload(f"webhook_inbound_{name}.json"), governance)[0]
    assert isinstance(found, InboundMessage)
    return found


@pytest.mark.req("WHK-15")
def test_a_file_comes_with_all_that_is_needed_to_fetch_it(governance: Governance) -> None:
    media = sample(governance, "document").media
    assert media is not None
    assert (media.id, media.mime_type, media.filename) == ("1029384756102939", "application/pdf", "invoice-221.pdf")
    assert media.sha256
    voice = sample(governance, "audio_voice").media
    assert voice is not None and voice.voice


@pytest.mark.req("WHK-15")
def test_a_place_a_reaction_an_edit_and_a_revocation(governance: Governance) -> None:
    place = sample(governance, "location").location
    assert place is not None and (place.latitude, place.longitude, place.name) == (18.5204, 73.8567, "Shop 4")
    reaction = sample(governance, "reaction")
    assert reaction.emoji == "\N{THUMBS UP SIGN}" and reaction.context_wamid
    edit, revoke = sample(governance, "edit"), sample(governance, "revoke")
    assert edit.original_wamid and edit.media and edit.text == "Is this the right size? (edited)"
    assert revoke.original_wamid and revoke.text is None


@pytest.mark.req("WHK-15")
def test_a_tap_names_what_was_tapped_on_and_a_form_what_was_filled_in(governance: Governance) -> None:
    assert sample(governance, "button_template_quick_reply").context_wamid
    reply = sample(governance, "interactive_list_reply")
    assert reply.subtype == "list_reply" and reply.text and reply.button_payload
    form = sample(governance, "interactive_nfm_reply").form
    assert form is not None and '"rating": "4"' in form


@pytest.mark.req("WHK-15")
def test_an_order_and_a_shared_contact(governance: Governance) -> None:
    items = [
        {"product_retailer_id": "kurta", "quantity": "2", "item_price": "899.50", "currency": "INR"},
        {"product_retailer_id": 7, "quantity": 1, "item_price": 10, "currency": None},
        {"quantity": 3}, "odd",
    ]  # fmt: skip
    order = message(governance, {"type": "order", "order": {"catalog_id": 5, "text": "soon", "product_items": items}})
    assert order.text == "soon" and order.order is not None and order.order.catalog_id == "5"
    assert [(i.product, i.quantity, i.price) for i in order.order.items] == [("kurta", 2, 899.5), ("7", 1, 10)]
    shared = [{"name": {"formatted_name": "Ravi"}, "phones": [{"phone": "+91 99999 00012"}, {"wa_id": "919999900013"}]}]
    (contact,) = message(governance, {"type": "contacts", "contacts": shared}).contacts
    assert (contact.name, contact.phones) == ("Ravi", ("+91 99999 00012", "919999900013"))


def test_what_meta_could_not_hand_on_says_why(governance: Governance) -> None:
    unsupported = sample(governance, "unsupported")
    assert (unsupported.subtype, [each.code for each in unsupported.errors]) == ("poll_creation", ["meta_131051"])


def test_the_advertisement_by_which_it_began_is_kept(governance: Governance) -> None:
    referral = sample(governance, "ctwa_referral").referral
    assert referral is not None and (referral.source_type, referral.ctwa_clid) == ("ad", "ARsampleclid")


def test_a_kind_never_seen_is_a_message_all_the_same(governance: Governance) -> None:
    (found,) = applied(messages(messages=[WRITTEN | {"type": "hologram", "hologram": {"caption": "look"}}]), governance)
    event = found.emissions[0].event
    assert isinstance(event, InboundMessage) and (event.kind, event.text) == ("hologram", "look")
    assert "kind" in found.unknown


@pytest.mark.parametrize(
    "item",
    [
        {"text": {"body": "hi"}}, {"type": "text", "text": "hi"}, {"type": "text"}, {"type": "image", "image": []},
        {"type": "location", "location": {"latitude": "north"}}, {"type": "order", "order": {"product_items": {}}},
        {"type": "reaction", "reaction": {"emoji": ""}}, {"type": "interactive", "interactive": {"type": ["x"]}},
        {"type": "contacts", "contacts": {}}, {"type": "system", "system": None},
        {"type": "edit", "edit": {"message": 1}},
        {"type": 5}, {"type": "text", "context": "x", "referral": [], "errors": "none"},
    ],
)  # fmt: skip
def test_what_is_odd_in_a_part_is_left_out_and_never_the_message(governance: Governance, item: dict[str, Any]) -> None:
    assert message(governance, item).wamid == "wamid.1"


@pytest.mark.req("RTW-1")
@pytest.mark.parametrize(("days", "opens"), [(0, True), (0.9, True), (1.1, False), (7, False)])
def test_what_was_written_long_ago_opens_no_window(governance: Governance, days: float, opens: bool) -> None:
    written = NOW - timedelta(days=days)
    events = events_of(
        messages(messages=[WRITTEN | {"timestamp": int(written.timestamp()), "type": "text"}]), governance
    )
    (window,) = [each for each in events if isinstance(each, ServiceWindow)]
    known = Known(lambda: NOW)
    known.apply(None, "", window)  # type: ignore[arg-type]  # the topic matters for tombstones alone
    assert bool(known.around(window.person_key, [LONE]).last_inbound_at) is opens


def test_a_clock_ahead_keeps_no_window_open_longer(governance: Governance) -> None:
    ahead = str(int((NOW + timedelta(hours=5)).timestamp()))
    events = events_of(messages(messages=[WRITTEN | {"timestamp": ahead, "type": "text"}]), governance)
    (window,) = [each for each in events if isinstance(each, ServiceWindow)]
    assert window.last_inbound_at == NOW


def test_the_only_contact_is_the_sender_where_the_message_names_none(governance: Governance) -> None:
    item = {"id": "wamid.1", "timestamp": AT, "type": "text", "text": {"body": "hi"}}
    found = events_of(messages(messages=[item], contacts=[{"wa_id": "919999900011"}]), governance)[0]
    assert found.from_phone == "+919999900011"
    (left,) = applied(messages(messages=[item], contacts=[{"wa_id": "1"}, {"wa_id": "2"}]), governance)
    assert left.outcome == "quarantined"


def test_the_time_is_metas(governance: Governance) -> None:
    assert message(governance, {"type": "text"}).sent_at == datetime.fromtimestamp(AT, UTC)
