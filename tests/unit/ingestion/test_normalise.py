"""What Meta's changes become, over every sample payload and the oddities that Meta is known for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from harkara.contracts.consent import ConsentEvent
from harkara.contracts.identity import person_key
from harkara.contracts.lifecycle import MessageLifecycle, advance
from harkara.contracts.numbers import NumberEvent
from harkara.contracts.persons import PersonAlias
from harkara.contracts.webhooks import InboundMessage, ServiceWindow, WebhookChange
from harkara.ingestion.core import split
from harkara.ingestion.normalise import Normalised, normalise
from harkara.policy.governance import Governance
from tests.unit.ingestion.conftest import LONE, NOW, PEPPER, SECOND, WEBHOOK_FILES, bodies, payload

AT = 1795156200
ASHA = person_key(PEPPER, "919999900011")


def applied(body: dict[str, Any], governance: Governance) -> list[Normalised]:
    emissions, faults = split(body, "digest", 1000, NOW)
    assert faults == []
    changes = [(each.event, each.id) for each in emissions]
    return [normalise(e, identity, governance, PEPPER) for e, identity in changes if isinstance(e, WebhookChange)]


def events_of(body: dict[str, Any], governance: Governance) -> list[Any]:
    """Without the links between names, which nearly every sample tells of: test_people.py looks at those."""
    events = [each.event for found in applied(body, governance) for each in found.emissions]
    return [event for event in events if not isinstance(event, PersonAlias)]


def messages(**value: Any) -> dict[str, Any]:
    base = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": LONE}}
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "112233445566778", "changes": [{"field": "messages", "value": base | value}]}],
    }


def notice(field: str, value: dict[str, Any]) -> dict[str, Any]:
    entry = {"id": "112233445566778", "time": AT, "changes": [{"field": field, "value": value}]}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def status(status: str = "sent", **more: Any) -> dict[str, Any]:
    return {"id": "wamid.1", "status": status, "timestamp": str(AT), "recipient_id": "919999900011"} | more


@pytest.mark.req("WHK-2", "WHK-3")
@pytest.mark.parametrize("name", WEBHOOK_FILES)
def test_every_sample_is_applied_kept_or_left_with_a_reason(governance: Governance, name: str) -> None:
    unknown = {"webhook_status_unknown_future_status.json", "webhook_unknown_field.json"}
    ignored = {"webhook_dashboard_test.json", "webhook_status_legacy_deleted.json"}
    for body in bodies(name):
        for found in applied(body, governance):
            if name in unknown:
                assert found.outcome == "quarantined"
                assert found.left[0][0]
            elif name in ignored:
                assert found.outcome == "ignored"
            else:
                assert found.outcome == "applied", found.left


@pytest.mark.parametrize("name", WEBHOOK_FILES)
def test_the_same_change_gives_the_same_events_with_the_same_ids(governance: Governance, name: str) -> None:
    for body in bodies(name):
        assert applied(body, governance) == applied(body, governance)


def test_a_status_is_a_step_of_the_message_that_our_mark_names(governance: Governance) -> None:
    pricing = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "utility"}
    item = status("delivered", biz_opaque_callback_data="m-abcdefgh.2", pricing=pricing)
    (found,) = applied(messages(statuses=[item]), governance)
    (emission,) = found.emissions
    event = emission.event
    assert isinstance(event, MessageLifecycle)
    assert (event.message_id, event.attempt, event.status, event.wamid) == ("m-abcdefgh", 2, "delivered", "wamid.1")
    assert (event.home, event.phone_number_id) == (LONE, LONE)
    assert event.at == datetime.fromtimestamp(AT, UTC)
    assert event.pricing is not None
    assert (event.pricing.model, event.pricing.billable) == ("PMP", True)
    assert (emission.partition_key, emission.subject) == (LONE, "m-abcdefgh")


@pytest.mark.parametrize("mark", [None, "", "v1:acme-retail:cmp-8841:msg-000001", "m-abcdefgh.0", 7, "x" * 600])
def test_a_status_without_our_mark_is_joined_by_its_wamid(governance: Governance, mark: object) -> None:
    (event,) = events_of(messages(statuses=[status(biz_opaque_callback_data=mark)]), governance)
    assert (event.message_id, event.attempt, event.wamid) == (None, 1, "wamid.1")


def test_a_number_of_a_pool_is_at_home_there(governance: Governance) -> None:
    body = messages(statuses=[status()], metadata={"phone_number_id": SECOND})
    (event,) = events_of(body, governance)
    assert (event.phone_number_id, event.home) == (SECOND, "advisors")


@pytest.mark.parametrize("name", [n for n in WEBHOOK_FILES if n.startswith("sequence_")])
@pytest.mark.req("WHK-4", "WHK-5", "WHK-6")
def test_a_sequence_ends_the_same_in_any_order_and_with_repetitions(governance: Governance, name: str) -> None:
    steps = [event for body in bodies(name) for event in events_of(body, governance)]
    steps = [event.model_copy(update={"message_id": "m-abcdefgh"}) for event in steps]

    def end(events: list[MessageLifecycle]) -> dict[str, Any]:
        state = None
        for event in events:
            state = advance(state, event)
        assert state is not None
        return {key: value for key, value in state.items() if key != "version"}

    assert end(steps) == end(steps[::-1]) == end(steps + steps)


def test_one_unknown_status_of_ten_leaves_nine_applied(governance: Governance) -> None:
    items = [status(id=f"wamid.{n}") for n in range(9)]
    items.insert(4, status("warning_acknowledged", id="wamid.odd"))
    (found,) = applied(messages(statuses=items), governance)
    assert found.outcome == "partly"
    assert [each.event.wamid for each in found.emissions if isinstance(each.event, MessageLifecycle)] == [
        f"wamid.{n}" for n in range(9)
    ]
    ((reason, part),) = found.left
    assert reason == "the status warning_acknowledged is not known"
    assert [each["id"] for each in part.value["statuses"]] == ["wamid.odd"]
    assert part.value["metadata"] == {"phone_number_id": LONE}
    assert found.unknown == ["status"]


@pytest.mark.req("WHK-3")
def test_of_a_thousand_updates_three_malformed_ones_are_left_each_with_its_reason(governance: Governance) -> None:
    items: list[Any] = [status(id=f"wamid.{n}", recipient_id=f"9199999{n:05}") for n in range(1000)]
    contacts = [{"wa_id": f"9199999{n:05}", "profile": {"name": "A"}} for n in range(1000)]
    items[3], items[500], items[999] = (
        "odd",
        status("evaporated", recipient_id="919999900500"),
        status(timestamp="soon"),
    )
    (found,) = applied(messages(statuses=items, contacts=contacts), governance)
    assert len([each for each in found.emissions if isinstance(each.event, MessageLifecycle)]) == 997
    assert [reason for reason, _ in found.left] == [
        "an item of statuses is not an object", "the status evaporated is not known",
        "the status has no id or no timestamp",
    ]  # fmt: skip
    assert [part.value["statuses"] for _, part in found.left] == [[items[3]], [items[500]], [items[999]]]
    assert [len(part.value.get("contacts", [])) for _, part in found.left] == [0, 1, 1], "theirs, not a thousand"


@pytest.mark.parametrize(
    "item",
    [
        7, None, {}, status(timestamp=None), status(timestamp="soon"), status(timestamp="-5"), status(timestamp=True),
        status(id=""), status(id=[5]), status() | {"status": ["sent"]}, status("<script>"), status(timestamp="9" * 40),
        {"status": "sent"},
    ],
)  # fmt: skip
def test_a_status_that_makes_no_sense_is_left_and_never_raises(governance: Governance, item: object) -> None:
    (found,) = applied(messages(statuses=[item, status()]), governance)
    assert len(found.emissions) == 1
    ((reason, part),) = found.left
    assert reason and "script" not in reason
    assert part.value["statuses"] == [item]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (str(AT), datetime.fromtimestamp(AT, UTC)),
        (AT, datetime.fromtimestamp(AT, UTC)),
        (f"{AT}123", datetime.fromtimestamp(AT + 0.123, UTC)),
        (AT * 1000, datetime.fromtimestamp(AT, UTC)),
        ("1504902988", datetime(2017, 9, 8, 20, 36, 28, tzinfo=UTC)),
    ],
)
def test_timestamps_are_seconds_or_milliseconds_and_old_ones_are_data(
    governance: Governance, given: object, expected: datetime
) -> None:
    (event,) = events_of(messages(statuses=[status(timestamp=given)]), governance)
    assert event.at == expected


def test_a_failure_says_why(governance: Governance) -> None:
    (event,) = events_of(payload("webhook_status_failed_131026.json"), governance)
    assert (event.status, event.error_code, event.reason.code) == ("failed", 131026, "meta_131026")
    assert event.reason.text


def test_of_several_errors_the_one_that_holds_most_is_told_and_all_are_kept(governance: Governance) -> None:
    errors = [{"code": 131026, "title": "a"}, {"code": 131042, "title": "b"}, {"title": "no code"}, "odd"]
    (event,) = events_of(messages(statuses=[status("failed", errors=errors)]), governance)
    assert (event.error_code, event.reason.text) == (131042, "b")
    assert event.reason.details == {"errors": "131042,131026"}


def test_a_failure_without_errors_is_still_a_failure(governance: Governance) -> None:
    (event,) = events_of(messages(statuses=[status("failed")]), governance)
    assert (event.status, event.error_code, event.reason.code) == ("failed", None, "meta_unstated")


def test_no_number_of_a_person_gets_into_a_reason(governance: Governance) -> None:
    errors = [{"code": 131026, "title": "Message to 919999900011 undeliverable"}]
    (event,) = events_of(messages(statuses=[status("failed", errors=errors)]), governance)
    assert "9999900011" not in event.model_dump_json()


@pytest.mark.req("CMP-6")
def test_131050_is_an_opt_out_of_marketing(governance: Governance) -> None:
    step, consent = events_of(payload("webhook_status_failed_131050.json"), governance)
    assert isinstance(step, MessageLifecycle)
    assert isinstance(consent, ConsentEvent)
    assert (consent.standing, consent.purpose, consent.source) == ("opted_out", "marketing", "meta_error")
    assert consent.person_key == person_key(PEPPER, "919999900014")
    assert consent.at == step.at


@pytest.mark.req("CMP-6")
@pytest.mark.parametrize(("word", "standing"), [("stop", "opted_out"), ("resume", "opted_in"), ("signup", "opted_in")])
def test_a_preference_is_a_persons_own_word(governance: Governance, word: str, standing: str) -> None:
    (found,) = applied(payload(f"webhook_user_preferences_{word}.json"), governance)
    ((emission, event), (_, alias)) = [(each, each.event) for each in found.emissions]
    assert isinstance(alias, PersonAlias)
    assert isinstance(event, ConsentEvent)
    assert (event.standing, event.purpose, event.source) == (standing, "marketing", "meta_preference")
    assert emission.partition_key == emission.key == event.person_key


def test_a_preference_never_seen_is_left(governance: Governance) -> None:
    body = payload("webhook_user_preferences_stop.json")
    body["entry"][0]["changes"][0]["value"]["user_preferences"][0]["value"] = "snooze"
    (found,) = applied(body, governance)
    assert found.outcome == "quarantined"


def test_what_a_person_writes_opens_the_window_of_that_number(governance: Governance) -> None:
    (found,) = applied(payload("webhook_inbound_text.json"), governance)
    message, window, _ = (each.event for each in found.emissions)
    assert isinstance(message, InboundMessage)
    assert isinstance(window, ServiceWindow)
    assert (message.from_phone, message.person_key, message.kind) == ("+919999900011", ASHA, "text")
    assert (window.phone_number_id, window.person_key) == (LONE, ASHA)
    assert window.last_inbound_at == message.sent_at
    assert found.emissions[1].key == f"{LONE}:{ASHA}"
    assert found.emissions[1].partition_key == LONE


@pytest.mark.parametrize(
    ("name", "kind", "text", "payload_", "opens"),
    [
        ("text_stop_english", "text", "stop", None, True),
        ("button_template_quick_reply", "button", "stop promotions", "OPTOUT|v1|cmp-8841", True),
        ("edit", "edit", "is this the right size? (edited)", None, False),
        ("revoke", "revoke", None, None, False),
        ("reaction", "reaction", None, None, False),
        ("system_number_change", "system", None, None, False),
        ("location", "location", None, None, True),
        ("unsupported", "unsupported", None, None, True),
        ("sticker", "sticker", None, None, True),
    ],
)
def test_each_kind_of_inbound_message(
    governance: Governance, name: str, kind: str, text: str | None, payload_: str | None, opens: bool
) -> None:
    events = events_of(payload(f"webhook_inbound_{name}.json"), governance)
    message = events[0]
    assert (message.kind, message.button_payload) == (kind, payload_)
    assert (message.text and message.text.strip().lower()) == text
    assert any(isinstance(each, ServiceWindow) for each in events) is opens


def test_a_tapped_reply_is_its_title_and_its_id(governance: Governance) -> None:
    message = events_of(payload("webhook_inbound_interactive_button_reply.json"), governance)[0]
    assert message.text and message.button_payload


@pytest.mark.parametrize("name", ["text_bsuid_only", "text_bsuid_in_from"])
def test_a_person_without_a_phone_is_known_by_the_user_id(governance: Governance, name: str) -> None:
    message = events_of(payload(f"webhook_inbound_{name}.json"), governance)[0]
    assert message.from_phone is None
    assert len(message.person_key) == 32


def test_an_unknown_number_is_left_whole(governance: Governance) -> None:
    (found,) = applied(messages(statuses=[status()], metadata={"phone_number_id": "1"}), governance)
    assert (found.outcome, found.unknown) == ("quarantined", ["number"])
    assert found.left[0][1].value["statuses"] == [status()]


@pytest.mark.parametrize("value", [{}, {"statuses": {}}, {"statuses": None}, {"brand_new": [1]}])
def test_a_messages_change_of_another_shape_is_left(governance: Governance, value: dict[str, Any]) -> None:
    (found,) = applied(messages(**value), governance)
    assert found.outcome == "quarantined"


def test_a_key_never_seen_is_counted_and_the_rest_applied(governance: Governance) -> None:
    (found,) = applied(messages(statuses=[status(new_key=1)], brand_new=[1]), governance)
    assert (found.outcome, found.unknown) == ("applied", ["value_key"])


@pytest.mark.req("WHK-11")
@pytest.mark.parametrize(
    ("name", "numbers", "kind", "availability", "quality"),
    [
        ("phone_quality_flagged_legacy", 1, "quality", None, "RED"),
        ("phone_quality_throughput_upgrade", 1, "throughput", None, None),
        ("phone_quality_onboarding", 1, "other", None, None),
        ("phone_name_update_rejected", 1, "other", None, None),
        ("security_pin_changed", 1, "other", None, None),
        ("account_update_ban_disable", 2, "health", "BLOCKED", None),
        ("account_update_ban_scheduled", 2, "other", None, None),
        ("account_update_ban_reinstate", 2, "health", "AVAILABLE", None),
        ("account_update_deleted", 2, "health", "BLOCKED", None),
        ("account_update_restriction", 2, "health", "LIMITED", None),
        ("account_update_restriction_all", 2, "health", "BLOCKED", None),
        ("account_update_restriction_utility", 2, "other", None, None),
        ("account_update_partner_app_uninstalled", 2, "other", None, None),
        ("account_alerts_limit_deferred", 3, "other", None, None),
        ("business_capability_int", 2, "other", None, None),
        ("value_errors_130429", 1, "other", None, None),
        ("value_errors_auth_0", 1, "other", None, None),
    ],
)
def test_notices_are_events_of_the_numbers_they_are_about(
    governance: Governance, name: str, numbers: int, kind: str, availability: str | None, quality: str | None
) -> None:
    events = events_of(payload(f"webhook_{name}.json"), governance)
    assert len({event.phone_number_id for event in events}) == len(events) == numbers
    for event in events:
        assert isinstance(event, NumberEvent)
        assert (event.kind, event.availability, event.quality) == (kind, availability, quality)
        assert event.source == "webhook"
        assert event.home == governance.home_of(event.phone_number_id)
        assert event.reason is not None


def test_a_restriction_says_until_when(governance: Governance) -> None:
    (event, _) = events_of(payload("webhook_account_update_restriction.json"), governance)
    assert event.hold_until == datetime.fromtimestamp(1795415400, UTC)


@pytest.mark.parametrize(
    "body",
    [
        notice("phone_number_quality_update", {"display_phone_number": "19995550000", "event": "FLAGGED"}),
        notice("phone_number_quality_update", {"display_phone_number": 7}),
        notice("security", {}),
        notice("account_alerts", {"entity_type": "PHONE_NUMBER", "entity_id": "1"}),
    ],
)
def test_a_notice_about_nobody_of_ours_is_left(governance: Governance, body: dict[str, Any]) -> None:
    (found,) = applied(body, governance)
    assert (found.outcome, found.unknown) == ("quarantined", ["number"])


@pytest.mark.parametrize(
    "value",
    [
        {"event": "DISABLED_UPDATE"}, {"event": "DISABLED_UPDATE", "ban_info": []}, {"event": "SOMETHING_NEW"}, {},
        {"event": "ACCOUNT_RESTRICTION"}, {"event": "ACCOUNT_RESTRICTION", "restriction_info": [1, {}]}, {"event": {}},
    ],
)  # fmt: skip
def test_an_account_event_never_seen_is_told_and_never_raises(governance: Governance, value: dict[str, Any]) -> None:
    events = events_of(notice("account_update", value), governance)
    assert [event.kind for event in events] == ["other", "other"]
