"""Where a single message stands, when it goes, and when there is no room for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.numbers import NumberState, QueueState
from harkara.contracts.topics import NUMBER_STATE, QUEUE_STATE
from tests.unit.ingestion.conftest import FIRST, LONE, NOW, SECOND, Running

TO = "+919999900011"
TEMPLATE = {"name": "order_update", "language": "en", "body": ["Asha", "12"]}


def queue(number: str = LONE, waiting: int = 0, **more: Any) -> QueueState:
    """A queue of one run's messages, at one message a second."""
    flows = [{"priority": 1, "flow": "run-a", "queued": waiting}] if waiting else []
    values = {
        "phone_number_id": number, "home": LONE if number == LONE else "advisors", "queued": waiting, "scheduled": 3,
        "held": 0, "in_flight": 1, "in_doubt": 0, "sent_last_minute": 0, "sent_today": 0, "updated_at": NOW,
        "flows": flows, "by_priority": {"1": waiting}, "pace": {"next_at": NOW, "per_second": 1},
    }  # fmt: skip
    return QueueState.model_validate(values | more)


def on_send(running: Running, **more: Any) -> Any:
    return running.post("/api/v1/send", {"to": TO, "message": "x", "sessionId": LONE} | more)


@pytest.mark.req("ING-11")
async def test_the_answer_says_where_the_message_stands_and_when_it_goes(running: Running) -> None:
    running.known.apply(QUEUE_STATE, LONE, queue(waiting=60, flows=[{"priority": 1, "flow": "shop", "queued": 60}]))
    found = (await on_send(running)).json()
    assert found["position"] == 61
    assert datetime.fromisoformat(found["estimatedDelivery"]) == NOW + timedelta(seconds=60)
    again = (await on_send(running)).json()  # the one before is counted although no lane has reported it yet
    assert again["position"] == 62
    assert datetime.fromisoformat(again["estimatedDelivery"]) == NOW + timedelta(seconds=61)
    urgent = (await on_send(running, priority=3)).json()
    assert urgent["position"] == 1
    assert datetime.fromisoformat(urgent["estimatedDelivery"]) == NOW
    running.clock.advance(11)
    running.known.apply(QUEUE_STATE, LONE, queue(waiting=2, updated_at=running.clock.now()))
    assert (await on_send(running)).json()["position"] == 3


@pytest.mark.req("B14")
async def test_a_single_message_does_not_stand_behind_a_run(running: Running) -> None:
    running.known.apply(QUEUE_STATE, LONE, queue(waiting=800))
    found = (await on_send(running)).json()
    assert found["position"] == 801
    assert datetime.fromisoformat(found["estimatedDelivery"]) <= NOW + timedelta(seconds=2)


async def test_of_a_pool_the_persons_own_number_is_meant_and_of_a_halted_one_the_next(running: Running) -> None:
    running.known.apply(QUEUE_STATE, FIRST, queue(FIRST, waiting=30))
    running.known.apply(QUEUE_STATE, SECOND, queue(SECOND, waiting=70))
    known = {number: (await on_send(running, sessionId=number)).json()["position"] for number in (FIRST, SECOND)}
    assert known == {FIRST: 31, SECOND: 71}
    assert (await on_send(running, sessionId="advisors")).json()["position"] in (32, 72)
    state = NumberState(phone_number_id=FIRST, home="advisors", version=1, verdict="halted", updated_at=NOW)
    running.known.apply(NUMBER_STATE, FIRST, state)
    assert (await on_send(running, sessionId=FIRST)).json()["position"] in (72, 73)
    running.known.apply(NUMBER_STATE, SECOND, state.model_copy(update={"phone_number_id": SECOND}))
    halted = (await on_send(running, sessionId=SECOND)).json()
    assert (halted["position"] > 70, halted["estimatedDelivery"]) == (True, None)


@pytest.mark.req("ING-12")
async def test_a_full_queue_refuses_single_messages_but_no_urgent_one_and_no_run(running: Running) -> None:
    running.known.apply(QUEUE_STATE, LONE, queue(waiting=1000))
    assert (await on_send(running)).status_code == 202
    answer = await on_send(running)
    assert (answer.status_code, answer.json()["code"]) == (429, "QUEUE_FULL")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert (answer.json()["limit"], answer.json()["position"]) == (1000, 1002)
    assert datetime.fromisoformat(answer.json()["estimatedDelivery"]) > NOW
    assert len(running.log.on("send-intents")) == 1
    assert (await on_send(running, priority=3)).status_code == 202
    run = {"name": "r", "category": "utility", "template": TEMPLATE, "audience": [{"to": TO}], "senders": [LONE]}
    assert (await running.post("/api/v1/runs", run, idem="r1")).status_code == 202
    running.known.apply(QUEUE_STATE, LONE, queue(waiting=1400))
    # two of those accepted before are not in the report yet, and one call goes at once
    assert (await on_send(running)).headers["retry-after"] == "401"


