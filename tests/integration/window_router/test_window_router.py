"""The router on a real broker: windows and numbers from their topics, orders for the lanes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from harkara.contracts.audit import AuditRecord
from harkara.contracts.envelope import header
from harkara.contracts.event import Event, event_id
from harkara.contracts.intents import ClearedIntent, DispatchOrder, SendIntent
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.numbers import NumberState
from harkara.contracts.partition import partition_for
from harkara.contracts.template_state import TemplateState
from harkara.contracts.topics import (
    AUDIT_LOG,
    CLEARED_INTENTS,
    CLEARED_INTENTS_URGENT,
    DISPATCH_ORDERS,
    DISPATCH_ORDERS_URGENT,
    MESSAGE_LIFECYCLE,
    NUMBER_STATE,
    SERVICE_WINDOWS,
    TEMPLATE_STATE,
    Topic,
)
from harkara.contracts.webhooks import ServiceWindow
from harkara.policy.governance import load
from harkara.policy.reload import from_record
from harkara.runtime.kafka import Output
from harkara.window_router.app import create
from harkara.window_router.settings import Settings
from tests.support.kafka import produce, read_all
from tests.support.services import GOVERNANCE_FILE, isolated, running, write
from tests.support.wait import eventually

ALONE, FIRST, SECOND = "100000000000001", "100000000000002", "100000000000003"
PERSON = "0123456789abcdef0123456789abcdef"
TEXT = {"type": "text", "body": "Namaste"}
TEMPLATE = {"type": "template", "name": "daily_advice", "language": "en", "body": ["Asha"]}


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path, governance_file=GOVERNANCE_FILE)


async def feed(settings: Settings, topic: Topic, *events: tuple[str, str, Event]) -> None:
    """Events with their homes and keys."""
    now = datetime.now(UTC)
    await write(settings, [Output(topic, home, key, event, event_id(event), now) for home, key, event in events])


def cleared(message: str, home: str = "advisors", **more: Any) -> tuple[str, str, ClearedIntent]:
    fields: dict[str, Any] = {"message_id": message, "sender": home, "to": "+919999910001", "category": "service"}
    wanted = SendIntent.model_validate(fields | {"content": TEXT} | more)
    now = datetime.now(UTC)
    event = ClearedIntent(
        intent=wanted,
        intent_hash=wanted.hash(),
        home=home,
        person_key=PERSON,
        received_at=now,
        expires_at=now + timedelta(hours=24),
        policy_version="test",
    )
    return home, home, event


def window(phone_number_id: str, home: str, ago: timedelta) -> tuple[str, str, ServiceWindow]:
    at = datetime.now(UTC) - ago
    event = ServiceWindow(phone_number_id=phone_number_id, person_key=PERSON, last_inbound_at=at)
    return home, f"{phone_number_id}:{PERSON}", event


def halted(phone_number_id: str) -> tuple[str, str, NumberState]:
    fields = {"phone_number_id": phone_number_id, "home": "advisors", "version": 1, "verdict": "halted"}
    return "advisors", phone_number_id, NumberState.model_validate(fields | {"updated_at": datetime.now(UTC)})


async def orders(settings: Settings, topic: Topic = DISPATCH_ORDERS) -> dict[str, DispatchOrder]:
    found: dict[str, DispatchOrder] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(topic)):
        assert record.value is not None
        order = DispatchOrder.model_validate_json(record.value)
        assert record.partition == partition_for(order.home, settings.partitions)
        found[order.message_id] = order
    return found


async def outcomes(settings: Settings) -> dict[str, str]:
    """Per message, `routed` or the code of its refusal."""
    found: dict[str, str] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_LIFECYCLE)):
        assert record.value is not None
        event = MessageLifecycle.model_validate_json(record.value)
        found[event.message_id or ""] = event.reason.code if event.reason else event.status
    return found


async def until_decided(settings: Settings, *messages: str) -> dict[str, str]:
    async def all_decided() -> bool:
        return set(messages) <= (await outcomes(settings)).keys()

    await eventually(all_decided, timeout_seconds=40)
    return await outcomes(settings)


def plan_of(order: DispatchOrder) -> list[tuple[str, str]]:
    return [(candidate.phone_number_id, candidate.form) for candidate in order.plan]


@pytest.mark.req("RTW-1", "RTW-2", "RTW-3")
async def test_forms_follow_the_windows_and_numbers_their_state(settings: Settings) -> None:
    await feed(
        settings,
        SERVICE_WINDOWS,
        window(ALONE, ALONE, timedelta(hours=1)),
        window(SECOND, "advisors", timedelta(days=2)),
    )
    await feed(settings, NUMBER_STATE, halted(FIRST))
    await feed(
        settings,
        CLEARED_INTENTS,
        cleared("m-session1", ALONE),
        cleared("m-closed-1"),
        cleared("m-fallback", fallback_template=TEMPLATE),
        cleared("m-template", ALONE, content=TEMPLATE),
    )
    await feed(settings, CLEARED_INTENTS_URGENT, cleared("m-urgent-1", ALONE, content=TEMPLATE, priority=3))
    async with running(create(settings).components):
        decided = await until_decided(settings, "m-session1", "m-closed-1", "m-fallback", "m-template", "m-urgent-1")
    assert decided.pop("m-closed-1") == "window_closed"
    assert set(decided.values()) == {"routed"}
    found = await orders(settings)
    assert found.keys() == {"m-session1", "m-fallback", "m-template"}
    assert plan_of(found["m-session1"]) == [(ALONE, "session")]
    assert found["m-session1"].plan[0].valid_until is not None
    assert plan_of(found["m-fallback"]) == [(SECOND, "template"), (FIRST, "template")]  # the halted one last
    assert found["m-fallback"].session is None
    assert plan_of(found["m-template"]) == [(ALONE, "template")]
    assert (await orders(settings, DISPATCH_ORDERS_URGENT)).keys() == {"m-urgent-1"}


def template(name: str, wording: str, status: str, category: str) -> tuple[str, str, TemplateState]:
    now = datetime.now(UTC)
    fields = {"waba_id": "200000000000001", "name": name, "language": "en", "status": status, "category": category}
    more = {"wording": wording, "version": 1, "observed_at": now, "updated_at": now}
    event = TemplateState.model_validate(fields | more)
    return event.waba_id, event.key, event


@pytest.mark.req("CMP-11")
async def test_a_text_that_repeats_a_template_is_refused_with_its_place_and_leaves_a_record(settings: Settings) -> None:
    offer = "Dear {{1}}, our festival offer on gold plans ends this Sunday at midnight, so join now and save a lot."
    piece = "Hi: our festival offer on gold plans ends this Sunday at midnight"
    notice = "Your statement of {{1}} is ready for you in the app, and nothing else is to be done by you today."
    await feed(settings, SERVICE_WINDOWS, window(ALONE, ALONE, timedelta(hours=1)))
    await feed(
        settings,
        TEMPLATE_STATE,
        template("offer", offer, "APPROVED", "MARKETING"),
        template("notice", notice, "APPROVED", "UTILITY"),
    )
    said = {
        "m-filled-1": offer.replace("{{1}}", "Asha"),
        "m-piece-1": piece,
        "m-notice-1": notice.replace("{{1}}", "May"),
    }
    wanted = [cleared(each, ALONE, content={"type": "text", "body": body}) for each, body in said.items()]
    values = cleared("m-values-1", ALONE, content=TEMPLATE | {"body": [piece]})
    await feed(settings, CLEARED_INTENTS, *wanted, values)
    async with running(create(settings).components):
        decided = await until_decided(settings, *said, "m-values-1")
    refused = "content_repeats_template"
    assert decided == {"m-filled-1": refused, "m-piece-1": refused, "m-notice-1": "routed", "m-values-1": refused}
    assert (await orders(settings)).keys() == {"m-notice-1"}
    told = [MessageLifecycle.model_validate_json(each.value or b"") for each in await read_all(
        settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_LIFECYCLE)
    )]  # fmt: skip
    reasons = {event.message_id: event.reason for event in told if event.reason is not None}
    piece_reason, value_reason = reasons["m-piece-1"], reasons["m-values-1"]
    assert piece_reason.details["positions"] == "5" and piece_reason.details["template"] == "offer:en"
    assert (value_reason.details["field"], value_reason.details["positions"]) == ("body 1", "5")
    recorded = [each.value or b"" for each in await read_all(settings.kafka.bootstrap, settings.kafka.topic(AUDIT_LOG))]
    refusals = [each for each in recorded if refused.encode() in each]
    assert len(refusals) == 3 and not any(b"festival" in each for each in refusals)


async def test_a_record_that_is_none_goes_to_the_dlq_and_blocks_nothing(settings: Settings) -> None:
    partition = partition_for(ALONE, settings.partitions)
    name = settings.kafka.topic(CLEARED_INTENTS)
    await produce(settings.kafka.bootstrap, name, [(b"x", b'{"home": 1}')], partition=partition)
    await feed(settings, CLEARED_INTENTS, cleared("m-behind-1", ALONE, content=TEMPLATE))
    async with running(create(settings).components):
        assert (await until_decided(settings, "m-behind-1"))["m-behind-1"] == "routed"
    [dead] = await read_all(settings.kafka.bootstrap, settings.kafka.topic(CLEARED_INTENTS.dlq))
    assert dead.value == b'{"home": 1}' and "intent: Field required" in (header(dead.headers, "dlq-reason") or "")


async def test_without_its_replica_it_routes_nothing_and_then_goes_on_by_what_it_learnt(settings: Settings) -> None:
    """The window is opened while the router is blind: routed at once, the message would have been refused."""
    replica, routing, _ = create(settings).components
    async with running([routing]):
        await feed(settings, CLEARED_INTENTS, cleared("m-waits-01", ALONE))
        await eventually(lambda: "nothing is routed" in (routing.ready() or ""), timeout_seconds=30)
        await feed(settings, SERVICE_WINDOWS, window(ALONE, ALONE, timedelta(0)))
        async with running([replica]):
            assert (await until_decided(settings, "m-waits-01"))["m-waits-01"] == "routed"
            assert routing.ready() is None
    assert plan_of((await orders(settings))["m-waits-01"]) == [(ALONE, "session")]


POLICY = GOVERNANCE_FILE.read_text(encoding="utf-8")


async def test_a_changed_policy_counts_from_the_next_message_and_a_wrong_one_never(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Its version is on every order, and each version that was in force is in the audit log with its content."""
    file = tmp_path / "governance.yaml"
    file.write_text(POLICY, encoding="utf-8")
    settings = await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path, governance_file=file)
    first = load(file)
    async with running(create(settings).components):
        await feed(settings, CLEARED_INTENTS, cleared("m-first-0001", category="utility", content=TEMPLATE))
        await until_decided(settings, "m-first-0001")
        file.write_text(POLICY.replace("pools:", "pools: ["), encoding="utf-8")
        await eventually(lambda: REGISTRY.get_sample_value("harkara_policy_refused") == 1, timeout_seconds=20)
        await feed(settings, CLEARED_INTENTS, cleared("m-second-001", category="utility", content=TEMPLATE))
        await until_decided(settings, "m-second-001")
        file.write_text(POLICY.replace("window_margin_minutes: 10", "window_margin_minutes: 20"), encoding="utf-8")
        await eventually(lambda: REGISTRY.get_sample_value("harkara_policy_refused") == 0, timeout_seconds=20)
        await feed(settings, CLEARED_INTENTS, cleared("m-third-0001", category="utility", content=TEMPLATE))
        await until_decided(settings, "m-third-0001")
    newest = load(file)
    assert newest.version != first.version
    versions = {message: order.policy_version for message, order in (await orders(settings)).items()}
    assert versions == {
        "m-first-0001": first.version, "m-second-001": first.version, "m-third-0001": newest.version,
    }  # fmt: skip
    recorded = await audited(settings, "policy_applied")
    assert [each.subject for each in recorded] == [first.version, newest.version]
    for each, expected in zip(recorded, (first, newest), strict=True):
        assert from_record(each.details["content"], each.subject).routing == expected.routing


