"""Before an answer the person sees that somebody types, where the number's profile asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from pydantic import ValidationError

from harkara.dispatcher.heard import MOST_HEARD, Heard, Indicator
from harkara.dispatcher.inbound import hear
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.typing_shown import REASON, most_at_once
from harkara.graph_api.client import GraphClient
from harkara.policy.governance import Profile
from harkara.policy.pacing import Limits, limits_of
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, HandDriven, iso, order

TYPES = limits_of(Profile(per_second=10, typing_min_ms=1000, typing_max_ms=3000))
ASKED = Indicator(ONE, "wamid.QUESTION")


@dataclass(frozen=True)
class Record:
    """A record as librdkafka hands it over."""

    event: dict[str, Any]

    def value(self) -> bytes:
        return orjson.dumps(self.event)


class Lane(HandDriven):
    """One that keeps the indicators that were to be shown."""

    def __post_init__(self) -> None:
        self.indicators: list[Indicator] = []
        super().__post_init__()

    def write(self, decide: Any) -> Any:
        found: list[Scribe] = []

        def seen(scribe: Scribe) -> None:
            found.append(scribe)
            decide(scribe)

        entries = super().write(seen)
        self.indicators += found[0].indicators
        return entries

    def asks(self, person_key: str = "person of message-1") -> None:
        written = {"wamid": ASKED.wamid, "phone_number_id": ONE, "sent_at": iso(self.now), "person_key": person_key}
        hear(self.state, self.around, [Record(written)], self.now)  # type: ignore[list-item]


def lane(limits: Limits = TYPES) -> Lane:
    made = Lane(limits=limits)
    made.asks()
    made.now += 1.0  # what they wrote took a place in the number's second
    return made


@pytest.mark.req("DSP-9")
def test_an_answer_waits_one_to_three_seconds_while_the_indicator_is_shown() -> None:
    waits = set()
    for n in range(20):
        made = lane()
        made.state.seed = n
        made.take(order(form="session"))
        assert (made.attempts, made.indicators) == ([], [ASKED])
        while not made.attempts:
            made.round(0.05)
        waits.add(round(made.now - START - 1.0, 1))
        assert made.indicators == [ASKED], "shown once"
        made.answer(ACCEPTED)
        assert made.steps() == ["queued", "retrying", "attempting", "submitted"]
    assert min(waits) >= 1.0 and max(waits) <= 3.1 and len(waits) > 8


@pytest.mark.parametrize(
    ("limits", "more", "asks"),
    [
        (Limits(per_second=10), {"form": "session"}, True),
        (TYPES, {"form": "template"}, True),
        (TYPES, {"form": "session", "priority": 3}, True),
        (TYPES, {"form": "session"}, False),
    ],
    ids=["a profile without it", "a template", "an urgent answer", "nothing heard of them"],
)
def test_nothing_else_waits_for_it(limits: Limits, more: dict[str, Any], asks: bool) -> None:
    made = lane(limits) if asks else Lane(limits=limits)
    made.take(order(**more))
    assert len(made.attempts) == 1 and not made.indicators


def test_a_new_owner_lets_it_go_after_its_wait_and_shows_nothing_again() -> None:
    made = lane()
    made.take(order(form="session"))
    made.crash()
    made.asks()
    made.round()
    assert not made.attempts
    made.round(3.0)
    assert len(made.attempts) == 1 and made.indicators == [ASKED]


def test_an_earlier_answer_to_the_same_person_keeps_its_place() -> None:
    made = lane()
    made.take(*[order(f"message-{n}", form="session", person_key="person of message-1") for n in (1, 2)])
    for _ in range(200):
        made.round(0.05)
        while made.under_way:
            made.answer(ACCEPTED, *made.under_way[0])
    assert [message_id for message_id, *_ in made.attempts] == ["message-1", "message-2"]


def test_what_is_heard_is_bounded_and_the_newest_counts() -> None:
    heard = Heard()
    for n in range(MOST_HEARD + 5):
        heard.note("asha", f"wamid.{n}")
        heard.note(f"person {n}", "wamid.A")
    assert len(heard.newest) == MOST_HEARD
    assert heard.newest["asha"] == f"wamid.{MOST_HEARD + 4}"


@pytest.mark.parametrize(("status", "shown"), [(200, True), (400, False), (500, False)])
async def test_the_request_is_metas(status: int, shown: bool) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, json={"success": True})

    client = GraphClient("http://far.test", "v26.0", lambda: "EAATEST", transport=httpx.MockTransport(answer))
    assert await client.show_typing(*ASKED) is shown
    (request,) = asked
    assert request.url.path == f"/v26.0/{ONE}/messages"
    assert orjson.loads(request.content) == {
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": ASKED.wamid,
        "typing_indicator": {"type": "text"},
    }
    assert not await client.show_typing(*ASKED, before_call=lambda: False)
    assert len(asked) == 1


@pytest.mark.parametrize("times", [{"typing_min_ms": 2000}, {"typing_min_ms": 0, "typing_max_ms": 25_000}], ids=str)
def test_times_that_make_no_sense_are_refused(times: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="typing_max_ms"):
        Profile(per_second=10, **times)


SLOW = Limits(per_minute=20, base_delay_seconds=2.0, max_jitter_seconds=1.5, typing_seconds=(1.0, 3.0))


@pytest.mark.req("DSP-9")
def test_of_many_answers_only_those_are_announced_that_go_before_meta_takes_the_indicator_away() -> None:
    made, announced = Lane(limits=SLOW), dict[str, float]()
    for n in range(40):
        made.asks(f"person {n}")
    made.take(*(order(f"message-{n}", form="session", person_key=f"person {n}") for n in range(40)), start=False)
    began = made.now
    while len(made.attempts) < 40 and made.now < began + 600.0:
        made.round(0.1)
        for message in made.state.messages.values():
            if message.reason == REASON:
                announced.setdefault(message.message_id, made.now)
        while made.under_way:
            message_id, _ = made.under_way[0]
            assert made.now - announced.get(message_id, made.now) <= 25.0
            made.answer(ACCEPTED, message_id)
    assert len(made.indicators) == len(made.attempts) == 40
    assert made.now - began <= 1.2 * 40 * 3.0, "it costs little of the pace"


def test_how_many_are_announced_at_once() -> None:
    assert most_at_once(SLOW) == 7
    assert most_at_once(TYPES) == 220
    assert most_at_once(Limits(per_minute=1, typing_seconds=(1.0, 3.0))) == 1


HOURS = [
    {"start": iso(START - 3600), "end": iso(START + 7)},
    {"start": iso(START + 36_000), "end": iso(START + 40_000)},
]


@pytest.mark.parametrize("more", [{"life": 7.0}, {"valid_until": START + 7}, {"hours": HOURS}], ids=str)
def test_what_has_little_time_left_goes_without_an_indicator(more: dict[str, Any]) -> None:
    made = lane()
    made.take(order(form="session", **more))
    assert len(made.attempts) == 1 and not made.indicators
