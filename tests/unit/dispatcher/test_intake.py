"""What a lane reads of an order's record, and what it writes of an entry, is what the contracts say of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import pytest
from confluent_kafka import Message as Record
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.envelope import Undecodable, decode
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.journal import JournalRecord
from harkara.contracts.topics import DISPATCH_ORDERS
from harkara.dispatcher.inbox import Inbox, OrderArrived, _echo
from harkara.dispatcher.journal import Entry, decoded, encoded
from harkara.runtime.settings import KafkaSettings
from tests.unit.dispatcher.lanes import HOME, order

KAFKA = KafkaSettings(bootstrap="nobody:9092")
TYPE, TRACE = ("ce_type", b"harkara.dispatch-order.v1"), ("traceparent", b"00-aa-bb-01")


@dataclass
class Told:
    """A record as the client gives it."""

    found: Any
    said: bytes | None

    def topic(self) -> str:
        return KAFKA.topic(DISPATCH_ORDERS)

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7

    def key(self) -> bytes:
        return HOME.encode()

    def value(self) -> bytes | None:
        return self.said

    def headers(self) -> Any:
        return self.found


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [],
        [TYPE],
        [TYPE, TRACE],
        [TRACE, TYPE, ("traceparent", b"another")],
        [TYPE, ("ce_type", b"harkara.audit.v1")],
        [("ce_type", b"harkara.audit.v1"), TYPE],
        [TYPE, ("traceparent", None), TRACE],
        [("ce_type", None), TYPE],
        [("ce_type", "harkara.dispatch-order.v1"), ("traceparent", "as text")],
        [TYPE, ("traceparent", b"\xff")],
        dict([TYPE, TRACE]),
    ],
)
@pytest.mark.parametrize(
    "value", [orjson.dumps(order(not_before="2027-01-15T13:30:00.5+05:30", row=None)), b"{}", None]
)
def test_an_order_is_read_as_the_envelope_has_it(headers: Any, value: bytes | None) -> None:
    inbox = Inbox(KAFKA, 0, 1)
    inbox.put([cast(Record, Told(headers, value))])
    found = list(inbox.take())
    pairs = headers.items() if isinstance(headers, dict) else headers or []
    plain = [(name, each.encode() if isinstance(each, str) else each or b"") for name, each in pairs]
    try:
        envelope = decode([DispatchOrder], value, plain, fallback_id="")
    except Undecodable as error:
        assert found == []
        assert [(each.value, each.headers, each.reason) for each in inbox.quarantined] == [(value, plain, str(error))]
    else:
        read = envelope.event.model_dump(mode="json", exclude_none=True)
        assert found == [OrderArrived(read, envelope.traceparent)] and inbox.quarantined == []


@given(st.floats(min_value=946_684_800, max_value=7_258_118_400), st.dictionaries(st.text(), st.text() | st.integers()))
def test_an_entry_is_a_journal_record_and_comes_back(at: float, data: dict[str, Any]) -> None:
    data = {name: each for name, each in data.items() if isinstance(each, str) or -(2**63) <= each < 2**63}
    entry = Entry("message-1/s", 5, "step", at, HOME, data)
    value = encoded(entry)
    envelope = decode([JournalRecord], value, [], fallback_id="")
    moment = datetime.fromtimestamp(at, UTC)
    assert envelope.event == JournalRecord(home=HOME, seq=5, kind="step", at=moment, data=data)
    assert decoded(b"message-1/s", value) == entry._replace(at=moment.timestamp())


ECHO = {"message_id": "message-1", "attempt": 2, "status": "sent", "at": "2027-01-15T08:00:00+00:00", "home": "pool-a",
        "wamid": "wamid.A", "phone_number_id": "100000000000011", "reached_key": "person-1"}  # fmt: skip


NO_TEXT: tuple[Any, ...] = (5, [], {})
WRONG: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("message_id", "wamid", "phone_number_id", "reached_key"), NO_TEXT),
    "attempt": (-1, "2", None, 1.5),
    "at": (1_800_000_000, None, "yesterday"),
}


@pytest.mark.parametrize("wrong", [{name: value} for name, values in WRONG.items() for value in values], ids=str)
def test_a_status_with_something_that_is_not_what_it_should_be_is_no_echo(wrong: dict[str, Any]) -> None:
    """What a lane makes of it would be written to the lifecycle as it came."""
    assert _echo(orjson.dumps(ECHO)) is not None
    assert _echo(orjson.dumps(ECHO | wrong)) is None