@pytest.mark.req("B16", "CMP-16")
async def test_quiet_hours_delay_a_message_and_a_contracted_window_leaves_a_record(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Quiet are the hours around now, so that the test is the same at any time of day."""
    now = datetime.now(UTC)
    quiet = f"{now - timedelta(hours=2):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    contracted = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"
    text = POLICY.replace("    utility: none\n", f'    utility: "{quiet}"\n', 1)
    text = text.replace('hours: "05:55-06:05"', f'hours: "{contracted}"').replace(
        "time_zone: Asia/Kolkata", "time_zone: UTC"
    )
    file = tmp_path / "governance.yaml"
    file.write_text(text, encoding="utf-8")
    settings = await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path, governance_file=file)
    utility: dict[str, Any] = {"category": "utility", "content": TEMPLATE, "time_zone": "UTC"}
    async with running(create(settings).components):
        await feed(settings, CLEARED_INTENTS, cleared("m-waits-0001", **utility))
        await feed(settings, CLEARED_INTENTS, cleared("m-urgent-001", send_window="morning-advice", **utility))
        await until_decided(settings, "m-waits-0001", "m-urgent-001")
    found = await orders(settings)
    waits, urgent = found["m-waits-0001"], found["m-urgent-001"]
    assert waits.not_before is not None and timedelta(hours=1) < waits.not_before - now < timedelta(hours=2, minutes=1)
    assert waits.hours[0].start == waits.not_before
    assert urgent.not_before is None and urgent.hours[0].end - now < timedelta(hours=1, minutes=1)
    [exception] = await audited(settings, "quiet_hours_exception")
    assert exception.subject == "m-urgent-001" and exception.details["send_window"] == "morning-advice"


async def audited(settings: Settings, action: str) -> list[AuditRecord]:
    """The audit records of an action, in their order."""
    records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(AUDIT_LOG))
    found = [AuditRecord.model_validate_json(record.value or b"") for record in records]
    return sorted((each for each in found if each.action == action), key=lambda each: each.at)
