"""What a lane tells operators: how much a number sent, how doubts ended, and what somebody must look at."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from harkara.contracts.numbers import QueueState
from harkara.contracts.topics import QUEUE_STATE
from harkara.dispatcher.observe import count_entries, queue_states
from harkara.dispatcher.queue_state import queue_state
from harkara.graph_api.outcome import Outcome
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import ACCEPTED, HOME, ONE, START, TIMEOUT, HandDriven, order, refused

MIDNIGHT = START - START % 86_400 + 86_400


def shown(lane: HandDriven) -> QueueState:
    return queue_state(lane.state, lane.around, ONE, HOME, lane.now)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"harkara_dispatcher_{name}_total", labels) or 0.0


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"harkara_dispatcher_{name}", labels)


@pytest.mark.req("DSP-18")
def test_a_queue_state_says_how_many_meta_took_in_the_last_minute_and_today() -> None:
    lane = HandDriven(now=MIDNIGHT - 30)
    for n in range(3):
        lane.take(order(f"message-{n}", at=lane.now))
        lane.answer(ACCEPTED, f"message-{n}")
    lane.take(order("refused", at=lane.now))
    lane.answer(refused(131026), "refused")
    assert (shown(lane).sent_last_minute, shown(lane).sent_today) == (3, 3)
    lane.now += 20
    lane.take(order("message-4", at=lane.now))
    lane.echo("message-4")
    assert (shown(lane).sent_last_minute, shown(lane).sent_today) == (4, 4)
    lane.crash()
    assert (shown(lane).sent_last_minute, shown(lane).sent_today) == (4, 4), "a new owner counts on"
    lane.now = MIDNIGHT + 40
    assert (shown(lane).sent_last_minute, shown(lane).sent_today) == (1, 0)


@pytest.mark.req("DSP-18")
def test_what_a_number_shows_follows_its_messages_and_its_pace() -> None:
    """Also what another lane of the process showed of it last."""
    for _ in range(2):
        lane = HandDriven(limits=Limits(per_second=1))

        def gauges(lane: HandDriven = lane) -> dict[str, float | None]:
            lane.state.touched = {ONE}
            queue_states(lane.state, lane.around, lane.now, QUEUE_STATE, 10)
            statuses = {each: gauge("messages", phone_number_id=ONE, status=each) for each in ("queued", "attempting")}
            return statuses | {each: gauge("breaker", phone_number_id=ONE, state=each) for each in ("closed", "open")}

        assert gauges() == {"queued": 0, "attempting": 0, "closed": 1, "open": 0}
        assert gauge("allowed_rate", phone_number_id=ONE) == 1
        lane.take(*(order(f"message-{n}") for n in range(3)))
        assert gauges() == {"queued": 2, "attempting": 1, "closed": 1, "open": 0}
        lane.answer(ACCEPTED, "message-0")
        assert gauges() == {"queued": 2, "attempting": 0, "closed": 1, "open": 0}


@pytest.mark.req("B1", "B4")
@pytest.mark.parametrize(("end", "accepted", "unknown"), [("echo", 1, 0), ("time", 0, 1), ("answer", 0, 0)])
def test_how_a_doubt_ended_is_counted(end: str, accepted: int, unknown: int) -> None:
    lane = HandDriven()
    before = [counted("in_doubt_settled", as_=word) for word in ("accepted", "unknown")]
    lane.take(order(category="service"))
    if end == "answer":
        lane.answer(ACCEPTED)
    else:
        lane.answer(TIMEOUT)
        lane.echo() if end == "echo" else lane.round(61)
    count_entries(lane.journal)
    after = [counted("in_doubt_settled", as_=word) for word in ("accepted", "unknown")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [accepted, unknown]


@pytest.mark.req("DSP-14", "SEC-4")
@pytest.mark.parametrize(
    ("outcome", "alerts"),
    [(refused(190, 401), 1), (refused(131026), 0), (ACCEPTED, 0)],
    ids=["token", "person", "none"],
)
def test_what_somebody_must_look_at_is_counted_by_its_code(outcome: Outcome, alerts: int) -> None:
    code = str(outcome.error.code) if hasattr(outcome, "error") and outcome.error is not None else "190"
    before = counted("alerts", code=code)
    lane = HandDriven()
    lane.take(order())
    lane.answer(outcome)
    count_entries(lane.journal)
    assert counted("alerts", code=code) - before == alerts
