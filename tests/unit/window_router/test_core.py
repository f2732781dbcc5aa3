"""What the router writes and remembers, without a broker."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from harkara.contracts.audit import AuditRecord, decision_hash
from harkara.contracts.envelope import Envelope
from harkara.contracts.event import event_id
from harkara.contracts.intents import ClearedIntent, DispatchOrder
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.numbers import NumberState, QueueState
from harkara.contracts.topics import CLEARED_INTENTS, NUMBER_STATE, QUEUE_STATE, SERVICE_WINDOWS
from harkara.contracts.webhooks import ServiceWindow
from harkara.policy.known import FEWEST_BEFORE_SWEEP, Known
from harkara.policy.routing import Surroundings, plan
from harkara.runtime.clock import ManualClock
from harkara.runtime.kafka import Output
from harkara.runtime.loop import Incoming
from harkara.window_router import core, effects
from tests.unit.policy.cases import ALONE, FIRST, NOW, PERSON, TEMPLATE, TEXT, cleared, policy

HOUR = timedelta(hours=1)


def routed(inbound: dict[str, datetime], **more: object) -> list[Output]:
    wanted = cleared(**more)  # type: ignore[arg-type]
    return core.outputs(wanted, plan(wanted, policy(), Surroundings(inbound, {}), NOW), policy().version, NOW)


def test_an_order_carries_all_that_the_lane_needs() -> None:
    step, order = routed({ALONE: NOW - HOUR}, home=ALONE, content=TEXT, fallback_template=TEMPLATE, run_id="r-1")
    assert isinstance(step.event, MessageLifecycle) and step.event.status == "routed"
    assert order.topic.name == "dispatch-orders" and (order.partition_key, order.key) == (ALONE, ALONE)
    event = order.event
    assert isinstance(event, DispatchOrder)
    assert [c.form for c in event.plan] == ["session", "template"]
    assert event.session is not None and event.template is not None and event.run_id == "r-1"
    assert event.intent_hash == cleared(home=ALONE, content=TEXT, fallback_template=TEMPLATE, run_id="r-1").intent_hash


def test_urgent_orders_have_their_own_topic_and_ids_are_repeatable() -> None:
    first, again = (routed({}, priority=3) for _ in range(2))
    assert first[-1].topic.name == "dispatch-orders-urgent"
    assert [o.id for o in first] == [o.id for o in again]


def test_its_ids_are_made_of_the_guards_key_and_before_there_was_one_of_the_hash() -> None:
    def ids(step_key: str | None) -> list[str]:
        wanted = cleared().model_copy(update={"step_key": step_key})
        return [o.id for o in core.outputs(wanted, plan(wanted, policy(), Surroundings({}, {}), NOW), "v", NOW)]

    assert not {*ids("a key")} & {*ids("another")} and ids("a key") == ids("a key")
    old = cleared()
    assert ids(None) == [event_id(old.intent.message_id, old.intent_hash, step) for step in ("routed", "order")]


@pytest.mark.req("CMP-8", "CMP-10")
def test_a_refusal_is_a_lifecycle_event_and_an_audit_record_that_is_bound_to_it() -> None:
    step, audit = routed({}, content=TEXT)
    assert isinstance(step.event, MessageLifecycle) and step.event.status == "rejected"
    assert step.event.reason is not None and step.event.reason.code == "window_closed"
    assert isinstance(audit.event, AuditRecord) and audit.topic.name == "audit-log"
    assert (audit.event.actor, audit.event.action) == ("window-router", "intent_rejected")
    assert audit.event.subject == audit.subject == "m-00000001"
    in_event = step.event.model_dump(mode="json", exclude_none=True)["decision"]
    assert audit.event.details == {
        "code": "window_closed", "rule": "routing.window_margin_minutes", "policy_version": policy().version,
        "home": "advisors", "person_key": PERSON, "producer": "kafka",
        "decision": decision_hash("window-router", step.id, "m-00000001", in_event),
    }  # fmt: skip
    assert [each.id for each in routed({}, content=TEXT)] == [step.id, audit.id], "a repeat writes the same"
    assert "919999912345" not in audit.event.model_dump_json() and "Namaste" not in audit.event.model_dump_json()


def window(pnid: str, person: str, at: datetime) -> ServiceWindow:
    return ServiceWindow(phone_number_id=pnid, person_key=person, last_inbound_at=at)


def test_windows_only_move_forward() -> None:
    known = Known(ManualClock(NOW).now)
    for at in (NOW - 2 * HOUR, NOW - HOUR, NOW - 3 * HOUR):
        known.apply(SERVICE_WINDOWS, f"{ALONE}:{PERSON}", window(ALONE, PERSON, at))
    assert known.around(PERSON, [ALONE, FIRST]).last_inbound_at == {ALONE: NOW - HOUR}
    assert known.around("another", [ALONE]).last_inbound_at == {}
    known.apply(SERVICE_WINDOWS, f"{ALONE}:{PERSON}", None)
    assert known.around(PERSON, [ALONE]).last_inbound_at == {}


def test_the_number_state_of_the_highest_version_is_kept() -> None:
    known = Known(ManualClock(NOW).now)
    for version, verdict in ((2, "halted"), (1, "open")):
        fields = {"phone_number_id": ALONE, "home": ALONE, "version": version, "verdict": verdict, "updated_at": NOW}
        known.apply(NUMBER_STATE, ALONE, NumberState.model_validate(fields))
    assert known.around(PERSON, [ALONE]).states[ALONE].verdict == "halted"


def test_memory_follows_the_open_windows() -> None:
    clock = ManualClock(NOW)
    known = Known(clock.now)
    known.apply(SERVICE_WINDOWS, "", window(ALONE, "long ago", NOW - 24 * HOUR))
    assert known.open_windows() == 0
    for n in range(FEWEST_BEFORE_SWEEP):
        known.apply(SERVICE_WINDOWS, "", window(ALONE, f"{n}", NOW))
    clock.advance(25 * 3600)
    known.apply(SERVICE_WINDOWS, "", window(ALONE, "newest", clock.now()))
    assert known.open_windows() == 1
    assert known.around("newest", [ALONE]).last_inbound_at == {ALONE: clock.now()}


def test_the_gate_says_why_it_is_closed() -> None:
    assert effects.gate_on(lambda: True)() is None
    assert "nothing is routed" in (effects.gate_on(lambda: False)() or "")


CONTRACT = {"hours": "05:55-06:05", "time_zone": "Asia/Kolkata", "contract": "agreement, clause 4"}
NIGHT = {"quiet_hours": {"utility": "23:00-07:00"}, "send_windows": {"morning": CONTRACT}}


def by_night(**more: object) -> list[Output]:
    """06:00 in India."""
    governance, wanted = policy(routing=NIGHT), cleared(**more)  # type: ignore[arg-type]
    return core.outputs(wanted, plan(wanted, governance, Surroundings({}, {}), NOW), governance.version, NOW)


@pytest.mark.req("CMP-16")
def test_an_order_waits_for_the_end_of_the_night_and_says_when_calls_may_start() -> None:
    step, order = by_night()
    assert isinstance(order.event, DispatchOrder)
    assert order.event.not_before == NOW + HOUR
    assert [(span.start, span.end) for span in order.event.hours] == [(NOW + HOUR, NOW + 17 * HOUR)]
    assert isinstance(step.event, MessageLifecycle) and step.event.decision is not None
    assert step.event.decision.verdict["due"] == (NOW + HOUR).isoformat()
    later = by_night(not_before=NOW + 3 * HOUR)[-1].event
    assert isinstance(later, DispatchOrder) and later.not_before == NOW + 3 * HOUR


@pytest.mark.req("B16", "CMP-10")
def test_what_goes_at_night_by_contract_leaves_a_record() -> None:
    step, record, order = by_night(send_window="morning")
    assert isinstance(order.event, DispatchOrder) and order.event.not_before is None
    assert isinstance(record.event, AuditRecord) and record.topic.name == "audit-log"
    assert (record.event.action, record.event.subject) == ("quiet_hours_exception", "m-00000001")
    assert record.event.details["send_window"] == "morning"
    assert record.event.details["policy_version"] == policy(routing=NIGHT).version
    assert "919999912345" not in record.event.model_dump_json()
    assert [o.id for o in by_night(send_window="morning")] == [step.id, record.id, order.id]


def test_each_taking_up_of_a_policy_is_a_record() -> None:
    first, again, returned = (core.policy_record(policy(), "window-router", NOW + n * HOUR) for n in (0, 0, 1))
    assert first.id == again.id != returned.id and first.key == policy().version


def test_a_tombstone_forgets_what_its_topic_says_alone() -> None:
    known = Known(ManualClock(NOW).now)
    fields = {"phone_number_id": ALONE, "home": ALONE, "version": 1, "verdict": "halted", "updated_at": NOW}
    known.apply(NUMBER_STATE, ALONE, NumberState.model_validate(fields))
    counts = dict.fromkeys(
        ("queued", "scheduled", "held", "in_flight", "in_doubt", "sent_last_minute", "sent_today"), 1
    )
    for ago, queued in ((0, 7), (1, 3)):
        queue = QueueState.model_validate(
            counts | {"phone_number_id": ALONE, "home": ALONE, "updated_at": NOW - ago * HOUR, "queued": queued}
        )
        known.apply(QUEUE_STATE, ALONE, queue)
    assert known.around(PERSON, [ALONE]).queues[ALONE].queued == 7
    known.apply(QUEUE_STATE, ALONE, None)
    assert known.around(PERSON, [ALONE]).queues == {} and ALONE in known.around(PERSON, [ALONE]).states
    known.apply(NUMBER_STATE, ALONE, None)
    assert known.around(PERSON, [ALONE]).states == {}


def incoming_of(event: ClearedIntent) -> Incoming:
    envelope = Envelope(event, "1", "compliance-guard", NOW, event.intent.message_id, None)
    return Incoming(CLEARED_INTENTS, 0, 0, b"advisors", b"", [], NOW, envelope)


def test_a_changed_policy_counts_from_the_next_intent() -> None:
    clock = ManualClock(NOW)
    router = effects.Router(policy(), Known(clock.now), clock)
    incoming = incoming_of(cleared())
    before = [o.event for o in router.route(incoming) if isinstance(o.event, DispatchOrder)]
    router.follow(policy(routing=NIGHT))
    after = [o.event for o in router.route(incoming) if isinstance(o.event, DispatchOrder)]
    assert [o.policy_version for o in before + after] == [policy().version, policy(routing=NIGHT).version]
    assert before[0].hours == () and after[0].hours