@pytest.mark.req("ING-13")
async def test_a_number_that_has_sent_its_days_messages_refuses_single_ones(running: Running) -> None:
    opens = [[1, NOW + timedelta(hours=2)], [20, NOW + timedelta(hours=5)]]
    day = {"calls": 20, "seconds": 86_400, "used": 20, "opens": opens}
    pace = {"next_at": NOW + timedelta(hours=2), "per_second": 1, "windows": [day]}
    running.known.apply(QUEUE_STATE, LONE, queue(waiting=3, daily_limit=20, daily_used=20, pace=pace))
    answer = await on_send(running)
    assert answer.json()["position"] == 4
    assert (
        datetime.fromisoformat(answer.json()["estimatedDelivery"]) == NOW + timedelta(hours=2) + timedelta(hours=3) / 19
    )
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (429, "DAILY_LIMIT_REACHED", 20)
    assert answer.headers["retry-after"] == "3600"
    assert datetime.fromisoformat(answer.json()["retryAt"]) == NOW + timedelta(hours=2)
    assert running.log.written == []
    running.clock.advance(2 * 3600 + 1)  # no newer report, but the first of the calls is a day old
    assert (await on_send(running)).status_code == 202


@pytest.mark.req("ING-11", "ING-12")
async def test_while_a_lane_is_silent_its_number_takes_no_more_than_a_full_queue(running: Running) -> None:
    """An hour of it at a request every two seconds, and then it reports again."""
    running.known.apply(QUEUE_STATE, LONE, queue(waiting=900))
    running.api.standings.queue_full_above = 100
    running.clock.advance(61)
    answers = []
    for _ in range(300):
        answers.append(await on_send(running))
        running.clock.advance(12)
    told = [answer.json() for answer in answers if answer.status_code == 202]
    assert [each["position"] for each in told] == list(range(901, 901 + 101))
    assert {each["estimatedDelivery"] for each in told} == {None}
    assert {datetime.fromisoformat(each["silentSince"]) for each in told} == {NOW}
    refused = answers[-1].json()
    assert (answers[-1].status_code, refused["code"], refused["position"]) == (429, "QUEUE_FULL", 1002)
    assert "has not reported on this number since 2026-11-21T00:30" in refused["detail"]
    assert datetime.fromisoformat(refused["silentSince"]) == NOW and "estimatedDelivery" not in refused
    assert answers[-1].headers["retry-after"] == "60"
    assert (await on_send(running, priority=3)).status_code == 202, "an urgent one has a queue of its own"
    running.known.apply(QUEUE_STATE, LONE, queue(waiting=40, updated_at=running.clock.now()))
    again = (await on_send(running)).json()
    assert (again["position"], again["silentSince"]) == (42, None), "all but the newest stand in the lane, or went"
    assert datetime.fromisoformat(again["estimatedDelivery"]) >= running.clock.now()


@pytest.mark.req("ING-12")
async def test_a_number_that_was_never_reported_is_full_when_this_process_has_filled_it(running: Running) -> None:
    running.api.standings.queue_full_above = 5
    answers = [await on_send(running) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [202] * 6 + [429] * 2
    first = answers[0].json()
    assert (first["position"], first["estimatedDelivery"], first["silentSince"]) == (None, None, None)
    assert "has not reported on this number yet" in answers[-1].json()["detail"]
    assert "position" not in answers[-1].json()
    assert answers[-1].headers["retry-after"] == "60"


@pytest.mark.req("ING-11", "ING-12")
async def test_a_report_of_days_ago_refuses_nobody_and_gives_no_estimate(running: Running) -> None:
    running.known.apply(QUEUE_STATE, LONE, queue(held=1500))
    assert (await on_send(running)).status_code == 429
    running.clock.advance(60)
    assert (await on_send(running)).status_code == 429, "a lane repeats itself within that time"
    running.clock.advance(3 * 86_400)
    answer = await on_send(running)
    assert answer.status_code == 202
    assert (answer.json()["position"], answer.json()["estimatedDelivery"]) == (1501, None)
    scheduled = await on_send(running, notBefore=(running.clock.now() + timedelta(hours=1)).isoformat())
    assert scheduled.json()["estimatedDelivery"] is None


@pytest.mark.req("ING-11")
async def test_a_batch_is_told_by_the_numbers_that_report(running: Running) -> None:
    """The other number of the pool was never heard of, and then both are silent."""
    body = {"sessionId": "advisors", "messages": [{"to": f"+9199999{n:05d}", "message": "x"} for n in range(40)]}
    running.known.apply(QUEUE_STATE, FIRST, queue(FIRST, waiting=30))
    found = (await running.post("/api/v1/send/batch", body, idem="b1")).json()
    assert found["position"] == 31, found
    assert datetime.fromisoformat(found["estimatedCompletion"]) == NOW + timedelta(seconds=30 + 40 - 1)
    running.clock.advance(61)
    found = (await running.post("/api/v1/send/batch", body, idem="b2")).json()
    assert found["position"] is None
    assert found["estimatedCompletion"] is None
    spread = (await running.post("/api/v1/send/batch", body | {"spreadMinutes": 5}, idem="b3")).json()
    assert spread["estimatedCompletion"] is None, "the last slot is no estimate where nobody knows the pace"
