"""What people write to a number takes places in its second, as far as it is fresh and the number is this lane's."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import pytest

from harkara.dispatcher.inbound import FRESH_SECONDS, hear, written_in
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import ONE, START, TWO, HandDriven, iso, order


@dataclass(frozen=True)
class Heard:
    """A record as librdkafka hands it over."""

    raw: bytes | None

    def value(self) -> bytes | None:
        return self.raw


def written(number: str = ONE, at: float = START) -> bytes:
    """Somebody wrote to the number."""
    return orjson.dumps({"wamid": "wamid.A", "phone_number_id": number, "sent_at": iso(at), "text": "Hello"})


def test_every_message_takes_a_place_and_none_is_journaled() -> None:
    lane = HandDriven(limits=Limits(per_second=10))
    before = len(lane.journal)
    hear(lane.state, lane.around, [Heard(written())] * 4, lane.now)  # type: ignore[list-item]
    lane.take(*(order(f"message-{n}") for n in range(30)))
    calls = len(lane.attempts)
    for _ in range(66):
        calls += len(lane.round(0.015))
    assert 5 <= calls <= 10 - 4 + 1
    assert all(entry.kind in ("order", "step", "emitted") for entry in lane.journal[before:])
    assert lane.state.number(TWO).pace.next_at() == 0.0


def test_another_homes_number_is_not_heard() -> None:
    lane = HandDriven(limits=Limits(per_second=10))
    hear(lane.state, lane.around, [Heard(written("100000000000099"))], lane.now)  # type: ignore[list-item]
    assert "100000000000099" not in lane.state.numbers


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'{"sent_at": 7}', b'{"sent_at": "yesterday"}', b"{}"])
def test_what_is_no_message_counts_nothing(value: bytes | None) -> None:
    assert written_in(value) is None


def test_a_backlog_counts_nothing() -> None:
    """Meta counted it when it came."""
    lane = HandDriven(limits=Limits(per_second=10))
    for age, counted in ((FRESH_SECONDS + 1, 0), (FRESH_SECONDS, 1)):
        hear(lane.state, lane.around, [Heard(written(at=START))], START + age)  # type: ignore[list-item]
        assert len(lane.state.number(ONE).pace.second) == counted


@pytest.mark.parametrize("odd", [["asha"], {"a": 1}, 7], ids=str)
def test_what_names_no_person_or_message_is_counted_and_remembered_for_nobody(odd: object) -> None:
    lane = HandDriven(limits=Limits(per_second=10, typing_seconds=(1.0, 3.0)))
    for name in ("person_key", "wamid"):
        record = orjson.loads(written()) | {"person_key": "asha"} | {name: odd}
        hear(lane.state, lane.around, [Heard(orjson.dumps(record))], lane.now)  # type: ignore[list-item]
    number = lane.state.number(ONE)
    assert len(number.pace.second) == 2 and not number.heard.newest
