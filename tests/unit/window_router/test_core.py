"""What the router writes and remembers, without a broker."""

from __future__ import annotations

from datetime import datetime, timedelta

from harkara.contracts.intents import DispatchOrder
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.numbers import NumberState
from harkara.contracts.topics import NUMBER_STATE, SERVICE_WINDOWS
from harkara.contracts.webhooks import ServiceWindow
from harkara.policy.routing import Surroundings, plan
from harkara.runtime.clock import ManualClock
from harkara.runtime.kafka import Output
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


def test_a_refusal_is_one_lifecycle_event() -> None:
    [only] = routed({}, content=TEXT)
    assert isinstance(only.event, MessageLifecycle) and only.event.status == "rejected"
    assert only.event.reason is not None and only.event.reason.code == "window_closed"


def window(pnid: str, person: str, at: datetime) -> ServiceWindow:
    return ServiceWindow(phone_number_id=pnid, person_key=person, last_inbound_at=at)


def test_windows_only_move_forward() -> None:
    known = effects.Known(ManualClock(NOW))
    for at in (NOW - 2 * HOUR, NOW - HOUR, NOW - 3 * HOUR):
        known.apply(SERVICE_WINDOWS, f"{ALONE}:{PERSON}", window(ALONE, PERSON, at))
    assert known.around(PERSON, [ALONE, FIRST]).last_inbound_at == {ALONE: NOW - HOUR}
    assert known.around("another", [ALONE]).last_inbound_at == {}
    known.apply(SERVICE_WINDOWS, f"{ALONE}:{PERSON}", None)
    assert known.around(PERSON, [ALONE]).last_inbound_at == {}


def test_the_number_state_of_the_highest_version_is_kept() -> None:
    known = effects.Known(ManualClock(NOW))
    for version, verdict in ((2, "halted"), (1, "open")):
        fields = {"phone_number_id": ALONE, "home": ALONE, "version": version, "verdict": verdict, "updated_at": NOW}
        known.apply(NUMBER_STATE, ALONE, NumberState.model_validate(fields))
    assert known.around(PERSON, [ALONE]).states[ALONE].verdict == "halted"


def test_memory_follows_the_open_windows() -> None:
    clock = ManualClock(NOW)
    known = effects.Known(clock)
    known.apply(SERVICE_WINDOWS, "", window(ALONE, "long ago", NOW - 24 * HOUR))
    assert known.open_windows() == 0
    for n in range(effects.FEWEST_BEFORE_SWEEP):
        known.apply(SERVICE_WINDOWS, "", window(ALONE, f"{n}", NOW))
    clock.advance(25 * 3600)
    known.apply(SERVICE_WINDOWS, "", window(ALONE, "newest", clock.now()))
    assert known.open_windows() == 1
    assert known.around("newest", [ALONE]).last_inbound_at == {ALONE: clock.now()}


def test_the_gate_says_why_it_is_closed() -> None:
    assert effects.gate_on(lambda: True)() is None
    assert "nothing is routed" in (effects.gate_on(lambda: False)() or "")
