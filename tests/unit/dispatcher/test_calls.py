"""One call of a committed attempt: which outcome it may claim when something of ours is wrong."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import httpx

from harkara.dispatcher.barred import Bar, Barred
from harkara.dispatcher.calls import MOST_SHOWING, Calls, Settled
from harkara.dispatcher.failpoints import Failpoints
from harkara.dispatcher.heard import Indicator
from harkara.dispatcher.lane import Lane
from harkara.dispatcher.senders import Senders
from harkara.dispatcher.state import Message
from harkara.graph_api.client import GraphClient
from harkara.graph_api.outcome import IMPOSSIBLE, Accepted, NotSent, Refused
from harkara.runtime.clock import SystemClock
from tests.unit.dispatcher.calling import calling
from tests.unit.dispatcher.lanes import ONE, TWO, HandDriven, order

ANSWER = {"messaging_product": "whatsapp", "messages": [{"id": "wamid.A"}]}


class _Far:
    """Senders with one client, whose far side accepts everything and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self._client = GraphClient(
            "http://far.test", "v26.0", lambda: "EAATEST", transport=httpx.MockTransport(self._answer)
        )

    def _answer(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(200, json=ANSWER)

    def client(self, phone_number_id: str) -> GraphClient:
        return self._client


def attempt(**more: Any) -> Message:
    lane = HandDriven()
    lane.take(order(**more), start=False)
    (message,) = lane.round()
    return message


async def ended(
    far: _Far, message: Message, *, began_raises: bool = False, lease_seconds: float = 10.0, wait: float = 0.0
) -> Calls:
    def began(_: Message) -> None:
        if began_raises:
            raise ValueError("a mistake of ours")

    calls = calling(cast(Senders, far), began)
    now = calls.clock.monotonic()
    calls.start(message, now, now + lease_seconds, wait)
    await asyncio.wait(set(calls.under_way), timeout=5)
    await asyncio.sleep(0)
    return calls


async def test_what_goes_wrong_in_the_gate_is_never_told_as_an_outcome_of_the_message() -> None:
    """The attempt is journaled: whoever recovers the lane finds it in doubt, not `failed`, which may be a lie."""
    far = _Far()
    calls = await ended(far, attempt(), began_raises=True)
    assert isinstance(calls.failure, ValueError)
    assert not calls.settled


async def test_an_order_that_makes_no_request_ends_before_anything_leaves() -> None:
    far = _Far()
    calls = await ended(far, attempt(form="session", session={"type": "no-such-content"}))
    assert list(calls.settled) == [Settled("message-1", 1, NotSent("invalid"))]
    assert far.asked == 0 and calls.failure is None


class _NoWay(_Far):
    """Senders that cannot make a client: a number whose way out is none."""

    def client(self, phone_number_id: str) -> GraphClient:
        raise ValueError("a local address that is none")


async def test_where_no_client_can_be_made_the_order_is_not_to_blame() -> None:
    calls = await ended(_NoWay(), attempt())
    assert list(calls.settled) == [Settled("message-1", 1, NotSent(IMPOSSIBLE))]
    assert calls.failure is None


async def test_a_call_that_goes_well_is_settled_as_accepted() -> None:
    far = _Far()
    calls = await ended(far, attempt())
    assert list(calls.settled) == [Settled("message-1", 1, Accepted("wamid.A"))]
    assert far.asked == 1


async def test_of_many_indicators_at_once_only_a_few_take_connections() -> None:
    far, calls = _Far(), await ended(_Far(), attempt())
    calls.senders = cast(Senders, far)
    for _ in range(2):
        for n in range(500):
            calls.show(Indicator(ONE, f"wamid.{n}"), lambda number: True)
        calls.show(Indicator(TWO, "wamid.A"), lambda number: True)
        assert len(calls.under_way) == MOST_SHOWING + 1
        await asyncio.wait(set(calls.under_way), timeout=5)
        await asyncio.sleep(0)
    assert far.asked == 2 * (MOST_SHOWING + 1) and calls.failure is None


class Frozen(SystemClock):
    """Stands still; `thaw` is the end of a long sleep."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at

    def thaw(self) -> None:
        self.at += 60.0


async def test_a_process_that_was_frozen_after_its_check_does_not_call_any_more() -> None:
    """The lease is asked for again in the step that writes."""
    far, clock, message = _Far(), Frozen(), attempt()
    calls = Calls(
        senders=cast(Senders, far),
        clock=clock,
        failpoints=Failpoints.parse(""),
        gate=lambda message, number: None,
        wake=lambda: None,
        token_lost=lambda number: None,
        barred=lambda number, outcome, since=None: None,
        began=lambda message: clock.thaw(),
    )
    calls.start(message, clock.at, clock.at + 2.0)
    await asyncio.wait(set(calls.under_way), timeout=5)
    await asyncio.sleep(0)
    assert (list(calls.settled), far.asked) == ([Settled("message-1", 1, NotSent("lease"))], 0)


async def test_a_clock_that_is_set_back_keeps_no_call_beyond_its_lease() -> None:
    calls = await ended(_Far(), attempt(), lease_seconds=0.05, wait=3600.0)
    assert not calls.under_way and len(calls.settled) == 1


class _Refusing(_Far):
    """Refuses the token of whoever asks."""

    def _answer(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(401, json={"error": {"code": 190}})


async def test_a_journaled_call_that_has_not_begun_does_not_begin_once_a_refusal_is_known() -> None:
    """By the lane's own gate, before any round has heard of the refusal."""
    lane, far, barred = HandDriven(), _Refusing(), Barred()
    lane.take(order("message-1"), order("message-2"), start=False)
    first, second = lane.round()
    shop = SimpleNamespace(fresh=lambda: True, clock=SystemClock(), around=lane.around)
    stands_in = cast(Lane, SimpleNamespace(_leaving=False, _shop=shop, _barred=barred, state=lane.state))
    calls = calling(cast(Senders, far))
    calls.gate = lambda message, attempt: Lane._gate(stands_in, message, attempt)
    calls.barred = lambda number, outcome, since=None: barred.add(number, Bar(outcome, own=True, since=since))
    now = calls.clock.monotonic()
    calls.start(first, now, now + 10.0)
    calls.start(second, now, now + 10.0, 0.5)
    await asyncio.wait(set(calls.under_way), timeout=5)
    await asyncio.sleep(0)
    outcomes = {each.message_id: each.outcome for each in calls.settled}
    assert isinstance(outcomes["message-1"], Refused)
    assert (outcomes["message-2"], far.asked) == (NotSent("barred"), 1)
